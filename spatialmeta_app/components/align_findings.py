"""The right column of the Align page: quality, how the orientation was found, runs, two runs compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import facts, format_number, icon, panel
from spatialmeta_app.ids import Align, Steps

STEP = "align"
ENDED = {
    "manual": "set by hand",
    "landmarks": "fitted to the landmarks",
    "converged": "converged",
    "steps": "all steps done",
    "cancelled": "cancelled, best kept",
}
AMBIGUOUS = "Another orientation fits nearly as well. Look at both before you go on."
FOLDED = "The map folds: places of SM lie on each other. Use a stiffer map, or mend the landmarks."
OUTLINES = {"spots": "the spots", "image": "the histology"}
QUALITY = (
    ("outline_mean_um", "Outline distance, mean", "µm"),
    ("outline_p95_um", "Outline distance, 95 %", "µm"),
    ("dice", "Overlap of the areas (Dice)", ""),
    ("smallest_jacobian", "Smallest area factor (0: folded)", ""),
    ("landmark_um", "Landmarks, mean distance", "µm"),
    ("left_out_um", "Landmarks, each left out", "µm"),
)


def findings() -> list[Any]:
    """Quality, loss, runs and their comparison."""
    curves = steps.graph(
        id=Steps.of(Steps.CURVES, STEP), height=steps.CURVES_PX[STEP], label="Loss of the alignment, one panel a term"
    )
    return [
        panel("Quality", html.Div(id=Align.QUALITY)),
        panel("Loss", curves),
        html.Div(id=Align.COMPARE, hidden=True, children=_compare()),
        steps.runs_panel(STEP),
    ]


def quality(numbers: Mapping[str, float], about: Mapping[str, Any], result: str = "") -> html.Div:
    """The numbers of the alignment in use with their units, and how its orientation was found."""
    rows = [(label, format_number(numbers[name], unit)) for name, label, unit in QUALITY if name in numbers]
    if not rows:
        return steps.summary([])
    shape, found = about.get("transform") or {}, about.get("orientation") or {}
    if shape.get("kind") == "composition":  # a deformation, then the linear map
        shape = (shape.get("parts") or {}).get("1") or {}
        rows.append(("Deformed", "yes"))
    if "rotation_deg" in shape:
        rows.append(("Turn and mirror", orientation(shape.get("rotation_deg"), shape.get("flip"))))
    warnings: list[Any] = []
    if numbers.get("smallest_jacobian", 1) <= 0:
        warnings.append(dbc.Alert(FOLDED, color="danger", className="mt-2"))
    if about.get("note"):
        warnings.append(dbc.Alert(str(about["note"]), color="warning", className="mt-2"))
    if about.get("st_outline") in OUTLINES:
        rows.append(("ST outline from", OUTLINES[about["st_outline"]]))
    if found.get("source") == "search":
        rows.append(("Confidence of the orientation", f"{100 * found.get('confidence', 0):.0f} %"))
        rows.append(("Decided by", str(found.get("decided_by", "–"))))
        if isinstance(found.get("runner_up_rotation_deg"), int | float):
            second = orientation(found["runner_up_rotation_deg"], found.get("runner_up_flip"))
            rows.append(("Next best", second))
            warnings.append(_other(second, result, bool(found.get("ambiguous"))))
    return html.Div([facts([("Ended", ENDED.get(str(about.get("stopped")), "–")), *rows]), *warnings])


def _other(second: str, result: str, ambiguous: bool) -> Any:
    """One click runs the fit in the runner-up's orientation; both runs can be compared then."""
    button = html.Button(
        [icon("arrow-left-right", className="me-1"), f"Try {second}"], id={"align-other": result}, n_clicks=0,
        className="btn btn-sm btn-secondary", title="Fits from the next best orientation, as a run of its own",
    )  # fmt: skip
    if not ambiguous:
        return html.Div(button, className="sm-buttons mt-2 mb-0")
    return dbc.Alert([html.Div(AMBIGUOUS, className="mb-2"), button], color="warning", className="mt-2")


def orientation(turn: float | None, flip: bool | None) -> str:
    """'130.0°, mirrored'"""
    return "–" if not isinstance(turn, int | float) else f"{turn:.1f}°{', mirrored' if flip else ''}"


def _compare() -> html.Div:
    selects = [
        steps.labelled(f"Run {side} of the comparison", dbc.Select(id=id, size="sm"))
        for side, id in (("A", Align.COMPARE_A), ("B", Align.COMPARE_B))
    ]
    buttons = [_action("beside", "layout-split", "Side by side"), _action("flicker", "lightning", "Flicker")]
    row = html.Div([*selects, *buttons], className="sm-compare")
    return panel("Compare", row, html.Div(id=Align.COMPARE_TABLE))


def _action(action: str, icon_name: str, text: str) -> html.Button:
    return html.Button(
        icon(icon_name), type="button", title=text, className="sm-icon",
        **{"data-align": action, "aria-label": text, "aria-pressed": "false"},
    )  # fmt: skip


def compare_options(runs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Choices of the two selects."""
    return [{"label": name, "value": result} for result, name in runs]


def compare_table(
    first: Mapping[str, float], second: Mapping[str, float], settings: Sequence[tuple[str, Any, Any]]
) -> html.Table:
    """Quality of two runs side by side, the better one marked, and the settings in which they differ."""
    rows = [_compared(label, first[n], second[n], n, unit) for n, label, unit in QUALITY if n in first and n in second]
    for name, one, other in settings:
        cells = [html.Td(_text(value), className="sm-num") for value in (one, other)]
        rows.append(html.Tr([html.Td(name.replace("_", " ")), *cells]))
    if not settings:
        rows.append(html.Tr([html.Td("Settings"), html.Td("the same", colSpan=2, className="sm-num")]))
    titles = [html.Th(""), *(html.Th(side, className="sm-num") for side in "AB")]
    return html.Table([html.Thead(html.Tr(titles)), html.Tbody(rows)], className="sm-table sm-compare-table")


def _compared(label: str, one: float, other: float, name: str, unit: str) -> html.Tr:
    higher = name in ("dice", "smallest_jacobian")
    better = None if one == other else (one > other) == higher
    cells = [
        html.Td(format_number(value, unit), className="sm-num" + (" sm-better" if better is wins else ""))
        for value, wins in ((one, True), (other, False))
    ]
    return html.Tr([html.Td(label), *cells])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
