"""AnnData files, walked before they are opened, and brought into the shape the steps expect."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from core import keys
from core.errors import DataError, FormatError
from core.io.notes import (
    COORDINATES_FROM,
    COUNTS_FROM,
    OUTSIDE_TISSUE,
    RENAMED_FEATURES,
    RENAMED_OBSERVATIONS,
    note,
)
from core.io.positions import position_columns
from core.io.untrusted import check_hdf5

#: columns in which tools keep gene symbols beside Ensembl ids as names, whatever their case
SYMBOL_COLUMNS = (
    "symbol",
    "gene_symbol",
    "gene_symbols",
    "gene_name",
    "gene_names",
    "feature_name",
    "gene_short_name",
    "gene",
    "name",
)
#: layers in which tools keep counts beside a normalised X
COUNT_LAYERS = (keys.COUNTS, "raw_counts", "raw_count", "count", "umi_counts", "umi", "raw")
MZ_COLUMNS = ("mz", "m/z", "m_z", "m.z", "mz_value", "raw_mz", "observed_mz", "mass")
ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}")
#: '426.9289', '426,9289', 'mz_426.93', 'm/z 426.93', R's 'X426.93'; a decimal number also before an adduct, a unit or
#: a width, which a whole one is not: '15(S)-HETE'
MZ_NAME = re.compile(
    r"(?:m[/.]?z|x(?=\d+\.))?[\s_:=.-]*(?:(\d+\.\d+)\s*(?:da|m/z|[±(\[].*)|(\d+(?:[.,]\d+)?))", re.IGNORECASE
)


def read_h5ad(path: str | Path) -> AnnData:
    """Read an h5ad file after walking it (:func:`core.io.untrusted.check_hdf5`); nothing in it is changed.

    Raises
    ------
    UntrustedFileError, FormatError
        The walk refuses it, or anndata cannot read it.
    """
    path = Path(path)
    check_hdf5(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repeated names and old encodings: the checks say what matters
            adata = anndata.read_h5ad(path)
            for matrix in _sparse_parts(adata):
                matrix.check_format(full_check=True)  # a wrong index would make scipy read foreign memory
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FormatError(
            "an AnnData file (.h5ad)",
            found=f"{path.name} that anndata cannot read ({reason})",
            mend="Write it again with adata.write_h5ad of a current anndata.",
        ) from error
    return adata


def _sparse_parts(adata: AnnData) -> list[sparse.csr_matrix]:
    parts = [
        adata.X,
        *adata.layers.values(),
        *adata.obsm.values(),
        *adata.varm.values(),
        *adata.obsp.values(),
        *adata.varp.values(),
    ]
    if adata.raw is not None:
        parts.append(adata.raw.X)
    return [p for p in parts if sparse.issparse(p) and p.format in ("csr", "csc")]


def as_csr(matrix: object) -> sparse.csr_matrix:
    """*matrix* (dense or sparse, n x m) as CSR float32 without stored zeros."""
    if matrix is None:
        raise DataError("a matrix of values", found="a file without X", mend="Save the counts in X.")
    if not np.issubdtype(getattr(matrix, "dtype", np.dtype(object)), np.number) and matrix.dtype != bool:
        raise DataError("numbers in X", found=f"values of type {matrix.dtype}")
    if matrix.dtype == np.float16:  # which scipy does not know
        matrix = matrix.astype(np.float32)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, which the checks report
        csr = sparse.csr_matrix(matrix).astype(np.float32)
    csr.eliminate_zeros()
    csr.sort_indices()
    return csr


def make_names_unique(adata: AnnData) -> None:
    """Give repeated feature and observation names a suffix, in place, and note how many there were."""
    names = {"var_names": RENAMED_FEATURES, "obs_names": RENAMED_OBSERVATIONS}
    for axis, fact in names.items():
        index = getattr(adata, axis).astype(str).rename(None)  # its name may be a column's, which has other values then
        repeated = int(index.duplicated().sum())
        if repeated:
            index = anndata.utils.make_index_unique(pd.Index(index))
            note(adata, **{fact: repeated})
        setattr(adata, axis, index)


def adopt_st(adata: AnnData) -> AnnData:
    """Bring an ST object into shape: symbols as names, raw counts in X (CSR float32), unique names."""
    adata = _in_tissue(_with_counts(_of_modality(adata, keys.ST)))
    adata.X = as_csr(adata.X)
    names = adata.var_names.astype(str)
    if len(names) and np.mean([bool(ENSEMBL.match(name)) for name in names]) > 0.5:
        column = _named(adata.var, SYMBOL_COLUMNS)
        if column is not None:
            symbols = adata.var[column].astype(object).where(adata.var[column].notna(), names).astype(str)
            adata.var[keys.GENE_IDS] = np.asarray(names, dtype=object)
            adata.var_names = pd.Index(np.where(symbols == "", names, symbols))
    adata.var[keys.TYPE] = keys.ST
    make_names_unique(adata)
    _plain_columns(adata)
    _find_coordinates(adata)
    _own_images(adata)
    return adata


def _named(frame: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """The first of *names* (lower case) among the columns, whatever their case."""
    lower = {str(column).lower(): column for column in reversed(frame.columns)}
    return next((lower[name] for name in names if name in lower), None)


def _plain_columns(adata: AnnData) -> None:
    """'/' in the name of a column becomes '_': HDF5 takes it for a folder, and nothing could be saved."""
    for frame in (adata.obs, adata.var):
        for column in [str(c) for c in frame if "/" in str(c)]:
            plain = column.replace("/", "_")
            while plain in frame:
                plain += "_"
            frame.rename(columns={column: plain}, inplace=True)


def _in_tissue(adata: AnnData) -> AnnData:
    """The spots in the tissue, as of a Space Ranger folder: CELLxGENE has all 4,992 in its files."""
    if "in_tissue" not in adata.obs:
        return adata
    outside = adata.obs["in_tissue"].astype(str).isin(["0", "0.0", "False"]).to_numpy()
    if not outside.any() or outside.all():
        return adata
    note(adata, **{OUTSIDE_TISSUE: int(outside.sum())})
    return adata[~outside].copy()


def _find_coordinates(adata: AnnData) -> None:
    """``obsm['spatial']`` from the only slot of obsm or the columns of obs that can be meant, where it is missing."""
    if keys.SPATIAL in adata.obsm:
        return
    slots = [k for k, v in adata.obsm.items() if "spatial" in k.lower() and np.ndim(v) == 2 and v.shape[1] in (2, 3)]
    columns = position_columns(adata.obs.columns)
    if len(slots) == 1:
        adata.obsm[keys.SPATIAL] = adata.obsm[slots[0]]
        note(adata, **{COORDINATES_FROM: f"obsm['{slots[0]}']"})
    elif columns is not None:
        xy = adata.obs[list(columns)].apply(pd.to_numeric, errors="coerce")
        adata.obsm[keys.SPATIAL] = xy.to_numpy(dtype=np.float64)
        note(adata, **{COORDINATES_FROM: f"obs['{columns[0]}'] and obs['{columns[1]}']"})


def _own_images(adata: AnnData) -> None:
    """Of the images of several sections only those of the one that obs names: a section cut out of a joined object
    still has them all, and the first would be laid under it."""
    samples = adata.uns.get(keys.UNS_SPATIAL)
    if not isinstance(samples, Mapping) or len(samples) < 2:
        return
    for column in adata.obs.columns:
        levels = adata.obs[column].dropna().astype(str).unique()
        if len(levels) == 1 and levels[0] in samples:
            adata.uns[keys.UNS_SPATIAL] = {levels[0]: samples[levels[0]]}
            return


def _of_modality(adata: AnnData, modality: str) -> AnnData:
    """The features of one modality of a joint object that was saved; any other file as it is."""
    types = adata.var[keys.TYPE].astype(str) if keys.TYPE in adata.var else None
    if types is None or not {keys.ST, keys.SM} <= set(types):
        return adata
    return adata[:, (types == modality).to_numpy()].copy()


def _with_counts(adata: AnnData) -> AnnData:
    """X holds raw counts. Where it does not, take them from the layer of counts or ``raw``, if those are counts."""
    if adata.X is not None and is_counts(adata.X):
        return adata
    lower = {name.lower(): name for name in adata.layers}
    layer = next((lower[n] for n in COUNT_LAYERS if n in lower and is_counts(adata.layers[lower[n]])), None)
    if layer is not None:
        adata.X = adata.layers[layer].copy()
        note(adata, **{COUNTS_FROM: f"layers['{layer}']"})
    elif adata.raw is not None and is_counts(adata.raw.X):
        known = adata.var
        adata = adata.raw.to_adata()
        for column in known.columns.difference(adata.var.columns):  # CELLxGENE has the symbols there alone
            adata.var[column] = known[column].reindex(adata.var_names).to_numpy()
        note(adata, **{COUNTS_FROM: "raw"})
    return adata


def is_counts(matrix: object) -> bool:
    """Whether all values are whole numbers (negative, NaN and infinite ones are for the checks to report)."""
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix).ravel()
    if values.dtype.kind in "iub":
        return True
    finite = values[np.isfinite(values)]
    return bool(np.all(finite == np.rint(finite)))


def adopt_sm(adata: AnnData, spatial_key: str | None = None) -> AnnData:
    """Bring an SM object into shape: intensities as CSR float32, ``var['mz']`` as float, unique names; *spatial_key*
    names the obsm entry to be used as ``obsm['spatial']``; the one before stays as ``obsm['spatial_file']``."""
    adata = _of_modality(adata, keys.SM)
    adata.X = as_csr(adata.X)
    adata.var[keys.MZ] = mz_of_features(adata.var)
    adata.var[keys.TYPE] = keys.SM
    if keys.POLARITY in adata.var:
        adata.var[keys.POLARITY] = adata.var[keys.POLARITY].astype(str)
    make_names_unique(adata)
    _plain_columns(adata)
    if spatial_key is not None and spatial_key != keys.SPATIAL:
        if spatial_key not in adata.obsm:
            raise DataError(
                f"coordinates in obsm[{spatial_key!r}]",
                found=f"obsm with {_listed(adata.obsm)}",
                mend="Choose one of those.",
            )
        if keys.SPATIAL in adata.obsm:
            adata.obsm["spatial_file"] = adata.obsm[keys.SPATIAL]
        adata.obsm[keys.SPATIAL] = np.asarray(adata.obsm[spatial_key], dtype=np.float64)
    _find_coordinates(adata)
    return adata


def _listed(mapping: object) -> str:
    return ", ".join(repr(k) for k in mapping) or "no entries"


def mz_of_features(var: pd.DataFrame) -> np.ndarray:
    """The m/z of each feature, from the column that has them or from the names; NaN where neither says one."""
    column = _named(var, MZ_COLUMNS)
    if column is not None:
        values = pd.to_numeric(var[column].astype(object), errors="coerce").to_numpy(dtype=np.float64)
        if np.isfinite(values).any() or column == keys.MZ:
            return values
    values = np.array([mz_of(name) for name in var.index])
    numbered = any(np.array_equal(values, np.arange(first, first + len(values))) for first in (0, 1))
    return np.full(len(values), np.nan) if numbered else values


def mz_of(name: object) -> float:
    """The m/z that a feature's name says ('426.9289', 'mz-426.93', '426.93 [M+H]+'), NaN where it is another name."""
    match = MZ_NAME.fullmatch(str(name).strip())
    return float((match[1] or match[2]).replace(",", ".")) if match else float("nan")
