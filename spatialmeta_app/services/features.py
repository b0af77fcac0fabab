"""Feature lists as the form holds them, and what the map of the Features page shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from spatialmeta_app.services.results import quality_columns
from spatialmeta_app.workspace.views import View


def names(text: str | None) -> set[str]:
    """The features that a field lists; between semicolons where a name holds a comma, as metabolites do."""
    text = text or ""
    separator = ";" if ";" in text else ","
    return {name.strip() for name in text.split(separator) if name.strip()}


def joined(wanted: set[str]) -> str:
    """The inverse of :func:`names`."""
    if any("," in name for name in wanted):
        return "; ".join(sorted(wanted)) + (";" if len(wanted) == 1 else "")
    return ", ".join(sorted(wanted))


def marked(kind: str, name: str, pinned: str, dropped: str) -> tuple[str, str]:
    """The two fields after *name* was pinned or dropped (``kind``), or freed again at the second press."""
    lists = {"pin": names(pinned), "drop": names(dropped)}
    other = "drop" if kind == "pin" else "pin"
    lists[other].discard(name)
    lists[kind] ^= {name}
    return joined(lists["pin"]), joined(lists["drop"])


def sorted_by(order: dict[str, Any], column: str) -> dict[str, Any]:
    """The order after a press on *column*: numbers start with the highest, names with A, FDR with the lowest."""
    if order["by"] == column:
        return {"by": column, "descending": not order["descending"]}
    return {"by": column, "descending": column not in ("name", "fdr", "rank")}


def map_values(view: View, by: str, feature: str | None) -> tuple[np.ndarray, str]:
    """Values of every spot and their label: a column of obs, or the *feature* where *by* says so."""
    if by == "feature" and feature:
        return np.asarray(view.feature(view.index_of(feature))), feature
    titles = quality_columns(view)
    name = by if by in titles else next(iter(titles))
    return np.asarray(view.obs(name).values), titles[name]
