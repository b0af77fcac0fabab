"""Reassignment: the aligned SM pixels are resampled onto the ST spots.

One sparse weight matrix of shape (n_spots, n_pixels) holds the whole of it: row i has the weights of the pixels that
spot i averages, and sums to one. ST counts are carried, never averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError
from core.options import check, option
from core.provenance import merge_histories
from core.spatial import check_coordinates, nearest, smallest_distance
from core.spatial.scale import um_per_px

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: uns['spatialmeta'][keys.REASSIGNMENT]: the coverage report, plain numbers and arrays
#: suffix of a metabolite that has the name of a gene
CLASH_SUFFIX = "_SM"


@dataclass(frozen=True)
class ReassignConfig:
    """Settings of :func:`reassign`."""

    k: int = option(
        5, "nearest SM pixels that a spot averages", unit="pixels", minimum=1, maximum=1000, label="Pixels per spot (K)"
    )
    max_distance_factor: float = option(
        1.5, "reach of a spot", unit="× smallest ST spot distance", minimum=0.01, maximum=100.0, label="Reach"
    )
    weighting: str = option(
        "mean", "all pixels count alike, or near ones more (1 / distance)", choices=("mean", "distance")
    )
    missing: str = option(
        "drop",
        "spots without a pixel within reach: leave out, keep without metabolites, or take the nearest pixel",
        choices=("drop", "keep", "nearest"),
        label="Spots without a pixel",
    )


@dataclass(frozen=True)
class Links:
    """Which pixels each spot takes, nearest first.

    ``indices``, ``distances`` (coordinate unit) and ``weights`` have shape (n_targets, k); a place without a pixel has
    weight 0 and distance infinity. ``count``, shape (n_targets,), is the number of pixels taken. ``within_reach``,
    bool of shape (n_targets,), is False for spots that only ``missing='nearest'`` gave a pixel.
    """

    indices: np.ndarray
    distances: np.ndarray
    weights: np.ndarray
    count: np.ndarray
    within_reach: np.ndarray
    n_sources: int

    @property
    def matrix(self) -> sparse.csr_matrix:
        """The weights as CSR of shape (n_targets, n_sources)."""
        taken = self.weights > 0
        indptr = np.concatenate([[0], np.cumsum(self.count)])
        shape = (len(self.indices), self.n_sources)
        matrix = sparse.csr_matrix((self.weights[taken], self.indices[taken], indptr), shape=shape)
        matrix.sort_indices()
        return matrix

    @property
    def mean_distance(self) -> np.ndarray:
        """Mean distance of the pixels taken, shape (n_targets,); NaN where there is none."""
        total = np.where(self.weights > 0, self.distances, 0.0).sum(axis=1)
        return np.divide(total, self.count, out=np.full(len(total), np.nan), where=self.count > 0)


def knn_links(
    target_xy: np.ndarray,
    source_xy: np.ndarray,
    *,
    k: int = 5,
    max_distance: float = np.inf,
    weighting: str = "mean",
    take_nearest: bool = False,
) -> Links:
    """The up to *k* nearest sources within *max_distance* (inclusive) of every target, with their weights.

    Parameters
    ----------
    target_xy, source_xy
        Shapes (n_targets, 2) and (n_sources, 2), in the same unit as *max_distance*.
    weighting
        ``'mean'``: equal weights; ``'distance'``: proportional to 1 / distance, where distances below a thousandth of
        the reach count as that.
    take_nearest
        Give targets with no source in reach their nearest one.
    """
    distances, indices = nearest(target_xy, source_xy, k)
    # a pixel at the limit itself belongs to the spot, whatever the last bit of its distance
    taken = distances <= max_distance * (1 + 1e-9)
    within_reach = taken.any(axis=1)
    if take_nearest:
        taken[:, 0] = True
    raw = taken.astype(np.float64)
    if weighting == "distance":
        scale = max_distance if np.isfinite(max_distance) else float(distances.max(initial=0.0)) or 1.0
        raw = raw / np.maximum(distances, 1e-3 * scale)
    total = raw.sum(axis=1, keepdims=True)
    weights = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    distances = np.where(taken, distances, np.inf)
    return Links(indices, distances, weights, taken.sum(axis=1), within_reach, len(source_xy))


def knn_weights(target_xy: np.ndarray, source_xy: np.ndarray, **settings) -> sparse.csr_matrix:
    """Weights of :func:`knn_links` (same settings) as CSR of shape (n_targets, n_sources); rows sum to 1 or 0."""
    return knn_links(target_xy, source_xy, **settings).matrix


def links(st_xy: np.ndarray, sm_xy: np.ndarray, config: ReassignConfig) -> tuple[Links, float]:
    """The links that :func:`reassign` uses, and the reach in pixels; both sections in the same frame."""
    st_xy, sm_xy = check_coordinates(st_xy, "ST coordinates"), check_coordinates(sm_xy, "SM coordinates")
    reach = config.max_distance_factor * smallest_distance(st_xy)
    found = knn_links(
        st_xy,
        sm_xy,
        k=config.k,
        max_distance=reach,
        weighting=config.weighting,
        take_nearest=config.missing == "nearest",
    )
    return found, reach


@dataclass(frozen=True)
class Audit:
    """What one spot takes: ``pixels`` (row numbers in the SM section), ``weights`` (sum 1) and ``distances`` (px),
    all of shape (n_taken,), nearest first; ``reach`` in px."""

    pixels: np.ndarray
    weights: np.ndarray
    distances: np.ndarray
    reach: float


def audit(st_xy: np.ndarray, sm_xy: np.ndarray, config: ReassignConfig, spot_index: int) -> Audit:
    """Pixels, weights and distances of one ST spot, as :func:`reassign` takes them."""
    st_xy = check_coordinates(st_xy, "ST coordinates")
    if not 0 <= spot_index < len(st_xy):
        raise DataError(f"a spot number from 0 to {len(st_xy) - 1}", found=str(spot_index))
    reach = config.max_distance_factor * smallest_distance(st_xy)
    one = knn_links(
        st_xy[[spot_index]],
        check_coordinates(sm_xy, "SM coordinates"),
        k=config.k,
        max_distance=reach,
        weighting=config.weighting,
        take_nearest=config.missing == "nearest",
    )
    n = int(one.count[0])
    return Audit(one.indices[0, :n], one.weights[0, :n], one.distances[0, :n], reach)


def reassign(st: AnnData, sm: AnnData, config: ReassignConfig | None = None, context: Context | None = None) -> AnnData:
    """The joint object: rows are ST spots, columns genes then metabolites.

    ``X`` and ``layers['counts']`` (float32 CSR) hold the ST counts exactly as measured and the weighted SM
    intensities. obs and uns of the ST section are carried; ``obs['n_sm_pixels']`` and ``['sm_pixel_distance_um']``
    say what a spot took; ``uns['spatialmeta']['reassignment']`` has the coverage.

    Raises
    ------
    DataError
        When coordinates are missing or no spot has a pixel within reach.
    """
    from anndata import AnnData

    config, context = check(config or ReassignConfig()), context or Context()
    for name, section in (("ST", st), ("SM", sm)):
        if keys.SPATIAL not in section.obsm:
            raise DataError(f"coordinates of the {name} section in obsm['spatial']", found=f"{sorted(section.obsm)}")
    context.progress(0.1, "finding the nearest pixels")
    found, reach = links(np.asarray(st.obsm[keys.SPATIAL])[:, :2], np.asarray(sm.obsm[keys.SPATIAL])[:, :2], config)
    if not found.within_reach.any():
        raise DataError(
            f"SM pixels within {reach:.0f} px of an ST spot",
            found="none",
            mend="Align the sections first, or raise the distance factor.",
        )
    context.stop_if_cancelled()
    keep = found.count > 0 if config.missing == "drop" else np.ones(st.n_obs, dtype=bool)
    rows = np.flatnonzero(keep)
    context.progress(0.4, "averaging intensities")
    intensities = sparse.csr_matrix(_counts(sm), dtype=np.float64)
    resampled = sparse.csr_matrix(found.matrix[rows] @ intensities)
    counts = sparse.csr_matrix(_counts(st)[rows], dtype=np.float32)
    X = sparse.hstack([counts, resampled.astype(np.float32)], format="csr")
    context.stop_if_cancelled()
    context.progress(0.8, "assembling the joint object")
    var, renamed = _joint_var(st.var, sm.var)
    um, source = _scale(st)
    joint = AnnData(X=X, obs=_joint_obs(st, found, rows, um), var=var, layers={keys.COUNTS: X.copy()})
    joint.obsm[keys.SPATIAL] = np.asarray(st.obsm[keys.SPATIAL], dtype=np.float64)[rows, :2]
    report = _report(found, keep, reach * um, intensities, resampled)
    _write_uns(joint, st, sm, {**report, "renamed": np.array(renamed, dtype=str)})
    joint.uns[keys.UNS] |= {keys.UM_PER_PX: um, keys.UM_PER_PX_SOURCE: source}
    context.progress(1.0, f"{report['n_spots_covered']} of {st.n_obs} spots have metabolites")
    return joint


def _counts(adata: AnnData) -> np.ndarray | sparse.spmatrix:
    return adata.layers.get(keys.COUNTS, adata.X)


def _scale(st: AnnData) -> tuple[float, str]:
    """µm per pixel and where it comes from: as the reader recorded it, else found from the section."""
    ours = st.uns.get(keys.UNS, {})
    if keys.UM_PER_PX in ours:
        return float(ours[keys.UM_PER_PX]), str(ours.get(keys.UM_PER_PX_SOURCE, "recorded without a source"))
    return um_per_px(st)


def _joint_obs(st: AnnData, found: Links, rows: np.ndarray, um: float) -> pd.DataFrame:
    obs = st.obs.iloc[rows].copy()
    if keys.SAMPLE not in obs:
        libraries = list(st.uns.get(keys.UNS_SPATIAL, {}))
        obs[keys.SAMPLE] = pd.Categorical([libraries[0] if len(libraries) == 1 else "sample"] * len(obs))
    obs[keys.N_PIXELS] = found.count[rows].astype(np.int64)
    obs[keys.MEAN_PIXEL_DISTANCE_UM] = found.mean_distance[rows] * um
    return obs


def _joint_var(genes: pd.DataFrame, metabolites: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One table for all features, and the metabolites that had to be renamed.

    Columns of both are kept; where one modality does not know a column it gets NaN (numbers), False (bool) or ''.
    """
    names = list(_unique(genes.index.astype(str), set()))
    fresh = list(_unique(metabolites.index.astype(str), set(names)))
    renamed = [old for old, new in zip(metabolites.index.astype(str), fresh, strict=True) if old != new]
    var = pd.DataFrame({keys.TYPE: [keys.ST] * len(genes) + [keys.SM] * len(metabolites)}, index=names + fresh)
    for column in [c for c in (*genes.columns, *metabolites.columns) if c != keys.TYPE]:
        if column not in var:
            var[column] = _joined_column(genes.get(column), metabolites.get(column), len(genes), len(metabolites))
    if keys.MZ not in var:
        var[keys.MZ] = np.nan
    var[keys.TYPE] = pd.Categorical(var[keys.TYPE], categories=[keys.ST, keys.SM])
    return var, renamed


