"""What the Explore page shows of a sample: which results, what is in them, how they are found.

Works on :class:`~spatialmeta_app.workspace.views.View` (typed arrays) alone; no Dash, no AnnData.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.analysis.outlines import typical_pitch
from core.errors import SpatialMetaError
from spatialmeta_app.services import pictures
from spatialmeta_app.services.results import place_of
from spatialmeta_app.services.steps import TITLES
from spatialmeta_app.workspace.records import JOINT, Result
from spatialmeta_app.workspace.search import describe as describe_feature
from spatialmeta_app.workspace.views import MISSING, View

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

ORDER = (*JOINT, "st", "align", "sm")
LAYERS = {keys.NORMALIZED: "normalised", keys.COUNTS: "raw", keys.RECONSTRUCTION: "reconstructed"}
#: printed diameter of a Visium spot; ``spot_diameter_fullres`` is that of "a theoretical 65 µm spot"
PRINTED_UM, THEORETICAL_UM = 55.0, (60.0, 70.0)
HITS = 30
#: above this number of spots the server paints: 200,000 are 1.6 MB of places and 0.8 MB a recolour
RASTER_FROM = 200_000


@dataclass(frozen=True)
class Shown:
    """A result that can be looked at."""

    id: str
    step: str
    title: str
    stale: bool


@dataclass(frozen=True)
class Controls:
    """The left column as an address asks for it."""

    layer: str = ""  # '': the result's own
    scale: str = "viridis"
    clip: tuple[float, float] = (2.0, 98.0)
    log: bool = False
    bivariate: bool = False
    histology: float = 100.0  # %
    spots: float = 85.0  # %
    size: float = 100.0  # % of the true size
    dot: float | None = None  # pixels on the screen; None: by the true size
    grid: bool = False  # all samples of the project


def controls_from(query: Mapping[str, str | None], scales: Sequence[str]) -> Controls:
    """Controls from the words of an address; what is missing or makes no sense is the default."""
    plain = Controls()
    low, high = (_number(part, 0, 100) for part in (*str(query.get("clip") or "").split("-", 1), "")[:2])
    scale = query.get("scale")
    return Controls(
        layer=query["layer"] if query.get("layer") in LAYERS else plain.layer,
        scale=scale if scale in scales else plain.scale,
        clip=(low, high) if low is not None and high is not None and low < high else plain.clip,
        log=query.get("log") == "1",
        bivariate=bool(query.get("second")),
        histology=_percent(query.get("histology"), plain.histology, 100),
        spots=_percent(query.get("spots"), plain.spots, 100),
        size=_percent(query.get("size"), plain.size, 300),
        dot=_number(query.get("dot"), 1, 40),
        grid=query.get("grid") == "1",
    )


def _percent(text: str | None, default: float, most: float) -> float:
    value = _number(text, 0, most)
    return default if value is None else value


def _number(text: str | None, least: float, most: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if least <= value <= most else None


def shown_results(workspace: Workspace, sample: str) -> list[Shown]:
    """The chosen results of a sample that have coordinates, the most complete first."""
    chosen, status = workspace.choices(sample), workspace.status(sample)
    found = [(step, chosen[step]) for step in ORDER if step in chosen]
    return [
        Shown(result.id, step, TITLES[step], status[step] == "stale")
        for step, result in found
        if _has_coordinates(View(workspace.path(result, "view")))
    ]


def default_result(workspace: Workspace, sample: str, shown: Sequence[Shown]) -> str | None:
    """The most complete joint result that is fresh, else a stale one, else a section; None where there is nothing."""
    joint = workspace.joint(sample)
    ids = [s.id for s in shown]
    if joint is not None and joint.id in ids:
        return joint.id
    return ids[0] if ids else None


def samples(workspace: Workspace, project: str) -> list[dict[str, Any]]:
    """The samples of a project with the result that Explore shows of each (None where there is nothing to show)."""
    found = []
    for sample in workspace.samples(project):
        result = default_result(workspace, sample.id, shown_results(workspace, sample.id))
        found.append({"id": sample.id, "name": sample.name, "result": result})
    return found


def _has_coordinates(view: View) -> bool:
    try:
        return view.meta["obsm"].get(keys.SPATIAL, 0) >= 2
    except SpatialMetaError:
        return False


def describe(workspace: Workspace, result: Result) -> dict[str, Any]:
    """All the browser must know of a result before it asks for arrays, as JSON."""
    view = view_of(workspace, result)
    meta = view.meta
    columns = [_column(view, name) for name in meta["obs"]]
    categories = [c["name"] for c in columns if "categories" in c]
    return {
        "result": result.id,
        "step": result.step,
        "frame": "sm" if result.step == "sm" else "st",
        "n_obs": meta["n_obs"],
        "raster": meta["n_obs"] > RASTER_FROM,
        "extent": extent_of(view.directory, keys.SPATIAL),
        "umap_extent": extent_of(view.directory, keys.X_UMAP) if keys.X_UMAP in meta["obsm"] else None,
        "features": meta["features"],
        "um_per_px": um_per_px(workspace, result),
        "spot": _spot(workspace, result, view),
        "layers": [{"name": n, "label": LAYERS.get(n, n)} for n in meta["layers"]],
        "umap": keys.X_UMAP if keys.X_UMAP in meta["obsm"] else None,
        "columns": columns,
        "images": pictures.of_result(workspace, result),
        "first": _first(view, categories),
        "first_features": _first_features(view),
        "first_category": _first_category(columns),
    }


def view_of(workspace: Workspace, result: str | Result) -> View:
    """The typed arrays of a result."""
    return View(workspace.path(result, "view"))


def um_per_px(workspace: Workspace, result: Result) -> float | None:
    """µm per full-resolution pixel: the result's own, else (an aligned SM section) that of its ST section."""
    own = view_of(workspace, result).meta["um_per_px"]
    if own is not None and result.step != "align":
        return own
    source = pictures.st_result(workspace, result)
    return view_of(workspace, source).meta["um_per_px"] if source else own


