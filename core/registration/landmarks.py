"""Landmarks: the same places marked in both sections by a person, and the maps that fit them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes

from core.errors import DataError
from core.registration.spline import ThinPlateSpline
from core.registration.transforms import Affine, Similarity, Transform

MOST = 1000
#: fewest pairs that determine a map, and what it is called
FEWEST = {"similarity": 2, "affine": 3, "spline": 4}
TITLES = {"similarity": "a similarity", "affine": "an affine map", "spline": "a thin-plate spline"}
COLUMNS = ("sm_x", "sm_y", "st_x", "st_y")
#: MAGPIE's landmark CSV: MSI left in its own coordinates, Visium right in pixels of a picture
MAGPIE_COLUMNS = ("x_left", "y_left", "x_right", "y_right")
SCALES = ("tissue_hires_scalef", "tissue_lowres_scalef")
#: how far beside the spots a landmark may lie, as a share of the section: tissue goes on beyond the capture area
OUTSIDE = 0.1
#: pairs that lie on one line say nothing across it: least width over length
THINNEST = 1e-3


@dataclass(frozen=True)
class Landmarks:
    """Pairs of points.

    Attributes
    ----------
    sm_xy
        (n, 2) in the SM frame as measured.
    st_xy
        (n, 2) the same places in full-resolution ST pixels.
    """

    sm_xy: np.ndarray
    st_xy: np.ndarray

    def __len__(self) -> int:
        return len(self.sm_xy)

    def without(self, index: int) -> Landmarks:
        """All but one."""
        return Landmarks(np.delete(self.sm_xy, index, axis=0), np.delete(self.st_xy, index, axis=0))

    @property
    def rows(self) -> np.ndarray:
        """(n, 4): SM x, SM y, ST x, ST y."""
        return np.column_stack([self.sm_xy, self.st_xy])

    def to_text(self) -> str:
        """JSON ``[[sm x, sm y, st x, st y], …]``, as settings keep it; '' without pairs."""
        return json.dumps(self.rows.tolist(), separators=(",", ":")) if len(self) else ""

    def to_csv(self) -> str:
        """With a header, as :func:`from_csv` reads it."""
        lines = [",".join(COLUMNS), *(",".join(repr(float(v)) for v in row) for row in self.rows)]
        return "\n".join(lines) + "\n"


def from_rows(rows: Any) -> Landmarks:
    """Landmarks from (n, 4) numbers: SM x, SM y, ST x, ST y.

    Raises
    ------
    DataError
        Not four finite numbers a pair, too many pairs, or one place twice.
    """
    wanted = "landmark pairs of four numbers (SM x, SM y, ST x, ST y)"
    try:
        table = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(wanted, found="rows of unequal length, or text among the numbers") from None
    if table.size == 0:
        table = table.reshape(0, 4)
    if table.ndim != 2 or table.shape[1] != 4 or not np.isfinite(table).all():
        raise DataError(wanted, found=f"an array of shape {table.shape}" if table.ndim != 2 else "a gap or infinity")
    if len(table) > MOST:
        raise DataError(f"at most {MOST} landmark pairs", found=f"{len(table)}")
    for name, points in (("SM", table[:, :2]), ("ST", table[:, 2:])):
        if len(np.unique(points, axis=0)) < len(points):
            raise DataError("every landmark at a place of its own", found=f"an {name} point twice", mend="Delete one.")
    return Landmarks(table[:, :2], table[:, 2:])


def from_text(text: str) -> Landmarks:
    """The reverse of :meth:`Landmarks.to_text`."""
    if not text.strip():
        return from_rows([])
    try:
        rows = json.loads(text)
    except ValueError:
        found, mend = repr(text[:40]), "Give [[sm x, sm y, st x, st y], …], or on the command line a CSV file."
        raise DataError("landmarks as JSON", found=found, mend=mend) from None
    return from_rows(rows)


def from_csv(text: str, *, st_xy: np.ndarray, scales: Sequence[float] = ()) -> Landmarks:
    """Landmarks from a CSV with the columns ``sm_x, sm_y, st_x, st_y`` (SM as measured, ST in full-resolution pixels),
    or from MAGPIE's (``X_left, Y_left, X_right, Y_right``, the right ones in pixels of the picture that was clicked).

    Parameters
    ----------
    st_xy
        (n, 2) ST spots, full-resolution pixels: MAGPIE's file does not say which picture its pixels count, so the scale
        is the smallest of *scales* and 1 at which all its points lie on the section.
    scales
        Picture pixels per full-resolution pixel, of the pictures that there are (:func:`picture_scales`).

    Raises
    ------
    DataError
        Other columns, a line without four numbers, or points beside the section at every scale.
    """
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) < 2:
        raise DataError("a landmark CSV with a header and a pair a line", found=f"{len(lines)} lines")
    separator = max(",;\t", key=lines[0].count)
    header, *table = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)
    names = [name.strip().lower() for name in header]
    columns = next((c for c in (COLUMNS, MAGPIE_COLUMNS) if set(c) <= set(names)), None)
    if columns is None:
        wanted = f"a landmark CSV with the columns {', '.join(COLUMNS)} (or MAGPIE's X_left, Y_left, X_right, Y_right)"
        raise DataError(wanted, found=", ".join(header)[:120], mend="Rename the columns.")
    places = [names.index(c) for c in columns]
    rows = from_rows([_numbers(row, places, line) for line, row in enumerate(table, start=2)])
    if columns == COLUMNS:
        return rows
    return Landmarks(rows.sm_xy, _full_resolution(rows.st_xy, st_xy, scales))


def _full_resolution(pixels: np.ndarray, st_xy: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    low, high = st_xy.min(axis=0), st_xy.max(axis=0)
    margin = OUTSIDE * (high - low)
    for scale in sorted({*scales, 1.0}):
        full = pixels / scale
        if ((full >= low - margin) & (full <= high + margin)).all():
            return full
    mend = f"Give full-resolution pixels in the columns {', '.join(COLUMNS)}."
    raise DataError("landmarks on the ST section at the scale of one of its pictures", found="none", mend=mend)


def _numbers(row: list[str], columns: list[int], line: int) -> list[float]:
    try:
        return [float(row[c]) for c in columns]
    except (IndexError, ValueError):
        raise DataError(f"four numbers in line {line} of the landmark CSV", found=", ".join(row)[:80]) from None


def picture_scales(spatial: Mapping[str, Any] | None) -> list[float]:
    """Pixels of Space Ranger's pictures per full-resolution pixel, from ``uns['spatial']``."""
    found = []
    for library in (spatial or {}).values():
        factors = dict(library.get("scalefactors", {}))
        found += [float(factors[name]) for name in SCALES if name in factors]
        if SCALES[1] in factors:  # where the hires picture is missing its scale is too: 2,000 px against 600 px
            found.append(float(factors[SCALES[1]]) * 2000 / 600)
    return found


