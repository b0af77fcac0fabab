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


MOST_ENTRIES = 12  # of a menu; the start page has them all


@dataclass(frozen=True)
class Place:
    """Where a page is, taken from its URL."""

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
        dcc.Store(id=Shell.SUBMITTED),
        dcc.Store(id=Shell.ALERT),
        dcc.Store(id=Shell.CHANGED, data=0),
    ]


def _header() -> html.Header:
    word = dcc.Link(["Spatial", html.Span("META")], href="/", className="sm-word", title="All projects")
    return html.Header(
        [
            word,
            html.Div(id=Shell.PLACE, className="sm-place"),
            html.Div(id=Shell.NAME_FORM, className="sm-place"),
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
        Step name -> ``'missing'``, ``'done'`` or ``'stale'``, as ``Workspace.status`` gives it; a step that is not in
        it (the import of a sample that joins others) is not shown.
    """
    shown = [step for step in STEPS if not step.results or any(name in status for name in step.results)]
    return html.Ol([_step(step, place, mark(step, status)) for step in shown])


def mark(step: Step, status: Mapping[str, str]) -> str:
    """``'done'``, ``'stale'`` or ``'missing'`` for all results of a step together."""
    states = {status.get(name, "missing") for name in step.results} or {"missing"}
    if "stale" in states:
        return "stale"
    return "done" if states == {"done"} else "missing"


def _step(step: Step, place: Place, state: str) -> html.Li:
    marks = {
        "done": [icon("check2"), html.Span("done: ", className="visually-hidden")],
        "stale": [icon("arrow-clockwise"), html.Span("out of date: ", className="visually-hidden")],
        "missing": [],
    }
    current = step.page == place.page
    link = dcc.Link(
        [*marks[state], step.title],
        href=f"/p/{place.project}/{place.sample}/{step.page}",
        className="sm-step active" if current else "sm-step",
        title="An earlier step was run again: run this one again too" if state == "stale" else None,
    )
    return html.Li(link, **({"aria-current": "step"} if current else {}))


def pickers(
    place: Place,
    *,
    project: str,
    sample: str | None,
    projects: Sequence[tuple[str, str]],
    samples: Sequence[tuple[str, str]],
    writable: bool,
) -> list[Any]:
    """The menus of projects and samples.

    Parameters
    ----------
    project, sample
        Names of the open ones; *sample* None on pages of the whole project.
    projects, samples
        The others, as (name, address).
    writable
        False for the demonstration: it can not be renamed or added to.
    """
    slash = html.Span("/", className="sm-place-slash", **{"aria-hidden": "true"})
    found = [slash, _picker(project, _project_entries(place.project, projects, writable), "project", "Project")]
    if sample is not None:
        found.append(_picker(sample, _sample_entries(samples, writable), "sample", "Sample"))
    elif samples:
        found.append(_picker("Choose a sample", _sample_entries(samples, False), "sample", "Sample"))
    return found


def _project_entries(project: str, others: Sequence[tuple[str, str]], writable: bool) -> list[Any]:
    return [
        *[_go("folder2", text, href) for text, href in others[:MOST_ENTRIES]],
        dbc.DropdownMenuItem(divider=True) if others else None,
        _ask("pencil", "Rename project …", "project") if writable else None,
        _go("list-task", "Jobs of this project", f"/p/{project}/jobs"),
        _go("grid", "All projects", "/"),
    ]


def _sample_entries(others: Sequence[tuple[str, str]], writable: bool) -> list[Any]:
    return [
        *[_go("layers", text, href) for text, href in others],
        dbc.DropdownMenuItem(divider=True) if others and writable else None,
        _ask("plus-lg", "New sample …", "new-sample") if writable else None,
        _ask("pencil", "Rename sample …", "sample") if writable else None,
        dbc.DropdownMenuItem("The only sample", disabled=True) if not others and not writable else None,
    ]


def _go(icon_name: str, text: str, href: str) -> dbc.DropdownMenuItem:
    return dbc.DropdownMenuItem([icon(icon_name), html.Span(text, className="sm-entry-name")], href=href)


def _ask(icon_name: str, text: str, kind: str) -> dbc.DropdownMenuItem:
    return dbc.DropdownMenuItem([icon(icon_name), text], id={"rename": kind, "part": "open"}, n_clicks=0)


def _picker(name: str, entries: list[Any], kind: str, label: str) -> html.Div:
    caption = [html.Span(f"{label}: ", className="visually-hidden"), html.Span(name, className="sm-place-name")]
    menu = dbc.DropdownMenu([e for e in entries if e is not None], label=caption, className="sm-menu", size="sm")
    return html.Div(menu, className=f"sm-{kind}", title=name)


NAME_TITLES = {"project": "Name of the project", "sample": "Name of the sample", "new-sample": "Name of the new sample"}


def name_form(kind: str, value: str) -> html.Div:
    """One line to name something: *kind* is 'project', 'sample' or 'new-sample'."""
    return html.Div(
        [
            html.Span("/", className="sm-place-slash", **{"aria-hidden": "true"}),
            dbc.Input(
                id={"rename": kind, "part": "name"},
                value=value,
                size="sm",
                maxLength=80,
                autofocus=True,
                n_submit=0,
                placeholder=NAME_TITLES[kind],
                className="sm-name-input",
            ),
            dbc.Button(
                "Add" if kind == "new-sample" else "Save",
                id={"rename": kind, "part": "save"},
                size="sm",
                n_clicks=0,
            ),
            dbc.Button("Cancel", id={"rename": kind, "part": "cancel"}, size="sm", color="link", n_clicks=0),
        ],
        className="sm-row sm-naming",
    )