def _joined_column(left: pd.Series | None, right: pd.Series | None, n_left: int, n_right: int) -> np.ndarray:
    known = [part for part in (left, right) if part is not None]
    if all(pd.api.types.is_bool_dtype(part) for part in known):
        fill, kind = False, bool
    elif all(pd.api.types.is_numeric_dtype(part) for part in known):
        fill, kind = np.nan, np.float64
    else:
        fill, kind = "", object
    parts = []
    for part, n in ((left, n_left), (right, n_right)):
        values = np.full(n, fill, dtype=kind) if part is None else part.to_numpy(dtype=kind, copy=True)
        parts.append(np.where(pd.isna(values), "", values.astype(str)).astype(object) if kind is object else values)
    return np.concatenate(parts)


def _unique(names: pd.Index, taken: set[str]):
    """Yield each name, with a suffix where it is taken already."""
    taken = set(taken)
    for name in names:
        fresh, count = name, 1
        while fresh in taken:
            fresh = f"{name}{CLASH_SUFFIX}" if count == 1 else f"{name}{CLASH_SUFFIX}{count}"
            count += 1
        taken.add(fresh)
        yield fresh


def _report(
    found: Links, keep: np.ndarray, reach_um: float, before: sparse.csr_matrix, after: sparse.csr_matrix
) -> dict[str, object]:
    """Coverage as plain numbers; ``pixels_per_spot[i]`` is the number of ST spots that took i pixels."""
    used = np.unique(found.indices[found.weights > 0])
    return {
        "n_spots": len(keep),
        "n_spots_covered": int(found.within_reach.sum()),
        "n_spots_uncovered": int((~found.within_reach).sum()),
        "n_spots_kept": int(keep.sum()),
        "n_pixels": found.n_sources,
        "n_pixels_used": len(used),
        "reach_um": float(reach_um),
        "total_intensity_before": float(before.sum()),
        "total_intensity_of_used_pixels": float(before[used].sum()),
        "total_intensity_after": float(after.sum()),
        "pixels_per_spot": np.bincount(found.count, minlength=found.indices.shape[1] + 1),
    }


def _write_uns(joint: AnnData, st: AnnData, sm: AnnData, report: dict[str, object]) -> None:
    if keys.UNS_SPATIAL in st.uns:
        joint.uns[keys.UNS_SPATIAL] = st.uns[keys.UNS_SPATIAL]
    ours, theirs = st.uns.get(keys.UNS, {}), sm.uns.get(keys.UNS, {})
    merged = {name: ours[name] for name in ours if name != keys.HISTORY}
    if keys.ALIGNMENT in theirs:
        merged[keys.ALIGNMENT] = theirs[keys.ALIGNMENT]
    merged[keys.REASSIGNMENT] = report
    joint.uns[keys.UNS] = merged
    merge_histories(joint, [st, sm])
