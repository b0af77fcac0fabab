"""The course of a fit: orientation, linear map, then a deformation; by the settings, from arrays alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.context import Context, Share
from core.errors import DataError
from core.registration.config import AlignConfig
from core.registration.fit import Fit, all_turns, around, fit
from core.registration.histology import Source, colours, find_tissue, outline_sources
from core.registration.landmarks import Landmarks, fit_landmarks, from_text, leave_one_out, residuals
from core.registration.latents import PITCH, Latents
from core.registration.manual import manual_transform
from core.registration.nonrigid import TIMES, Refined, refine
from core.registration.pair import Agreement, Pair, sections
from core.registration.quality import doubts, measure
from core.registration.result import Quality, RegistrationResult
from core.registration.section import Section
from core.registration.starts import Descent, Starts, transform_of, values_of
from core.registration.transforms import Similarity, Transform

if TYPE_CHECKING:
    from core.registration.likelihood import Evidence

#: to which both sections are smoothed in the rounds of a fit, spot distances: first what pulls from afar
BLURS = {"linear": (1.5, 1.0), "nonrigid": (1.0, 0.7)}
LINEAR_SHARE = 0.5  # of the work, where a deformation follows
#: landmark pairs from which on they tell turn and mirror image
STARTING = 3
FIRST = 0.6  # of the work of a fit of outlines, which may need a second try
ENOUGH_DICE = 0.95  # sections that show the same tissue overlap more, once they lie right

Both = tuple[Section, Section]  # ST, SM


def register(pair: Pair, config: AlignConfig, context: Context) -> RegistrationResult:
    """The map of the SM points of *pair* onto its ST points; see :func:`align`."""
    sources = outline_sources(config.st_outline, pair.picture, Source(pair.st_xy, pair.limit_xy, "spots"))
    if len(sources) > 1 and config.mode == "automatic":
        return _better(pair, [replace(config, st_outline=one.name) for one in sources], context)
    result, (st, sm) = _registered(pair, sources[0], config, context)
    doubt = doubts(result.quality, st, sm)
    unsure = result.orientation.ambiguous or bool(doubt and result.orientation.source == "search")
    note = f"{result.note} {doubt}".strip()
    orientation = replace(result.orientation, ambiguous=unsure)
    return replace(result, orientation=orientation, note=note, st_outline=sources[0].name)


def _registered(pair: Pair, source: Source, config: AlignConfig, context: Context) -> tuple[RegistrationResult, Both]:
    """:func:`register` from one outline, and the sections as they were compared."""
    placed = manual_transform(
        pair.st_xy,
        pair.sm_xy,
        flip=config.flip,
        rotation_deg=config.rotation_deg,
        scale_x=config.scale_x,
        scale_y=config.scale_y,
        shift_px=(config.shift_x_um / pair.um_per_px, config.shift_y_um / pair.um_per_px),
    )
    marks = from_text(config.landmarks)
    if config.mode != "automatic":
        both = sections(pair, config, source)
    if config.mode == "manual":
        quality = _marked(_measured(placed, pair, source, both), placed, marks, pair)
        return RegistrationResult(placed, pair.um_per_px, quality), both
    if config.mode == "landmarks":
        through = fit_landmarks(marks, config.landmark_fit)
        quality = _marked(_measured(through, pair, source, both), through, marks, pair, kind=config.landmark_fit)
        return RegistrationResult(through, pair.um_per_px, quality, stopped="landmarks"), both
    if len(marks) >= STARTING and config.orientation == "search":  # they say how the sections lie
        placed, config = fit_landmarks(marks, "similarity"), replace(config, orientation="given")
        config = replace(config, flip=placed.flip)
    found, both = _fit_outlines(placed, pair, source, config, context)
    st, sm = both
    more = _weights(config, pair, marks)
    evidence = _evidence(more, marks, pair, both)
    how = {"both": both, "config": config, "context": context}
    if more and found.stopped != "cancelled":
        found = _with_more(found, evidence, pair, **how)
    transform = transform_of(found.best.flip[0], found.best.values[0], sm, st)
    history, stopped, note = found.history, found.stopped, ""
    if config.transform == "nonrigid" and stopped != "cancelled":
        refined = _refined(found, evidence, pair, **how)
        transform, history, stopped = refined.transform, refined.history, refined.stopped
        note = "" if refined.kept else f"The linear map was kept; a deformation was not used: {refined.reason}."
    context.preview("alignment", xy=transform.forward(pair.sm_xy).astype(np.float32))
    quality = _marked(_measured(transform, pair, source, both), transform, marks, pair)
    context.progress(1.0, "aligned", outline_um=quality.outline_mean_um)
    return RegistrationResult(transform, pair.um_per_px, quality, found.orientation, history, stopped, note), both


def _better(pair: Pair, configs: list[AlignConfig], context: Context) -> RegistrationResult:
    """The result of the one of *configs* under which the sections overlap most."""
    results: list[RegistrationResult] = []
    for number, config in enumerate(configs):
        if not (results and context.cancelled()):
            results.append(register(pair, config, Share(context, number / len(configs), (number + 1) / len(configs))))
    return max(results, key=lambda result: result.quality.dice)


def _measured(transform: Transform, pair: Pair, source: Source, both: Both) -> Quality:
    st, sm = both
    return measure(transform, st_xy=source.xy, sm_xy=pair.sm_xy, st=st, sm=sm, um_per_px=pair.um_per_px)


def _marked(
    quality: Quality, transform: Transform, marks: Landmarks, pair: Pair, *, kind: str | None = None
) -> Quality:
    """*quality* with the errors at the landmarks; *kind* is the map that was fitted to them alone."""
    if len(marks) == 0:
        return quality
    left_out = np.nan if kind is None else float(np.mean(leave_one_out(marks, kind)))
    um = pair.um_per_px
    return replace(quality, landmark_um=float(residuals(transform, marks).mean()) * um, left_out_um=left_out * um)


def _fit_outlines(
    placed: Similarity, pair: Pair, source: Source, config: AlignConfig, context: Context
) -> tuple[Fit, Both]:
    """The fit of the outlines; where little overlaps, also with every straight side taken for a cut, which it may be
    at any angle to the raster. The better of both."""
    both = sections(pair, config, source)
    found = _fit(placed, pair, both, config, Share(context, 0.0, FIRST))
    if not config.cut_edges or found.stopped == "cancelled" or _overlap(found, pair, source, both) >= ENOUGH_DICE:
        return found, both
    cut = sections(pair, config, source, any_direction=True)
    if not any(len(section.frame.offsets) for section in cut):
        return found, both
    again = _fit(placed, pair, cut, config, Share(context, FIRST, 1.0))
    better = _overlap(again, pair, source, cut) > _overlap(found, pair, source, both)
    return (again, cut) if better else (found, both)


def _overlap(found: Fit, pair: Pair, source: Source, both: Both) -> float:
    st, sm = both
    return _measured(transform_of(found.best.flip[0], found.best.values[0], sm, st), pair, source, both).dice


def _fit(placed: Similarity, pair: Pair, both: Both, config: AlignConfig, context: Context) -> Fit:
    st, sm = both
    given = config.orientation == "given"
    starts = around(config.flip, values_of(placed, sm, st)) if given else all_turns()
    how = _descent(config)
    share = LINEAR_SHARE if config.transform == "nonrigid" else 1.0
    watch = _Watch(context, pair.sm_xy, st, sm, pair.um_per_px, config.robust_distance, share)
    score = Agreement(pair, st, sm)
    return fit(sm, st, starts, how, agreement=None if given else score, watch=watch, by=score.by)


def _descent(config: AlignConfig) -> Descent:
    return Descent(
        steps=config.max_steps,
        step=config.step,
        tolerance=config.tolerance,
        scale=config.robust_distance,
        free=np.array([True, True, True, config.transform != "similarity", True, True]),
    )


def _weights(config: AlignConfig, pair: Pair, marks: Landmarks) -> dict[str, float]:
    """Of the losses beside the outlines' that count."""
    if config.histology_weight > 0 and pair.picture is None:
        mend = "Attach one, or set histology_weight to 0."
        raise DataError("a histology image, which histology_weight compares with", found="none", mend=mend)
    wanted = {
        "features": config.features_weight if pair.values is not None else 0.0,
        "histology": config.histology_weight if pair.values is not None else 0.0,
        "landmarks": config.landmarks_weight if len(marks) else 0.0,
    }
    return {name: weight for name, weight in wanted.items() if weight > 0}


