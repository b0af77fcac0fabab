"""What every step page is built of: settings with Run, the progress of its job, the notice, the list of runs."""

from __future__ import annotations

import time
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from spatialmeta_app.components.form import config_form
from spatialmeta_app.components.panel import Children, button_link, columns, empty, facts, icon, panel
from spatialmeta_app.figures import looks
from spatialmeta_app.ids import Steps
from spatialmeta_app.services.steps import IMPORTS, PAGES, TITLES, Run, StepView, when

VERBS = {
    "align": "Align",
    "reassign": "Reassign",
    "features": "Select features",
    "integrate": "Train",
    "cluster": "Cluster",
}
CURVES_PX = {"align": 250}  # height of the curves where they do not have all the room there is
COMPARED = ("integrate",)  # steps whose page can show two runs side by side
ICONS = {"align": "bounding-box", "reassign": "grid-3x3-gap", "features": "bar-chart", "integrate": "diagram-3"}


def page(step: str, *, left: Children, centre: Children, right: Children) -> html.Div:
    """The three columns of a step, with the notice above the tissue."""
    middle = [html.Div(id=Steps.of(Steps.NOTICE, step)), *(centre if isinstance(centre, list) else [centre])]
    return html.Div([*stores(step), columns(left, middle, right)], className="sm-step-page")


def job_stores(step: str) -> list[dcc.Store]:
    """What :func:`run_button` needs."""
    return [
        dcc.Store(id=Steps.of(Steps.JOB, step)),
        dcc.Store(id=Steps.of(Steps.GIVEN, step), data={}),
        dcc.Store(id=Steps.of(Steps.THEN, step)),
    ]


def stores(step: str) -> list[dcc.Store]:
    """What the settings and the runs of a step need."""
    versions = [dcc.Store(id=Steps.of(Steps.VERSION, step)), dcc.Store(id=Steps.of(Steps.TOUCHED, step), data=0)]
    return [*job_stores(step), *versions]


def missing(view: StepView, address: str) -> html.Div:
    """The empty state of a step whose input is not there: what to do, and a button that leads there."""
    sources = view.blocked or view.missing
    first = sources[0]
    names = " and ".join(TITLES[s] for s in sources)
    if view.blocked:
        title, text = (
            f"{names} has to be mended first",
            "A blocking check was found. The Data page says how to mend it.",
        )
    else:
        title, text = f"{TITLES[view.step]} needs more", f"Not there yet: {names}."
    target = "Data" if PAGES[first] == "data" else TITLES[PAGES[first]]
    actions = [button_link(f"Go to {target}", f"{address}/{PAGES[first]}", icon_name="arrow-right")]
    if view.alone and not view.blocked:
        name, other = view.alone.upper(), next(i for i in IMPORTS if i != view.alone)
        text = f"Not there yet: {TITLES[other]}. {name} alone needs neither alignment nor reassignment."
        way = button_link(f"Go on with {name} alone", f"{address}/features", primary=False)
        actions = [button_link("Go to Data", f"{address}/data", icon_name="arrow-right"), way]
    told = panel(None, empty(ICONS.get(view.step, "hourglass"), title, text, *actions), class_name="sm-fill")
    return html.Div([told, dcc.Store(id=Steps.AWAITED)], className="sm-alone")


def settings(
    step: str,
    kind: type,
    *,
    values: dict[str, Any] | None = None,
    title: str = "Settings",
    before: Children = None,
    after: Children = None,
    without: tuple[str, ...] = (),
    verb: tuple[str, str] | None = None,
    with_progress: bool = True,
    place: str = "spot",
) -> html.Section:
    """The form of *step* with Run, the job's progress and the command line under it, always in sight.

    *verb* is what the button says, with its icon, where it is not the usual one of the step. A page that shows the
    progress elsewhere takes none here. *place*: what a row of the data is called.
    """
    fields = html.Div(
        [before, config_form(kind, step, values=values, without=without, place=place), after],
        className="sm-scroll", tabIndex="0", role="group", **{"aria-label": f"Settings of {TITLES.get(step, step)}"},
    )  # fmt: skip
    run = run_controls(step, *(verb or (VERBS[step], "play-fill")), with_progress=with_progress)
    return html.Section(
        panel(title, fields, run, class_name="sm-settings"),
        className="sm-grow",
        **{"aria-label": title},
    )


def run_controls(step: str, verb: str, icon_name: str, *, with_progress: bool = True) -> html.Div:
    """Run, progress with Cancel, error, command line."""
    run = run_button(step, verb, icon_name, with_progress=with_progress)
    return html.Div([run, _command(step)], className="sm-run")


def run_button(step: str, verb: str, icon_name: str, *, with_progress: bool = True) -> html.Div:
    """Run with the progress of its job."""
    id = Steps.of(Steps.RUN, step)
    button = dbc.Button([icon(icon_name, className="me-1"), verb], id=id, className="w-100", n_clicks=0)
    return html.Div([button, progress(step) if with_progress else None])