def fit_landmarks(landmarks: Landmarks, kind: str) -> Transform:
    """The map of *kind* that fits best.

    ``similarity``: least squares over turn, mirror image, one scale and shift (Procrustes; Schönemann, Psychometrika
    31, 1966); two pairs can not tell the mirror image: it is taken as none. ``affine``: least squares over all.
    ``spline``: the thin-plate spline, which goes through every pair.

    Raises
    ------
    DataError
        Too few pairs, or all on one line.
    """
    if len(landmarks) < FEWEST[kind]:
        mend = "Set more pairs, or take a simpler map."
        raise DataError(f"{FEWEST[kind]} landmark pairs for {TITLES[kind]}", found=str(len(landmarks)), mend=mend)
    if kind == "similarity":
        return _similarity(landmarks)
    for name, points in (("SM", landmarks.sm_xy), ("ST", landmarks.st_xy)):
        width = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if width[1] <= THINNEST * width[0]:
            found, mend = f"all {name} points on one line", "Set one beside it."
            raise DataError(f"landmarks that span an area, for {TITLES[kind]}", found=found, mend=mend)
    if kind == "spline":
        return ThinPlateSpline.through(landmarks.sm_xy, landmarks.st_xy)
    design = np.column_stack([landmarks.sm_xy, np.ones(len(landmarks))])
    solved, *_ = np.linalg.lstsq(design, landmarks.st_xy, rcond=None)
    return Affine.of(solved[:2].T, solved[2])


def _similarity(landmarks: Landmarks) -> Similarity:
    source, target = landmarks.sm_xy.mean(axis=0), landmarks.st_xy.mean(axis=0)
    sm, st = landmarks.sm_xy - source, landmarks.st_xy - target
    if len(landmarks) == 2:  # a third pair, square to the line, decides that nothing is mirrored
        sm, st = (np.vstack([p, [-p[0, 1], p[0, 0]], [p[0, 1], -p[0, 0]]]) for p in (sm, st))
    turn, trace = orthogonal_procrustes(sm, st)  # sm @ turn is nearest to st
    matrix, scale = turn.T, float(trace / (sm**2).sum())
    flip = np.linalg.det(matrix) < 0
    rotation = matrix @ np.diag([-1.0, 1.0]) if flip else matrix
    return Similarity(
        rotation_deg=float(np.rad2deg(np.arctan2(rotation[1, 0], rotation[0, 0])) % 360),
        flip=bool(flip),
        scale_x=scale,
        scale_y=scale,
        source=(float(source[0]), float(source[1])),
        target=(float(target[0]), float(target[1])),
    )


def residuals(transform: Transform, landmarks: Landmarks) -> np.ndarray:
    """How far each SM point lies from its ST point, (n,), ST units."""
    if len(landmarks) == 0:
        return np.zeros(0)
    return np.linalg.norm(transform.forward(landmarks.sm_xy) - landmarks.st_xy, axis=1)


def leave_one_out(landmarks: Landmarks, kind: str) -> np.ndarray:
    """How far each pair lies from the map that the others alone give, (n,), ST units; NaN where they give none.

    The honest error: a spline goes through its own landmarks whatever they are.
    """
    found = np.full(len(landmarks), np.nan)
    for i in range(len(landmarks)):
        try:
            transform = fit_landmarks(landmarks.without(i), kind)
        except DataError:
            continue
        one = Landmarks(landmarks.sm_xy[[i]], landmarks.st_xy[[i]])
        found[i] = residuals(transform, one)[0]
    return found
