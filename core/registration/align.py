"""Put a metabolomics section into the frame of a transcriptomics section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys, options
from core.context import Context, Share
from core.errors import DataError
from core.options import option
from core.registration.features import Components, agreement, components
from core.registration.fit import Fit, all_turns, around, fit
from core.registration.frame import at_capture_limit
from core.registration.histology import (
    Histology,
    Source,
    colour_components,
    colours,
    find_tissue,
    histology_of,
    outline_sources,
)
from core.registration.landmarks import Landmarks, fit_landmarks, from_text, leave_one_out, residuals
from core.registration.latents import Latents
from core.registration.manual import manual_transform
from core.registration.nonrigid import TIMES, Refined, refine
from core.registration.outline import alpha_shape, point_distance
from core.registration.pictures import PITCH, SHARPEST, Pictures
from core.registration.quality import doubts, measure
from core.registration.result import Quality, RegistrationResult
from core.registration.section import Section, make_section
from core.registration.starts import Descent, Starts, transform_of, values_of
from core.registration.transforms import Similarity, Transform

if TYPE_CHECKING:
    from anndata import AnnData

    from core.registration.likelihood import Evidence

#: to which both sections are smoothed in the rounds of a fit, spot distances: first what pulls from afar
BLURS = {"linear": (1.5, 1.0), "nonrigid": (1.0, 0.7)}
LINEAR_SHARE = 0.5  # of the work, where a deformation follows
#: landmark pairs from which on they tell turn and mirror image
STARTING = 3


@dataclass(frozen=True)
class AlignConfig:
    """Settings of :func:`align`."""

    mode: str = option(
        "automatic",
        "Fit the sections, take exactly the values below, or fit the landmarks alone",
        choices=("automatic", "manual", "landmarks"),
    )
    orientation: str = option(
        "search", "Try all turns and mirror images, or start from the ones below", choices=("search", "given")
    )
    flip: bool = option(False, "Mirror SM left to right, before it is turned")
    rotation_deg: float = option(
        0.0, "Turn of SM, clockwise on the screen", unit="°", minimum=-360.0, maximum=360.0, label="Rotation"
    )
    scale_x: float = option(1.0, "Stretch along SM's x, upon equal areas", minimum=0.01, maximum=100.0)
    scale_y: float = option(1.0, "Stretch along SM's y, upon equal areas", minimum=0.01, maximum=100.0)
    shift_x_um: float = option(0.0, "Move right, from SM's centre on ST's centre", unit="µm")
    shift_y_um: float = option(0.0, "Move down, from SM's centre on ST's centre", unit="µm")
    transform: str = option(
        "nonrigid",
        "Turn, scales and shift; also a shear; or also a smooth deformation",
        choices=("similarity", "affine", "nonrigid"),
    )
    features_weight: float = option(
        1.0, "Weight of the measured values; 1 is what they are worth, 0 leaves them out", minimum=0.0, maximum=1e6
    )
    latents: str = option(
        "pca",
        "What the measured values are compared by: principal components, or a VAE of each section (trained first)",
        choices=("pca", "vae"),
        advanced=True,
    )
    histology_weight: float = option(
        0.0, "Weight of SM's misfit to the histology's colours, beside the outlines' 1", minimum=0.0, maximum=1000.0
    )
    landmarks_weight: float = option(
        1.0, "Weight of the landmark pairs' distances, beside the outlines' 1", minimum=0.0, maximum=1000.0
    )
    precision: float = option(
        0.01,
        "A fit with measured values has converged when two steps moved the section's rim by less",
        unit="spot distances",
        minimum=0.0,
        maximum=1.0,
        advanced=True,
    )
    landmarks: str = option("", "Pairs [[sm x, sm y, st x, st y], …]; on the command line also a CSV file")
    landmark_fit: str = option(
        "affine", "Map through the landmarks, where they are fitted alone", choices=("similarity", "affine", "spline")
    )
    st_outline: str = option(
        "auto",
        "From its spots, or from the tissue in the histology; auto: the spots, unless the image fits better",
        choices=("auto", "spots", "image"),
        label="ST outline",
    )
    spatial_key: str = option("spatial", "obsm slot of SM with the coordinates as measured", label="SM coordinates")
    cut_edges: bool = option(
        True, "Straight edges along the measured area are cuts, not tissue borders", label="Ignore cut edges"
    )
    max_steps: int = option(400, "Most steps of the gradient descent", minimum=1, maximum=10_000, label="Most steps")
    tolerance: float = option(
        0.002, "Converged when 30 steps gain less than this share of the loss", minimum=0.0, maximum=0.5, advanced=True
    )
    step: float = option(
        0.25, "First step of the descent", unit="spot distances", minimum=0.001, maximum=10.0, advanced=True
    )
    spacing: float = option(
        0.5, "Distance of neighbouring outline points", unit="spot distances", minimum=0.1, maximum=5.0, advanced=True
    )
    smoothing: float = option(
        1.0,
        "Evens out the grid's steps along the outline",
        unit="spot distances",
        minimum=0.0,
        maximum=10.0,
        advanced=True,
    )
    robust_distance: float = option(
        2.0,
        "Outlines further apart than this pull less",
        unit="spot distances",
        minimum=0.1,
        maximum=100.0,
        advanced=True,
    )
    reach: float = option(
        10.0,
        "A deformation moves places nearer than this about alike",
        unit="spot distances",
        minimum=1.0,
        maximum=100.0,
        advanced=True,
        label="Reach of a deformation",
    )
    usual_warp: float = option(
        0.3,
        "How far tissue is usually deformed: standard deviation along each axis",
        unit="spot distances",
        minimum=0.01,
        maximum=100.0,
        advanced=True,
        label="Usual deformation",
    )
    gain: float = option(
        0.5,
        "A deformation has converged when 4 steps make it less than this more likely (log)",
        minimum=1e-3,
        maximum=100.0,
        advanced=True,
    )

    @property
    def compares_values(self) -> bool:
        """Whether what was measured takes part in the fit."""
        if self.mode != "automatic":
            return False
        return self.features_weight > 0 or self.histology_weight > 0 or self.transform == "nonrigid"


def align(st: AnnData, sm: AnnData, config: AlignConfig | None = None, context: Context | None = None) -> AnnData:
    """A copy of *sm* whose ``obsm['spatial']`` lies in the frame of *st* (full-resolution image pixels, [x, y]).

    Minimises the two-way distance of the outlines over turn, mirror image, scales and shift, then goes on with what was
    measured beside them, for ``nonrigid`` also over a diffeomorphism (paper, eq. 1-7). Also writes
    ``obsm['spatial_raw']``, the coordinates as measured, and ``uns['spatialmeta']['alignment']``, the
    :class:`RegistrationResult` as a dictionary.

    Raises
    ------
    DataError
        No coordinates, or an outline of fewer than 20 points.
    ConfigError
        A setting is out of its range.
    """
    config, context = options.check(config or AlignConfig()), context or Context()
    st_xy, sm_xy = coordinates(st, keys.SPATIAL, "ST"), coordinates(sm, config.spatial_key, "SM")
    pair = Pair(
        st_xy=st_xy,
        sm_xy=sm_xy,
        um_per_px=_um_per_px(st),
        limit_xy=_capture_limit(st, st_xy),
        values=(st.layers.get(keys.COUNTS, st.X), sm.layers.get(keys.COUNTS, sm.X)),
        picture=histology_of(st.uns.get(keys.UNS_SPATIAL)),
        latents=_latents(st, sm) if config.latents == "vae" and config.compares_values else None,
    )
    result = register(pair, config, context)
    aligned = sm.copy()
    aligned.obsm[keys.SPATIAL_RAW] = np.asarray(sm.obsm[config.spatial_key]).copy()
    aligned.obsm[keys.SPATIAL] = result.forward(sm_xy)
    notes = dict(aligned.uns.get(keys.UNS, {}))
    notes[keys.ALIGNMENT] = result.to_dict()
    aligned.uns[keys.UNS] = notes
    return aligned


@dataclass(frozen=True)
class Pair:
    """Two sections as arrays.

    Attributes
    ----------
    st_xy, sm_xy
        (n, 2), (m, 2), each in the frame as measured.
    um_per_px
        µm per unit of the ST frame.
    limit_xy
        (k, 2) the ST spots beyond which there was nothing to measure with; None where that is not known.
    values
        Counts (n, genes) and intensities (m, metabolites), dense or sparse, for orientations that the outline leaves
        open; None: the outline has to do.
    picture
        The histology under the spots; None where there is none.
    latents
        (n, k) and (m, l) for the losses that compare what was measured; None: principal components of *values*.
    """

    st_xy: np.ndarray
    sm_xy: np.ndarray
    um_per_px: float
    limit_xy: np.ndarray | None = None
    values: tuple[Any, Any] | None = None
    picture: Histology | None = None
    latents: tuple[np.ndarray, np.ndarray] | None = None


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


def sections(pair: Pair, config: AlignConfig, source: Source) -> tuple[Section, Section]:
    """Both outlines in spot distances, ST (around *source*) first; SM at the size at which the areas are equal."""
    st_shape, sm_shape = alpha_shape(source.xy), alpha_shape(pair.sm_xy)
    unit = 1 / point_distance(pair.st_xy)
    same_area = float(unit * np.sqrt(st_shape.area / sm_shape.area))
    how = {"spacing": config.spacing, "smoothing": config.smoothing, "cut_edges": config.cut_edges}
    st = make_section(st_shape, unit, limit_xy=source.limit_xy, **how)
    return st, make_section(sm_shape, same_area, **how)


def coordinates(adata: AnnData, key: str, what: str) -> np.ndarray:
    """``obsm[key]`` as finite float64 (n, 2). Raises DataError where it is missing or has gaps."""
    if key not in adata.obsm:
        there = ", ".join(adata.obsm) or "none"
        raise DataError(f"{what} coordinates in obsm['{key}']", found=there, mend="Name the slot that has them.")
    xy = np.asarray(adata.obsm[key], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2 or not np.isfinite(xy[:, :2]).all():
        raise DataError(f"finite {what} coordinates [x, y] in obsm['{key}']", found=f"shape {xy.shape} or gaps")
    return xy[:, :2]


def _um_per_px(st: AnnData) -> float:
    from core.spatial.scale import um_per_px

    known = st.uns.get(keys.UNS, {}).get(keys.UM_PER_PX)
    return float(known) if known is not None else um_per_px(st)[0]


def _marked(
    quality: Quality, transform: Transform, marks: Landmarks, pair: Pair, *, kind: str | None = None
) -> Quality:
    """*quality* with the errors at the landmarks; *kind* is the map that was fitted to them alone."""
    if len(marks) == 0:
        return quality
    left_out = np.nan if kind is None else float(np.mean(leave_one_out(marks, kind)))
    um = pair.um_per_px
    return replace(quality, landmark_um=float(residuals(transform, marks).mean()) * um, left_out_um=left_out * um)


def _latents(st: AnnData, sm: AnnData) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for section, modality in ((st, keys.ST), (sm, keys.SM)):
        slot = keys.X_EMB_MODALITY[modality]
        if slot not in section.obsm:
            mend = "The step 'align' of core.pipeline trains them."
            raise DataError(f"the latent of {modality} in obsm['{slot}']", found="no such slot", mend=mend)
        found.append(np.asarray(section.obsm[slot], dtype=np.float64))
    return found[0], found[1]


def _capture_limit(st: AnnData, st_xy: np.ndarray) -> np.ndarray | None:
    if not {"array_row", "array_col"} <= set(st.obs.columns):
        return None
    return st_xy[at_capture_limit(st.obs["array_row"].to_numpy(), st.obs["array_col"].to_numpy())]


def _fit(placed: Similarity, pair: Pair, both: tuple[Section, Section], config: AlignConfig, context: Context) -> Fit:
    st, sm = both
    given = config.orientation == "given"
    starts = around(config.flip, values_of(placed, sm, st)) if given else all_turns()
    how = _descent(config)
    share = LINEAR_SHARE if config.transform == "nonrigid" else 1.0
    watch = _Watch(context, pair.sm_xy, st, sm, pair.um_per_px, config.robust_distance, share)
    score = _Agreement(pair, st, sm)
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

    score = _Agreement(pair, st, sm)
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


class _Agreement:
    """How well the measured values fit each other; their components are made at the first call only."""

    def __init__(self, pair: Pair, st: Section, sm: Section) -> None:
        self.pair, self.st, self.sm = pair, st, sm

    def __call__(self, flip: bool, values: np.ndarray) -> float:
        transform = transform_of(flip, values, self.sm, self.st)
        score = self.of(transform)
        if self._colours is not None:
            score += agreement(transform, self._colours, self._components[1], reach=1 / self.st.unit)
        return score

    def of(self, transform: Transform) -> float:
        if self.pair.values is None:
            return 0.0
        return agreement(transform, *self._components, reach=1 / self.st.unit)

    @property
    def by(self) -> str:
        """What is compared."""
        known = {"features": self.pair.values is not None, "image": self._colours is not None}
        return " and ".join(name for name, there in known.items() if there)

    @cached_property
    def _colours(self) -> Components | None:
        if self.pair.values is None or self.pair.picture is None:
            return None
        return colour_components(self.pair.picture, self.pair.st_xy)

    @cached_property
    def _components(self) -> tuple[Components, Components]:
        counts, intensities = self.pair.values
        return components(counts, self.pair.st_xy), components(intensities, self.pair.sm_xy)


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
