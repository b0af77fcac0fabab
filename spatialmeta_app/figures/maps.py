"""Small maps of a section: spots coloured by a number or a category, over the histology where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from spatialmeta_app.figures import looks


def numbers(
    xy: np.ndarray,
    values: np.ndarray,
    *,
    label: str,
    size: float | None = None,
    colorscale: str = "Viridis",
    um_per_px: float | None = None,
    images: Sequence[dict[str, Any]] = (),
    missing: str = "no value",
    height: int | None = None,
) -> go.Figure:
    """Map of *values* (n,) at *xy* (n, 2) in full-resolution pixels, y down; what is not finite is drawn hollow."""
    xy, values = np.asarray(xy, dtype="f4"), np.asarray(values, dtype="f4")
    seen, size = np.isfinite(values), size or dot(len(xy))
    low, high = looks.clip_range(values)
    marker = {
        "size": size,
        "color": values[seen],
        "colorscale": colorscale,
        "cmin": low,
        "cmax": high,
        "colorbar": _color_bar(label) | _whole(values[seen], high - low),
    }
    traces = [_spots(xy[seen], marker, np.flatnonzero(seen), f"{label}: %{{marker.color:.4~g}}")]
    if not seen.all():
        hollow = {"size": size, "color": "rgba(0,0,0,0)", "line": {"color": looks.WARN, "width": 1}}
        traces.append(_spots(xy[~seen], hollow, np.flatnonzero(~seen), missing))
    return _figure(traces, xy, um_per_px=um_per_px, images=images, height=height)


def categories(
    xy: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    *,
    colors: Sequence[str] | None = None,
    size: float | None = None,
    um_per_px: float | None = None,
    images: Sequence[dict[str, Any]] = (),
    spatial: bool = True,
    height: int | None = None,
) -> go.Figure:
    """Map of categories: *codes* (n,) index *names*; a negative code has no category. One trace for all spots, so
    that twenty clusters cost as much as one. ``spatial=False`` for an embedding (y up, no scale bar)."""
    xy, codes = np.asarray(xy, dtype="f4"), np.asarray(codes, dtype=int)
    palette = list(colors or looks.CATEGORIES)
    color = [palette[c % len(palette)] if c >= 0 else looks.MUTED for c in codes]
    label = [names[c] if c >= 0 else "none" for c in codes]
    trace = _spots(xy, {"size": size or dot(len(xy)), "color": color}, np.arange(len(xy)), "%{text}")
    trace.text = label
    return _figure([trace], xy, um_per_px=um_per_px if spatial else None, images=images, height=height, down=spatial)


def dot(n: int) -> float:
    """Diameter in pixels of one of *n* spots on a map of some 600 pixels, so that neighbours keep apart."""
    return float(np.clip(400 / np.sqrt(max(n, 1)), 2, 9))


def links(
    spot: np.ndarray, pixels: np.ndarray, weights: np.ndarray, *, around: np.ndarray, reach: float, height: int = 210
) -> go.Figure:
    """One spot (2,), the SM *pixels* (k, 2) that it is made of with their *weights* (k,), and all pixels *around* it.

    Everything in µm relative to the spot; *reach* in µm is drawn as a circle.
    """
    figure = go.Figure(layout=looks.layout(height, xaxis=_metric("µm"), yaxis=_metric("", down=True)))
    r = reach
    figure.add_shape(type="circle", x0=-r, x1=r, y0=-r, y1=r, line={"color": looks.ACCENT, "width": 1})
    rest = np.asarray(around) - spot
    used = np.asarray(pixels).reshape(-1, 2) - spot
    figure.add_trace(_dots(rest, {"size": 6, "color": looks.MUTED, "opacity": 0.4}, "not used"))
    for (x, y), w in zip(used, weights, strict=True):
        figure.add_trace(
            go.Scatter(
                x=[0, x], y=[0, y], mode="lines", line={"color": looks.WARN, "width": 0.5 + 6 * w}, hoverinfo="skip"
            )
        )
    figure.add_trace(_dots(used, {"size": 9, "color": looks.WARN, "symbol": "square"}, "taken"))
    figure.add_trace(_dots(np.zeros((1, 2)), {"size": 9, "color": looks.ACCENT}, "place"))
    return figure


def name_parts(figure: go.Figure, xy: np.ndarray, codes: np.ndarray, names: Sequence[str]) -> go.Figure:
    """*figure* with the name of each of several sections above its spots: *codes* (n,) index *names*."""
    for code, name in enumerate(names):
        own = np.asarray(xy)[np.asarray(codes) == code]
        if len(own):
            x, y = float(own[:, 0].mean()), float(own[:, 1].min())
            _name(figure, x, y, name, yshift=6)
    return figure


def histology(pictures: Sequence[Mapping[str, Any]], *, opacity: float = 0.55) -> list[dict[str, Any]]:
    """A layout image for each of *pictures*: ``{url, x, y, width, height}`` in the pixels of the map."""
    common = {"xref": "x", "yref": "y", "sizing": "stretch", "opacity": opacity, "layer": "below"}
    return [
        common | {"source": p["url"], "x": p["x"], "y": p["y"], "sizex": p["width"], "sizey": p["height"]}
        for p in pictures
    ]


def _spots(xy: np.ndarray, marker: dict[str, Any], index: np.ndarray, hover: str) -> go.Scattergl:
    return go.Scattergl(
        x=xy[:, 0],
        y=xy[:, 1],
        mode="markers",
        marker=marker,
        customdata=index.tolist(),  # of a typed array a click would bring nothing
        hovertemplate=hover + "<extra></extra>",
    )


def _dots(xy: np.ndarray, marker: dict[str, Any], name: str) -> go.Scatter:
    return go.Scatter(
        x=xy[:, 0], y=xy[:, 1], mode="markers", marker=marker, name=name, hovertemplate=name + "<extra></extra>"
    )


def _metric(title: str, *, down: bool = False) -> dict[str, Any]:
    more: dict[str, Any] = {"scaleanchor": "x", "autorange": "reversed"} if down else {}
    return looks.axis(title, **more)


def _color_bar(label: str) -> dict[str, Any]:
    return {
        "title": {"text": label, "side": "top", "font": looks.FONT},
        "orientation": "h",
        "thickness": 8,
        "len": 0.36,
        "x": 1,
        "xanchor": "right",
        "y": 0,
        "yanchor": "bottom",
        "outlinewidth": 0,
        "xpad": 10,
        "ypad": 6,
        "tickfont": looks.FONT,
        "nticks": 4,
    }


def _whole(values: np.ndarray, span: float) -> dict[str, Any]:
    """Ticks of a few whole numbers at whole numbers."""
    return {"tick0": 0, "dtick": max(1, round(span / 3))} if span < 12 and (values == np.round(values)).all() else {}


def _figure(
    traces: list[go.Scattergl],
    xy: np.ndarray,
    *,
    um_per_px: float | None,
    images: Sequence[dict[str, Any]],
    height: int | None,
    down: bool = True,
) -> go.Figure:
    low, high = (xy.min(axis=0), xy.max(axis=0)) if len(xy) else (np.zeros(2), np.ones(2))
    pad = 0.04 * float(max(np.max(high - low), 1e-6))
    y_range = [float(high[1]) + pad, float(low[1]) - pad]
    figure = go.Figure(
        traces,
        looks.layout(
            height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            dragmode="pan",
            uirevision="map",
            xaxis=looks.hidden_axis(range=[float(low[0]) - pad, float(high[0]) + pad]),
            yaxis=looks.hidden_axis(range=y_range if down else y_range[::-1], scaleanchor="x", scaleratio=1),
            images=list(images),
        ),
    )
    if um_per_px:
        _scale_bar(figure, low, high, pad, um_per_px)
    return figure


def _scale_bar(figure: go.Figure, low: np.ndarray, high: np.ndarray, pad: float, um_per_px: float) -> None:
    length = scale_bar_um(float(high[0] - low[0]) * um_per_px)
    x0, y0 = float(low[0]), float(high[1]) + 0.4 * pad
    figure.add_shape(  # light with a dark edge: one of them stands out, whatever lies below
        type="rect", x0=x0, x1=x0 + length / um_per_px, ysizemode="pixel", yanchor=y0, y0=0, y1=4,
        fillcolor="#ffffff", line={"color": "#17202c", "width": 1},
    )  # fmt: skip
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    _name(figure, x0, y0, text, xanchor="left", yshift=8)


def _name(figure: go.Figure, x: float, y: float, text: str, **more: Any) -> None:
    """Words above a place, on a plate whose colour the style sheet knows."""
    figure.add_annotation(
        x=x, y=y, text=text, showarrow=False, yanchor="bottom", bgcolor="#ffffff", borderpad=3, font=looks.FONT, **more
    )


def scale_bar_um(width_um: float) -> float:
    """A round length of 1, 2 or 5 times a power of ten µm that takes about a fifth of *width_um*."""
    if width_um <= 0:
        return 1.0
    target = width_um / 5
    power = 10.0 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1, 2, 5) if step * power <= target))
