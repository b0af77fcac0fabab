"""What the step pages show of a result: plain numbers and arrays from its view, no components, no figures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from spatialmeta_app.services.steps import Run, StepView, config_of
from spatialmeta_app.workspace import NotFound
from spatialmeta_app.workspace.records import Result
from spatialmeta_app.workspace.views import MISSING, View

if TYPE_CHECKING:
    from core.reassignment import Plan
    from spatialmeta_app.jobs import JobStore
    from spatialmeta_app.workspace import Workspace

TERM_TITLES = {
    "outline_um": "Outline distance (µm)",
    "loss_outline": "Loss of the outlines",
    "loss_features": "Loss of the features",
    "loss_histology": "Loss of the histology",
    "loss_landmarks": "Loss of the landmarks",
    "fit": "Loss of the last descent (spot distances²)",
    "loss": "Loss, and validation (orange)",
    "st": "Genes: reconstruction",
    "sm": "Metabolites: reconstruction",
    "kl": "KL divergence to the prior",
    "mmd": "MMD between samples",
    "agreement": "Agreement of the modalities",
}
OVERLAYS = {"validation": "loss"}
COUNTERS = ("epoch", "iteration")
#: what a modality measures
MEASURED = {keys.ST: "genes", keys.SM: "metabolites"}
#: what the rows of the joint object are, by the direction of the reassignment
PLACES = {"sm-to-st": "spots", "st-to-sm": "pixels", "grid": "grid points"}
ROWS = 40  # of a page of the feature table


def open_view(workspace: Workspace, result: Result) -> View:
    """The typed arrays of *result*."""
    return View(workspace.path(result, "view"))


def notes(workspace: Workspace, result: Result, name: str) -> dict[str, Any]:
    """``uns['spatialmeta'][name]`` of a result; empty where there is none."""
    return open_view(workspace, result).meta["spatialmeta"].get(name) or {}


# curves


@dataclass(frozen=True)
class Curves:
    """Numbers of a run over its steps: ``history`` maps a term to x and y; ``meta`` is what the browser appends by."""

    history: dict[str, tuple[list[float], list[float]]]
    meta: dict[str, Any]
    x_title: str


def curves(workspace: Workspace, store: JobStore, view: StepView) -> Curves:
    """The curves of the step's running job, else of the run in use (from its events, else from its file)."""
    job = view.job.id if view.job is not None and view.job.active else None
    chosen = view.chosen.result if view.chosen else None
    source = job or _job_of_step(store, chosen)
    events = store.events(source) if source else []
    history, counter = series([event["numbers"] for event in events])
    if not history and not job and chosen:
        history = kept_history(workspace, chosen)
    title = counter or ("epoch" if view.step == "integrate" else "iteration")
    last = events[-1]["id"] if events else 0
    hidden = [term for term, (_, y) in history.items() if not any(y)]  # a term with weight 0
    history = {term: history[term] for term in sorted(history, key=_place) if term not in hidden}
    return Curves(history, {"job": job, "last": last, "terms": list(history), "hidden": hidden, "x": counter}, title)


def _job_of_step(store: JobStore, result: Result | None) -> str | None:
    """The job that made *result*, where it did this step alone: the demonstration's job has the numbers of all."""
    try:
        job = store.get(result.job) if result and result.job else None
    except NotFound:  # removed since
        return None
    return job.id if job and job.kind == result.step else None


def _place(term: str) -> int:
    known = (*TERM_TITLES, *OVERLAYS)
    return known.index(term) if term in known else len(known)


def series(numbers: list[Mapping[str, float | None]]) -> tuple[dict[str, tuple[list[float], list[float]]], str]:
    """Events -> term -> (x, y), and the name of the number that counts the steps ('' where events are counted)."""
    counter = next((c for c in COUNTERS if any(c in n for n in numbers)), "")
    history: dict[str, tuple[list[float], list[float]]] = {}
    for event in numbers:
        for term, value in event.items():
            if term == counter:
                continue
            x, y = history.setdefault(term, ([], []))
            x.append(event.get(counter) or len(x) + 1)
            y.append(value)
    return history, counter


def kept_history(workspace: Workspace, result: Result) -> dict[str, tuple[list[float], list[float]]]:
    """The loss history that the step itself wrote into ``uns`` (a copied project has no jobs)."""
    if result.step == "align":
        terms = {"fit": notes(workspace, result, keys.ALIGNMENT).get("history") or []}
    else:
        terms = notes(workspace, result, keys.TRAINING).get("terms") or {}
    return {term: (list(range(1, len(y) + 1)), list(y)) for term, y in terms.items() if y}


# lists of runs