def _spot(workspace: Workspace, result: Result, view: View) -> dict[str, Any]:
    """True size and form of a spot: round as printed for ST, square as the raster for an SM section."""
    pitch = pitch_of(view.directory)
    if result.step in ("sm", "align") or place_of(view) == "pixel":
        return {"diameter_px": pitch, "pitch_px": pitch, "symbol": "square"}
    diameter, um = view.meta["spot_diameter_px"], um_per_px(workspace, result)
    if diameter and um and THEORETICAL_UM[0] <= diameter * um <= THEORETICAL_UM[1]:
        diameter = PRINTED_UM / um
    return {"diameter_px": diameter or 0.55 * pitch, "pitch_px": pitch, "symbol": "circle"}


@lru_cache(maxsize=256)  # a number a result, which never changes
def pitch_of(directory: Path) -> float:
    """Distance between neighbouring spots of a view directory, in pixels."""
    xy = np.asarray(View(directory).obsm(keys.SPATIAL), dtype=np.float64)[:, :2]
    return typical_pitch(xy[np.isfinite(xy).all(axis=1)])


@lru_cache(maxsize=512)
def extent_of(directory: Path, space: str) -> list[float]:
    """``[x0, y0, x1, y1]`` of the spots of a view directory that have a place in ``obsm[space]``."""
    xy = np.asarray(View(directory).obsm(space))[:, :2]
    xy = xy[np.isfinite(xy).all(axis=1)]
    return [*map(float, xy.min(axis=0)), *map(float, xy.max(axis=0))] if len(xy) else [0.0, 0.0, 1.0, 1.0]


def _column(view: View, name: str) -> dict[str, Any]:
    about = view.meta["obs"][name]
    if about["kind"] == "numeric":
        return {"name": name}
    codes = np.asarray(view.obs(name).values)
    counts = np.bincount(codes[codes != MISSING], minlength=len(about["categories"]))
    found = {"name": name, "categories": about["categories"], "counts": counts.tolist()}
    return found | ({"colors": about["colors"]} if about.get("colors") else {})


def _first(view: View, categories: Sequence[str]) -> dict[str, Any] | None:
    """What a result is coloured by when nobody chose: its clusters, else its most spatial feature."""
    if keys.LEIDEN in categories:
        return {"kind": "obs", "name": keys.LEIDEN}
    features = _first_features(view)
    if features:
        return features[0]
    return {"kind": "obs", "name": next(iter(view.meta["obs"]))} if view.meta["obs"] else None


def _first_category(columns: Sequence[Mapping[str, Any]]) -> str | None:
    """The column whose categories are listed when nobody chose: clusters, else samples, else the first."""
    sizes = {c["name"]: len(c["categories"]) for c in columns if "categories" in c}
    several = (c for c in (keys.LEIDEN, keys.SAMPLE) if sizes.get(c, 0) > 1)
    return next(several, next(iter(sizes), None))


def _first_features(view: View) -> list[dict[str, Any]]:
    """One metabolite and one gene, as far as there are: the highest Moran's I, else the highest mean."""
    table = view.features
    by = next((table[n] for n in (keys.MORANS_I, "mean") if n in table), None)
    if by is None or not len(by):
        return []
    types = table.get(keys.TYPE, np.full(len(by), keys.ST))
    found = []
    for kind in (keys.SM, keys.ST):
        score = np.where((types == kind) & np.isfinite(by), by, -np.inf)
        if np.isfinite(score).any():
            found.append(feature_hit(view, int(score.argmax())))
    return found


def feature_hit(view: View, index: int) -> dict[str, Any]:
    """A feature as the search box lists it."""
    return _hit(describe_feature(view.features, index))


def _hit(found: Mapping[str, Any]) -> dict[str, Any]:
    detail = [f"m/z {found[keys.MZ]:.4f}"] if keys.MZ in found else []
    detail += [str(found[n]) for n in (keys.SYMBOL, keys.ANNOTATION) if n in found and found[n] != found["name"]]
    tag = found.get(keys.TYPE, "")
    return {
        "kind": "feature",
        "index": found["index"],
        "name": found["name"],
        "detail": " · ".join(detail),
        "tag": tag,
    }


def search(view: View, query: str) -> list[dict[str, Any]]:
    """Genes, metabolites and columns of obs that fit *query*, best first; columns that begin with it lead."""
    text = query.strip().lower()
    columns = [c for c in view.meta["obs"] if text in c.lower()]
    columns.sort(key=lambda c: (not c.lower().startswith(text), len(c)))
    of_obs = [{"kind": "obs", "name": c, "detail": _kind(view, c), "tag": "obs"} for c in columns]
    of_features = [_hit(found) for found in view.search(query, HITS)]
    lead = [hit for hit in of_obs if text and hit["name"].lower().startswith(text)]
    rest = [hit for hit in of_obs if hit not in lead]
    return (lead + of_features[: HITS - min(10, len(of_obs))] + rest)[:HITS]


def _kind(view: View, column: str) -> str:
    about = view.meta["obs"][column]
    return "number" if about["kind"] == "numeric" else f"{len(about['categories'])} categories"
