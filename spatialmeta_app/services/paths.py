"""What changes along a trajectory: the features ranked by a test against position, and the numbers behind a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.stats import spearmanr

from core import keys
from core.analysis import trajectories
from core.analysis.gradients import trend
from core.errors import DataError
from core.quality import measured_alike
from spatialmeta_app.services import annotations
from spatialmeta_app.services.explore import feature_hit
from spatialmeta_app.workspace.views import View

GRID = 60
ROWS = 24
#: values that are looked at while a person waits: about two seconds
MOST_VALUES = 60_000_000


def top_features(
    view: View,
    coordinates: Any,
    *,
    width_um: float,
    layer: str | None,
    um_per_px: float | None,
    kind: str | None = None,
    features: Sequence[int] | None = None,
    limit: int = ROWS,
) -> dict[str, Any]:
    """The features that change most along a path, ranked by :func:`core.analysis.gradients.trend`.

    Parameters
    ----------
    coordinates
        Points of the path in full-resolution pixels, in the direction of travel.
    kind
        'ST' or 'SM' only; None: both.
    features
        Indices that a person chose; None: all. The false discovery rate is over those that were tested.
    limit
        How many to give back.

    Returns
    -------
    ``{rows, spots, tested, position_um, bandwidth_um}``; a row is a search hit with ``f, p, fdr, r2, rho`` (Spearman),
    ``peak_um``, and ``values``: its smooth along the path brought to [0, 1], None where no spots are near.

    Raises
    ------
    DataError
        Nothing to test, too few spots in the corridor, or more values than can be looked at while a person waits.
    """
    line = annotations.line(coordinates)
    um = um_per_px or 1.0
    placed, where = annotations.projection(view, line)
    inside = where.inside(annotations.width_px(width_um, um_per_px))
    rows, position = placed[inside], where.position[inside] * um
    chosen = _chosen(view, kind, features)
    X = _matrix(view, layer, chosen)
    if X.nnz + len(rows) * len(chosen) > MOST_VALUES:
        raise DataError(
            f"at most {MOST_VALUES:,} values",
            found=f"{X.nnz:,} stored ones and {len(rows):,} spots of {len(chosen):,} features",
            mend="Make the corridor narrower, select features first or choose a list.",
        )
    values = _measured(view, X.tocsr()[rows], rows, chosen, layer)
    found = trend(values, position)
    order = np.argsort(-np.nan_to_num(found.f, nan=-1.0), kind="stable")[: max(1, min(int(limit), 200))]
    order = order[np.isfinite(found.f[order])]
    length = trajectories.path_length(line) * um
    best = [
        _row(view, int(chosen[i]), _column(values, i), position, length)
        | {"f": float(found.f[i]), "p": float(found.p[i]), "fdr": float(found.fdr[i]), "r2": float(found.r2[i])}
        for i in order
    ]
    tested = int(np.isfinite(found.p).sum())
    grid = np.linspace(0.0, length, GRID)
    return {"rows": best, "spots": len(rows), "tested": tested, "position_um": grid.tolist()}


def _chosen(view: View, kind: str | None, features: Sequence[int] | None) -> np.ndarray:
    n = view.meta["n_vars"]
    chosen = np.arange(n) if features is None else np.unique(np.asarray(features, dtype=np.int64))
    if chosen.size and not 0 <= chosen[0] <= chosen[-1] < n:
        raise DataError(f"features from 0 to {n - 1}", found=f"{chosen[0]} to {chosen[-1]}")
    if kind:
        chosen = chosen[view.features.get(keys.TYPE, np.full(n, keys.ST))[chosen] == kind]
    if not chosen.size:
        raise DataError("at least one gene or metabolite", found="none", mend="Choose others.")
    return chosen


def _matrix(view: View, layer: str | None, chosen: np.ndarray) -> sparse.csc_matrix:
    whole = sparse.csc_matrix(view.matrix(layer))
    return whole if len(chosen) == whole.shape[1] else whole[:, chosen]


def _measured(
    view: View, values: sparse.csr_matrix, rows: np.ndarray, chosen: np.ndarray, layer: str | None
) -> np.ndarray | sparse.csr_matrix:
    """*values* of the spots *rows* and features *chosen*, with NaN where :meth:`View.feature` has it; dense then."""
    kinds = view.features.get(keys.TYPE, np.full(view.meta["n_vars"], keys.ST))[chosen]
    sources = {name: counts[rows] for name, counts in view.sources(layer).items()}
    alike = measured_alike(kinds, sources, len(rows))
    if all(spots.all() for _, spots in alike) and not np.isnan(values.data).any():
        return values
    dense = values.toarray()
    for columns, spots in alike:
        dense[np.ix_(~spots, columns)] = np.nan
    return dense


def _column(values: np.ndarray | sparse.csr_matrix, index: int) -> np.ndarray:
    return values[:, [index]].toarray().ravel() if sparse.issparse(values) else values[:, index]


def _row(view: View, index: int, values: np.ndarray, position: np.ndarray, length: float) -> dict[str, Any]:
    known = np.isfinite(values)
    smooth = trajectories.profile(np.where(known, values, 0.0), position, known, length=length, n_grid=GRID)
    mean = annotations.to_unit([smooth.mean[0]])[0]
    peak = float(smooth.grid[np.nanargmax(mean)])
    rho = float(spearmanr(values[known], position[known]).statistic)
    numbers = [round(float(v), 4) if np.isfinite(v) else None for v in mean]
    return feature_hit(view, index) | {"values": numbers, "peak_um": peak, "rho": rho}


def find_list(view: View, text: str) -> dict[str, Any]:
    """The features that a list of names, symbols, m/z or annotations means: ``{features, missing}``.

    Parameters
    ----------
    text
        Names separated by commas, semicolons or new lines; each stands for its best hit.
    """
    names = [name.strip() for name in text.replace(";", "\n").replace(",", "\n").splitlines() if name.strip()][:500]
    found, missing = [], []
    for name in names:
        hits = view.search(name, 1)
        (found if hits else missing).append(feature_hit(view, hits[0]["index"]) if hits else name)
    unique = {hit["index"]: hit for hit in found}
    return {"features": list(unique.values()), "missing": missing}


def profile_table(
    view: View, coordinates: Any, *, width_um: float, features: Sequence[int], layer: str | None, scaled: bool,
    um_per_px: float | None,
) -> dict[str, Any]:  # fmt: skip
    """The numbers that the profile draws: ``{names, position_mm, mean, low, high, spots, bandwidth_um}``."""
    found = annotations.profiles(
        view, coordinates, width_um=width_um, features=features, layer=layer, scaled=scaled, um_per_px=um_per_px
    )
    arrays = {name: _listed(getattr(found, name)) for name in ("mean", "low", "high")}
    position = found.position_mm.tolist()
    return {"names": list(found.names), "position_mm": position, "spots": found.spots} | arrays


def _listed(values: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
