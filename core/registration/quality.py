"""How well two sections lie on each other, from points only."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from core.registration.outline import point_distance
from core.registration.result import Quality
from core.registration.section import Section
from core.registration.transforms import Transform

#: A point is on the section when a measured one is nearer than this, in point distances; the corners of a square cell
#: lie at 0.71, of a hexagonal one at 0.58.
ON_SECTION = 0.75
LEAST_DICE = 0.9  # sections that show the same tissue overlap more; one with a torn off piece has 0.93


def measure(
    transform: Transform, *, st_xy: np.ndarray, sm_xy: np.ndarray, st: Section, sm: Section, um_per_px: float
) -> Quality:
    """Measure *transform* between SM points (m, 2) and ST points (n, 2), each in the frame as measured."""
    distances = _outline_distances(transform, st, sm) / st.unit * um_per_px
    determinant = transform.jacobian_determinant(sm_xy)
    return Quality(
        outline_mean_um=float(distances.mean()),
        outline_p95_um=float(np.percentile(distances, 95)),
        dice=_dice(transform, st_xy, sm_xy, st, sm),
        smallest_jacobian=float((determinant / np.median(determinant)).min()),  # all are negative in a mirrored map
    )


def doubts(quality: Quality, st: Section, sm: Section) -> str:
    """What speaks against an alignment of this *quality*, as sentences; '' where nothing does."""
    if quality.dice == 0:
        return "SM lies beside ST, nothing overlaps. Move it by hand, or set landmarks."
    mend = "Look at the overlay; where it is wrong, set landmarks or start from a position set by hand."
    cut = [name for name, section in (("ST", st), ("SM", sm)) if section.all_cut]
    if cut:
        return f"{' and '.join(cut)} is cut nearly all around: its outline says nothing about the tissue. {mend}"
    if st.assumed or sm.assumed:
        return f"A straight side was taken for a cut: without that, the outlines did not fit. {mend}"
    if quality.dice < LEAST_DICE:
        part = f"The sections overlap by {100 * quality.dice:.0f} % only (Dice)"
        return f"{part}: they may show different parts of the tissue. {mend}"
    return ""


def _outline_distances(transform: Transform, st: Section, sm: Section) -> np.ndarray:
    """Nearest-point distances of both outlines, where both sections were measured, in spot distances."""
    sm_xy = st.work(transform.forward(sm.xy / sm.unit + sm.centre))
    back = sm.work(transform.inverse(st.xy / st.unit + st.centre))
    sm_counts = (sm.weight > 0) & (st.frame.beyond(sm_xy) < 0)
    st_counts = (st.weight > 0) & (sm.frame.beyond(back) < 0)
    to_st = cKDTree(st.xy).query(sm_xy[sm_counts])[0]
    to_sm = cKDTree(sm_xy).query(st.xy[st_counts])[0]
    both = np.concatenate([to_st, to_sm])
    return both if len(both) else np.array([np.inf])


def _dice(transform: Transform, st_xy: np.ndarray, sm_xy: np.ndarray, st: Section, sm: Section) -> float:
    """Overlap of the areas around the points, on a grid of half a spot distance."""
    moved = transform.forward(sm_xy)
    low = np.minimum(st_xy.min(axis=0), moved.min(axis=0))
    high = np.maximum(st_xy.max(axis=0), moved.max(axis=0))
    step = max(0.5 / st.unit, float((high - low).max()) / 1000)
    x, y = np.meshgrid(np.arange(low[0], high[0] + step, step), np.arange(low[1], high[1] + step, step))
    grid = np.column_stack([x.ravel(), y.ravel()])
    back = transform.inverse(grid)
    measured = (st.frame.beyond(st.work(grid)) < 0) & (sm.frame.beyond(sm.work(back)) < 0)
    on_st, on_sm = _on_section(grid[measured], st_xy), _on_section(back[measured], sm_xy)
    total = on_st.sum() + on_sm.sum()
    return float(2 * (on_st & on_sm).sum() / total) if total else 0.0


def _on_section(xy: np.ndarray, points: np.ndarray) -> np.ndarray:
    limit = ON_SECTION * point_distance(points)
    return np.isfinite(cKDTree(points).query(xy, distance_upper_bound=limit)[0])
