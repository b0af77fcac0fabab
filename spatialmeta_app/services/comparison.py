"""Two runs of the model side by side: what was set differently, what came out, the curves of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from spatialmeta_app.services import results
from spatialmeta_app.services.steps import Run, StepView
from spatialmeta_app.workspace.records import Result

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

History = dict[str, tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Comparison:
    """The run in use and another of the same step; each row is a name with a value of either."""

    used: Run
    other: Run
    settings: list[tuple[str, Any, Any]]  # those that differ
    outcome: list[tuple[str, Any, Any]]
    curves: History  # terms of the other run end in OTHER


OTHER = " of the other run"


def compare(workspace: Workspace, view: StepView, other: str | None) -> Comparison | None:
    """The run in use against the run whose result is *other*; None where one of them is not there."""
    used, chosen = view.chosen, next((run for run in view.runs if run.result.id == other), None)
    if used is None or chosen is None or used is chosen:
        return None
    a, b = _outcome(workspace, used.result), _outcome(workspace, chosen.result)
    return Comparison(
        used,
        chosen,
        settings=[(n, x, y) for n, x, y in _paired(used.result.config, chosen.result.config) if x != y],
        outcome=_paired(a, b),
        curves=_curves(workspace, used.result, chosen.result),
    )


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, a.get(name), b.get(name)) for name in {**a, **b}]


def _outcome(workspace: Workspace, result: Result) -> dict[str, Any]:
    notes = results.notes(workspace, result, keys.TRAINING)
    terms = notes.get("terms") or {}
    view = results.open_view(workspace, result)
    found: dict[str, Any] = {"epochs done": len(terms.get("loss") or ())}
    best = notes.get("best_epoch")
    for name, values in terms.items():
        if any(values):
            found[f"{name} at the best epoch"] = values[best] if best is not None else values[-1]
    for kind, column in keys.CONTRIBUTION.items():
        if column in view.meta["obs"]:
            found[f"mean contribution of {kind}"] = float(np.nanmean(view.obs(column).values))
    found["time (s)"] = result.duration_s
    clusters = clusters_of(workspace, result)
    if clusters is not None:
        names = results.open_view(workspace, clusters).meta["obs"][keys.LEIDEN]["categories"]
        found["clusters"] = len(names)
    return found


def clusters_of(workspace: Workspace, trained: Result) -> Result | None:
    """The newest clustering of the embedding that *trained* holds."""
    own = [r for r in workspace.results(trained.sample, "cluster") if r.inputs.get("joint") == trained.id]
    return max(own, key=lambda r: r.created, default=None)


def _curves(workspace: Workspace, used: Result, other: Result) -> History:
    mine, theirs = (_seen(results.kept_history(workspace, r)) for r in (used, other))
    return mine | {term + OTHER: history for term, history in theirs.items()}


def _seen(history: History) -> History:
    return {term: (x, y) for term, (x, y) in history.items() if any(y)}  # a term with weight 0 says nothing