def one_line(workspace: Workspace, run: Run) -> str:
    """What tells a run from the others of its step, in a few words."""
    summary = run.result.summary
    match run.result.step:
        case "align":
            quality = alignment_quality(workspace, run.result)
            distance, dice = quality.get("outline_mean_um"), quality.get("dice")
            known = [f"outline {distance:.0f} µm" if distance is not None else "", f"Dice {dice:.2f}" if dice else ""]
            return ", ".join(k for k in known if k) or "aligned"
        case "reassign":
            return f"{summary.get('n_obs', 0):,} {PLACES[run.result.config.get('direction', 'sm-to-st')]}"
        case "features":
            chosen = selected_counts(workspace, run.result)
            return ", ".join(f"{chosen[m]:,} {noun}" for m, noun in MEASURED.items() if m in chosen)
        case "integrate":
            terms = notes(workspace, run.result, keys.TRAINING)
            losses = (terms.get("terms") or {}).get("loss") or []
            return f"{len(losses)} epochs, loss {losses[-1]:.4g}" if losses else "trained"
        case "cluster":
            column = open_view(workspace, run.result).meta["obs"].get(keys.LEIDEN, {})
            return f"{len(column.get('categories', ()))} clusters"
        case _:
            return f"{summary.get('n_obs', 0):,} × {summary.get('n_vars', 0):,}"


def alignment_quality(workspace: Workspace, result: Result) -> dict[str, float]:
    """The numbers that the alignment measured of itself."""
    noted = notes(workspace, result, keys.ALIGNMENT)
    found = noted.get("quality") if isinstance(noted.get("quality"), dict) else noted
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def selected_counts(workspace: Workspace, result: Result) -> dict[str, int]:
    """Selected features by modality, of those that were measured."""
    table = open_view(workspace, result).features
    chosen = table.get(keys.SELECTED, np.ones(len(table["name"]), dtype=bool))
    return {m: int((chosen & (table[keys.TYPE] == m)).sum()) for m in MEASURED if (table[keys.TYPE] == m).any()}


# reassignment


@dataclass(frozen=True)
class Coverage:
    """How the places of a reassignment take what moved: SM pixels, or ST spots where the places are the pixels'."""

    plan: Plan
    moved: str  # modality whose sources are shown
    um_per_px: float
    report: dict[str, Any]
    missing: str  # what became of places without: drop, keep or nearest

    @property
    def count(self) -> np.ndarray:
        """Sources of each place, (n,)."""
        return self.plan.count(self.moved)

    @property
    def distances_um(self) -> np.ndarray:
        """Distances of all links, flat."""
        return self.plan.distances(self.moved) * self.um_per_px


def coverage(workspace: Workspace, result: Result) -> Coverage:
    """The weights of a reassignment, found again from its inputs and settings."""
    from core.reassignment import plan

    config = config_of("reassign", result.config)
    joint = open_view(workspace, result)
    xy = [coordinates(open_view(workspace, workspace.result(result.inputs[name]))) for name in ("st", "sm")]
    um = float(joint.meta["um_per_px"] or 1.0)
    moved = keys.ST if config.direction == "st-to-sm" else keys.SM
    report = notes(workspace, result, keys.REASSIGNMENT)
    return Coverage(plan(*xy, config, um_per_px=um), moved, um, report, config.missing)


def coordinates(view: View) -> np.ndarray:
    """``obsm['spatial']`` as float64 (n, 2)."""
    return np.asarray(view.obsm(keys.SPATIAL), dtype=float)[:, :2]


@dataclass(frozen=True)
class SpotAudit:
    """One place with its sources, in µm relative to nothing but the frame's origin, nearest source first."""

    spot: int
    xy_um: np.ndarray  # (2,)
    pixels: np.ndarray  # (k,) rows of the section that moved
    pixels_xy_um: np.ndarray  # (k, 2)
    distances_um: np.ndarray  # (k,)
    weights: np.ndarray  # (k,)
    around_um: np.ndarray  # (m, 2) all other sources near by


def audit(found: Coverage, spot: int) -> SpotAudit:
    """The sources of one place, which is row *spot* of the section whose places are taken (of the grid)."""
    plan, um = found.plan, found.um_per_px
    spot = int(np.clip(spot, 0, len(plan.xy) - 1))
    taken, source_xy, centre = plan.sources(found.moved, spot), plan.origin[found.moved], plan.xy[spot]
    near = np.abs(source_xy - centre).max(axis=1) <= max(1.1 * plan.reach, taken.distances.max(initial=0.0))
    near[taken.rows] = False
    return SpotAudit(
        spot, centre * um, taken.rows, source_xy[taken.rows] * um, taken.distances * um, taken.weights,
        source_xy[near] * um,
    )  # fmt: skip


# features


