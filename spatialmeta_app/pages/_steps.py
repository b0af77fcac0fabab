"""Callbacks that all step pages share: which job to show, Run, Cancel, the runs, what is out of date.

``MATCH`` on the name of the step: one set of callbacks, whatever steps a page has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, no_update

from core.errors import SpatialMetaError
from core.pipeline import STEPS
from spatialmeta_app.components import alerts, form
from spatialmeta_app.components import steps as component
from spatialmeta_app.components.shell import Place
from spatialmeta_app.figures import curves
from spatialmeta_app.ids import Shell, Steps
from spatialmeta_app.services import forms, results, steps
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user

MINE = {part: Steps.of(part, MATCH) for part in (
    Steps.RUN, Steps.JOB, Steps.PANEL, Steps.BAR, Steps.MESSAGE, Steps.CANCEL, Steps.RESUME, Steps.ERROR, Steps.COMMAND,
    Steps.VERSION, Steps.TOUCHED, Steps.NOTICE, Steps.RUNS, Steps.CURVES, Steps.GIVEN, Steps.THEN,
)}  # fmt: skip

clientside_callback(
    ClientsideFunction("steps", "pick"),
    Output(MINE[Steps.JOB], "data"),
    Input(Shell.JOBS, "data"),
    Input(Shell.URL, "pathname"),
    State(MINE[Steps.JOB], "data"),
)

clientside_callback(
    ClientsideFunction("steps", "show"),
    Output(MINE[Steps.PANEL], "hidden"),
    Output(MINE[Steps.BAR], "style"),
    Output(MINE[Steps.MESSAGE], "children"),
    Output(MINE[Steps.CANCEL], "disabled"),
    Output(MINE[Steps.ERROR], "children"),
    Output(MINE[Steps.ERROR], "hidden"),
    Output(MINE[Steps.RUN], "disabled"),
    Output(MINE[Steps.RESUME], "hidden"),
    Output(MINE[Steps.CANCEL], "hidden"),
    Input(MINE[Steps.JOB], "data"),
)

clientside_callback(
    ClientsideFunction("steps", "sign"),
    Output(MINE[Steps.PANEL], "hidden", allow_duplicate=True),
    Output(MINE[Steps.MESSAGE], "children", allow_duplicate=True),
    Input(MINE[Steps.RUN], "n_clicks"),
    prevent_initial_call=True,
)

clientside_callback(
    ClientsideFunction("steps", "cancel"),
    Output(MINE[Steps.JOB], "data", allow_duplicate=True),
    Input(MINE[Steps.CANCEL], "n_clicks"),
    State(MINE[Steps.JOB], "data"),
    prevent_initial_call=True,
)

clientside_callback(
    ClientsideFunction("steps", "resume"),
    Output(MINE[Steps.JOB], "data", allow_duplicate=True),
    Input(MINE[Steps.RESUME], "n_clicks"),
    State(MINE[Steps.JOB], "data"),
    prevent_initial_call=True,
)

clientside_callback(
    ClientsideFunction("steps", "arrived"),
    Output(Steps.AWAITED, "data"),
    Input(Shell.JOBS_ENDED, "data"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)

clientside_callback(
    ClientsideFunction("curves", "follow"),
    Output(MINE[Steps.TOUCHED], "data", allow_duplicate=True),
    Input(MINE[Steps.JOB], "data"),
    prevent_initial_call=True,
)


@callback(
    Output(MINE[Steps.JOB], "data", allow_duplicate=True),
    Input(MINE[Steps.RUN], "n_clicks"),
    *form.states(MATCH),
    State(MINE[Steps.GIVEN], "data"),
    State(MINE[Steps.THEN], "data"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def run(  # noqa: PLR0917  Dash hands one argument for each State
    clicks: int | None, ids: list[dict], values: list[Any], given: dict | None, then: dict | None, pathname: str
) -> Any:
    """Queue a run with the settings of the form; the new job is shown at once."""
    if not clicks:
        return no_update
    try:
        return _submit(ctx.triggered_id["form"], ids, values, given=given, then=then, pathname=pathname)
    except SpatialMetaError as error:
        alerts.show(alerts.describe(error))
        return None


def _submit(
    step: str, ids: list[dict], values: list[Any], *, given: dict | None, then: dict | None, pathname: str
) -> Any:
    if step not in STEPS:
        return steps.submit_file(backend().jobs, step, *place(pathname), given or {}, user=current_user()).to_dict()
    config = forms.config(steps.config_kind(step, (id["option"] for id in ids)), ids, values, **(given or {}))
    following = (then["step"], forms.config(STEPS[then["step"]].Config, then["ids"], then["values"])) if then else None
    return submit(step, config, pathname, then=following)


def submit(step: str, config: Any, pathname: str, *, then: tuple[str, Any] | None = None) -> dict[str, Any]:
    """The job of a new run, as the browser knows it."""
    _, sample = place(pathname)
    here = backend()
    return steps.submit(here.workspace, here.jobs, sample, step, config, user=current_user(), then=then).to_dict()


def place(pathname: str | None) -> tuple[str, str]:
    """Project and sample of the address; empty texts on pages without."""
    found = Place.from_path(pathname)
    return (found.project, found.sample) if found and found.sample else ("", "")


def sample(pathname: str | None) -> str:
    """The sample of the address."""
    return place(pathname)[1]


def state(step: str, pathname: str) -> steps.StepView | None:
    """The state of *step* for the sample of the address; None on pages without a sample."""
    project, own = place(pathname)
    if not own:
        return None
    here = backend()
    return steps.view(here.workspace, here.jobs, project=project, sample=own, step=step)


def page(step: str, project: str, sample: str, build: Callable[[dict[str, Any] | None], Any]) -> Any:
    """The layout of a step: what is missing first, else *build* with the settings of the run in use."""
    address = f"/p/{project}/{sample}"
    try:
        backend().workspace.sample(sample)
        view = state(step, f"{address}/{step}")
    except SpatialMetaError as error:
        return alerts.inline(error)
    if not view.ready:
        return component.missing(view, address)
    return build(view.chosen.result.config if view.chosen else None)


@callback(
    Output(MINE[Steps.COMMAND], "children"),
    Input({"form": MATCH, "option": ALL}, "value"),
    Input(MINE[Steps.GIVEN], "data"),
    State({"form": MATCH, "option": ALL}, "id"),
    State(MINE[Steps.COMMAND], "id"),
    State(Shell.URL, "pathname"),
)
def show_command(values: list[Any], given: dict | None, ids: list[dict], own: dict, pathname: str) -> str:
    """The command line that does what Run would do now, or why Run would refuse."""
    try:
        kind = steps.config_kind(own["form"], (id["option"] for id in ids))
        config = forms.config(kind, ids, values, **(given or {}))
        workspace, own_sample = backend().workspace, sample(pathname)
        parts, section = len(workspace.sample(own_sample).parts), workspace.alone(own_sample)
    except SpatialMetaError as error:
        return error.message
    return steps.command_line(own["form"], config, parts=parts, alone=section.step if section else "")


@callback(
    Output(MINE[Steps.VERSION], "data"),
    Output(MINE[Steps.RUNS], "children"),
    Output(MINE[Steps.NOTICE], "children"),
    Input(Shell.JOBS_ENDED, "data"),
    Input(MINE[Steps.TOUCHED], "data"),
    State(MINE[Steps.VERSION], "data"),
    State(MINE[Steps.VERSION], "id"),
    State(Shell.URL, "pathname"),
)
def refresh(_ended: Any, _touched: Any, before: dict | None, own: dict, pathname: str) -> tuple[Any, Any, Any]:
    """The runs of the step, and which one to show."""
    view = state(own["form"], pathname)
    if view is None:
        return no_update, no_update, no_update
    version, workspace = steps.version(view), backend().workspace
    listed = component.runs_list(view, lambda run: results.one_line(workspace, run))
    return no_update if version == before else version, listed, component.notice(view)


@callback(
    Output(MINE[Steps.TOUCHED], "data", allow_duplicate=True),
    Output({"form": MATCH, "option": ALL}, "value", allow_duplicate=True),
    Input(Steps.of(Steps.CHOOSE, MATCH) | {"result": ALL}, "n_clicks"),
    State(MINE[Steps.TOUCHED], "data"),
    State({"form": MATCH, "option": ALL}, "id"),
    prevent_initial_call=True,
)
def choose(clicks: list[int | None], touched: float | None, ids: list[dict]) -> tuple[Any, Any]:
    """Make another run the one that later steps take, and fill the form with its settings."""
    if not any(clicks):
        return no_update, [no_update] * len(ids)
    chosen = backend().workspace.choose(ctx.triggered_id["result"])
    alerts.say(
        f"{steps.TITLES[chosen.step]}: another run is in use now. Later steps are marked where they are out of date."
    )
    return (touched or 0) + 1, [chosen.config.get(id["option"], no_update) for id in ids]


@callback(
    Output(MINE[Steps.CURVES], "figure"),
    Input(MINE[Steps.VERSION], "data"),
    Input(MINE[Steps.TOUCHED], "data"),
    State(MINE[Steps.CURVES], "id"),
    State(Shell.URL, "pathname"),
)
def show_curves(_version: Any, _touched: Any, own: dict, pathname: str) -> Any:
    """The curves of the running job, else of the run in use; the browser appends to them."""
    view = state(own["form"], pathname)
    if view is None:
        return no_update
    found = results.curves(backend().workspace, backend().jobs, view)
    figure = curves.small_multiples(
        found.history, x_title=found.x_title, titles=results.TERM_TITLES, overlays=results.OVERLAYS,
        height=component.CURVES_PX.get(own["form"]),
    )  # fmt: skip
    return figure.update_layout(meta=found.meta)
