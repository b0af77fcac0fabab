"""Quality of every spot, per modality, and families of genes that people leave out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.errors import ConfigError, DataError

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: families of genes by their symbols, whatever the case: human names are in capitals, mouse names are not
FAMILIES = {
    "MT": re.compile(r"mt-", re.IGNORECASE),
    "RPL": re.compile(r"rpl(\d+[al]*\d*|p\d)([-.].*)?$", re.IGNORECASE),  # RPL3, Rpl36al, RPLP0
    "RPS": re.compile(r"rps(\d+[alxy]?\d*|a)([-.].*)?$", re.IGNORECASE),  # RPS6, RPS4Y1, RPSA; not RPS6KA1
    "HSP": re.compile(r"hsp", re.IGNORECASE),
    "DNAJ": re.compile(r"dnaj", re.IGNORECASE),
}


#: what write_quality writes of each modality
QUALITY = {
    keys.ST: (keys.N_COUNTS, keys.N_GENES, keys.MITO_SHARE),
    keys.SM: (keys.SM_TOTAL, keys.N_METABOLITES, keys.SM_MEAN),
}


def counts_of(adata: AnnData) -> np.ndarray | sparse.spmatrix:
    """Raw counts and intensities: ``layers['counts']`` where there is one, else ``X``."""
    return adata.layers.get(keys.COUNTS, adata.X)


def measured(joint: AnnData, modality: str) -> np.ndarray:
    """Whether each spot has values of *modality*, bool (spots,): False where the reassignment kept a place without a
    pixel or spot within reach. DataError where all are so."""
    column = keys.N_SOURCES.get(modality)  # nothing is reassigned of a further modality
    found = joint.obs[column].to_numpy() != 0 if column in joint.obs else np.ones(joint.n_obs, dtype=bool)
    if not found.any():
        raise DataError(
            f"spots with values of {modality}", found=f"obs['{column}'] is 0 in all", mend="Align and reassign again."
        )
    return found


def sources_of(adata: AnnData, layer: str = keys.COUNTS) -> dict[str, np.ndarray]:
    """The obs columns that say from how many spots or pixels each spot has its values, where there are such; none for
    a reconstruction, which has values everywhere."""
    names = () if layer == keys.RECONSTRUCTION else keys.N_SOURCES.values()
    return {name: adata.obs[name].to_numpy() for name in names if name in adata.obs}


def measured_alike(kinds: np.ndarray, sources: Mapping[str, np.ndarray], n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features that have values in the same of *n* spots: their positions, and these spots, bool (n,).

    *kinds* (n_features,) are their modalities, *sources* those of :func:`sources_of`. One entry where all have values.
    """
    spots = {k: np.asarray(sources.get(keys.N_SOURCES.get(k), np.ones(n))) != 0 for k in np.unique(kinds)}
    if all(have.all() for have in spots.values()):
        return [(np.arange(len(kinds)), np.ones(n, dtype=bool))]
    return [(np.flatnonzero(kinds == kind), have) for kind, have in spots.items()]


def totals_and_detected(X: np.ndarray | sparse.spmatrix) -> tuple[np.ndarray, np.ndarray]:
    """Sum (float64) and number of values above zero (int64) of each row; both of shape (n,)."""
    X = sparse.csr_matrix(X)
    positive = sparse.csr_matrix((X.data > 0, X.indices, X.indptr), shape=X.shape)
    detected = np.asarray(positive.sum(axis=1, dtype=np.int64)).ravel()
    return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel(), detected


def mitochondrial(names: np.ndarray) -> np.ndarray:
    """Which gene names are mitochondrial (``MT-`` in human, ``mt-`` in mouse); bool of the shape of *names*."""
    return family_of(names, ("MT",)) == "MT"


def family_of(names: np.ndarray, families: tuple[str, ...]) -> np.ndarray:
    """The first of *families* (names of :data:`FAMILIES`) that each gene belongs to, '' for none; shape of *names*.

    Raises
    ------
    ConfigError
        For a family that does not exist.
    """
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise ConfigError(f"gene families among {', '.join(FAMILIES)}", found=", ".join(unknown))
    found = [next((f for f in families if FAMILIES[f].match(str(name))), "") for name in names]
    return np.array(found, dtype=object)


def symbols(adata: AnnData) -> np.ndarray:
    """Gene symbols: ``var['symbol']`` where it is filled, else the names, shape (n_vars,)."""
    names = adata.var_names.to_numpy().astype(object)
    if keys.SYMBOL not in adata.var:
        return names
    given = adata.var[keys.SYMBOL].astype(object).fillna("").astype(str).to_numpy()
    return np.where(given == "", names, given)


def write_quality(adata: AnnData) -> None:
    """Write obs columns, in place: n_counts, n_genes, mito_share (0 to 1) for ST; sm_total, sm_mean (over all
    metabolites), n_metabolites for SM.

    Works on the joint object and on one modality alone, told apart by ``var['type']``. Spots without counts have a
    mitochondrial share of 0.
    """
    counts = sparse.csr_matrix(counts_of(adata))
    genes = (adata.var[keys.TYPE] == keys.ST).to_numpy()
    if genes.any():
        total, detected = totals_and_detected(counts[:, genes])
        mito = np.flatnonzero(genes)[mitochondrial(symbols(adata)[genes])]
        share = np.asarray(counts[:, mito].sum(axis=1, dtype=np.float64)).ravel()
        adata.obs[keys.N_COUNTS], adata.obs[keys.N_GENES] = total, detected
        adata.obs[keys.MITO_SHARE] = np.divide(share, total, out=np.zeros_like(total), where=total > 0)
    if not genes.all():
        total, detected = totals_and_detected(counts[:, ~genes])
        adata.obs[keys.SM_TOTAL], adata.obs[keys.N_METABOLITES] = total, detected
        adata.obs[keys.SM_MEAN] = total / int((~genes).sum())
