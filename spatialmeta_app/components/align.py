"""The Align page: manual controls, settings of the fit, the overlay, quality and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import facts, format_number, icon, panel
from spatialmeta_app.ids import Align, Steps
from spatialmeta_app.services.align import COLORS, MANUAL, TOTAL

STEP = "align"
#: parameter -> label, unit, (least, most, step) of the slider
PARAMETERS = {
    "angle": ("Angle", "°", (-180, 180, 0.5)),
    "scale_x": ("Scale x", "×", (0.4, 2.5, 0.005)),
    "scale_y": ("Scale y", "×", (0.4, 2.5, 0.005)),
    "shift_x": ("Shift x", "µm", (-8000, 8000, 10)),
    "shift_y": ("Shift y", "µm", (-8000, 8000, 10)),
}
BLENDS = {"overlay": ("SM", 0.6), "histology": ("Histology", 1.0), "spots": ("ST spots", 0.5)}
KEYS = (("← → ↑ ↓", "shift"), ("R", "turn"), ("Q", "quarter"), ("F", "flip"), ("+ −", "scale"), ("0", "fit view"))
FRAME = "spatial_key"
ENDED = {
    "manual": "set by hand",
    "converged": "converged",
    "steps": "all steps done",
    "cancelled": "cancelled, best kept",
}
AMBIGUOUS = "Another orientation fits nearly as well. Look at both before you go on."
QUALITY = (
    ("outline_mean_um", "Outline distance, mean", "µm"),
    ("outline_p95_um", "Outline distance, 95 %", "µm"),
    ("dice", "Overlap of the areas (Dice)", ""),
    ("smallest_jacobian", "Smallest area factor (0: folded)", ""),
)


def layout(values: dict[str, Any] | None, frames: Sequence[str]) -> html.Div:
    """Controls, overlay, findings."""
    left = [
        panel("Manual", _manual()),
        steps.settings(
            STEP,
            STEPS[STEP].Config,
            values=values,
            title="Automatic",
            before=_frame(frames, (values or {}).get(FRAME)),
            without=("mode", "landmarks", "landmark_fit", FRAME, *MANUAL),
        ),
    ]
    stores = [dcc.Store(id=name) for name in (Align.SCENE, Align.READY, Align.MANUAL, Align.COLORED)]
    page = steps.page(STEP, left=left, centre=_overlay(), right=_findings())
    return html.Div([*stores, page])


def _manual() -> html.Div:
    buttons = [
        _button("flip", "symmetry-vertical", "Flip", "F", pressed=False),
        _button("left", "arrow-counterclockwise", "90°", "Shift+Q", name="Quarter turn left"),
        _button("right", "arrow-clockwise", "90°", "Q", name="Quarter turn right"),
        _button("undo", "arrow-90deg-left", "Undo", "Ctrl+Z"),
        _button("reset", "x-circle", "Reset", ""),
    ]
    turns = html.Div(["Quarter turns: ", html.B("0°", id=Align.TURNS)], className="sm-note")
    use = html.Button("Fit from here", id=Align.USE, className="btn btn-sm btn-secondary", n_clicks=0)
    save = html.Button("Save this", id=Align.SAVE, className="btn btn-sm btn-secondary", n_clicks=0)
    return html.Div(
        [
            html.Div(buttons, className="sm-buttons"),
            *[_parameter(name, *about) for name, about in PARAMETERS.items()],
            turns,
            html.Div([use, save], className="sm-buttons mt-2 mb-0"),
        ]
    )


def _button(
    action: str, icon_name: str, text: str, key: str, *, name: str = "", pressed: bool | None = None
) -> html.Button:
    state = {} if pressed is None else {"aria-pressed": str(pressed).lower()}
    title = f"{name or text} ({key})" if key else name or text
    return html.Button(
        [icon(icon_name, className="me-1"), text],
        className="btn btn-sm btn-secondary",
        title=title,
        type="button",
        **{"data-align": action, "aria-label": name or text, **state},
    )


def _parameter(name: str, label: str, unit: str, limits: tuple[float, float, float]) -> html.Div:
    """A row that assets/align.js fills with a slider and a number."""
    value = "1" if name.startswith("scale") else "0"
    about = {"label": label, "unit": unit, "value": value} | dict(
        zip(("min", "max", "step"), map(str, limits), strict=True)
    )
    return html.Div(className="sm-param", **{"data-param": name, **{f"data-{k}": v for k, v in about.items()}})


def _blend(name: str, label: str, value: float) -> html.Div:
    about = {"label": label, "min": "0", "max": "1", "step": "0.02", "value": str(value), "only": "range"}
    return html.Div(className="sm-param sm-blend", **{"data-param": name, **{f"data-{k}": v for k, v in about.items()}})


def _frame(frames: Sequence[str], used: str | None) -> html.Label:
    """Which coordinates of SM are aligned; a field of the form like any other."""
    options = [{"label": name, "value": name} for name in frames]
    value = used if used in frames else frames[0]
    select = dbc.Select(id={"form": STEP, "option": FRAME}, options=options, value=value, size="sm")
    return html.Label([html.Span("SM coordinates"), select], className="sm-field-label mb-2")


def _overlay() -> html.Div:
    shown = html.Div(
        [_toggle("manual", "By hand", True), _toggle("result", "Aligned", False)],
        className="btn-group sm-segments", role="group", **{"aria-label": "What the overlay shows"},
    )  # fmt: skip
    tools = [
        _tool("move", "arrows-move", "Drag moves SM"),
        _tool("pan", "hand-index", "Drag moves the view"),
        _tool("fit", "fullscreen", "Fit the view (0)"),
    ]
    color = dbc.Input(
        id=Align.COLOR, type="text", value=TOTAL, list=Align.COLORS, debounce=0.2, size="sm", autocomplete="off",
        className="sm-color", placeholder="Metabolite or m/z",
    )  # fmt: skip
    choices = html.Datalist(options(COLORS), id=Align.COLORS)
    bar = html.Div(
        [
            *tools,
            shown,
            html.Span(className="flex-grow-1"),
            html.Span("Colour", className="sm-note", **{"aria-hidden": "true"}),
            steps.labelled("Colour of the SM pixels", color),
            choices,
        ],
        className="sm-toolbar",
    )
    blends = html.Div([_blend(n, *about) for n, about in BLENDS.items()], className="sm-veil sm-blends")
    hint = " ".join(f"{keys}: {what}." for keys, what in KEYS)
    stage = html.Div(
        id=Align.STAGE, className="sm-stage", tabIndex="0", role="application",
        **{"aria-label": f"SM section over the ST section. {hint}"},
    )  # fmt: skip
    live = html.Div([html.Span(className="sm-dot", **{"data-state": "running"}), " live"], className="sm-live sm-veil")
    canvas = html.Div([stage, live, blends, _legend(), _hints()], className="sm-canvas")
    return html.Div([bar, canvas], className="sm-panel sm-fill sm-flush")


def options(names: Sequence[str]) -> list[html.Option]:
    """Choices of the colour field."""
    return [html.Option(value=name) for name in names]


def _toggle(action: str, text: str, pressed: bool) -> html.Button:
    return html.Button(
        text,
        type="button",
        className="btn btn-sm btn-secondary",
        **{"data-align": action, "aria-pressed": str(pressed).lower()},
    )


def _tool(action: str, icon_name: str, label: str) -> html.Button:
    pressed = {} if action == "fit" else {"aria-pressed": str(action == "move").lower()}
    return html.Button(
        icon(icon_name),
        type="button",
        className="sm-icon",
        title=label,
        **{"data-align": action, "aria-label": label, **pressed},
    )


def _legend() -> html.Div:
    ends = [html.Span(**{"data-low": ""}), html.Span(**{"data-label": ""}), html.Span(**{"data-high": ""})]
    return html.Div(
        [html.Div(className="sm-ramp"), html.Div(ends, className="sm-row sm-between")],
        id=Align.LEGEND, className="sm-legend sm-veil", hidden=True,
    )  # fmt: skip


def _hints() -> html.Div:
    shown = [html.Span([html.Kbd(key, className="sm-kbd"), f" {what}"]) for key, what in KEYS]
    return html.Div(shown, className="sm-hints sm-veil", **{"aria-hidden": "true"})


def _findings() -> list[Any]:
    curves = steps.graph(id=Steps.of(Steps.CURVES, STEP), height=190, label="Loss of the alignment, one panel a term")
    return [
        panel("Quality", html.Div(id=Align.QUALITY)),
        panel("Loss", curves),
        steps.runs_panel(STEP),
    ]


def quality(numbers: Mapping[str, float], about: Mapping[str, Any]) -> html.Div:
    """The numbers of the alignment in use with their units, and how its orientation was found."""
    rows = [(label, format_number(numbers[name], unit)) for name, label, unit in QUALITY if name in numbers]
    if not rows:
        return steps.summary([])
    shape, found = about.get("transform") or {}, about.get("orientation") or {}
    rows.append(("Turn and mirror", _orientation(shape.get("rotation_deg"), shape.get("flip"))))
    if found.get("source") == "search":
        rows.append(("Confidence of the orientation", f"{100 * found.get('confidence', 0):.0f} %"))
        rows.append(("Next best", _orientation(found.get("runner_up_rotation_deg"), found.get("runner_up_flip"))))
    warning = [dbc.Alert(AMBIGUOUS, color="warning", className="mt-2")] if found.get("ambiguous") else []
    return html.Div([facts([("Ended", ENDED.get(str(about.get("stopped")), "–")), *rows]), *warning])


def _orientation(turn: float | None, flip: bool | None) -> str:
    return "–" if turn is None else f"{turn:.1f}°{', mirrored' if flip else ''}"
