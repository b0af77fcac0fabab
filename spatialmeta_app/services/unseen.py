"""What a page asks about values that never reach it: the spot under the pointer, and one range for several results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.errors import DataError
from spatialmeta_app.services import raster
from spatialmeta_app.services.explore import view_of
from spatialmeta_app.workspace.views import MISSING, View

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

MOST_TOGETHER = 64  # results on one scale


def value_at(
    view: View, place: tuple[float, float], reach: float, *, of: Mapping[str, Any], space: str = keys.SPATIAL
) -> dict[str, Any]:
    """``{value}`` of the spot nearest to *place* within *reach* (units of ``obsm[space]``), None where it has none;
    ``{}`` where no spot is near. A category is its code. *of*: see :func:`values_of`."""
    xy, (x, y) = view.obsm(space), place
    near = np.flatnonzero((np.abs(xy[:, 0] - x) <= reach) & (np.abs(xy[:, 1] - y) <= reach))
    away = np.hypot(*(np.asarray(xy[near, :2], dtype=np.float64) - [x, y]).T)
    if not near.size or away.min() > reach:
        return {}
    values = values_of(view, of)
    value = values[near[away.argmin()]]
    known = value != MISSING if values.dtype == np.uint16 else np.isfinite(value)
    return {"value": value.item() if known else None}


def values_of(view: View, of: Mapping[str, Any]) -> np.ndarray:
    """The values that ``{feature, layer}`` or ``{column}`` names; float32 or codes (n_obs,)."""
    if "column" in of:
        return np.asarray(view.obs(str(of["column"])).values)
    return view.feature(int(of["feature"]), of.get("layer") or None)


def shared_limits(
    workspace: Workspace, of: Sequence[Mapping[str, Any]], clip: tuple[float, float], *, log: bool
) -> tuple[float, float]:
    """:func:`raster.limits` over the spots of several results together, as if they were one.

    Raises
    ------
    DataError
        No result, or more than 64.
    """
    if not isinstance(of, Sequence) or not 0 < len(of) <= MOST_TOGETHER:
        raise DataError(f"1 to {MOST_TOGETHER} results", found=repr(of)[:60])
    values = [values_of(view_of(workspace, str(each["result"])), each) for each in of]
    return raster.limits(np.concatenate(values), clip, log=log)
