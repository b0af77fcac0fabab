"""What stands on every page: word mark, project and sample, the steps, jobs, theme, help, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import dcc, html

from spatialmeta_app.components.panel import icon
from spatialmeta_app.ids import Shell


@dataclass(frozen=True)
class Step:
    """One page of the work."""

    page: str  # last part of the URL
    title: str
    results: tuple[str, ...]  # steps of the sample whose state the mark shows


STEPS = (
    Step("data", "Data", ("st", "sm")),
    Step("align", "Align", ("align",)),
    Step("reassign", "Reassign", ("reassign",)),
    Step("features", "Features", ("features",)),
    Step("integrate", "Integrate", ("integrate",)),
    Step("explore", "Explore", ("cluster",)),
    Step("export", "Export", ()),
)


@dataclass(frozen=True)
class Place:
    """Where a page is, taken from its URL; names for the pickers."""

    project: str
    sample: str | None
    page: str

    @classmethod
    def from_path(cls, pathname: str | None) -> Place | None:
        """``/p/<project>/<sample>/<page>`` and ``/p/<project>/jobs``; None elsewhere."""
        parts = (pathname or "").strip("/").split("/")
        if parts[0] != "p" or len(parts) < 3:
            return None
        if len(parts) == 3:
            return cls(project=parts[1], sample=None, page=parts[2])
        return cls(project=parts[1], sample=parts[2], page=parts[3])


def shell() -> html.Div:
    """The frame of all pages; ``dash.page_container`` is its main part."""
    return html.Div(
        [
            dcc.Location(id=Shell.URL, refresh="callback-nav"),
            *_stores(),
            html.A("Skip to content", href="#main", className="sm-skip"),
            _header(),
            html.Main(dash.page_container, id="main", className="sm-main", tabIndex="-1"),
            html.Section(
                id=Shell.TRAY_PANEL, className="sm-tray-panel", hidden=True, **{"aria-label": "Jobs of this project"}
            ),
            html.Div(id="toasts", className="sm-toasts", role="status", **{"aria-live": "polite"}),
        ],
        className="sm-app",
    )


def _stores() -> list[dcc.Store]:
    return [
        dcc.Store(id=Shell.JOBS),
        dcc.Store(id=Shell.JOBS_ENDED),
        dcc.Store(id=Shell.ALERT),
        dcc.Store(id=Shell.CHANGED, data=0),
    ]


def _header() -> html.Header:
    word = dcc.Link(["Spatial", html.Span("META")], href="/", className="sm-word", title="All projects")
    return html.Header(
        [
            word,
            html.Div(id=Shell.PLACE, className="sm-place"),
            html.Nav(id=Shell.STEPPER, className="sm-stepper", **{"aria-label": "Steps of the work"}),
            html.Div(_tools(), className="sm-tools"),
        ],
        id=Shell.HEADER,
        className="sm-header",
    )


def _tools() -> list[Any]:
    tray = html.Button(
        [html.Span(className="sm-dot"), html.Span("No jobs", className="sm-tray-text")],
        id=Shell.TRAY,
        className="sm-tray",
        hidden=True,
        **{"aria-expanded": "false", "aria-controls": Shell.TRAY_PANEL},
    )
    return [
        tray,
        tool(Shell.UNDO, "arrow-counterclockwise", "Undo (Ctrl+Z)", disabled=True),
        tool(Shell.REDO, "arrow-clockwise", "Redo (Ctrl+Shift+Z)", disabled=True),
        dcc.Link(
            [icon("question-circle"), html.Span("Help", className="visually-hidden")],
            href="/help",
            className="sm-icon",
            title="Help (?)",
        ),
        tool(Shell.THEME, "moon", "Light or dark"),
    ]


def tool(id: Any, icon_name: str, label: str, **props: Any) -> html.Button:
    """A button that shows only an icon; *label* is its tooltip and its name for screen readers."""
    return html.Button(icon(icon_name), id=id, className="sm-icon", title=label, **{"aria-label": label}, **props)


def stepper(place: Place, status: Mapping[str, str]) -> html.Ol:
    """The steps of a sample with their marks.

    Parameters
    ----------
    status
        Step name -> ``'missing'``, ``'done'`` or ``'stale'``, as ``Workspace.status`` gives it.
    """
    return html.Ol([_step(step, place, _mark(step, status)) for step in STEPS])


def _mark(step: Step, status: Mapping[str, str]) -> str:
    states = {status.get(name, "missing") for name in step.results} or {"missing"}
    if "stale" in states:
        return "stale"
    return "done" if states == {"done"} else "missing"


def _step(step: Step, place: Place, mark: str) -> html.Li:
    marks = {
        "done": [icon("check2"), html.Span("done: ", className="visually-hidden")],
        "stale": [icon("arrow-clockwise"), html.Span("out of date: ", className="visually-hidden")],
        "missing": [],
    }
    current = step.page == place.page
    link = dcc.Link(
        [*marks[mark], step.title],
        href=f"/p/{place.project}/{place.sample}/{step.page}",
        className="sm-step active" if current else "sm-step",
        title="An earlier step was run again: run this one again too" if mark == "stale" else None,
    )
    return html.Li(link, **({"aria-current": "step"} if current else {}))


def project_picker(name: str, others: Sequence[tuple[str, str]], project: str) -> html.Div:
    """The menu of projects: *others* are (name, href)."""
    entries = [
        *[dbc.DropdownMenuItem([icon("folder2"), text], href=href) for text, href in others],
        dbc.DropdownMenuItem(divider=True) if others else None,
        _entry("pencil", "Rename project …", {"rename": "project", "part": "open"}),
        dbc.DropdownMenuItem([icon("list-task"), "Jobs of this project"], href=f"/p/{project}/jobs"),
        dbc.DropdownMenuItem([icon("grid"), "All projects"], href="/"),
    ]
    return _picker(name, entries, "project", "Project")


def sample_picker(name: str, others: Sequence[tuple[str, str]]) -> html.Div:
    """The menu of samples of a project."""
    entries = [
        *[dbc.DropdownMenuItem([icon("layers"), text], href=href) for text, href in others],
        dbc.DropdownMenuItem(divider=True) if others else None,
        _entry("plus-lg", "New sample …", {"rename": "new-sample", "part": "open"}),
        _entry("pencil", "Rename sample …", {"rename": "sample", "part": "open"}),
    ]
    return _picker(name, entries, "sample", "Sample")


def _entry(icon_name: str, text: str, id: dict[str, str]) -> dbc.DropdownMenuItem:
    return dbc.DropdownMenuItem([icon(icon_name), text], id=id, n_clicks=0)


def _picker(name: str, entries: list[Any], kind: str, label: str) -> html.Div:
    caption = [html.Span(f"{label}: ", className="visually-hidden"), html.Span(name, className="sm-place-name")]
    menu = dbc.DropdownMenu(
        [e for e in entries if e is not None], label=caption, className="sm-menu", toggle_style={}, size="sm"
    )
    return html.Div(menu, className=f"sm-{kind}", title=name)


def name_form(kind: str, title: str, value: str) -> html.Form:
    """One line to name something, in the place of the menu that asked for it."""
    return html.Form(
        [
            dbc.Input(
                id={"rename": kind, "part": "name"},
                value=value,
                size="sm",
                maxLength=80,
                autoFocus=True,
                debounce=False,
                n_submit=0,
                **{"aria-label": title},
            ),
            dbc.Button("Save", id={"rename": kind, "part": "save"}, size="sm", type="button", n_clicks=0),
            dbc.Button("Cancel", id={"rename": kind, "part": "cancel"}, size="sm", color="link", type="button"),
        ],
        className="sm-row",
    )
