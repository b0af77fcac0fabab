"""Spatially variable genes and metabolites: which features go into the model, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import ConfigError, DataError
from core.fdr import benjamini_hochberg
from core.options import check, option
from core.preprocessing.batch import BatchBias, batch_bias
from core.preprocessing.filters import THRESHOLDS, filter_spots
from core.preprocessing.normalisation import normalize_modalities
from core.quality import FAMILIES, counts_of, family_of, measured, measured_alike, sources_of, symbols, write_quality
from core.spatial import Autocorrelation, combined, morans_i, neighbour_graph, row_standardised

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData


@dataclass(frozen=True)
class FeaturesConfig:
    """Settings of :func:`select_features`."""

    n_genes: int = option(
        2000, "most spatially variable genes, of each sample", minimum=0, maximum=100_000, label="Genes"
    )
    n_metabolites: int = option(
        800, "most spatially variable metabolites, of each sample", minimum=0, maximum=100_000, label="Metabolites"
    )
    min_spots: int = option(3, "leave out features detected in fewer spots", unit="spots", minimum=0, label="Fewest")
    remove_families: str = option(
        "", f"gene families to leave out, separated by commas: {', '.join(FAMILIES)}", label="Leave out families"
    )
    pinned: str = option("", "features to select whatever their rank, separated by commas")
    dropped: str = option("", "features never to select, separated by commas")
    min_counts: float = option(0, "leave out spots with fewer counts", minimum=0, label="Counts ≥")
    min_genes: int = option(0, "leave out spots with fewer genes", minimum=0, label="Genes ≥")
    max_mito_share: float = option(
        1.0, "leave out spots with a larger mitochondrial share", minimum=0, maximum=1, label="Mitochondrial ≤"
    )
    min_sm_total: float = option(
        0, "leave out spots with a lower total intensity", minimum=0, label="Total intensity ≥"
    )
    min_sm_mean: float = option(0, "leave out spots with a lower mean intensity", minimum=0, label="Mean intensity ≥")
    min_metabolites: int = option(0, "leave out spots with fewer metabolites", minimum=0, label="Metabolites ≥")
    min_samples: int = option(
        2, "samples in which a feature has to be variable, where there are several", minimum=1, label="Shared by"
    )
    min_logfc: float = option(
        3.0,
        "leave out features that one sample has higher than the others by this",
        unit="log2 fold change",
        minimum=0,
        label="Batch bias from",
    )
    min_frac: float = option(
        0.8, "share of that sample's spots that have the feature", minimum=0, maximum=1, label="Batch bias in"
    )
    normalisation: str = option(
        "total", "scale every spot to the same total, or not", choices=("total", "none"), advanced=True
    )
    gene_target: float | None = option(
        1e4, "total counts of a spot after normalisation; empty: the median total", minimum=1e-6, advanced=True
    )
    coordinates: str = option(
        "grid", "neighbours on a regular grid, or simply the nearest", choices=("grid", "generic"), advanced=True
    )
    neighbours: int = option(6, "neighbours of a spot in Moran's I", minimum=1, maximum=100, advanced=True)

    @property
    def limits(self) -> dict[str, float]:
        """The thresholds on the quality of a spot, by name."""
        return {name: getattr(self, name) for name in THRESHOLDS}


def select_features(joint: AnnData, config: FeaturesConfig | None = None, context: Context | None = None) -> AnnData:
    """Filter spots, normalise, score every feature by Moran's I, and select the most spatially variable.

    Writes ``layers['normalized']``, obs quality columns, ``uns['spatialmeta']['quality_control']`` (spots removed), and
    var ``morans_i``, ``morans_p``, ``morans_fdr``, ``n_spots``, ``rank``, ``n_variable``, ``selected``, ``excluded``.
    The score is that of the normalised values with row-standardised weights.

    Several samples (``obs['sample']``) are scored one by one: a feature counts in a sample where it is among its most
    variable, and is selected where it counts in ``min_samples`` of them. ``morans_i`` is the mean of the samples, whose
    own are in ``morans_i_<sample>``; ``batch_logfc`` and ``batch_sample`` say where one sample stands out.

    Raises
    ------
    DataError
        When the object has no ``var['type']``, no coordinates, no spot passes, or nothing is left to select.
    ConfigError
        When a pinned or dropped feature or a gene family does not exist.
    """
    config, context = check(config or FeaturesConfig()), context or Context()
    _check_joint(joint)
    marks = _marks(joint, config)
    joint = joint.copy()
    if keys.COUNTS not in joint.layers:  # a section alone, as it was read
        joint.layers[keys.COUNTS] = joint.X.copy()
    context.progress(0.05, "filtering spots and normalising")
    write_quality(joint)
    joint = filter_spots(joint, config.limits)
    normalize_modalities(joint, gene_target=config.gene_target, normalisation=config.normalisation)
    context.stop_if_cancelled()
    codes, samples = _samples(joint)
    scores = _write_scores(joint, codes, samples, config, context)
    biased = _write_bias(joint, codes, samples, config) if len(samples) > 1 else np.zeros(joint.n_vars, dtype=bool)
    _write_selection(joint, config, scores, biased, marks)
    counted = {m: int(joint.var.loc[joint.var[keys.TYPE] == m, keys.SELECTED].sum()) for m in (keys.ST, keys.SM)}
    if not sum(counted.values()):
        raise DataError("at least one feature to select", found="none", mend="Lower min_spots or raise n_genes.")
    message = f"selected {counted[keys.ST]} genes and {counted[keys.SM]} metabolites"
    context.progress(1.0, message, genes=counted[keys.ST], metabolites=counted[keys.SM])
    return joint


def _check_joint(joint: AnnData) -> None:
    if keys.TYPE not in joint.var:
        mend = "Reassign the pair first, or say which section it is (--section)."
        raise DataError("var['type'] with 'ST' or 'SM'", found="no such column", mend=mend)
    unknown = sorted(set(joint.var[keys.TYPE].astype(str)) - {keys.ST, keys.SM})
    if unknown:
        raise DataError("var['type'] to be 'ST' or 'SM'", found=", ".join(unknown))
    if keys.SPATIAL not in joint.obsm:
        raise DataError("coordinates in obsm['spatial']", found=f"obsm with {sorted(joint.obsm)}")


@dataclass(frozen=True)
class _Marks:
    """What a person said of the features: bool and text, each of shape (n_vars,)."""

    pinned: np.ndarray
    dropped: np.ndarray
    family: np.ndarray


def _marks(joint: AnnData, config: FeaturesConfig) -> _Marks:
    pinned, dropped = names_of(config.pinned, joint.var_names), names_of(config.dropped, joint.var_names)
    both = pinned & dropped
    if both.any():
        raise ConfigError("a feature to be pinned or dropped, not both", found=", ".join(joint.var_names[both]))
    families = tuple(name.strip().upper() for name in config.remove_families.split(",") if name.strip())
    family = family_of(symbols(joint), families)
    family[(joint.var[keys.TYPE] == keys.SM).to_numpy()] = ""
    return _Marks(pinned, dropped, family)


def _samples(joint: AnnData) -> tuple[np.ndarray, list[str]]:
    """Code of each spot and the names of the samples that have spots."""
    if keys.SAMPLE not in joint.obs:
        return np.zeros(joint.n_obs, dtype=np.int64), ["sample"]
    names, codes = np.unique(joint.obs[keys.SAMPLE].astype(str).to_numpy(), return_inverse=True)
    return codes, list(names)


def _write_scores(
    joint: AnnData, codes: np.ndarray, samples: list[str], config: FeaturesConfig, context: Context
) -> np.ndarray:
    """Write Moran's I; returns that of each sample, shape (n_samples, n_vars)."""
    scores, mean, p = (np.full(shape, np.nan) for shape in ((len(samples), joint.n_vars), joint.n_vars, joint.n_vars))
    parts = measured_alike(joint.var[keys.TYPE].astype(str).to_numpy(), sources_of(joint), joint.n_obs)
    runs = len(parts) * len(samples)
    for number, (columns, known) in enumerate(parts):
        found: list[Autocorrelation] = []
        for s, name in enumerate(samples):
            rows = np.flatnonzero((codes == s) & known)
            if len(rows) < 3:
                least = "at least 3 spots with values in each sample"
                raise DataError(least, found=f"{len(rows)} in {name}", mend="Leave it out.")
            done = number * len(samples) + s
            context.progress(0.2 + 0.7 * done / runs, f"finding neighbours in {name}")

            def on_block(share: float, done: int = done) -> None:
                context.stop_if_cancelled()
                context.progress(0.2 + 0.7 * (done + share) / runs, "Moran's I")

            found.append(_morans_i(joint, rows, columns, config, on_block))
        moran = combined(found)
        scores[:, columns], mean[columns], p[columns] = [own.score for own in found], moran.score, moran.p
    joint.var[keys.MORANS_I], joint.var[keys.MORANS_P] = mean, p
    joint.var[keys.MORANS_FDR] = benjamini_hochberg(p)
    if len(samples) > 1:
        for name, own in zip(samples, scores, strict=True):
            joint.var[keys.of_sample(keys.MORANS_I, name)] = own
    counts = sparse.csc_matrix(counts_of(joint))
    positive = sparse.csc_matrix((counts.data > 0, counts.indices, counts.indptr), shape=counts.shape)
    joint.var[keys.N_SPOTS] = np.asarray(positive.sum(axis=0, dtype=np.int64)).ravel()
    return scores


