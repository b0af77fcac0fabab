"""Spots painted by the server: one picture of what a view shows, for results too large to send.

Colours follow the same rules as in the browser (``assets/explore-colour.js``): percentiles of the finite values, 128
steps between them, a colour of its own for a missing value; so a legend drawn there holds here. numpy and Pillow alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from spatialmeta_app.workspace.views import MISSING, View

STEPS, SIDE = 128, 8  # as explore-colour.js
NO_VALUE = "#b8bec9"
DIM = 0.16
LARGEST = 4096  # pixels a side
WHOLE = 1.5  # up to this many pixels a spot, what falls into one pixel is averaged


@dataclass(frozen=True)
class Canvas:
    """What is painted: *box* (x0, y0, x1, y1 in data units), *size* (width, height) pixels, spots of *diameter* data
    units; *up*: y grows upwards; *round_*: discs, else squares."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    diameter: float = 0.0
    up: bool = False
    round_: bool = False

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (np.isfinite(self.box).all() and x1 > x0 and y1 > y0):
            raise DataError("a box x0, y0, x1, y1 with x1 > x0 and y1 > y0", found=str(self.box))
        if not all(1 <= side <= LARGEST for side in self.size):
            raise DataError(f"a picture of 1 to {LARGEST} pixels a side", found=f"{self.size[0]} × {self.size[1]}")
        if not (np.isfinite(self.diameter) and self.diameter >= 0):
            raise DataError("a diameter of zero or more", found=str(self.diameter))


@dataclass(frozen=True)
class Painting:
    """Colours of all spots: *codes* (n,) into *palette* (k, 3) uint8, whose last entry means "no value"; *ordered*
    where codes may be averaged. *limits* is the range of one feature."""

    codes: np.ndarray
    palette: np.ndarray
    ordered: bool
    limits: tuple[float, float] | None = None

    @property
    def missing(self) -> bool:
        return bool((self.codes == len(self.palette) - 1).any())


def continuous(values: np.ndarray, stops: Sequence[str], limits: tuple[float, float], *, log: bool = False) -> Painting:
    """One feature on a scale of *stops* (``#rrggbb``) between *limits* (of the values as shown, after the log)."""
    codes = _steps(logged(values) if log else np.asarray(values), limits, STEPS, STEPS)
    return Painting(codes, _rgb([*_ramp(stops, STEPS), NO_VALUE]), True, limits)


def bivariate(first: np.ndarray, second: np.ndarray, ranges: Sequence[tuple[float, float]], *, log: bool) -> Painting:
    """Two features at once: 8 x 8 colours, grey to orange and grey to blue."""
    a, b = (
        _steps(logged(v) if log else np.asarray(v), r, SIDE, MISSING)
        for v, r in zip((first, second), ranges, strict=True)
    )
    codes = np.where((a == MISSING) | (b == MISSING), SIDE * SIDE, a * SIDE + b)
    return Painting(codes, np.vstack([_square(), _rgb([NO_VALUE])]), False)


def categorical(codes: np.ndarray, colours: Sequence[str]) -> Painting:
    """Categories; a code of 65535 has no value."""
    codes = np.asarray(codes).astype(np.int64)
    return Painting(np.where(codes >= len(colours), len(colours), codes), _rgb([*colours, NO_VALUE]), False)


def limits(values: np.ndarray, clip: tuple[float, float], *, log: bool = False) -> tuple[float, float]:
    """The values at two percentiles (0-100) of the finite ones; where both meet, the extremes, as in the browser."""
    shown = logged(values) if log else np.asarray(values)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, clip))
    if not high > low:
        low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1.0


def logged(values: np.ndarray) -> np.ndarray:
    """log(1 + x) of the size, with the sign."""
    values = np.asarray(values)
    return np.sign(values) * np.log1p(np.abs(values))


@lru_cache(maxsize=512)  # two numbers each; sorting a million values takes longer than painting them
def feature_limits(
    directory: Path, index: int, layer: str, clip: tuple[float, float], log: bool
) -> tuple[float, float]:
    """:func:`limits` of a feature of a view directory."""
    return limits(View(directory).feature(index, layer), clip, log=log)


def paint(
    xy: np.ndarray, painting: Painting, canvas: Canvas, *, dimmed: np.ndarray | None = None, hidden: Sequence[int] = ()
) -> bytes:
    """A PNG of the spots *xy* (n, 2) inside the box, transparent elsewhere.

    A spot covers the pixels from its left edge to its right one, so that the pixels of a raster leave no gap. Where
    spots are smaller than 1.5 pixels, one that shows a number has the mean of those that fall into it. *dimmed* (n,)
    bool: faint spots (all but a selection); *hidden*: codes that are not painted.
    """
    spots = _placed(xy, painting, canvas, dimmed, hidden)
    picture = np.full(canvas.size[::-1], -1, dtype=np.int32)
    if max(spots.reach) <= WHOLE:
        _points(picture, spots, painting)
    else:
        _marks(picture, spots, canvas.round_, len(painting.palette))
    return _png(picture, painting)


