"""A form for a Config dataclass: one field an option, the advanced ones folded.

The ids are ``{"form": <form name>, "option": <field name>}``. A callback that starts a step takes ``*states(form)`` and
hands both lists to :func:`spatialmeta_app.services.forms.config`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import dash_bootstrap_components as dbc
from dash import ALL, State, html
from dash.development.base_component import Component

from core.options import Option, options
from spatialmeta_app.services.results import in_words_of


def states(form: str) -> tuple[State, State]:
    """The ids and the values of all fields of *form*, for a callback."""
    every = {"form": form, "option": ALL}
    return State(every, "id"), State(every, "value")


def config_form(
    config: type,
    form: str,
    *,
    values: Mapping[str, Any] | None = None,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    place: str = "spot",
) -> html.Div:
    """All options of *config* as fields.

    Parameters
    ----------
    form
        Name of the form, the first part of every id.
    values
        What the fields show instead of the defaults, e.g. the Config of the chosen result.
    only, without
        Option names to take alone, or to leave out (a page that has its own control for them).
    place
        What a row of the data is called: the options speak of spots, SM alone has pixels.
    """
    chosen = [o for o in options(config) if (only is None or o.name in only) and o.name not in without]
    wanted = [_of(o, place) for o in chosen]
    shown = {o.name: o.default for o in wanted} | dict(values or {})
    simple = [_field(o, form, shown[o.name]) for o in wanted if not o.advanced]
    advanced = [_field(o, form, shown[o.name]) for o in wanted if o.advanced]
    parts: list[Component] = [html.Div(simple, className="sm-form")]
    if advanced:
        fold = html.Details(
            [html.Summary(f"Advanced ({len(advanced)})"), html.Div(advanced, className="sm-form")], className="sm-fold"
        )
        parts.append(fold)
    return html.Div(parts, className="sm-form")


def _of(option: Option, place: str) -> Option:
    """*option* in the words of data whose rows are called *place*."""
    told = {name: in_words_of(place, getattr(option, name)) for name in ("help", "unit")}
    return dataclasses.replace(option, **told)


def _field(option: Option, form: str, value: Any) -> html.Div:
    id = {"form": form, "option": option.name}
    unit = html.Span(f" {option.unit}", className="sm-unit") if option.unit else None
    return html.Div(
        [
            # The label wraps its field: pattern ids are no valid targets of html 'for'.
            html.Label([html.Span([option.label, unit]), _control(option, id, value)], className="sm-field-label"),
            html.Div([option.help, _range(option)], className="sm-note"),
        ],
        className="sm-field-row",
    )


def _range(option: Option) -> html.Span | None:
    low, high = option.minimum, option.maximum
    if option.type not in (int, float) or (low is None and high is None):
        return None
    if low is not None and high is not None:
        text = f"{low:g} – {high:g}"
    else:
        text = f"at least {low:g}" if low is not None else f"at most {high:g}"
    return html.Span(f" ({text})", className="sm-num")


def _control(option: Option, id: dict[str, str], value: Any) -> Component:
    if option.type is bool:
        return dbc.Switch(id=id, value=bool(value), className="sm-switch")
    if option.choices:
        return dbc.Select(
            id=id,
            options=[{"label": c.replace("_", " "), "value": c} for c in option.choices],
            value=value,
            size="sm",
        )
    if option.type is str:
        return dbc.Input(id=id, type="text", value=value, size="sm", placeholder="automatic" if option.optional else "")
    return dbc.Input(
        id=id,
        type="number",
        value=value,
        min=option.minimum,
        max=option.maximum,
        step=1 if option.type is int else "any",
        size="sm",
        placeholder="automatic" if option.optional else "",
    )
