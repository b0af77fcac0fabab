"""`/`: my projects, the demonstration, a new project."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update

from spatialmeta_app.components import cards
from spatialmeta_app.components.panel import empty, icon, panel
from spatialmeta_app.components.shell import STEPS
from spatialmeta_app.ids import Home, Shell
from spatialmeta_app.services import projects
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import DEMO

dash.register_page(__name__, path="/", title="SpatialMETA")

WORDS = {
    "data": "Two sections of one tissue: transcripts and metabolites, with the histology.",
    "align": "Metabolite pixels are moved onto the tissue of the spots.",
    "reassign": "Each spot gets the metabolites measured around it.",
    "features": "Genes and metabolites that vary in space are kept.",
    "integrate": "A variational autoencoder joins both; spots are clustered.",
    "explore": "Regions, trajectories, markers and profiles, drawn on the tissue.",
    "export": "One AnnData file, tables, figures, and the script that repeats it.",
}


def layout(**_query: str) -> html.Div:
    """Start here."""
    workspace, user = backend().workspace, current_user()
    found = projects.cards(workspace, user)
    mine = [card for card in found if not card.project.demo]
    left = [_new_project(), _steps()]
    centre = [_demo(found), html.Div(_mine(mine), id=Home.LIST, className="sm-projects")]
    return html.Div(
        [
            html.H1("Projects", className="visually-hidden"),
            html.Div([html.Div(left, className="sm-left"), html.Div(centre, className="sm-centre sm-scroll")]),
            dcc.Store(id=Home.WAITING, data=_waiting(mine)),
            dcc.Store(id=Home.DOOMED),
            dcc.ConfirmDialog(id=Home.CONFIRM, message=""),
        ],
        className="sm-home",
    )


def _new_project() -> html.Div:
    name = dbc.Input(id=Home.NAME, placeholder="e.g. Striatum 6-OHDA", maxLength=80, n_submit=0)
    label = html.Label([html.Span("Name", className="visually-hidden"), name], className="w-100")
    button = dbc.Button([icon("plus-lg", className="me-1"), "Create project"], id=Home.NEW, color="primary", n_clicks=0)
    note = html.Div("Only people with the link can open it.", className="sm-note")
    return panel("New project", html.Div([label, button, note], className="sm-stack"))


def _steps() -> html.Div:
    items = [
        html.Li(
            [html.Span(str(i), className="sm-step-number"), html.Div([html.Strong(s.title), html.P(WORDS[s.page])])]
        )
        for i, s in enumerate(STEPS, start=1)
    ]
    return panel("The way of the data", html.Ol(items, className="sm-way"))


def _demo(found: list[projects.Card]) -> Any:
    if not backend().settings.demo:
        return None
    card = next((c for c in found if c.project.demo), None)
    address = projects.demo_address(backend().workspace)
    content = cards.demo_card(card, projects.demo_job(backend().jobs), address)
    return html.Div(content, id=Home.DEMO, **({} if address else {"data-follow-project": DEMO}))


def _mine(mine: list[projects.Card]) -> list[Any]:
    if not mine:
        demo = ", or walk through the demonstration to see how it goes" if backend().settings.demo else ""
        text = f"Name your first project{demo}."
        return [html.Div(empty("folder-plus", "No project of your own yet", text), className="sm-panel sm-fill")]
    heading = html.H2([html.Span("My projects"), html.Span(str(len(mine)), className="sm-note")], className="sm-head")
    return [heading, html.Div([cards.project_card(card) for card in mine], className="sm-cards")]


def _waiting(mine: list[projects.Card]) -> bool:
    """Whether a newcomer looks at a demonstration that is still computed: it opens by itself when it is there."""
    return backend().settings.demo and not mine and projects.demo_address(backend().workspace) is None


@callback(
    Output(Shell.URL, "pathname", allow_duplicate=True),
    Input(Home.NEW, "n_clicks"),
    Input(Home.NAME, "n_submit"),
    State(Home.NAME, "value"),
    prevent_initial_call=True,
)
def create(clicks: int, submits: int, name: str | None) -> Any:
    """A new project opens on its Data page."""
    if not clicks and not submits:
        return no_update
    return projects.create(backend().workspace, name or "", current_user())


@callback(Output(Shell.URL, "pathname", allow_duplicate=True), Input(Home.WALK, "n_clicks"), prevent_initial_call=True)
def walk(clicks: int) -> Any:
    """A copy of the demonstration opens on its Data page."""
    return projects.walk_through(backend().workspace, current_user()) if clicks else no_update


@callback(Output(Home.DEMO_STATE, "children"), Input(Shell.JOBS, "data"), prevent_initial_call=True)
def show_demo(data: dict | None) -> Any:
    """How far the demonstration is."""
    job = next((j for j in (data or {}).get("jobs", []) if j["kind"] == "demo"), None)
    if not job or data["project"] != DEMO or projects.demo_address(backend().workspace):
        return no_update
    return cards.demo_progress(job)


@callback(
    Output(Home.DEMO, "children"),
    Input(Shell.JOBS_ENDED, "data"),
    State(Home.WAITING, "data"),
    State(Home.NAME, "value"),
    prevent_initial_call=True,
)
def open_demo(_ended: dict, waiting: bool, typed: str | None) -> Any:
    """The finished demonstration opens for a newcomer who does nothing else; for others its card changes."""
    address = projects.demo_address(backend().workspace)
    if address and waiting and not typed:
        return dcc.Location(id=Home.OPEN, pathname=address, refresh=True)
    found = projects.cards(backend().workspace, current_user())
    card = next((c for c in found if c.project.demo), None)
    return cards.demo_card(card, projects.demo_job(backend().jobs), address)


@callback(
    Output(Home.CONFIRM, "displayed"),
    Output(Home.CONFIRM, "message"),
    Output(Home.DOOMED, "data"),
    Input({"delete-project": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
def ask_delete(clicks: list[int]) -> tuple[bool, str, str | None]:
    """Deleting a project asks first, by name."""
    if not any(clicks):
        return False, "", None
    project = backend().workspace.project(ctx.triggered_id["delete-project"])
    text = f"Delete the project '{project.name}' with all its files and results? This can not be undone."
    return True, text, project.id


@callback(
    Output(Home.LIST, "children"),
    Input(Home.CONFIRM, "submit_n_clicks"),
    State(Home.DOOMED, "data"),
    prevent_initial_call=True,
)
def delete(clicks: int | None, project: str | None) -> Any:
    """Delete the project that was asked about, if it is one's own."""
    workspace, user = backend().workspace, current_user()
    if clicks and project:
        projects.delete(workspace, project, user)
    return _mine([card for card in projects.cards(workspace, user) if not card.project.demo])