@dataclass(frozen=True)
class _Spots:
    """Spots that touch the picture: places (m,) and *reach* (width, height of a spot) in its pixels."""

    column: np.ndarray
    row: np.ndarray
    codes: np.ndarray
    faint: np.ndarray
    reach: tuple[float, float]


def _placed(
    xy: np.ndarray, painting: Painting, canvas: Canvas, dimmed: np.ndarray | None, hidden: Sequence[int]
) -> _Spots:
    """Faint ones come first: they are painted under the others."""
    x, y = np.asarray(xy)[:, 0], np.asarray(xy)[:, 1]
    (x0, y0, x1, y1), r = canvas.box, canvas.diameter / 2
    seen = (x >= x0 - r) & (x <= x1 + r) & (y >= y0 - r) & (y <= y1 + r)
    if len(hidden):
        seen &= ~np.isin(painting.codes, np.asarray(hidden))
    index = np.flatnonzero(seen)
    faint = np.zeros(len(index), dtype=bool) if dimmed is None else np.asarray(dimmed)[index]
    if faint.any():
        order = np.argsort(~faint, kind="stable")
        index, faint = index[order], faint[order]
    x, y = x[index].astype(np.float64), y[index].astype(np.float64)
    per_x, per_y = canvas.size[0] / (x1 - x0), canvas.size[1] / (y1 - y0)
    reach = (canvas.diameter * per_x, canvas.diameter * per_y)
    row = (y1 - y if canvas.up else y - y0) * per_y
    return _Spots((x - x0) * per_x, row, painting.codes[index].astype(np.int32), faint, reach)


def _points(picture: np.ndarray, spots: _Spots, painting: Painting) -> None:
    """At most a pixel or two a spot: the mean of the numbers of a pixel, else the last category."""
    height, width = picture.shape
    c = np.clip(np.floor(spots.column).astype(np.int64), 0, width - 1)
    r = np.clip(np.floor(spots.row).astype(np.int64), 0, height - 1)
    place, flat = r * width + c, picture.reshape(-1)
    missing = len(painting.palette) - 1
    for shown, shift in ((spots.faint, len(painting.palette)), (~spots.faint, 0)):
        if not shown.any():
            continue
        at, what = place[shown], spots.codes[shown]
        flat[at] = what + shift
        known = what != missing
        if painting.ordered and known.any():
            number = np.bincount(at[known], minlength=flat.size)
            total = np.bincount(at[known], weights=what[known], minlength=flat.size)
            filled = number > 0
            flat[filled] = np.rint(total[filled] / number[filled]).astype(np.int32) + shift


def _marks(picture: np.ndarray, spots: _Spots, round_: bool, faint_from: int) -> None:
    """Every spot at its size: pixel by pixel of a spot over all spots, or spot by spot, whichever is fewer turns."""
    (height, width), (wide, tall) = picture.shape, spots.reach
    codes = spots.codes + np.where(spots.faint, faint_from, 0).astype(np.int32)
    left, top = (np.floor(v - d / 2 + 0.5).astype(np.int64) for v, d in ((spots.column, wide), (spots.row, tall)))
    right = np.maximum(np.floor(spots.column + wide / 2 + 0.5).astype(np.int64), left + 1)
    bottom = np.maximum(np.floor(spots.row + tall / 2 + 0.5).astype(np.int64), top + 1)
    turns = int(np.max(right - left, initial=0)), int(np.max(bottom - top, initial=0))
    if len(codes) < turns[0] * turns[1]:
        for k in range(len(codes)):
            rows = np.arange(max(top[k], 0), min(bottom[k], height))[:, None]
            columns = np.arange(max(left[k], 0), min(right[k], width))[None, :]
            here = _in_spot(columns - spots.column[k], rows - spots.row[k], spots.reach, round_)
            r, c = np.nonzero(np.broadcast_to(here, (rows.size, columns.size)))
            picture[rows[r, 0], columns[0, c]] = codes[k]
        return
    for j, i in np.ndindex(turns[1], turns[0]):
        c, r = left + i, top + j
        here = (c < right) & (r < bottom) & (c >= 0) & (c < width) & (r >= 0) & (r < height)
        here &= _in_spot(c - spots.column, r - spots.row, spots.reach, round_)
        picture[r[here], c[here]] = codes[here]


def _in_spot(dx: np.ndarray, dy: np.ndarray, reach: tuple[float, float], round_: bool) -> np.ndarray | bool:
    """Whether the middle of a pixel lies in a disc; a square has all pixels between its edges."""
    return not round_ or (2 * (dx + 0.5) / reach[0]) ** 2 + (2 * (dy + 0.5) / reach[1]) ** 2 <= 1.0