def _morans_i(
    joint: AnnData, rows: np.ndarray, columns: np.ndarray, config: FeaturesConfig, on_block: Callable[[float], None]
) -> Autocorrelation:
    xy, values = np.asarray(joint.obsm[keys.SPATIAL])[rows, :2], joint.layers[keys.NORMALIZED]
    graph = neighbour_graph(xy, config.neighbours, coordinates=config.coordinates)
    values = values if len(rows) == joint.n_obs else values[rows]
    values = values if len(columns) == joint.n_vars else values[:, columns]
    return morans_i(values, row_standardised(graph), on_block=on_block)


def _write_bias(joint: AnnData, codes: np.ndarray, samples: list[str], config: FeaturesConfig) -> np.ndarray:
    """Write the largest fold change of a sample; returns which features are biased, shape (n_vars,)."""
    largest, sample = np.zeros(joint.n_vars), np.full(joint.n_vars, "", dtype=object)
    biased = np.zeros(joint.n_vars, dtype=bool)
    for modality in (keys.ST, keys.SM):
        where = np.flatnonzero((joint.var[keys.TYPE] == modality).to_numpy())
        if where.size == 0:
            continue
        known = measured(joint, modality)
        values = sparse.csr_matrix(joint.layers[keys.NORMALIZED][known][:, where])
        found: BatchBias = batch_bias(values.expm1() if modality == keys.ST else values, codes[known])
        seen = np.where(found.fraction >= config.min_frac, found.logfc, -np.inf)
        at = np.where(np.isfinite(seen).any(axis=0), seen.argmax(axis=0), found.logfc.argmax(axis=0))
        largest[where] = found.logfc[at, np.arange(len(where))]
        sample[where] = np.array(samples, dtype=object)[at]
        biased[where] = found.biased(config.min_logfc, config.min_frac).any(axis=0)
    joint.var[keys.BATCH_LOGFC], joint.var[keys.BATCH_SAMPLE] = largest, sample.astype(str)
    return biased


