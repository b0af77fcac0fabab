"""The Explore page's frame: controls, tissue, findings. Lists inside are filled by ``assets/explore-panels.js``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html
from dash.development.base_component import Component

from spatialmeta_app.components.panel import button_link, columns, empty, head, icon, panel
from spatialmeta_app.figures import looks, palettes
from spatialmeta_app.ids import Explore
from spatialmeta_app.services.explore import Controls, Shown

TOOLS = (
    ("select", "cursor", "Select and pan", "V"),
    ("box", "bounding-box", "Box selection", "B"),
    ("lasso", "ex-lasso", "Lasso selection", "L"),
    ("region", "vector-pen", "Region, drawn freely", "R"),
    ("polygon", "heptagon", "Region, corner by corner", "P"),
    ("brush", "brush", "Region, painted with a brush", "U"),
    ("trajectory", "arrow-up-right", "Trajectory", "T"),
)
OPERATIONS = (
    ("set", "square", "New selection or region", "1"),
    ("add", "union", "Add to the selection or the shown region (Shift)", "2"),
    ("subtract", "subtract", "Subtract from it (Alt)", "3"),
    ("intersect", "intersect", "Intersect with it (Shift Alt)", "4"),
)
GRAPH = {"displayModeBar": False}
CLUSTERED_APART = (
    "Each sample was clustered by itself: a number and its colour mean nothing across samples. Join the samples on "
    "Reassign to cluster them together."
)
PROFILE_METHOD = "Local-linear smooth with a Gaussian kernel; band: 95 % at each position, spots taken as independent."
WIDTH_UM = (20, 2000, 10)  # least, most, step of the corridor


def page(context: Mapping[str, Any], shown: Sequence[Shown], controls: Controls) -> html.Div:
    """The whole page for a sample that has something to show."""
    left = _left(shown, context["result"], controls)
    body = columns(left, _centre(), _right())
    stores = [dcc.Store(id=Explore.CONTEXT, data=context), dcc.Store(id=Explore.PROFILE_REQUEST)]
    tip = html.Div(id=Explore.TIP, className="ex-tip", hidden=True)
    return html.Div([*stores, body, tip], className="ex-page")


def nothing(project: str, sample: str) -> html.Div:
    """What to do where no section was imported yet."""
    action = button_link("Add data", f"/p/{project}/{sample}/data", icon_name="upload")
    text = "Add a transcriptomics or metabolomics section; it can be explored as soon as it is imported."
    shown = panel(None, empty("map", "Nothing to explore yet", text, action), class_name="sm-fill")
    return html.Div(shown, className="sm-alone")


def _left(shown: Sequence[Shown], result: str, controls: Controls) -> list[Component]:
    layer_and_scale = html.Div([_layer(controls), _scale(controls)], className="ex-two")
    bivariate = dbc.Switch(id=Explore.BIVARIATE, label="Second feature (bivariate)", value=controls.bivariate)
    colour = [
        head("Colour by"),
        html.Div(id=Explore.SEARCH),
        layer_and_scale,
        bivariate,
        html.Div(id=Explore.SECOND, hidden=not controls.bivariate),
        head("Side by side"),
        html.Div(id=Explore.BESIDE),
        html.Div(id=Explore.BESIDE_CHIPS, className="ex-chips", hidden=True),
        dbc.Switch(id=Explore.GRID, label="All samples of the project", value=controls.grid),
        html.P(CLUSTERED_APART, id=Explore.GRID_NOTE, className="sm-note", role="status", hidden=True),
    ]
    categories = html.Div(
        [
            html.H2(html.Span(id=Explore.CATEGORIES_NAME), className="sm-head"),
            html.Ul(id=Explore.CATEGORY_LIST, className="ex-list", **{"aria-labelledby": Explore.CATEGORIES_NAME}),
        ],
        id=Explore.CATEGORIES,
        hidden=True,
    )
    section = [
        head("Shown"),
        _labelled(
            Explore.RESULT,
            "Result that is shown",
            dbc.Select(id=Explore.RESULT, options=result_options(shown), value=result),
        ),
    ]
    return [panel(None, *section, *colour, _range(controls), *_marks(controls), categories)]


def result_options(shown: Sequence[Shown]) -> list[dict[str, str]]:
    """The list of results that can be shown."""
    return [{"label": f"{s.title} · out of date" if s.stale else s.title, "value": s.id} for s in shown]


def _layer(controls: Controls) -> html.Div:
    options = [{"label": controls.layer, "value": controls.layer}] if controls.layer else []
    return _labelled(Explore.LAYER, "Layer", dbc.Select(id=Explore.LAYER, options=options, value=controls.layer))


def _scale(controls: Controls) -> html.Div:
    return _labelled(
        Explore.SCALE, "Colours", dbc.Select(id=Explore.SCALE, options=list(palettes.SCALES), value=controls.scale)
    )


def _labelled(id: str, text: str, control: Component) -> html.Div:
    return html.Div([html.Label(text, htmlFor=id, className="visually-hidden"), control])


def _range(controls: Controls) -> html.Div:
    low, high = controls.clip
    return html.Div(
        [
            html.H2(["Range", html.Span(id=Explore.RANGE_TEXT, className="sm-note sm-num")], className="sm-head"),
            html.Div(id=Explore.RANGE_BAR, className="ex-range-bar", **{"aria-hidden": "true"}),
            html.Div(
                [
                    _percent(Explore.LOW, "Lowest percentile", low),
                    dbc.Switch(id=Explore.LOG, label="log", value=controls.log),
                    _percent(Explore.HIGH, "Highest percentile", high),
                ],
                className="sm-row sm-between ex-clip",
            ),
        ],
        id=Explore.RANGE,
    )


def _percent(id: str, label: str, value: float) -> html.Label:
    field = dbc.Input(id=id, type="number", min=0, max=100, step="any", value=value, size="sm")
    return html.Label([html.Span(label, className="visually-hidden"), field, "%"], className="ex-percent", title=label)


def _marks(controls: Controls) -> list[Component]:
    histology = _slider(Explore.HISTOLOGY, "Histology", controls.histology, 0, 100)
    in_pixels = controls.dot is not None
    units = [{"label": "true size", "value": "um"}, {"label": "pixels", "value": "px"}]
    chosen = "px" if in_pixels else "um"
    unit = dbc.Select(id=Explore.UNIT, options=units, value=chosen, size="sm", class_name="ex-unit")
    return [
        html.Div(histology, id=Explore.HISTOLOGY_ROW),
        *_slider(Explore.SPOTS, "Dots", controls.spots, 0, 100),
        head("Dot size", _labelled(Explore.UNIT, "Unit of the dot size", unit)),
        html.Div(_range_input(Explore.SIZE, controls.size, 25, 300, "Dot size in percent"), id=Explore.SIZE_ROW),
        html.Div(_range_input(Explore.DOT, controls.dot or 6, 1, 40, "Dot size in pixels"), id=Explore.DOT_ROW),
    ]


def _slider(id: str, title: str, value: float, least: int, most: int) -> list[Component]:
    return [head(html.Label(title, htmlFor=id)), _range_input(id, value, least, most)]


def _range_input(id: str, value: float, least: int, most: int, label: str | None = None) -> Component:
    slider = dbc.Input(id=id, type="range", min=least, max=most, step=1, value=value, class_name="form-range")
    return html.Div([html.Label(label, htmlFor=id, className="visually-hidden"), slider]) if label else slider


def _centre() -> html.Div:
    stage = html.Div(
        [
            html.Div(id=Explore.SPATIAL, className="ex-graph"),
            html.Div(id=Explore.OVERLAY, className="ex-layer"),
            html.Div(id=Explore.HINT, className="ex-toolhint sm-veil", hidden=True, **{"aria-live": "polite"}),
            html.Div(id=Explore.TITLE, className="ex-title sm-veil", hidden=True),
            _scale_bar(),
            html.Div(id=Explore.LEGEND, className="ex-legend sm-veil", **{"aria-label": "Legend", "role": "group"}),
            html.Div(
                [icon("info-circle"), " Not aligned yet: regions and paths are drawn on the aligned section."],
                id=Explore.FRAME_NOTE,
                className="ex-note sm-veil",
                hidden=True,
            ),
        ],
        id=Explore.STAGE,
        className="sm-canvas ex-stage",
        tabIndex="0",
        role="application",
        **{"aria-label": "Spatial view. Arrow keys pan, plus and minus zoom, 0 shows everything."},
    )
    panes = html.Div([stage, html.Div(id=Explore.MORE, className="ex-more")], id=Explore.PANES, className="ex-panes")
    figure = html.Div(id=Explore.FIGURE, className="ex-figure", hidden=True, role="dialog", **{"aria-label": "Figure"})
    return html.Div([_toolbar(), figure, panes], className="sm-panel sm-fill sm-flush ex-centre")


def _toolbar() -> html.Div:
    tools = [_tool(*tool) for tool in TOOLS]
    operations = [_operation(*operation) for operation in OPERATIONS]
    group = html.Span(operations, className="ex-operations", role="group", **{"aria-label": "What a drawing does"})
    views = [
        _button("zoom-in", "Zoom in (+)", **{"data-view": "in"}),
        _button("zoom-out", "Zoom out (−)", **{"data-view": "out"}),
        _button("fullscreen", "Show everything (0)", **{"data-view": "fit"}),
        _button(
            "image",
            "Figure and data as a file (F)",
            **{"data-view": "figure", "aria-expanded": "false", "aria-keyshortcuts": "F"},
        ),
    ]
    count = html.Span(id=Explore.COUNT, className="sm-note sm-num")
    return html.Div(
        [*tools, group, html.Span(className="ex-toolbar-end"), *views, count],
        id=Explore.TOOLBAR,
        className="sm-toolbar",
        role="toolbar",
        **{"aria-label": "Tools of the spatial view"},
    )


def _tool(name: str, icon_name: str, label: str, key: str) -> html.Button:
    return _button(
        icon_name, f"{label} ({key})", **{"data-tool": name, "aria-pressed": "false", "aria-keyshortcuts": key}
    )


def _operation(name: str, icon_name: str, label: str, key: str) -> html.Button:
    pressed = str(name == "set").lower()
    return _button(
        icon_name, f"{label} · {key}", **{"data-op": name, "aria-pressed": pressed, "aria-keyshortcuts": key}
    )


def _button(icon_name: str, label: str, **props: Any) -> html.Button:
    return html.Button(
        icon(icon_name), className="sm-icon", title=label, type="button", **{"aria-label": label}, **props
    )


def _scale_bar() -> html.Div:
    return html.Div(
        [html.Div(className="sm-scale-line"), html.Div(className="sm-scale-text")],
        id=Explore.SCALE_BAR,
        className="sm-scale sm-veil",
        hidden=True,
    )


def _right() -> list[Component]:
    return [
        _umap(),
        html.Div(id=Explore.SELECTION, className="sm-panel", hidden=True, role="region", **{"aria-label": "Selection"}),
        _shapes(),
        html.Div(id=Explore.MARKERS, className="sm-panel", hidden=True, role="region", **{"aria-label": "Markers"}),
        _trajectory(),
        html.Div(id=Explore.ANNOUNCE, className="visually-hidden", **{"aria-live": "polite"}),
        html.Div(html.Div(id=Explore.SAVED, className="sm-note", role="status"), className="ex-status"),
    ]


def _shapes() -> html.Div:
    tools = html.Div(id=Explore.SHAPE_TOOLS, className="sm-row ex-shape-tools", role="group")
    chosen = html.Div(id=Explore.SHAPE_EDIT, className="ex-shape-edit", hidden=True)
    report = html.Div(id=Explore.SHAPE_REPORT, className="ex-report", role="status", hidden=True)
    names = html.Ul(id=Explore.SHAPES, className="ex-list", tabIndex="0", **{"aria-label": "Regions and paths"})
    return panel("Regions and paths", names, chosen, tools, report, class_name="ex-shapes")


def _umap() -> html.Div:
    stage = html.Div(
        [
            html.Div(id=Explore.UMAP, className="ex-graph"),
            html.Div(id=Explore.UMAP_OVERLAY, className="ex-layer"),
        ],
        id=Explore.UMAP_STAGE,
        className="ex-umap",
        tabIndex="0",
        role="application",
        **{"aria-label": "UMAP, linked. Lasso and box select here too; arrow keys pan, plus and minus zoom."},
    )
    return html.Div([head("UMAP · linked"), stage], id=Explore.UMAP_PANEL, className="sm-panel", hidden=True)


def _trajectory() -> html.Div:
    least, most, step = WIDTH_UM
    width = dbc.Input(
        id=Explore.WIDTH, type="range", min=least, max=most, step=step, value=300, class_name="form-range"
    )
    controls = [
        _link(Explore.REVERSE, "Reverse", "Reverse the direction (D)", icon_name="arrow-left-right"),
        _link(Explore.SMOOTH, "Smooth", "Draw the path as a smooth curve (S)", **{"aria-pressed": "false"}),
        _link(Explore.SCALED, "Scaled 0–1", "Each feature from 0 to 1", **{"aria-pressed": "true"}),
    ]
    title = [html.Span(id=Explore.TRAJECTORY_NAME), html.Span(id=Explore.TRAJECTORY_NOTE, className="sm-note")]
    return html.Div(
        [
            html.H2(title, className="sm-head"),
            html.Label("Corridor width in µm", htmlFor=Explore.WIDTH, className="visually-hidden"),
            width,
            html.Div(controls, className="sm-row ex-ways"),
            dcc.Graph(id=Explore.PROFILE, figure=looks.BLANK, config=GRAPH, className="ex-profile"),
            html.Div(id=Explore.PROFILE_FEATURES, className="ex-chips"),
            html.Div(html.Div(id=Explore.PROFILE_SEARCH), className="sm-row ex-profile-tools"),
            html.P(PROFILE_METHOD, className="sm-note"),
            *_ranking(),
        ],
        id=Explore.TRAJECTORY,
        className="sm-panel",
        hidden=True,
        role="region",
        **{"aria-labelledby": Explore.TRAJECTORY_NAME},
    )


def _ranking() -> list[Component]:
    """The features that change most along the path; filled by explore-trajectory.js."""
    kinds = [("all", "all features"), ("ST", "genes"), ("SM", "metabolites"), ("list", "a list …")]
    orders = [("test", "by the test"), ("peak", "by the peak")]
    body = [
        html.Div(
            [_choice(Explore.RANK_KIND, "Features to test", kinds), _choice(Explore.RANK_ORDER, "Order", orders)],
            className="sm-row ex-choices",
        ),
        html.Div(
            [
                html.Label("Names, symbols or m/z to test", htmlFor=Explore.RANK_LIST, className="visually-hidden"),
                html.Textarea(
                    id=Explore.RANK_LIST,
                    className="form-control form-control-sm",
                    placeholder="Pcp4, dopamine, 421.19 …",
                    hidden=True,
                ),
            ]
        ),
        html.Ul(
            id=Explore.ALONG, className="ex-list ex-along", **{"aria-label": "Features that change along the path"}
        ),
        html.P(id=Explore.RANK_NOTE, className="sm-note", role="status"),
    ]
    button = _link(
        Explore.RANK, "What changes along it", "Rank the features along the path (H)",
        icon_name="list-ol", **{"aria-expanded": "false", "aria-controls": Explore.RANKING},
    )  # fmt: skip
    return [html.Div(button, className="ex-ways"), html.Div(body, id=Explore.RANKING, hidden=True)]


def _link(id: str, text: str, title: str, *, icon_name: str | None = None, **props: Any) -> html.Button:
    content = [icon(icon_name), f" {text}"] if icon_name else text
    return html.Button(content, id=id, title=title, className="btn btn-link btn-sm", type="button", **props)


def _choice(id: str, label: str, options: Sequence[tuple[str, str]]) -> html.Div:
    listed = [{"value": value, "label": text} for value, text in options]
    return _labelled(id, label, dbc.Select(id=id, options=listed, value=options[0][0], size="sm"))
