"""The start page's cards: one for each project, one for the demonstration."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import dash_bootstrap_components as dbc
from dash import dcc, html
from dash.development.base_component import Component

from spatialmeta_app.components.panel import icon
from spatialmeta_app.components.shell import STEPS, mark
from spatialmeta_app.components.thumbs import thumb
from spatialmeta_app.ids import Home
from spatialmeta_app.jobs import Job
from spatialmeta_app.services.projects import Card

MARK_WORDS = {"done": "done", "stale": "out of date", "missing": "not done"}


def project_card(card: Card) -> html.Div:
    """A project: picture, name, how far it is; the whole card opens it."""
    project = card.project
    count = f"{card.samples} {'sample' if card.samples == 1 else 'samples'}"
    about = f"{count} · {day(project.created)}"
    body = [
        html.Div(thumb(card.picture, f"Tissue of {project.name}"), className="sm-card-picture"),
        html.Div(
            [
                html.Div(project.name, className="sm-card-name", title=project.name),
                html.Div(about, className="sm-note"),
                progress(card.status),
            ],
            className="sm-card-body",
        ),
    ]
    delete = html.Button(
        icon("trash3"),
        id={"delete-project": project.id},
        className="sm-icon sm-card-delete",
        title="Delete project",
        n_clicks=0,
        **{"aria-label": f"Delete project {project.name}"},
    )
    return html.Div([dcc.Link(body, href=card.href or "/", className="sm-card"), delete], className="sm-card-frame")


def demo_card(card: Card | None, job: Job | None, address: str | None) -> html.Div:
    """The demonstration: to explore, or to walk through in a copy; while it is computed, how far that is."""
    if address:
        actions: Component = html.Div(
            [
                dcc.Link([icon("compass", className="me-1"), "Explore it"], href=address, className="btn btn-primary"),
                dbc.Button(
                    [icon("signpost-split", className="me-1"), "Walk through the steps"],
                    id=Home.WALK,
                    color="secondary",
                    n_clicks=0,
                    title="Makes a copy of your own, in which every step can be done again",
                ),
            ],
            className="sm-row",
        )
    else:
        actions = demo_progress(job)
    picture = thumb(card.picture, "Tissue of the demonstration") if card and address else thumb_waiting()
    text = html.Div(
        [
            html.H2("Demonstration", className="sm-demo-title"),
            html.P(
                "A simulated brain-like section, measured twice: transcripts and metabolites, rotated and warped "
                "against each other. Every step is done, from alignment to clusters."
            ),
            html.Div(actions, id=Home.DEMO_STATE),
        ],
        className="sm-demo-text",
    )
    return html.Div([html.Div(picture, className="sm-demo-picture"), text], className="sm-panel sm-flush sm-demo")


def thumb_waiting() -> html.Div:
    """In place of the picture while there is none."""
    return html.Div(icon("hourglass-split"), className="sm-no-picture")


def demo_progress(job: Job | Mapping | None) -> html.Div:
    """How far the demonstration is, in words and as a bar."""
    values = job.to_dict() if isinstance(job, Job) else dict(job or {})
    if values.get("state") == "failed":
        return html.Div(["The demonstration could not be made. ", values.get("error") or ""], className="sm-blocking")
    percent = round(100 * values.get("fraction", 0.0))
    words = f"{percent}% · {values.get('message') or 'waits for its turn'}"
    return html.Div(
        [
            html.Div("It is being computed; that takes less than a minute."),
            html.Div(
                html.Div(style={"width": f"{percent}%"}),
                className="sm-bar",
                role="progressbar",
                **{"aria-label": "Demonstration", "aria-valuenow": str(percent)},
            ),
            html.Div(words, className="sm-note sm-num text-start"),
        ]
    )


def progress(status: Mapping[str, str]) -> html.Div:
    """One small bar per step: done, out of date, not done."""
    steps = [step for step in STEPS if step.results]
    bars = [
        html.Span(title=f"{step.title}: {MARK_WORDS[mark(step, status)]}", **{"data-mark": mark(step, status)})
        for step in steps
    ]
    done = sum(mark(step, status) == "done" for step in steps)
    label = f"{done} of {len(steps)} steps done"
    return html.Div(bars, className="sm-steps", role="img", **{"aria-label": label})


def day(created: float) -> str:
    """``today``, ``yesterday`` or the date."""
    then, now = datetime.date.fromtimestamp(created), datetime.date.today()
    days = (now - then).days
    return {0: "today", 1: "yesterday"}.get(days, f"{then.day} {then:%b %Y}")
