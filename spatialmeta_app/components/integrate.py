"""The Integrate page: presets and settings, live curves, what came out, runs of the model and of the clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import dcc, html

from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import button_link, facts, format_number, head, panel
from spatialmeta_app.ids import Integrate, Steps
from spatialmeta_app.services.comparison import Comparison

STEP, FOLLOWING = "integrate", "cluster"
ENCODE = "The trained model; python -m core encode places new spots in its embedding"


def layout(values: dict[str, Any] | None, cluster_values: dict[str, Any] | None, address: str, place: str) -> html.Div:
    """Settings of the model and of the clusters that follow it, curves, findings; a row of the data is a *place*."""
    preset = html.Div(id=Integrate.PRESET, className="sm-note", role="status")
    left = [
        steps.settings(STEP, STEPS[STEP].Config, values=values, title="Model", after=preset, place=place),
        _clusters(cluster_values),
    ]
    note = "one panel a term; clusters follow by themselves"
    curves = steps.graph(id=Steps.of(Steps.CURVES, STEP), label="Loss curves of the training, one panel a term")
    centre = html.Div(
        [html.Div(head("Training", note), className="sm-toolbar"), html.Div(curves, className="sm-canvas sm-plain")],
        id=Integrate.TRAINING,
        className="sm-panel sm-fill sm-flush",
    )
    right = [
        panel("Result", html.Div(id=Integrate.SUMMARY)),
        panel(
            "Clusters",
            html.Div(
                [
                    steps.graph(id=Integrate.CLUSTERS, height=176, label="Clusters on the section"),
                    steps.graph(id=Integrate.UMAP, height=176, label="Clusters in the UMAP of the joint embedding"),
                ],
                className="sm-pair",
            ),
            html.Div(steps.progress(FOLLOWING), className="mb-2"),
            button_link("Open in Explore", f"{address}/explore", icon_name="compass"),
        ),
        steps.runs_panel(STEP, "Runs of the model"),
        steps.runs_panel(FOLLOWING, "Runs of the clusters"),
    ]
    page = steps.page(
        STEP, left=left, centre=[html.Div(id=Steps.of(Steps.NOTICE, FOLLOWING)), centre, _two_runs()], right=right
    )
    return html.Div([*steps.stores(FOLLOWING), dcc.Store(id=Integrate.COMPARED), page])


def _two_runs() -> html.Div:
    """The place of the comparison, over the curves of one run."""
    end = html.Button("Close", id=Integrate.COMPARE_END, className="btn btn-sm btn-secondary", n_clicks=0)
    bar = html.Div([html.H2(id=Integrate.COMPARED_TITLE, className="sm-head flex-grow-1"), end], className="sm-toolbar")
    curves = steps.graph(id=Integrate.COMPARED_CURVES, label="Loss curves of both runs, the other one dashed")
    table = html.Div(id=Integrate.COMPARED_TABLE, className="sm-scroll sm-compared", tabIndex="0")
    return html.Div(
        [bar, html.Div(curves, className="sm-canvas sm-plain"), table],
        id=Integrate.COMPARISON,
        className="sm-panel sm-fill sm-flush",
        hidden=True,
    )


def comparison(found: Comparison) -> html.Table:
    """Settings that differ, and what came out, of two runs."""
    head_row = html.Tr([html.Th(""), html.Th(f"Run {found.used.number}, in use"), html.Th(f"Run {found.other.number}")])
    settings = found.settings or [("no setting differs", "", "")]
    body = [
        *_rows("Settings", settings),
        *_rows("Outcome", found.outcome),
    ]
    return html.Table([html.Thead(head_row), html.Tbody(body)], className="sm-table")


def _rows(title: str, rows: list[tuple[str, Any, Any]]) -> list[html.Tr]:
    first = html.Tr(html.Th(title, colSpan=3, scope="colgroup", className="sm-head"))
    cells = [
        html.Tr(
            [html.Th(name.replace("_", " "), scope="row"), *(html.Td(_number(v), className="sm-num") for v in values)]
        )
        for name, *values in rows
    ]
    return [first, *cells]


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clusters(values: dict[str, Any] | None) -> html.Details:
    form = steps.settings(
        FOLLOWING, STEPS[FOLLOWING].Config, values=values, title="Clusters", with_progress=False
    )  # beside the maps, in sight while the form is folded
    summary = html.Summary("Clusters, after the training")
    return html.Details([summary, form], className="sm-fold sm-panel sm-second")


def preset(name: str, values: Mapping[str, Any]) -> list[Any]:
    """What the preset puts into the settings that are left empty."""
    if not values:
        return ["Preset ", html.B("auto"), ": the data decide when the training starts."]
    listed = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in values.items())
    return ["Preset ", html.B(name), f" fills what is left empty: {listed}."]


def summary(training: Mapping[str, Any] | None, duration_s: float | None, model: str | None = None) -> html.Div:
    """How the training ended; *model* is the address of the trained model's file."""
    if not training:
        return steps.summary([])
    losses = (training.get("terms") or {}).get("loss") or []
    config = training.get("config") or {}
    stopped = {"patience": "no further improvement", "epochs": "all epochs done"}.get(str(training.get("stopped")), "")
    return facts(
        [
            ("Epochs", f"{len(losses):,}"),
            ("Best epoch", format_number(_plus_one(training.get("best_epoch")))),
            ("Ended because", stopped or "–"),
            ("Last loss", format_number(losses[-1] if losses else None, "", 4)),
            ("Preset", str(config.get("preset", "–"))),
            ("Device", str(training.get("device", "–")) + (", bfloat16" if training.get("mixed_precision") else "")),
            ("Time", format_number(duration_s, "s")),
            ("Model", html.A("model.pt", href=model, download="model.pt", title=ENCODE) if model else "–"),
        ]
    )


def _plus_one(epoch: Any) -> int | None:
    return None if epoch is None else int(epoch) + 1