def _in_units(marks: Landmarks, both: Both) -> tuple[np.ndarray, np.ndarray] | None:
    st, sm = both
    return (sm.work(marks.sm_xy), st.work(marks.st_xy)) if len(marks) else None


def _evidence(more: Mapping[str, float], marks: Landmarks, pair: Pair, both: Both) -> Evidence:
    from core.registration.likelihood import Evidence

    st, sm = both
    latents = histology = None
    if more.keys() & {"features", "histology"}:
        known = pair.latents is not None
        latents = Latents(st, sm, pair.st_xy, pair.sm_xy, pair.latents if known else pair.values, latent=known)
    if "histology" in more:
        histology = partial(colours, pair.picture, find_tissue(pair.picture, pair.st_xy), st, PITCH)
    return Evidence(sm, st, latents, more, histology, _in_units(marks, both))


def _with_more(found: Fit, evidence: Evidence, pair: Pair, *, both: Both, config: AlignConfig, context: Context) -> Fit:
    """*found* improved by the losses beside the outlines: blurred pictures first, then sharper ones."""
    import torch

    from core.registration.optimise import LinearMap, settle

    st, sm = both
    best, history, stopped = found.best, found.history, found.stopped

    def watch(number: int, best: Starts, terms: Mapping[str, float]) -> bool:
        transform = transform_of(best.flip[0], best.values[0], sm, st)
        context.preview("alignment", xy=transform.forward(pair.sm_xy).astype(np.float32))
        share = LINEAR_SHARE if config.transform == "nonrigid" else 1.0
        numbers = _numbers(terms, st, pair)
        context.progress(0.95 * share, f"fitting outlines and {', '.join(evidence.weights)}", **numbers)
        return context.cancelled()

    for blur in BLURS["linear"]:
        if not context.cancelled():
            now = LinearMap(torch.as_tensor(best.flip), torch.as_tensor(best.values, dtype=torch.float32))
            best, history = settle(
                evidence.objective(now, blur),
                best,
                _descent(config),
                radius=sm.radius,
                precision=config.precision,
                watch=watch,
            )
    if context.cancelled():
        stopped = "cancelled"
    return replace(found, best=best, history=history, stopped=stopped)


