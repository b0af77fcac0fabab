"""The few pieces every page is built of: columns, panels, heads, empty states, lists of checks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

from dash import dcc, html
from dash.development.base_component import Component

from core.errors import SpatialMetaError

Children = Any  # what Dash takes as children: a component, text, None, or a list of these


class CheckLike(Protocol):
    """``core.io.Check`` as the list of checks needs it."""

    level: str  # 'ok', 'warning' or 'blocking'
    title: str
    found: str
    mend: str


CHECK_ICONS = {"ok": "check-circle", "warning": "exclamation-triangle", "blocking": "x-octagon"}
CHECK_WORDS = {"ok": "In order", "warning": "Warning", "blocking": "Blocking"}


def icon(name: str, **props: Any) -> html.I:
    """One icon of Bootstrap Icons; text beside it, or the label of its button, says what it means."""
    class_name = f"bi bi-{name} {props.pop('className', '')}".strip()
    return html.I(className=class_name, **{"aria-hidden": "true"}, **props)


def columns(left: Children, centre: Children, right: Children = None) -> html.Div:
    """Controls, tissue, findings: each scrolls by itself, the page does not."""
    parts = [html.Div(left, className="sm-left"), html.Div(centre, className="sm-centre")]
    if right is not None:
        parts.append(html.Div(right, className="sm-right"))
    return html.Div(parts, className="sm-columns" if right is not None else "sm-columns sm-two")


def head(title: str, note: Children = None) -> html.H2:
    """A section head in small capitals, with a quiet note at its right end."""
    return html.H2([html.Span(title), html.Span(note, className="sm-note") if note else None], className="sm-head")


def panel(
    title: str | None, *children: Children, note: Children = None, class_name: str = "", **props: Any
) -> html.Div:
    """A surface with a hairline. *props* go to the ``html.Div`` (``id=…``)."""
    parts = [head(title, note) if title else None, *children]
    return html.Div(parts, className=f"sm-panel {class_name}".strip(), **props)


def empty(icon_name: str, title: str, text: str, *actions: Children) -> html.Div:
    """What to do where there is nothing to see yet."""
    heading = html.H2(title)
    return html.Div([icon(icon_name), heading, html.P(text), *actions], className="sm-empty")


def missing(error: SpatialMetaError) -> html.Div:
    """The page in place of one whose project or sample does not exist."""
    found = error.found[:1].upper() + error.found[1:]
    way = button_link("All projects", "/", icon_name="grid")
    return html.Div(
        html.Div(empty("compass", f"{found}.", error.mend, way), className="sm-panel sm-fill"), className="p-3"
    )


def button_link(text: str, href: str, *, primary: bool = True, icon_name: str | None = None) -> dcc.Link:
    """A link that looks like a button."""
    parts = [icon(icon_name, className="me-1") if icon_name else None, text]
    return dcc.Link(parts, href=href, className=f"btn {'btn-primary' if primary else 'btn-secondary'}")


def number(value: float | int | None, unit: str = "", digits: int = 3) -> html.Span:
    """A number with its unit, in tabular figures; thousands separated."""
    return html.Span(format_number(value, unit, digits), className="sm-num")


def format_number(value: float | int | None, unit: str = "", digits: int = 3) -> str:
    """``3120 -> '3,120'``, ``1402.3 -> '1,402'``, ``0.00012 -> '0.00012'``, ``None -> '–'``; *digits* significant ones
    for fractions. No exponent below a milliard."""
    if value is None or math.isnan(value):
        return "–"
    whole = isinstance(value, int) or 10**digits <= abs(value) < 1e9
    text = f"{value:,.0f}" if whole else f"{value:,.{digits}g}"
    return f"{text} {unit}".strip()


def facts(rows: Iterable[tuple[str, Children]]) -> html.Dl:
    """Names on the left, values on the right."""
    parts: list[Component] = []
    for name, value in rows:
        parts += [html.Dt(name), html.Dd(value, className="sm-num")]
    return html.Dl(parts, className="sm-facts")


def checks(found: Iterable[CheckLike]) -> html.Ul:
    """Blocking first, then warnings, then what is in order; each with what was found and how to mend it."""
    order = {"blocking": 0, "warning": 1, "ok": 2}
    items = [_check(c) for c in sorted(found, key=lambda c: order[c.level])]
    return html.Ul(items, className="list-unstyled mb-0")


def _check(check: CheckLike) -> html.Li:
    fine = check.level == "ok"
    parts = [
        icon(CHECK_ICONS[check.level], className=f"sm-{check.level}"),
        html.Div(
            [
                html.Span(f"{CHECK_WORDS[check.level]}: ", className="visually-hidden"),
                html.Span(check.title, className="sm-check-title"),
                html.Span(f" {check.found}", className="sm-check-found") if fine else None,
            ]
        ),
        html.Span(check.found, className="sm-check-found") if check.found and not fine else None,
        html.Span(check.mend, className="sm-check-mend") if check.mend and not fine else None,
    ]
    return html.Li(parts, className="sm-check")
