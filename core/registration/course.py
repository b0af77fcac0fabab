"""The course of a fit: orientation, linear map, then a deformation; by the settings, from arrays alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.context import Context, Share
from core.errors import DataError
from core.registration.config import AlignConfig
from core.registration.fit import Fit, all_turns, around, fit
from core.registration.histology import Source, colours, find_tissue, outline_sources
from core.registration.landmarks import Landmarks, fit_landmarks, from_text, leave_one_out, residuals
from core.registration.latents import Latents
from core.registration.manual import manual_transform
from core.registration.nonrigid import TIMES, Refined, refine
from core.registration.pair import Agreement, Pair, sections
from core.registration.pictures import PITCH, SHARPEST, Pictures
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


def register(pair: Pair, config: AlignConfig, context: Context) -> RegistrationResult:
    """The map of the SM points of *pair* onto its ST points; see :func:`align`."""
    sources = outline_sources(config.st_outline, pair.picture, Source(pair.st_xy, pair.limit_xy, "spots"))
    if len(sources) > 1 and config.mode == "automatic":
        return _better(pair, [replace(config, st_outline=one.name) for one in sources], context)
    st, sm = sections(pair, config, sources[0])
    points = {"st_xy": sources[0].xy, "sm_xy": pair.sm_xy, "st": st, "sm": sm, "um_per_px": pair.um_per_px}
    result = _registered(pair, config, context, points)
    doubt = doubts(result.quality, st, sm)
    unsure = result.orientation.ambiguous or bool(doubt and result.orientation.source == "search")
    note = f"{result.note} {doubt}".strip()
    orientation = replace(result.orientation, ambiguous=unsure)
    return replace(result, orientation=orientation, note=note, st_outline=sources[0].name)


def _registered(pair: Pair, config: AlignConfig, context: Context, points: Mapping[str, Any]) -> RegistrationResult:
    """:func:`register` from one outline; *points* are the parameters of :func:`measure`."""
    st, sm = points["st"], points["sm"]
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
    if config.mode == "manual":
        return RegistrationResult(placed, pair.um_per_px, _marked(measure(placed, **points), placed, marks, pair))
    if config.mode == "landmarks":
        through = fit_landmarks(marks, config.landmark_fit)
        quality = _marked(measure(through, **points), through, marks, pair, kind=config.landmark_fit)
        return RegistrationResult(through, pair.um_per_px, quality, stopped="landmarks")
    if len(marks) >= STARTING and config.orientation == "search":  # they say how the sections lie
        placed, config = fit_landmarks(marks, "similarity"), replace(config, orientation="given")
        config = replace(config, flip=placed.flip)
    found = _fit(placed, pair, (st, sm), config, context)
    more = _weights(config, pair, marks)
    evidence = _evidence(more, marks, pair, (st, sm), config)
    how = {"both": (st, sm), "config": config, "context": context}
    if more and found.stopped != "cancelled":
        found = _with_more(found, evidence, pair, **how)
    transform = transform_of(found.best.flip[0], found.best.values[0], sm, st)
    history, stopped, note = found.history, found.stopped, ""
    if config.transform == "nonrigid" and stopped != "cancelled":
        refined = _refined(found, evidence, pair, **how)
        transform, history, stopped = refined.transform, refined.history, refined.stopped
        note = "" if refined.kept else f"The linear map was kept; a deformation was not used: {refined.reason}."
    context.preview("alignment", xy=transform.forward(pair.sm_xy).astype(np.float32))
    quality = _marked(measure(transform, **points), transform, marks, pair)
    context.progress(1.0, "aligned", outline_um=quality.outline_mean_um)
    return RegistrationResult(transform, pair.um_per_px, quality, found.orientation, history, stopped, note)


def _better(pair: Pair, configs: list[AlignConfig], context: Context) -> RegistrationResult:
    """The result of the one of *configs* under which the sections overlap most."""
    results: list[RegistrationResult] = []
    for number, config in enumerate(configs):
        if not (results and context.cancelled()):
            results.append(register(pair, config, Share(context, number / len(configs), (number + 1) / len(configs))))
    return max(results, key=lambda result: result.quality.dice)


def _marked(
    quality: Quality, transform: Transform, marks: Landmarks, pair: Pair, *, kind: str | None = None
) -> Quality:
    """*quality* with the errors at the landmarks; *kind* is the map that was fitted to them alone."""
    if len(marks) == 0:
        return quality
    left_out = np.nan if kind is None else float(np.mean(leave_one_out(marks, kind)))
    um = pair.um_per_px
    return replace(quality, landmark_um=float(residuals(transform, marks).mean()) * um, left_out_um=left_out * um)


def _fit(placed: Similarity, pair: Pair, both: tuple[Section, Section], config: AlignConfig, context: Context) -> Fit:
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


def _pictures(pair: Pair, both: tuple[Section, Section], config: AlignConfig) -> Pictures:
    st, sm = both
    shown = None
    if config.histology_weight > 0 and pair.picture is not None:
        shown = colours(pair.picture, find_tissue(pair.picture, pair.st_xy), st, pitch=PITCH, blur=SHARPEST)
    latent = pair.latents is not None
    return Pictures(st, sm, pair.st_xy, pair.sm_xy, pair.latents if latent else pair.values, latent, histology=shown)


def _in_units(marks: Landmarks, both: tuple[Section, Section]) -> tuple[np.ndarray, np.ndarray] | None:
    st, sm = both
    return (sm.work(marks.sm_xy), st.work(marks.st_xy)) if len(marks) else None


def _evidence(
    more: Mapping[str, float], marks: Landmarks, pair: Pair, both: tuple[Section, Section], config: AlignConfig
) -> Evidence:
    from core.registration.likelihood import Evidence

    st, sm = both
    latents = None
    if "features" in more:
        known = pair.latents is not None
        latents = Latents(st, sm, pair.st_xy, pair.sm_xy, pair.latents if known else pair.values, latent=known)
    return Evidence(sm, st, latents, more, _pictures(pair, both, config), _in_units(marks, both))


def _with_more(
    found: Fit, evidence: Evidence, pair: Pair, *, both: tuple[Section, Section], config: AlignConfig, context: Context
) -> Fit:
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
    found: Fit, evidence: Evidence, pair: Pair, *, both: tuple[Section, Section], config: AlignConfig, context: Context
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