def _refined(
    found: Fit, evidence: Evidence, pair: Pair, *, both: Both, config: AlignConfig, context: Context
) -> Refined:
    from core.registration.lddmm import Deforming

    st, sm = both

    def watch(fraction: float, transform: Transform, terms: dict[str, float]) -> bool:
        context.preview("alignment", xy=transform.forward(pair.sm_xy).astype(np.float32))
        done = LINEAR_SHARE + (0.99 - LINEAR_SHARE) * fraction
        context.progress(done, "deforming", **_numbers(terms, st, pair))
        return context.cancelled()

    score = Agreement(pair, st, sm)
    return refine(
        found.best,
        sm,
        st,
        [lambda map, blur=blur: evidence.objective(map, blur) for blur in BLURS["nonrigid"]],
        Deforming(config.reach, config.usual_warp, TIMES, config.max_steps, config.gain),
        points=pair.sm_xy,
        agreement=None if pair.values is None else score.of,
        watch=watch,
    )


def _numbers(terms: Mapping[str, float], st: Section, pair: Pair) -> dict[str, float]:
    """The losses, and the distance that the outlines' stands for."""
    distance = float(np.sqrt(2 * terms["outline"])) / st.unit * pair.um_per_px
    return {"outline_um": distance} | {f"loss_{name}": value for name, value in terms.items()}


@dataclass(frozen=True)
class _Watch:
    """Shows the best so far to whoever runs the step."""

    context: Context
    sm_xy: np.ndarray
    st: Section
    sm: Section
    um_per_px: float
    scale: float
    share: float = 1.0

    def __call__(self, fraction: float, message: str, best: Starts) -> bool:
        transform = transform_of(best.flip[0], best.values[0], self.sm, self.st)
        self.context.preview("alignment", xy=transform.forward(self.sm_xy).astype(np.float32))
        # The distance whose loss is the mean loss, see losses.robust.
        distance = self.scale * np.sqrt((1 + best.loss[0] / self.scale**2) ** 2 - 1)
        self.context.progress(
            self.share * fraction, message, outline_um=float(distance / self.st.unit * self.um_per_px)
        )
        return self.context.cancelled()
