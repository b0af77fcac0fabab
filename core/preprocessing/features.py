"""Spatially variable genes and metabolites: which features go into the model, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import ConfigError, DataError
from core.options import check, option
from core.preprocessing.normalisation import counts_of, normalize_modalities
from core.preprocessing.quality import write_quality
from core.spatial import morans_i, neighbour_graph, row_standardised

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: var columns beside those of core.keys


@dataclass(frozen=True)
class FeaturesConfig:
    """Settings of :func:`select_features`."""

    n_genes: int = option(2000, "most spatially variable genes to select", minimum=0, maximum=100_000, label="Genes")
    n_metabolites: int = option(
        800, "most spatially variable metabolites to select", minimum=0, maximum=100_000, label="Metabolites"
    )
    min_spots: int = option(
        3, "leave out features detected in fewer spots", unit="spots", minimum=0, label="Fewest spots"
    )
    normalisation: str = option("total", "scale every spot to the same total, or not", choices=("total", "none"))
    gene_target: float | None = option(
        1e4, "total counts of a spot after normalisation; empty: the median total", minimum=1e-6, advanced=True
    )
    coordinates: str = option(
        "grid", "neighbours on a regular grid, or simply the nearest", choices=("grid", "generic"), advanced=True
    )
    neighbours: int = option(6, "neighbours of a spot in Moran's I", minimum=1, maximum=100, advanced=True)
    pinned: str = option("", "features to select whatever their rank, separated by commas")
    dropped: str = option("", "features never to select, separated by commas")


def select_features(joint: AnnData, config: FeaturesConfig | None = None, context: Context | None = None) -> AnnData:
    """Normalise, score every feature by Moran's I, and select the most spatially variable of each modality.

    Writes ``layers['normalized']``, obs quality columns, and var ``morans_i``, ``morans_p``, ``morans_fdr``,
    ``n_spots``, ``rank``, ``selected``, ``excluded``. The score is that of the normalised values; weights are
    row-standardised; spots of different samples are no neighbours.

    Raises
    ------
    DataError
        When the object has no ``var['type']``, no coordinates, or nothing is left to select.
    ConfigError
        When a pinned or dropped feature does not exist.
    """
    config, context = check(config or FeaturesConfig()), context or Context()
    _check_joint(joint)
    joint = joint.copy()
    context.progress(0.05, "normalising")
    normalize_modalities(joint, gene_target=config.gene_target, normalisation=config.normalisation)
    write_quality(joint)
    context.stop_if_cancelled()
    context.progress(0.2, "finding neighbours")
    _write_scores(joint, config, context)
    _write_selection(joint, config)
    counted = {m: int(joint.var.loc[joint.var[keys.TYPE] == m, keys.SELECTED].sum()) for m in (keys.ST, keys.SM)}
    if not sum(counted.values()):
        raise DataError("at least one feature to select", found="none", mend="Lower min_spots or raise n_genes.")
    message = f"selected {counted[keys.ST]} genes and {counted[keys.SM]} metabolites"
    context.progress(1.0, message, genes=counted[keys.ST], metabolites=counted[keys.SM])
    return joint


def _check_joint(joint: AnnData) -> None:
    if keys.TYPE not in joint.var:
        raise DataError("var['type'] with 'ST' or 'SM'", found="no such column", mend="Reassign the pair first.")
    unknown = sorted(set(joint.var[keys.TYPE].astype(str)) - {keys.ST, keys.SM})
    if unknown:
        raise DataError("var['type'] to be 'ST' or 'SM'", found=", ".join(unknown))
    if keys.SPATIAL not in joint.obsm:
        raise DataError("coordinates in obsm['spatial']", found=f"obsm with {sorted(joint.obsm)}")


def _write_scores(joint: AnnData, config: FeaturesConfig, context: Context) -> None:
    samples = joint.obs[keys.SAMPLE].to_numpy() if keys.SAMPLE in joint.obs else None
    graph = neighbour_graph(
        joint.obsm[keys.SPATIAL], config.neighbours, coordinates=config.coordinates, samples=samples
    )

    def on_block(share: float) -> None:
        context.stop_if_cancelled()
        context.progress(0.25 + 0.7 * share, "Moran's I")

    moran = morans_i(joint.layers[keys.NORMALIZED], row_standardised(graph), on_block=on_block)
    joint.var[keys.MORANS_I], joint.var[keys.MORANS_P] = moran.score, moran.p
    joint.var[keys.MORANS_FDR] = moran.fdr
    counts = sparse.csc_matrix(counts_of(joint))
    positive = sparse.csc_matrix((counts.data > 0, counts.indices, counts.indptr), shape=counts.shape)
    joint.var[keys.N_SPOTS] = np.asarray(positive.sum(axis=0, dtype=np.int64)).ravel()


def _write_selection(joint: AnnData, config: FeaturesConfig) -> None:
    """Write rank, selected and excluded from the scores."""
    var = joint.var
    pinned, dropped = names_of(config.pinned, joint.var_names), names_of(config.dropped, joint.var_names)
    both = pinned & dropped
    if both.any():
        raise ConfigError("a feature to be pinned or dropped, not both", found=", ".join(joint.var_names[both]))
    rank = np.zeros(joint.n_vars, dtype=np.int64)
    reason = np.full(joint.n_vars, "", dtype=object)
    score, n_spots = var[keys.MORANS_I].to_numpy(), var[keys.N_SPOTS].to_numpy()
    for modality, wanted in ((keys.ST, config.n_genes), (keys.SM, config.n_metabolites)):
        here = (var[keys.TYPE] == modality).to_numpy()
        ranked = np.flatnonzero(here & np.isfinite(score))
        ranked = ranked[np.argsort(-score[ranked], kind="stable")]
        rank[ranked] = np.arange(1, len(ranked) + 1)
        rare = here & (n_spots < config.min_spots)
        reason[rare] = [f"detected in {n} of at least {config.min_spots} spots" for n in n_spots[rare]]
        reason[here & ~np.isfinite(score)] = "the same value everywhere"
        able = ranked[(reason[ranked] == "") & ~dropped[ranked]]
        reason[able[wanted:]] = f"not among the {wanted} highest Moran's I"
    reason[dropped] = "dropped by hand"
    reason[pinned] = ""
    var[keys.RANK], var[keys.SELECTED], var[keys.EXCLUDED] = rank, reason == "", reason.astype(str)


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