@dataclass(frozen=True)
class FeatureRow:
    """One row of the table of Moran's I."""

    index: int
    name: str
    mz: float | None
    morans_i: float | None
    fdr: float | None
    spots: int | None
    rank: int | None
    samples: int | None  # in which it is among the most variable
    selected: bool
    excluded: str


SORTS = {
    "name": "name",
    "morans_i": keys.MORANS_I,
    "fdr": keys.MORANS_FDR,
    "spots": "n_spots",
    "rank": keys.RANK,
    "samples": keys.N_VARIABLE,
    "mz": keys.MZ,
}


def feature_rows(
    view: View, *, kind: str, query: str = "", by: str = "morans_i", descending: bool = True, page: int = 0
) -> tuple[list[FeatureRow], int]:
    """A page of the features of one modality, and how many there are in all; a missing value sorts last."""
    table = view.features
    index = np.flatnonzero(table[keys.TYPE] == kind)
    if query.strip():
        wanted = {hit["index"] for hit in view.search(query, len(index) or 1, kind=kind)}
        index = index[np.isin(index, list(wanted))]
    order = _order(table.get(SORTS[by], table["name"])[index], descending)
    shown = index[order][page * ROWS : (page + 1) * ROWS]
    return [_feature_row(table, int(i)) for i in shown], len(index)


def _order(values: np.ndarray, descending: bool) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        order = np.argsort(np.char.lower(values.astype(str)), kind="stable")
        return order[::-1] if descending else order
    values = values.astype(float)
    return np.argsort(np.where(np.isfinite(values), -values if descending else values, np.inf), kind="stable")


def _feature_row(table: Mapping[str, np.ndarray], i: int) -> FeatureRow:
    def number(name: str) -> float | None:
        value = float(table[name][i]) if name in table else float("nan")
        return value if np.isfinite(value) else None

    spots, rank, samples = number(keys.N_SPOTS), number(keys.RANK), number(keys.N_VARIABLE)
    return FeatureRow(
        index=i,
        name=str(table["name"][i]),
        mz=number(keys.MZ),
        morans_i=number(keys.MORANS_I),
        fdr=number(keys.MORANS_FDR),
        spots=None if spots is None else int(spots),
        rank=int(rank) if rank else None,
        samples=None if samples is None else int(samples),
        selected=bool(table[keys.SELECTED][i]) if keys.SELECTED in table else True,
        excluded=str(table["excluded"][i]) if "excluded" in table else "",
    )


def sample_count(view: View) -> int:
    """Samples of a joint result."""
    return max(1, len(view.meta["obs"].get(keys.SAMPLE, {}).get("categories", ())))


def moran_groups(view: View) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Moran's I of genes and of metabolites, and of each the lowest that was selected (the cut)."""
    table = view.features
    names = {keys.ST: "genes", keys.SM: "metabolites"}
    groups, cuts = {}, {}
    for modality, name in names.items():
        mask = table[keys.TYPE] == modality
        score = table.get(keys.MORANS_I, np.full(len(mask), np.nan))[mask]
        if not mask.any():
            continue
        groups[name] = score
        chosen = score[table[keys.SELECTED][mask] & np.isfinite(score)] if keys.SELECTED in table else score
        if 0 < chosen.size < np.isfinite(score).sum():
            cuts[name] = float(chosen.min())
    return groups, cuts


def place_of(view: View) -> str:
    """What one row is called: a pixel where SM was measured alone, else a spot."""
    return "pixel" if set(view.meta["features"]) == {keys.SM} else "spot"


def in_words_of(place: str, text: str) -> str:
    """*text*, which speaks of spots, for data whose rows are called *place*."""
    return re.sub(r"\bspot(s?)\b", rf"{place}\1", text)


def quality_columns(view: View) -> dict[str, str]:
    """obs columns that say how good a spot is, as far as there are: name -> title with unit."""
    place = place_of(view)
    titles = {
        "n_counts": f"counts a {place}",
        "n_genes": f"genes a {place}",
        "mito_share": "mitochondrial share",
        "sm_total": f"total intensity a {place}",
        "sm_mean": f"mean intensity a {place}",
        "n_metabolites": f"metabolites a {place}",
        "total_st": f"counts a {place}",
        "total_sm": f"total intensity a {place}",
    }
    found: dict[str, str] = {}
    for name, title in titles.items():
        if name in view.meta["obs"] and title not in found.values():
            found[name] = title
    return found


# maps


def category(view: View, name: str) -> tuple[np.ndarray, list[str]]:
    """Codes (n,) with -1 for none, and names, of a categorical column."""
    column = view.obs(name)
    codes = np.asarray(column.values).astype(int)
    return np.where(codes == MISSING, -1, codes), list(column.categories or ())


def plain(value: Any) -> dict[str, Any]:
    """A frozen record as a mapping."""
    return dataclasses.asdict(value)
