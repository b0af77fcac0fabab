"""Markers of groups of spots: Wilcoxon rank-sum test, effect sizes and false discovery rates.

Neighbouring spots are not independent, so the p-values are too small; rank by the area under the curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtr

from core import keys
from core.context import Context
from core.errors import DataError
from core.fdr import benjamini_hochberg
from core.quality import measured_alike, sources_of

if TYPE_CHECKING:  # the web process ranks typed arrays by this module, and must stay free of anndata
    from anndata import AnnData

#: fewer spots than this in most groups: the column counts or measures something, and is no grouping
LEAST_TYPICAL = 2
#: stored values that are sorted together
BLOCK_NUMBERS = 1 << 21
#: what is said of each group and feature, beside fdr
NUMBERS = ("auc", "log2fc", "p", "mean_in", "mean_out", "share_in", "share_out")
#: added to both means of a fold change, as scanpy does
PSEUDO = 1e-9


@dataclass(frozen=True)
class RankSum:
    """One group against the rest, for all groups and features: every array has shape (n_groups, n_features).

    ``auc``: probability that a spot of the group is above one of the rest (ties half). ``z``: standardised U with tie
    and continuity correction, its sign that of auc - 0.5. ``p``: two-sided, normal approximation; 1 for constant
    features.
    """

    auc: np.ndarray
    z: np.ndarray
    p: np.ndarray


def rank_sum(X: np.ndarray | sparse.spmatrix, codes: np.ndarray, n_groups: int) -> RankSum:
    """Wilcoxon-Mann-Whitney test of each group against all other spots, for every column of *X*.

    Only stored values are sorted; the zeros of a column share one rank. Mann & Whitney, Ann. Math. Stat. 18 (1947);
    variance with ties as in Lehmann, *Nonparametrics* (1975).

    Parameters
    ----------
    X
        Shape (n, n_features).
    codes
        Group of every spot, 0 to n_groups - 1, shape (n,); -1 for spots that are only part of the rest.
    """
    X = sparse.csc_matrix(X)
    codes = np.asarray(codes)
    n = X.shape[0]
    sizes = np.bincount(codes[codes >= 0], minlength=n_groups).astype(np.float64)
    sums = np.empty((n_groups, X.shape[1]))
    ties = np.empty(X.shape[1])
    for columns in _blocks(X):
        sums[:, columns], ties[columns] = _rank_sums(X[:, columns], codes, n_groups, sizes)
    others = n - sizes
    pairs = (sizes * others)[:, None]
    u = sums - (sizes * (sizes + 1) / 2)[:, None]
    variance = pairs / 12 * (n + 1 - ties / (n * (n - 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = u / pairs
        away = u - pairs / 2
        z = np.maximum(np.abs(away) - 0.5, 0) / np.sqrt(variance)
    z[variance <= 1e-9 * pairs] = 0.0
    return RankSum(auc, z * np.sign(away), np.minimum(2 * ndtr(-z), 1.0))


def markers(
    adata: AnnData, groupby: str, *, layer: str = keys.NORMALIZED, context: Context | None = None
) -> pd.DataFrame:
    """Every group of ``obs[groupby]`` against all other spots, one row per group and feature.

    Columns: group, feature, type, auc, log2fc (of the mean linear values), p, fdr (Benjamini-Hochberg within the
    group), mean_in, mean_out, share_in, share_out (spots with a value above zero). Sorted by group, then auc from high
    to low. Spots without a group belong to the rest.

    Raises
    ------
    DataError
        When the column or the layer does not exist, the column holds a number or a name of each spot and no groups, or
        there is nothing to compare.
    """
    context = context or Context()
    if groupby not in adata.obs:
        raise DataError(f"a column '{groupby}' in obs", found=", ".join(map(str, adata.obs.columns[:20])) or "none")
    column = adata.obs[groupby]
    groups = column.astype("category").cat.remove_unused_categories()
    _check_groups(adata, groups)
    codes, names = groups.cat.codes.to_numpy().astype(np.int64), [str(c) for c in groups.cat.categories]
    return _table(adata, codes, names, layer, context)


def _check_groups(adata: AnnData, groups: pd.Series) -> None:
    sizes = groups.value_counts()
    if not len(sizes) or sizes.median() >= LEAST_TYPICAL:
        return
    columns = adata.obs.select_dtypes("category").drop(columns=groups.name, errors="ignore")
    others = [str(name) for name, column in columns.items() if column.nunique() > 1]
    raise DataError(
        "a column of obs that puts the spots in groups",
        found=f"{len(sizes):,} different values among {int(sizes.sum()):,} spots in '{groups.name}'",
        mend=f"Choose {' or '.join(others[:5]) or 'a categorical column'}, or cut it into classes with pandas.cut.",
    )


def compare(
    adata: AnnData, group: np.ndarray, other: np.ndarray | None = None, *, layer: str = keys.NORMALIZED
) -> pd.DataFrame:
    """One set of spots against another, or against the rest; rows and columns as in :func:`markers`, without group.

    Parameters
    ----------
    group, other
        Masks of shape (n_obs,); spots in both count as *group*. None: all spots not in *group*.
    """
    group = np.asarray(group, dtype=bool)
    used = np.ones(adata.n_obs, dtype=bool) if other is None else group | np.asarray(other, dtype=bool)
    codes = np.where(group[used], 0, -1)
    return _table(adata[used], codes, ["group"], layer, Context()).drop(columns="group")


def _table(adata: AnnData, codes: np.ndarray, names: list[str], layer: str, context: Context) -> pd.DataFrame:
    if layer not in adata.layers:
        raise DataError(f"a layer '{layer}'", found=f"{sorted(adata.layers)}", mend="Select features first.")
    is_gene = (adata.var[keys.TYPE] == keys.ST).to_numpy() if keys.TYPE in adata.var else np.ones(adata.n_vars, bool)
    return tables(
        adata.layers[layer],
        codes,
        names,
        adata.var_names,
        is_gene=is_gene,
        logged=layer != keys.COUNTS,
        sources=sources_of(adata, layer),
        context=context,
    )


def tables(
    X: np.ndarray | sparse.spmatrix,
    codes: np.ndarray,
    groups: Sequence[str],
    features: Sequence[str],
    *,
    is_gene: np.ndarray,
    logged: bool = True,
    sources: Mapping[str, np.ndarray] | None = None,
    context: Context | None = None,
) -> pd.DataFrame:
    """Every group against all other spots, rows and columns as in :func:`markers`, from arrays alone.

    A spot without values of a modality counts on neither side of its features; those that a side lacks are left out.

    Parameters
    ----------
    X
        Values, shape (n, n_features).
    codes
        Group of every spot, shape (n,); -1 for spots that are only part of the rest.
    is_gene
        bool, shape (n_features,).
    logged
        Whether genes are log(1 + x), as in the normalised layer; fold changes are those of linear values.
    sources
        The obs columns that say from how many spots or pixels a spot has its values (:data:`core.keys.N_SOURCES`),
        each (n,), 0: from none. Left out: all spots have values.

    Raises
    ------
    DataError
        When a group has no spots, or all.
    """
    context = context or Context()
    X = sparse.csc_matrix(X)
    sizes = np.bincount(codes[codes >= 0], minlength=len(groups))
    if not len(groups) or (sizes == 0).any() or (sizes == X.shape[0]).any():
        raise DataError("spots in every group and outside it", found=f"groups of {sizes.tolist()} among {X.shape[0]}")
    numbers = {name: np.full((len(groups), X.shape[1]), np.nan) for name in NUMBERS}
    kinds = np.where(is_gene, keys.ST, keys.SM)
    alike = measured_alike(kinds, sources or {}, X.shape[0])
    for number, (columns, spots) in enumerate(alike):
        context.stop_if_cancelled()
        context.progress(0.1 + 0.8 * number / len(alike), "ranking")
        part = X if len(alike) == 1 and spots.all() else X[:, columns].tocsr()[spots].tocsc()
        for name, found in _compared(part, codes[spots], len(groups), (is_gene & logged)[columns]).items():
            numbers[name][:, columns] = found
    found = []
    for number, name in enumerate(groups):
        about = {"group": name, "feature": np.asarray(features).astype(str), "type": kinds}
        table = pd.DataFrame(about | {column: numbers[column][number] for column in NUMBERS})
        table.insert(table.columns.get_loc("p") + 1, "fdr", benjamini_hochberg(table["p"].to_numpy()))
        found.append(table.dropna(subset="auc").sort_values("auc", ascending=False, kind="stable"))
    context.progress(1.0, f"{len(groups)} groups")
    return pd.concat(found, ignore_index=True)


def _compared(X: sparse.csc_matrix, codes: np.ndarray, n_groups: int, is_log: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of :data:`NUMBERS`, each (n_groups, n_features); NaN for a group that has no spot, or all."""
    with np.errstate(invalid="ignore", divide="ignore"):
        test = rank_sum(X, codes, n_groups)
        (inside, outside), (share_in, share_out) = (
            np.moveaxis(found, 1, 0) for found in _means_and_shares(_linear(X, is_log), codes, n_groups)
        )
        change = np.log2((inside + PSEUDO) / (outside + PSEUDO))
    found = (test.auc, change, test.p, inside, outside, share_in, share_out)
    return dict(zip(NUMBERS, found, strict=True))


