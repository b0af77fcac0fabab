"""Markers of a set of spots against another, from typed arrays: in the web process where that is quick, else a job."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError
from core.fdr import benjamini_hochberg
from spatialmeta_app.workspace.search import describe
from spatialmeta_app.workspace.views import View

if TYPE_CHECKING:
    from spatialmeta_app.jobs.task import Task

#: rows for each modality and direction
LIMIT = 25
#: stored values that the web process ranks by itself: about a second
MOST_AT_ONCE = 8_000_000
MOST_PERMUTATIONS = 9999
NUMBERS = ("auc", "log2fc", "p", "fdr", "mean_in", "mean_out", "share_in", "share_out")
FILE = "markers.json"


def quick(view: View, layer: str, permutations: int) -> bool:
    """Whether :func:`marker_rows` may be asked while a person's request waits."""
    return not permutations and view.matrix(layer).nnz <= MOST_AT_ONCE


def marker_rows(
    view: View,
    group: np.ndarray,
    other: np.ndarray | None,
    *,
    layer: str,
    permutations: int = 0,
    context: Context | None = None,
) -> dict[str, Any]:
    """The best features of each modality and direction, by area under the curve.

    Parameters
    ----------
    group, other
        Masks of shape (n_obs,); spots in both count as *group*; None: all other spots.
    permutations
        Random places of the region (:func:`core.analysis.placements.placement_test`); 0: only Wilcoxon.

    Returns
    -------
    ``{rows, spots: [in, out], permutations}``; a row has ``index, name, tag``, the numbers of
    :func:`core.analysis.markers.tables`, and with permutations ``p_spatial, fdr_spatial``.

    Raises
    ------
    DataError
        A side without spots, or more permutations than 9,999.
    """
    from core.analysis.markers import tables
    from core.quality import measured_alike

    check(group, other, permutations)
    context = context or Context()
    used = np.ones(len(group), dtype=bool) if other is None else group | other
    types = view.features.get(keys.TYPE, np.full(view.meta["n_vars"], keys.ST))
    X, sources = _numbers(view, layer), view.sources(layer)
    table = tables(
        X if other is None else X.tocsr()[used],
        np.where(group[used], 0, -1),
        ["group"],
        np.arange(view.meta["n_vars"]),
        is_gene=types == keys.ST,
        logged=layer != keys.COUNTS,
        sources={name: counts[used] for name, counts in sources.items()},
    )
    spatial = None
    if permutations:
        spatial = _placed(view, X, measured_alike(types, sources, len(group)), (group, other), permutations, context)
    rows = [_row(view, row, spatial) for kind in (keys.SM, keys.ST) for row in _best(table[table["type"] == kind])]
    rows.sort(key=lambda row: -row["auc"])
    return {"rows": rows, "spots": [int(group.sum()), int((used & ~group).sum())], "permutations": permutations}


def _placed(  # noqa: PLR0917
    view: View,
    X: sparse.csc_matrix,
    alike: list[tuple[np.ndarray, np.ndarray]],
    sides: tuple[np.ndarray, np.ndarray | None],
    permutations: int,
    context: Context,
) -> np.ndarray:
    """p and fdr by random places, shape (n_features, 2); NaN for features that a side was not measured in. *alike*: see
    :func:`core.quality.measured_alike`."""
    from core.analysis.placements import placement_test

    xy, p = np.asarray(view.obsm(keys.SPATIAL), dtype=np.float64)[:, :2], np.full(X.shape[1], np.nan)
    for columns, spots in alike:
        at = spots & np.isfinite(xy).all(axis=1)
        group, other = (None if side is None else side[at] for side in sides)
        if not _comparable(group, other):
            continue
        values = X if len(alike) == 1 else X[:, columns]
        values = values if at.all() else values.tocsr()[at]
        p[columns] = placement_test(values, xy[at], group, other, n_permutations=permutations, context=context).p
    return np.stack([p, benjamini_hochberg(p)], axis=1)


def _comparable(group: np.ndarray, other: np.ndarray | None) -> bool:
    return bool(group.any() and (~group if other is None else other & ~group).any())


def check(group: np.ndarray, other: np.ndarray | None, permutations: Any) -> None:
    """Refuse what can not be compared, before a job is made of it; see :func:`marker_rows`."""
    whole = isinstance(permutations, int) and not isinstance(permutations, bool)
    if not whole or not 0 <= permutations <= MOST_PERMUTATIONS:
        raise DataError(f"0 to {MOST_PERMUTATIONS:,} permutations", found=repr(permutations))
    if not group.any():
        raise DataError("spots in the selection", found="none", mend="Select some spots.")
    if not _comparable(group, other):
        raise DataError("spots to compare with", found="none outside the selection", mend="Select fewer spots.")


def _best(table: Any) -> list[Any]:
    """The LIMIT highest and the LIMIT lowest rows of a table sorted by auc."""
    rows = list(table.itertuples())
    return rows if len(rows) <= 2 * LIMIT else rows[:LIMIT] + rows[-LIMIT:]


def _row(view: View, row: Any, spatial: Any) -> dict[str, Any]:
    index = int(row.feature)
    found = describe(view.features, index)
    numbers = {name: _finite(getattr(row, name)) for name in NUMBERS}
    if spatial is not None:
        numbers |= dict(zip(("p_spatial", "fdr_spatial"), map(_finite, spatial[index]), strict=True))
    return {"index": index, "name": found["name"], "tag": str(row.type)} | numbers


def _numbers(view: View, layer: str) -> sparse.csc_matrix:
    """All features of a layer, as numbers; which spots have values at all is told beside."""
    found = sparse.csc_matrix(view.matrix(layer))
    return sparse.csc_matrix((np.nan_to_num(found.data), found.indices, found.indptr), shape=found.shape)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# the job


def pack(mask: np.ndarray) -> str:
    """A mask as text, eight spots a byte, the first spot the lowest bit."""
    return base64.b64encode(np.packbits(mask, bitorder="little")).decode("ascii")


def unpack(text: str, n: int) -> np.ndarray:
    """What :func:`pack` packed; bool (n,)."""
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(bits, count=n, bitorder="little").astype(bool)


def markers(task: Task) -> str:
    """Write ``download/markers.json`` in the job's folder: the answer of :func:`marker_rows`.

    ``config``: ``{result, group, other, layer, permutations}``, the spots as :func:`pack` gives them.
    """
    from spatialmeta_app.workspace.directories import write_file

    config = task.config
    view = View(task.workspace.path(task.workspace.result(config["result"]), "view"))
    group, other = (
        None if config[name] is None else unpack(config[name], view.meta["n_obs"]) for name in ("group", "other")
    )
    found = marker_rows(
        view, group, other, layer=config["layer"], permutations=config["permutations"], context=task.context
    )
    folder = task.folder / "download"
    folder.mkdir(exist_ok=True)
    write_file(folder / FILE, json.dumps(found, allow_nan=False).encode())
    return FILE
