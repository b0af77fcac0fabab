"""The table of all jobs of a project, and one job in full."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from typing import Any

import dash_bootstrap_components as dbc
from dash import html
from dash.development.base_component import Component

from spatialmeta_app.components.panel import empty, facts, icon, panel
from spatialmeta_app.ids import Jobs
from spatialmeta_app.jobs import Job

TITLES = {
    "st": "ST import",
    "sm": "SM import",
    "align": "Align",
    "reassign": "Reassign",
    "features": "Features",
    "integrate": "Integrate (CVAE)",
    "cluster": "Clusters",
    "demo": "Demonstration",
    "export": "Export",
    "spots": "Table",
    "markers": "Markers",
}
HEADS = ("Job", "Sample", "State", "Progress", "Started", "Took", "By", "")


def table(
    jobs: Sequence[Job],
    samples: Mapping[str, str],
    user: str,
    chosen: str | None,
    resumable: Set[str] = frozenset(),
) -> Component:
    """All jobs, newest first; the ids in *resumable* are of cancelled ones that can go on."""
    if not jobs:
        return empty("list-task", "No job yet", "Imports and runs of every step are listed here, with their logs.")
    head = html.Thead(html.Tr([html.Th(text or html.Span("Actions", className="visually-hidden")) for text in HEADS]))
    rows = [_row(job, samples, user, job.id == chosen, resumable) for job in jobs]
    return html.Table([head, html.Tbody(rows)], className="sm-table")


def _row(job: Job, samples: Mapping[str, str], user: str, chosen: bool, resumable: Set[str]) -> html.Tr:
    state = html.Span([html.Span(className="sm-dot", **{"data-state": job.state}), job.state], className="sm-row")
    name = html.Button(
        TITLES.get(job.kind, job.kind),
        id={Jobs.ACTION: "show", "job": job.id},
        className="btn btn-link p-0 fw-semibold",
        n_clicks=0,
        title="Show its settings and log",
    )
    cells = [
        html.Td(name),
        html.Td(samples.get(job.sample or "", "–")),
        html.Td(state),
        html.Td(_bar(job), className="sm-progress-cell"),
        html.Td(clock(job.started or job.created), className="sm-num text-start"),
        html.Td(took(job), className="sm-num text-start"),
        html.Td("me" if job.user == user else "another person"),
        html.Td(_actions(job, resumable), className="text-end"),
    ]
    return html.Tr(cells, className="sm-chosen" if chosen else "", **{"aria-selected": str(chosen).lower()})


def _bar(job: Job) -> Component:
    percent = 100 if job.state == "done" else round(100 * job.fraction)
    return html.Div(
        [
            html.Div(html.Div(style={"width": f"{percent}%"}), className="sm-bar"),
            html.Span(f"{percent}%", className="sm-num"),
        ],
        className="sm-row",
    )


def _actions(job: Job, resumable: Set[str]) -> Component:
    if job.active:
        return dbc.Button(
            "Cancel",
            id={Jobs.ACTION: "cancel", "job": job.id},
            color="danger",
            size="sm",
            n_clicks=0,
            disabled=job.state == "cancelling",
        )
    again = dbc.Button("Run again", id={Jobs.ACTION: "again", "job": job.id}, color="secondary", size="sm", n_clicks=0)
    if job.id not in resumable:
        return again
    return html.Div(
        [dbc.Button("Resume", id={Jobs.ACTION: "resume", "job": job.id}, size="sm", n_clicks=0), again],
        className="sm-row justify-content-end",
    )


def details(job: Job | None, log: str) -> list[Component]:
    """One job: what it was asked, how it ended, what it wrote."""
    if job is None:
        return [panel(None, empty("journal-text", "No job chosen", "Choose one to see its settings and its log."))]
    rows = [("State", job.state), ("Attempt", str(job.attempt)), ("Took", took(job)), ("Id", html.Code(job.id[:8]))]
    settings = [(name.replace("_", " "), _value(value)) for name, value in {**job.inputs, **job.config}.items()]
    parts = [panel(TITLES.get(job.kind, job.kind), facts(rows))]
    if job.error:
        parts.append(dbc.Alert([icon("x-octagon", className="me-2"), job.error], color="danger"))
    given = facts(settings) if settings else html.Div("All defaults.", className="sm-muted")
    parts.append(panel("Settings given", given))
    text = log.strip() or "The log is empty."
    parts.append(panel("Log", html.Pre(text, className="sm-log", tabIndex="0"), class_name="sm-fill sm-log-panel"))
    return parts


def _value(value: Any) -> str:
    text = str(value)
    return text.rsplit("/", 1)[-1] if text.startswith("uploads/") else text


def clock(moment: float | None) -> str:
    """Local time of day; with the day where it is not today."""
    if moment is None:
        return "–"
    then = time.localtime(moment)
    today = time.strftime("%Y%j", then) == time.strftime("%Y%j")
    return time.strftime("%H:%M:%S" if today else "%d %b %H:%M", then)


def took(job: Job) -> str:
    """``0:21``; of a running job, so far."""
    if job.started is None:
        return "–"
    seconds = max(0, round((job.finished or time.time()) - job.started))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