def _blocks(X: sparse.csc_matrix):
    """Slices of columns with about BLOCK_NUMBERS stored values."""
    start = 0
    while start < X.shape[1]:
        limit = X.indptr[start] + BLOCK_NUMBERS
        stop = max(start + 1, int(np.searchsorted(X.indptr, limit, side="right")) - 1)
        yield slice(start, stop)
        start = stop


def _rank_sums(
    X: sparse.csc_matrix, codes: np.ndarray, n_groups: int, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of ranks per group (n_groups, width), and sum of t^3 - t over the ties of each column (width,)."""
    X = X.copy()
    X.eliminate_zeros()
    n, width = X.shape
    stored = np.diff(X.indptr)
    column = np.repeat(np.arange(width), stored)
    order = np.lexsort((X.data, column))
    value, group = X.data[order], codes[X.indices[order]]
    n_zero = (n - stored).astype(np.float64)
    n_negative = np.bincount(column[value < 0], minlength=width)
    # runs of equal values within a column share the mean of their ranks
    first = np.ones(len(value), dtype=bool)
    first[1:] = (value[1:] != value[:-1]) | (column[1:] != column[:-1])
    begin = np.flatnonzero(first)
    length = np.diff(np.append(begin, len(value))).astype(np.float64)
    of_run = column[begin]
    rank = begin - X.indptr[of_run] + (length + 1) / 2 + np.where(value[begin] > 0, n_zero[of_run], 0.0)
    ties = np.bincount(of_run, weights=length**3 - length, minlength=width) + n_zero**3 - n_zero
    ranks = np.repeat(rank, length.astype(np.int64))
    member = group >= 0
    place = group[member] * width + column[member]
    shape = (n_groups, width)
    sums = np.bincount(place, weights=ranks[member], minlength=n_groups * width).reshape(shape)
    held = np.bincount(place, minlength=n_groups * width).reshape(shape)
    return sums + (sizes[:, None] - held) * (n_negative + (n_zero + 1) / 2), ties


def _linear(X: sparse.csc_matrix, is_log: np.ndarray) -> sparse.csr_matrix:
    """Features that are log(1 + x) without it; others as they are."""
    data = X.data.astype(np.float64)
    logged = np.repeat(is_log, np.diff(X.indptr))
    data[logged] = np.expm1(data[logged])
    return sparse.csc_matrix((data, X.indices, X.indptr), shape=X.shape).tocsr()


def _means_and_shares(X: sparse.csr_matrix, codes: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and share of values above zero, inside and outside: both of shape (n_groups, 2, n_features)."""
    rows = np.flatnonzero(codes >= 0)
    member = sparse.csr_matrix((np.ones(len(rows)), (codes[rows], rows)), shape=(n_groups, X.shape[0]))
    inside = np.asarray(member.sum(axis=1))
    divisors = np.stack([inside, X.shape[0] - inside], axis=1)
    found = []
    for values in (X, (X > 0).astype(np.float64)):
        sums = (member @ values).toarray()
        rest = np.maximum(np.asarray(values.sum(axis=0)) - sums, 0.0)
        found.append(np.stack([sums, rest], axis=1) / divisors)
    return found[0], found[1]
