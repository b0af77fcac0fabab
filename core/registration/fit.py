"""From two outlines to the best map: starts over all turns, halved again and again, then one precise descent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from core.registration.result import Orientation
from core.registration.section import Section
from core.registration.starts import Descent, Starts

COARSE_STEP_DEG = 15.0
DIFFERENT_DEG = 25.0  # orientations further apart than this are rivals
AMBIGUOUS = 0.25  # a confidence below this asks the person to look
SURE = 0.5  # an outline that is surer than this needs no help from the measured values
FLOOR = 0.02  # loss of outlines 0.2 spot distances apart: below it, which fits better is chance
POOR = 0.25  # loss of outlines 0.7 spot distances apart: the best fit of two that do not fit says little
CHANCE = 0.02  # agreement that values reach which have nothing to do with each other
POSSIBLE = 5.0  # orientations whose loss is more times the best's are out
SCALES = (0.9, 1.0, 1.15)
#: a section stretched or shrunk beyond this, upon equal areas, has collapsed onto a piece of the other's outline
MOST_STRETCH = 4.0
#: outline points, steps and survivors of the rounds of the search
ROUNDS = ((100, 40, 14), (200, 50, 8))

Watch = Callable[[float, str, Starts], bool]
#: how well the measured values fit each other under one start (flip, parameters (6,)), in [0, 1]
Agreement = Callable[[bool, np.ndarray], float]


@dataclass(frozen=True)
class Fit:
    """The best parameters, (1,) start, and how they were found."""

    best: Starts
    orientation: Orientation
    history: np.ndarray
    stopped: str


def all_turns() -> Starts:
    """Every COARSE_STEP_DEG, with and without mirror image, centred, equal areas."""
    angle = np.deg2rad(np.arange(0, 360, COARSE_STEP_DEG))
    values = np.zeros((2 * len(angle), 6))
    values[:, 0] = np.tile(angle, 2)
    return Starts(np.repeat([False, True], len(angle)), values, np.full(2 * len(angle), np.inf))


def around(flip: bool, placed: np.ndarray) -> Starts:
    """Where the person put it (6,), and with the centres on each other in several sizes."""
    values = np.vstack([placed] + [[placed[0], np.log(s), np.log(s), 0, 0, 0] for s in SCALES])
    return Starts(np.full(len(values), flip), values, np.full(len(values), np.inf))


def search(sm: Section, st: Section, starts: Starts, how: Descent, watch: Watch) -> tuple[Starts, bool]:
    """Halve *starts* round by round; the survivors by loss, and whether it was cancelled."""
    from core.registration.objective import make_objective
    from core.registration.optimise import descend

    for number, (points, steps, survivors) in enumerate(ROUNDS):
        begun, share = 0.4 * number / len(ROUNDS), 0.4 / len(ROUNDS)
        stopped = _Stopped(watch, begun, share, steps, "looking for the orientation")
        coarse = replace(how, steps=steps, step=2 * how.step, free=np.array([1, 1, 1, 0, 1, 1], dtype=bool))
        objective = make_objective(sm.thinned(points), st.thinned(points), {"outline": 1.0}, scale=how.scale)
        starts, _ = descend(objective, starts, coarse, radius=sm.radius, watch=stopped)
        starts = _sound(starts)
        starts = starts.take(_best_distinct(starts, survivors))
        if stopped.cancelled:
            return starts, True
    return starts, False


def fit(
    sm: Section,
    st: Section,
    starts: Starts,
    how: Descent,
    *,
    agreement: Agreement | None,
    watch: Watch,
    by: str = "features",
) -> Fit:
    """The best map of the SM outline onto the ST outline.

    Parameters
    ----------
    agreement
        Decides between orientations whose outlines fit about equally well. None: all starts have the orientation that
        the person gave; else *starts* go through the search.
    watch
        ``watch(fraction, message, best)`` is called after every step; a true answer stops and keeps the best.
    by
        What *agreement* compares.
    """
    from core.registration.objective import make_objective
    from core.registration.optimise import descend

    cancelled = False
    if agreement is not None:
        starts, cancelled = search(sm, st, starts, how, watch)
        possible = int((starts.loss <= POSSIBLE * (starts.loss.min() + FLOOR)).sum())
        starts = starts.take(range(min(max(possible, 2), len(starts.loss))))  # sorted; a runner-up is always reported
    history = np.zeros(0)
    if not cancelled:
        stopped = _Stopped(watch, 0.4, 0.55, how.steps, "fitting the outlines")
        objective = make_objective(sm, st, {"outline": 1.0}, scale=how.scale)
        starts, history = descend(objective, starts, how, radius=sm.radius, watch=stopped)
        cancelled = stopped.cancelled
    reason = "cancelled" if cancelled else "steps" if len(history) == how.steps else "converged"
    starts = _sound(starts)
    starts = starts.take(np.argsort(starts.loss, kind="stable"))
    if agreement is None:
        return Fit(starts.take([0]), Orientation(), history, reason)
    sure = 1.0 if sm.assumed or st.assumed else SURE
    best, orientation = _judge(starts, agreement, by, sure)
    return Fit(starts.take([best]), orientation, history, reason)


def _judge(starts: Starts, agreement: Agreement, by: str, sure: float) -> tuple[int, Orientation]:
    """The best of *starts*, which are sorted by loss, beside the best of clearly different orientation.

    Where the outlines leave it open (a confidence below *sure*), the agreement of the measured values (and colours)
    decides.
    """
    rivals = [i for i in range(1, len(starts.loss)) if _differ(starts, 0, i)]
    if not rivals:
        return 0, Orientation(source="search")
    confidence = 1 - (starts.loss[0] + FLOOR) / (starts.loss[rivals[0]] + FLOOR)
    confidence *= (POOR / max(starts.loss[0], POOR)) ** 2
    if confidence >= sure:
        return 0, _orientation(starts, rivals[0], confidence, "outline")
    score = np.array([agreement(flip, values) for flip, values in zip(starts.flip, starts.values, strict=True)])
    if score.max() <= 0:
        return 0, _orientation(starts, rivals[0], confidence, "outline")
    best = int(score.argmax())
    rival = max((i for i in range(len(score)) if _differ(starts, best, i)), key=lambda i: score[i])
    return best, _orientation(starts, rival, 1 - (score[rival] + CHANCE) / (score[best] + CHANCE), by)


def _orientation(starts: Starts, rival: int, confidence: float, decided_by: str) -> Orientation:
    confidence = float(np.clip(confidence, 0, 1))
    turn = float(np.rad2deg(starts.values[rival, 0]) % 360)
    return Orientation("search", confidence, turn, bool(starts.flip[rival]), confidence < AMBIGUOUS, decided_by)


def _sound(starts: Starts) -> Starts:
    """*starts* without those that collapsed; all of them where none is left."""
    sound = np.flatnonzero(np.abs(starts.values[:, 1:3]).max(axis=1) <= np.log(MOST_STRETCH))
    return starts.take(sound) if len(sound) else starts


def _best_distinct(starts: Starts, n: int) -> list[int]:
    """The *n* best that differ in orientation; the near copies among them are left out."""
    kept: list[int] = []
    for index in np.argsort(starts.loss):
        if all(_differ(starts, index, other, limit=DIFFERENT_DEG / 2) for other in kept):
            kept.append(int(index))
        if len(kept) == n:
            break
    return kept


def _differ(starts: Starts, a: int, b: int, *, limit: float = DIFFERENT_DEG) -> bool:
    turn = np.rad2deg(starts.values[a, 0] - starts.values[b, 0])
    return bool(starts.flip[a] != starts.flip[b] or abs((turn + 180) % 360 - 180) > limit)


class _Stopped:
    """Hands the best start on to *watch*, ten times a second at most, and remembers a request to stop."""

    def __init__(self, watch: Watch, begun: float, share: float, steps: int, message: str) -> None:
        self.watch, self.begun, self.share, self.steps, self.message = watch, begun, share, steps, message
        self.cancelled, self.last = False, 0.0

    def __call__(self, number: int, starts: Starts) -> bool:
        now = time.monotonic()
        if now - self.last < 0.1:
            return False
        self.last = now
        best = starts.take([int(starts.loss.argmin())])
        self.cancelled = self.watch(self.begun + self.share * (number + 1) / self.steps, self.message, best)
        return self.cancelled