def progress(step: str) -> html.Div:
    cancel = html.Button(
        "Cancel", id=Steps.of(Steps.CANCEL, step), className="btn btn-sm btn-outline-danger", n_clicks=0,
        **{"aria-label": f"Cancel {TITLES.get(step, step)}"},
    )  # fmt: skip
    resume = html.Button(
        "Resume", id=Steps.of(Steps.RESUME, step), className="btn btn-sm btn-outline-primary", n_clicks=0, hidden=True,
        title="Goes on where it was stopped, with the same settings and inputs",
        **{"aria-label": f"Resume {TITLES.get(step, step)}"},
    )  # fmt: skip
    line = html.Div(
        [html.Span(id=Steps.of(Steps.MESSAGE, step), className="sm-job-message", role="status"), resume, cancel],
        className="sm-row sm-between",
    )
    bar = html.Div(html.Div(id=Steps.of(Steps.BAR, step)), className="sm-bar")
    error = html.Div(id=Steps.of(Steps.ERROR, step), className="alert alert-danger", role="alert", hidden=True)
    running = html.Div([line, bar], id=Steps.of(Steps.PANEL, step), className="sm-progress", hidden=True)
    return html.Div([running, error])


def _command(step: str) -> html.Details:
    code = html.Code(id=Steps.of(Steps.COMMAND, step), className="sm-code")
    copy = dcc.Clipboard(
        target_id=Steps.of(Steps.COMMAND, step), className="sm-copy", title="Copy the command line",
    )  # fmt: skip
    return html.Details(
        [html.Summary("Command line"), html.Div([code, copy], className="sm-command")], className="sm-fold"
    )


def notice(view: StepView) -> dbc.Alert | None:
    """Why the chosen result is out of date, and what to do; nothing where it is fresh, or made anew just now."""
    run = view.chosen
    if run is None or not run.stale or (view.job and view.job.active):
        return None
    reasons = [html.Span(reason + " ") for reason in run.stale]
    again = html.Button(
        [icon("arrow-clockwise", className="me-1"), "Run again"],
        className="btn btn-sm btn-secondary",
        type="button",
        **{"data-press": view.step},
    )
    text = html.Div([html.Strong("Out of date. "), *reasons], className="flex-grow-1")
    return dbc.Alert(
        html.Div([icon("arrow-clockwise"), text, again], className="sm-row"), color="warning", className="sm-notice"
    )


def runs_list(view: StepView, summarize: Any) -> html.Div:
    """All runs of a step, newest first; the chosen one is marked, any other can be chosen.

    *summarize* gives the one line that tells runs apart: ``Run -> str``.
    """
    if not view.runs:
        return html.Div("No run yet.", className="sm-muted")
    now = time.time()
    return html.Ol([_run(view.step, run, summarize(run), now) for run in view.runs], className="sm-runs")


def _run(step: str, run: Run, summary: str, now: float) -> html.Li:
    changed = ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in run.changed.items() if name != "seed"
    )
    mark = (
        [html.Span("in use", className="sm-tag sm-tag-on")]
        if run.chosen
        else [*_compare(step, run), _choose(step, run)]
    )
    stale = html.Span("out of date", className="sm-tag sm-tag-warn", title=" ".join(run.stale)) if run.stale else None
    first = html.Div(
        [html.Span(f"Run {run.number}", className="sm-run-name"), stale, html.Span(className="flex-grow-1"), *mark],
        className="sm-row",
    )
    made = f"{when(run.result.created, now)} · {run.result.duration_s:.1f} s"
    second = html.Div([html.Span(summary), html.Span(made, className="sm-num")], className="sm-row sm-between sm-note")
    third = html.Div(changed or "all settings at their default", className="sm-note sm-clip", title=changed)
    return html.Li([first, second, third], className="sm-version", **{"data-chosen": str(run.chosen).lower()})


def _choose(step: str, run: Run) -> html.Button:
    return html.Button(
        "Use this",
        id=Steps.of(Steps.CHOOSE, step) | {"result": run.result.id},
        className="btn btn-sm btn-link",
        n_clicks=0,
        **{"aria-label": f"Use run {run.number} of {TITLES.get(step, step)}"},
    )


def _compare(step: str, run: Run) -> list[html.Button]:
    if step not in COMPARED:
        return []
    button = html.Button(
        "Compare",
        id=Steps.of(Steps.COMPARE, step) | {"result": run.result.id},
        className="btn btn-sm btn-link",
        n_clicks=0,
        **{"aria-label": f"Compare run {run.number} of {TITLES.get(step, step)} with the run in use"},
    )
    return [button]


def _value(value: Any) -> str:
    if value is None:
        return "automatic"
    return f"{value:g}" if isinstance(value, float) else str(value)


def runs_panel(step: str, title: str = "Runs") -> html.Div:
    """The place of the list of runs."""
    return panel(title, html.Div(id=Steps.of(Steps.RUNS, step), className="sm-scroll", tabIndex="0"))


def labelled(text: str, control: Any) -> html.Label:
    """A control with a name that only screen readers hear."""
    return html.Label([html.Span(text, className="visually-hidden"), control], className="sm-labelled")


def graph(figure: Any = None, *, id: Any, height: int | None = None, label: str, bar: bool = False) -> html.Div:
    """A figure with a name for screen readers; *height* in px, or as much as there is."""
    style = {"height": f"{height}px"} if height else {"height": "100%"}
    config = {"displaylogo": False, "displayModeBar": bar, "responsive": True, "scrollZoom": True}
    plot = dcc.Graph(id=id, config=config, style=style, figure=looks.BLANK if figure is None else figure)
    return html.Div(plot, className="sm-figure", role="img", style=style, **{"aria-label": label})


def summary(rows: list[tuple[str, Children]]) -> html.Div:
    """The numbers of a result; words where there is none."""
    return facts(rows) if rows else html.Div("No result yet.", className="sm-muted")