def _write_selection(
    joint: AnnData, config: FeaturesConfig, scores: np.ndarray, biased: np.ndarray, marks: _Marks
) -> None:
    """Write rank, n_variable, selected and excluded from the *scores* of the samples, shape (n_samples, n_vars)."""
    var, n_samples = joint.var, len(scores)
    reason = np.full(joint.n_vars, "", dtype=object)
    rank, votes = np.zeros(joint.n_vars, dtype=np.int64), np.zeros(joint.n_vars, dtype=np.int64)
    score, n_spots = var[keys.MORANS_I].to_numpy(), var[keys.N_SPOTS].to_numpy()
    rare = n_spots < config.min_spots
    reason[rare] = [f"detected in {n} of at least {config.min_spots} spots" for n in n_spots[rare]]
    reason[~np.isfinite(score)] = "the same value everywhere"
    if biased.any():
        told = zip(var[keys.BATCH_LOGFC][biased], var[keys.BATCH_SAMPLE][biased], strict=True)
        reason[biased] = [f"batch bias: {change:.1f} log2 fold change in {name}" for change, name in told]
    reason[marks.family != ""] = [f"{name} gene, left out" for name in marks.family[marks.family != ""]]
    reason[marks.dropped] = "dropped by hand"
    needed = min(config.min_samples, n_samples)
    for modality, wanted in ((keys.ST, config.n_genes), (keys.SM, config.n_metabolites)):
        here = (var[keys.TYPE] == modality).to_numpy()
        ranked = _descending(score, here)
        rank[ranked] = np.arange(1, len(ranked) + 1)
        able = here & (reason == "")
        for own in scores:
            votes[_descending(own, able)[:wanted]] += 1
        few = able & (votes < needed)
        if n_samples == 1:
            reason[few] = f"not among the {wanted} highest Moran's I"
        else:
            text = f"among the {wanted} highest Moran's I in {{}} of at least {needed} samples"
            reason[few] = [text.format(v) for v in votes[few]]
    reason[marks.pinned] = ""
    var[keys.RANK], var[keys.N_VARIABLE] = rank, votes
    var[keys.SELECTED], var[keys.EXCLUDED] = reason == "", reason.astype(str)


def _descending(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Positions where *mask* holds and the score is finite, highest score first."""
    chosen = np.flatnonzero(mask & np.isfinite(score))
    return chosen[np.argsort(-score[chosen], kind="stable")]


def names_of(text: str, known: np.ndarray) -> np.ndarray:
    """Mask over *known*, shape (n,), of the names that *text* lists between commas; ConfigError for an unknown one.

    A name that contains commas itself (as metabolites do) is found when it stands alone or between ``;``.
    """
    known = np.asarray(known).astype(str)
    present = set(known)
    wanted: set[str] = set()
    for part in filter(None, (p.strip() for p in text.split(";"))):
        wanted |= {part} if part in present else {name.strip() for name in part.split(",") if name.strip()}
    unknown = sorted(wanted - present)
    if unknown:
        raise ConfigError("names of features of this sample", found=", ".join(unknown[:5]))
    return np.isin(known, sorted(wanted))
