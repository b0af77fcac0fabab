"""The Align page: three ways to align (automatic, by hand, by landmarks) and the overlay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.align_findings import findings
from spatialmeta_app.components.panel import icon, panel
from spatialmeta_app.ids import Align
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
TABS = {"automatic": "Automatic", "hand": "By hand", "landmarks": "Landmarks"}
SHOWN = {"pairs": "Pairs", "manual": "By hand", "landmarks": "Landmark fit", "result": "Aligned"}
LOOKS = {"blend": ("circle-half", "Blend"), "swipe": ("layout-split", "Swipe"), "checker": ("grid-3x3", "Checkerboard")}
FITS = {"similarity": "Similarity", "affine": "Affine", "spline": "Thin-plate spline"}
FRAME = "spatial_key"


def layout(values: dict[str, Any] | None, frames: Sequence[str]) -> html.Div:
    """Controls, overlay, findings."""
    automatic = steps.settings(
        STEP,
        STEPS[STEP].Config,
        values=values,
        title="Automatic",
        before=_frame(frames, (values or {}).get(FRAME)),
        without=("mode", "landmarks", "landmark_fit", FRAME, *MANUAL),
    )
    ways = {"automatic": automatic, "hand": panel("By hand", _manual()), "landmarks": panel("Landmarks", _landmarks())}
    tabs = [_tab(name, title) for name, title in TABS.items()]
    left = [
        html.Div(tabs, className="btn-group sm-segments sm-ways", role="group", **{"aria-label": "Way to align"}),
        *[html.Div(way, className="sm-way", hidden=n != "automatic", **{"data-way": n}) for n, way in ways.items()],
    ]
    names = (Align.SCENE, Align.READY, Align.MANUAL, Align.COLORED, Align.MARKS_FILE, Align.MARKED, Align.COMPARED)
    stores = [*[dcc.Store(id=name) for name in names], dcc.Store(id=Align.MARKS, data=[])]
    return html.Div([*stores, steps.page(STEP, left=left, centre=_overlay(), right=findings())])


def _tab(name: str, title: str) -> html.Button:
    return html.Button(
        title, type="button", className="btn btn-sm btn-secondary",
        **{"data-tab": name, "aria-pressed": str(name == "automatic").lower()},
    )  # fmt: skip


def _manual() -> html.Div:
    buttons = [
        _button("flip", "symmetry-vertical", "Flip", "F", pressed=False),
        _button("left", "arrow-counterclockwise", "90°", "Shift+Q", name="Quarter turn left"),
        _button("right", "arrow-clockwise", "90°", "Q", name="Quarter turn right"),
        _button("undo", "arrow-90deg-left", "Undo", "Ctrl+Z"),
        _button("redo", "arrow-90deg-right", "Redo", "Ctrl+Shift+Z"),
        _button("reset", "x-circle", "Reset", ""),
        _button("take", "box-arrow-in-down", "From aligned", "", name="Start from the alignment in use"),
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
            html.P("Drag the overlay to move it, Shift and drag to turn it.", className="sm-note mt-2 mb-0"),
        ]
    )


def _landmarks() -> html.Div:
    """Filled by assets/align-landmarks.js: the pairs with their errors."""
    fit = dbc.Select(
        id=Align.MARKS_FIT, options=[{"label": t, "value": v} for v, t in FITS.items()], value="affine", size="sm"
    )
    files = html.Div(
        [
            _button("open-marks", "folder2-open", "Import", "", name="Import a landmark CSV"),
            _button("save-marks", "download", "Export", "", name="Export the landmarks as CSV"),
            _button("undo", "arrow-90deg-left", "Undo", "Ctrl+Z", name="Undo the last landmark"),
            _button("clear-marks", "trash", "Clear", "", name="Delete all landmarks"),
        ],
        className="sm-buttons",
    )
    heads = [
        html.Th("Pair"),
        html.Th("Error", className="sm-num"),
        html.Th("Left out", className="sm-num"),
        html.Th(""),
    ]
    table = html.Table(
        [html.Thead(html.Tr(heads)), html.Tbody(**{"data-marks": "rows"})], className="sm-table sm-marks", hidden=True,
        **{"data-marks": "table"},
    )  # fmt: skip
    save = html.Button("Save this fit", id=Align.MARKS_SAVE, className="btn btn-sm btn-secondary", n_clicks=0)
    use = html.Button("Align with them", id=Align.MARKS_USE, className="btn btn-sm btn-primary", n_clicks=0)
    return html.Div(
        [
            html.P(
                "Click a place in one section, then the same place in the other. Drag a mark to mend it.",
                className="sm-note",
            ),
            files,
            html.Label([html.Span("Map through them"), fit], className="sm-field-label mb-2"),
            table,
            html.Div(className="sm-note", role="status", **{"data-marks": "said"}),
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
        [_toggle(mode, text, mode == "manual") for mode, text in SHOWN.items()],
        className="btn-group sm-segments", role="group", **{"aria-label": "What the overlay shows"},
    )  # fmt: skip
    tools = [
        _tool("move", "arrows-move", "Drag moves SM"),
        _tool("pan", "hand-index", "Drag moves the view"),
        _tool("fit", "fullscreen", "Fit the view (0)"),
    ]
    looks = html.Div(
        [_look(name, *about) for name, about in LOOKS.items()],
        className="sm-looks", role="group", **{"aria-label": "How SM lies over ST"},
    )  # fmt: skip
    color = dbc.Input(
        id=Align.COLOR, type="text", value=TOTAL, list=Align.COLORS, debounce=0.2, size="sm", autocomplete="off",
        className="sm-color", placeholder="Metabolite or m/z",
    )  # fmt: skip
    choices = html.Datalist(options(COLORS), id=Align.COLORS)
    bar = html.Div(
        [
            *tools,
            shown,
            looks,
            html.Span(className="flex-grow-1"),
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
    second = html.Div(id=Align.SECOND, className="sm-stage", tabIndex="0", role="application", hidden=True,
        **{"aria-label": "ST section, or the second run"},
    )  # fmt: skip
    swipe = html.Div(
        className="sm-swipe", hidden=True, tabIndex="0", role="slider",
        **{"aria-label": "SM left of here", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "50"},
    )  # fmt: skip
    dot = html.Span(className="sm-dot", **{"data-state": "running"})
    said = [html.Span("starting", **{"data-live": "stage"}), html.Div(**{"data-live": "terms"})]
    live = html.Div([dot, " ", *said], className="sm-live sm-veil", hidden=True)
    stages = html.Div([stage, second, swipe], className="sm-stages")
    canvas = html.Div(
        [stages, live, blends, _legend(), _hints()], className="sm-canvas sm-align", **{"data-mode": "manual"}
    )
    return html.Div([bar, canvas], className="sm-panel sm-fill sm-flush")


def _look(name: str, icon_name: str, text: str) -> html.Button:
    return html.Button(
        icon(icon_name), type="button", className="sm-icon", title=text,
        **{"data-look": name, "aria-label": text, "aria-pressed": str(name == "blend").lower()},
    )  # fmt: skip


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
