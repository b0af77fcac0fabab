"""The stage after the linear ones: a deformation, and its guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.registration.section import Section
from core.registration.starts import Starts, transform_of
from core.registration.transforms import Composition, Transform

if TYPE_CHECKING:
    from core.registration.lddmm import Deformed, Deforming
    from core.registration.losses import Map, Objective

TIMES = 5  # steps in time of the velocity: 1 spot distance in 5 steps is 0.01 from the end of the continuous flow
#: the deformation is kept while the area of no place shrinks to less than this share of the usual one
LEAST_AREA = 0.2
#: and while the measured values agree at least so well, as a share of how they agreed before it
LEAST_AGREEMENT = 0.75
SOME_AGREEMENT = 0.02  # below it, what agrees is chance

#: fraction done, the map so far, its loss terms -> whether to stop
Watch = Callable[[float, Transform, dict[str, float]], bool]


@dataclass(frozen=True)
class Refined:
    """What :func:`refine` found.

    Attributes
    ----------
    transform
        The deformation and the linear map after it; the linear map from before where it was not *kept*.
    kept, reason
        Whether the deformation is used, and why not.
    history, stopped
        See :class:`core.registration.lddmm.Deformed`.
    """

    transform: Transform
    kept: bool
    reason: str
    history: np.ndarray
    stopped: str


def refine(
    start: Starts,
    sm: Section,
    st: Section,
    rounds: Sequence[Callable[[Map], Objective]],
    how: Deforming,
    *,
    points: np.ndarray,
    agreement: Callable[[Transform], float] | None = None,
    watch: Watch | None = None,
) -> Refined:
    """Deform *sm* on *st*, from the linear map *start*.

    Parameters
    ----------
    rounds
        See :func:`core.registration.lddmm.deform`.
    points
        (n, 2) SM as measured: where folding would do harm.
    agreement
        How well the measured values agree under a map, in [0, 1]: a deformation that they clearly speak against is
        dropped.
    """
    from core.registration.lddmm import deform

    def whole(found: Deformed) -> Composition:
        linear = transform_of(found.linear.flip[0], found.linear.values[0], sm, st)
        return Composition((found.flow.scaled(sm.unit, sm.centre), linear))

    found = deform(
        rounds,
        start,
        sm.xy,
        how,
        watch=None if watch is None else lambda done, so_far, terms: watch(done, whole(so_far), terms),
    )
    before, after = transform_of(start.flip[0], start.values[0], sm, st), whole(found)
    reason = objection(before, after, points, agreement)
    return Refined(before if reason else after, not reason, reason, found.history, found.stopped)


def objection(
    before: Transform, after: Transform, points: np.ndarray, agreement: Callable[[Transform], float] | None
) -> str:
    """Why *before* is better than *after*; '' where nothing speaks against it."""
    area = after.jacobian_determinant(points) / before.jacobian_determinant(points)
    least = float(area.min() / np.median(area))
    if least < LEAST_AREA:
        return f"it would shrink a place to {100 * max(least, 0):.0f} % of its area" if least > 0 else "it would fold"
    if agreement is not None:
        was, now = agreement(before), agreement(after)
        if was >= SOME_AGREEMENT and now < LEAST_AGREEMENT * was:
            return f"the measured values would agree less ({was:.2f} before, {now:.2f} after)"
    return ""
