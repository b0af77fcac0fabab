"""What the conditional VAE reads of a joint object: settings that the data decide, batches, modalities, matrices."""

from __future__ import annotations

from collections.abc import Sequence

import anndata as ad
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from core import keys
from core.errors import DataError
from core.quality import measured
from core.vae.config import SM_ONLY, IntegrateConfig, resolve
from core.vae.modality import COUNT_LIKELIHOODS, Modality


def settle(joint: ad.AnnData, config: IntegrateConfig) -> IntegrateConfig:
    """Fill what *config* leaves to the data."""
    if keys.TYPE not in joint.var:
        raise DataError(f"var['{keys.TYPE}'] to say ST or SM", found="no such column", mend="Run reassignment first.")
    types = set(joint.var[keys.TYPE].astype(str))
    present = [c for c in config.batch_columns if c in joint.obs]
    n_samples = joint.obs[present[0]].nunique() if present else 1
    return resolve(config, n_samples=n_samples, has_st=keys.ST in types, has_spatial=keys.SPATIAL in joint.obsm)


def batch_codes(
    joint: ad.AnnData, config: IntegrateConfig
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], np.ndarray]:
    """Batch columns of more than one level, their levels, and each spot's codes (spots, columns)."""
    columns, levels, codes = [], [], []
    for column in config.batch_columns:
        if column not in joint.obs:
            if column == keys.SAMPLE:  # the default: a single sample need not say its name
                continue
            raise DataError(f"the batch column {column} in obs", found=", ".join(joint.obs.columns) or "no columns")
        names, code = np.unique(joint.obs[column].astype(str).to_numpy(), return_inverse=True)
        if len(names) > 1:
            columns.append(column)
            levels.append(tuple(str(n) for n in names))
            codes.append(code)
    stacked = np.stack(codes, axis=1) if codes else np.zeros((joint.n_obs, 0), dtype=np.int64)
    return tuple(columns), tuple(levels), stacked


def modalities_of(joint: ad.AnnData, config: IntegrateConfig) -> list[Modality]:
    """One entry per type in var; this is the place where a further modality would be described."""
    described = {
        keys.ST: {
            "likelihood": "zinb",
            "input": config.st_input,
            "weight": config.weight_st,
            "dispersion": config.dispersion,
        },
        keys.SM: {"likelihood": config.sm_likelihood, "input": config.sm_input, "weight": config.weight_sm},
    }
    if config.preset in SM_ONLY:
        described.pop(keys.ST)
    types = joint.var[keys.TYPE].astype(str).to_numpy()
    selected = (
        joint.var[keys.SELECTED].to_numpy(dtype=bool) if keys.SELECTED in joint.var else np.ones(len(types), bool)
    )
    names = joint.var_names.to_numpy().astype(str)
    found = [
        Modality(name=name, features=tuple(names[(types == name) & selected].tolist()), **rest)
        for name, rest in described.items()
        if ((types == name) & selected).any()
    ]
    if not found:
        wanted = " or ".join(described)
        raise DataError(f"selected features of type {wanted}", found="none", mend="Select features first.")
    return found


def columns_of(joint: ad.AnnData, modality: Modality) -> np.ndarray:
    at = joint.var_names.get_indexer(list(modality.features))
    if (at < 0).any():
        missing = [f for f, k in zip(modality.features, at, strict=True) if k < 0]
        raise DataError(
            f"all {len(at)} {modality.name} features of the model", found=f"{len(missing)} missing, e.g. {missing[0]}"
        )
    return at


def matrix_of(joint: ad.AnnData, modality: Modality, config: IntegrateConfig) -> sparse.csr_matrix:
    """Values of one modality, shape (spots, features), float32, checked."""
    as_counts = modality.likelihood in COUNT_LIKELIHOODS or not config.normalize_sm
    layer = keys.COUNTS if as_counts else keys.NORMALIZED
    if layer not in joint.layers:
        raise DataError(f"layers['{layer}']", found=", ".join(joint.layers) or "no layers", mend="Run features first.")
    matrix = sparse.csr_matrix(joint.layers[layer][:, columns_of(joint, modality)], dtype=np.float32)
    bad = ~np.isfinite(matrix.data) | (matrix.data < 0)
    if bad.any():
        k = int(np.argmax(bad))
        spot = int(np.searchsorted(matrix.indptr, k, side="right")) - 1
        raise DataError(
            f"finite values of at least 0 in layers['{layer}']",
            found=f"{int(bad.sum())} others, e.g. {matrix.data[k]:g} for {modality.features[matrix.indices[k]]} "
            f"in spot {joint.obs_names[spot]}",
            mend="Leave these spots out (reassign with missing spots dropped), or set the values to 0.",
        )
    matrix.eliminate_zeros()
    matrix.sum_duplicates()
    return matrix


def matrices_of(
    joint: ad.AnnData, modalities: Sequence[Modality], config: IntegrateConfig
) -> dict[str, sparse.csr_matrix]:
    """:func:`matrix_of` each modality, :func:`filled` where a place has no value."""
    xy = np.asarray(joint.obsm[keys.SPATIAL], dtype=float)[:, :2] if keys.SPATIAL in joint.obsm else None
    found = {m.name: matrix_of(joint, m, config) for m in modalities}
    for name, matrix in found.items():
        known = measured(joint, name)
        if not known.all():
            found[name] = filled(matrix, known, xy, samples_of(joint))
    return found


def samples_of(joint: ad.AnnData) -> np.ndarray:
    """Name of each spot's sample, shape (spots,); empty where they have none."""
    return joint.obs[keys.SAMPLE].astype(str).to_numpy() if keys.SAMPLE in joint.obs else np.full(joint.n_obs, "")


def filled(
    matrix: sparse.csr_matrix, measured: np.ndarray, xy: np.ndarray | None, sample: np.ndarray
) -> sparse.csr_matrix:
    """*matrix* (spots, features) with the values of the nearest *measured* spot of the same *sample* (spots,) where
    there are none. Without coordinates *xy* (spots, 2), or in a sample without any, they stay 0."""
    source = np.arange(len(measured))
    for name in np.unique(sample[~measured]) if xy is not None else ():
        empty, have = (np.flatnonzero((sample == name) & which) for which in (~measured, measured))
        if len(have):
            source[empty] = have[cKDTree(xy[have]).query(xy[empty])[1]]
    return matrix[source]


def normalized_total(joint: ad.AnnData, modality: Modality) -> np.ndarray:
    """Sum of a spot's normalised rates over the modality's features, shape (spots,)."""
    rates = sparse.csr_matrix(joint.layers[keys.NORMALIZED][:, columns_of(joint, modality)])
    return np.asarray(rates.expm1().sum(1)).ravel()