def _png(picture: np.ndarray, painting: Painting) -> bytes:
    """Codes from -1 (nothing) to twice the palette (faint) as PNG; with a palette of its own where 256 colours do, so a
    byte a pixel before it is packed. Faint numbers are told apart in half as many steps: nobody sees the others."""
    from PIL import Image

    palette, n = painting.palette, len(painting.palette)
    coarse = 2 if painting.ordered else 1
    faint = picture >= n
    any_faint = bool(faint.any())
    if any_faint and coarse > 1:
        picture = np.where(faint, n + (picture - n) // coarse, picture)
    rgb = np.vstack([palette[:1], palette, *([palette[::coarse]] if any_faint else [])])
    alpha = np.full(len(rgb), 255, dtype=np.uint8)
    alpha[0], alpha[n + 1 :] = 0, round(255 * DIM)
    if len(rgb) <= 256:
        image = Image.fromarray((picture + 1).astype(np.uint8))
        image.putpalette(rgb.tobytes())
        transparency = {"transparency": alpha.tobytes()}
    else:
        image, transparency = Image.fromarray(np.column_stack([rgb, alpha])[picture + 1]), {}
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, **transparency)
    return out.getvalue()


def _steps(values: np.ndarray, span: tuple[float, float], n: int, missing: int) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        codes = np.clip(np.floor((values - span[0]) * (n / (span[1] - span[0]))), 0, n - 1)
    return np.where(known, codes, missing).astype(np.int32)


def _rgb(colours: Sequence[str]) -> np.ndarray:
    """``#rrggbb`` as uint8 (k, 3)."""
    try:
        return np.array([list(bytes.fromhex(c.removeprefix("#"))) for c in colours], dtype=np.uint8).reshape(-1, 3)
    except ValueError:
        raise DataError("colours as #rrggbb", found=", ".join(colours)[:80]) from None


def _ramp(stops: Sequence[str], n: int) -> list[str]:
    known = _rgb(stops).astype(np.float64)
    at = np.linspace(0, len(known) - 1, n)
    mixed = np.column_stack([np.interp(at, np.arange(len(known)), known[:, k]) for k in range(3)])
    return ["#" + bytes(row).hex() for row in np.floor(mixed + 0.5).astype(np.uint8)]


def _square() -> np.ndarray:
    corners = np.array([[232, 232, 236], [0, 130, 200], [243, 130, 20], [64, 12, 72]], dtype=np.float64)
    u, v = (g.reshape(-1, 1) / (SIDE - 1) for g in np.mgrid[0:SIDE, 0:SIDE])
    none, second, first, both = corners
    mixed = none * (1 - u) * (1 - v) + first * u * (1 - v) + second * (1 - u) * v + both * u * v
    return np.floor(mixed + 0.5).astype(np.uint8)


def from_query(view: View, query: Mapping[str, str], scales: Mapping[str, Sequence[str]]) -> Painting:
    """The painting that a page asks for: ``feature`` (index) and perhaps ``second``, or ``column``; ``layer``, ``clip``
    and ``limits`` (two numbers), ``log``, ``scale``, ``colours``."""
    log, clip = query.get("log") == "1", numbers(query.get("clip", "2,98"), 2)
    given = numbers(query["limits"], 2) if query.get("limits") else None
    stops = scales.get(query.get("scale", ""), next(iter(scales.values())))
    if "column" in query:
        column = view.obs(query["column"])
        if column.categories is None:
            return continuous(column.values, stops, given or limits(column.values, clip, log=log), log=log)
        colours = query.get("colours", "").split(",")
        if len(colours) != len(column.categories):
            raise DataError(f"{len(column.categories)} colours", found=str(len(colours)))
        return categorical(column.values, colours)
    layer = query.get("layer") or view.meta["default_layer"]

    def feature(name: str) -> tuple[np.ndarray, tuple[float, float]]:
        index = int(numbers(query.get(name, ""), 1)[0])
        return view.feature(index, layer), feature_limits(view.directory, index, layer, clip, log)

    values, span = feature("feature")
    if query.get("second"):
        other, range_ = feature("second")
        return bivariate(values, other, [span, range_], log=log)
    return continuous(values, stops, given or span, log=log)


def numbers(text: str, count: int) -> tuple[float, ...]:
    """*count* finite numbers with commas between them."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count or not np.isfinite(found).all():
        raise DataError(f"{count} numbers with commas between them", found=repr(text)[:60])
    return found


def canvas_from(query: Mapping[str, str]) -> Canvas:
    """``box``, ``size``, ``diameter``, ``up``, ``round`` of a query."""
    width, height = numbers(query.get("size", ""), 2)
    return Canvas(
        numbers(query.get("box", ""), 4),
        (int(width), int(height)),
        diameter=numbers(query.get("diameter", "0"), 1)[0],
        up=query.get("up") == "1",
        round_=query.get("round") == "1",
    )


def describe(painting: Painting) -> dict[str, Any]:
    """What a legend must know of it."""
    return {"limits": painting.limits, "missing": painting.missing}
