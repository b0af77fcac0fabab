"""A section as the fit sees it: its outline in spot distances around its own centre, cut edges marked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.registration.frame import Frame, find_frame, straight_sides
from core.registration.outline import Shape, outline


@dataclass(frozen=True)
class Section:
    """An outline in working units: work = (point - centre) * unit, in spot distances.

    Attributes
    ----------
    xy
        (n, 2) outline points.
    weight
        (n,): 0 on edges that are cut by the frame, else 1.
    frame
        The cut sides.
    centre
        (2,) the section's centre of gravity, in the frame in which it was measured.
    unit
        Spot distances per unit of that frame.
    all_cut
        The edge of what was measured goes nearly all around: the outline says nothing about the tissue.
    assumed
        The cut sides are only straight ones, which may be borders of the tissue.
    """

    xy: np.ndarray
    weight: np.ndarray
    frame: Frame
    centre: np.ndarray
    unit: float
    all_cut: bool = False
    assumed: bool = False

    @property
    def radius(self) -> float:
        """Root mean square distance of the outline from the centre, spot distances."""
        return float(np.sqrt((self.xy**2).sum(axis=1).mean()))

    def work(self, points: np.ndarray) -> np.ndarray:
        """*points* (n, 2) in working units."""
        return (points - self.centre) * self.unit

    def thinned(self, n: int) -> Section:
        """About *n* of the outline's points."""
        keep = np.unique(np.linspace(0, len(self.xy) - 1, min(n, len(self.xy))).astype(int))
        return replace(self, xy=self.xy[keep], weight=self.weight[keep])


def make_section(
    shape: Shape,
    unit: float,
    *,
    spacing: float,
    smoothing: float,
    cut_edges: bool,
    limit_xy: np.ndarray | None = None,
    any_direction: bool = False,
) -> Section:
    """The outline of *shape* with *unit* spot distances per unit of its frame.

    Parameters
    ----------
    spacing, smoothing
        Spot distances, see :func:`core.registration.outline.outline`.
    cut_edges
        Look for edges along which the section is cut, and let them count for nothing.
    limit_xy
        (k, 2) the outermost points that could be measured, where that is known; in the frame as measured.
    any_direction
        Take every straight side for a cut, whatever is known.
    """
    rim = outline(shape, spacing=spacing / unit, smoothing=smoothing / unit)
    xy = (rim.xy - rim.centre) * unit
    none = Frame(np.zeros((0, 2)), np.zeros(0))
    limit = None if limit_xy is None else (limit_xy - rim.centre) * unit
    if not cut_edges:
        frame = none
    else:
        frame = straight_sides(xy) if any_direction else find_frame(xy, tolerance=0.75, limit_xy=limit)
    weight = (frame.beyond(xy) < -0.75).astype(np.float64)
    if weight.mean() < 0.25:  # a section that fills the measured area all round: its edges are all there is
        return Section(xy, np.ones(len(xy)), none, rim.centre, unit, all_cut=True)
    return Section(xy, weight, frame, rim.centre, unit, assumed=any_direction and len(frame.offsets) > 0)
