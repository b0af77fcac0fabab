"""What the Export page shows and hands out: contents of the file, small files, storage by step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core import keys
from core.analysis.annotations import region_columns, trajectory_columns
from core.analysis.geojson import to_qupath
from spatialmeta_app.services import steps
from spatialmeta_app.services.results import in_words_of, open_view, place_of
from spatialmeta_app.workspace.errors import WorkspaceError
from spatialmeta_app.workspace.records import CHAIN, Result
from spatialmeta_app.workspace.uploads import gib

if TYPE_CHECKING:
    from spatialmeta_app.services.backend import Backend
    from spatialmeta_app.workspace import Workspace
    from spatialmeta_app.workspace.views import View

#: parts of the h5ad that can be left out: name -> (title, what it is)
PARTS = {
    "annotations": ("Regions and trajectories", "obs columns of each spot, polygons and lines as GeoJSON"),
    "normalized": ("Normalised values", "layers['normalized']"),
    "reconstruction": ("Denoised values", "layers['reconstruction'], by far the largest part"),
    "images": ("Histology", "the images that scanpy and squidpy draw under the spots"),
}

MEANINGS = {
    keys.SPATIAL: "full-resolution image pixels [x, y], y down",
    keys.X_EMB: "joint embedding",
    keys.X_EMB_MODALITY[keys.ST]: "embedding of the genes alone",
    keys.X_EMB_MODALITY[keys.SM]: "embedding of the metabolites alone",
    keys.X_UMAP: "UMAP of the joint embedding",
    keys.COUNTS: "raw counts and intensities; X holds the same",
    keys.NORMALIZED: "total-normalised, genes also log1p",
    keys.RECONSTRUCTION: "denoised values of the CVAE",
    keys.LEIDEN: "clusters of the joint embedding",
    keys.SAMPLE: "name of the sample",
    keys.N_PIXELS: "SM pixels averaged into the spot",
    keys.MEAN_PIXEL_DISTANCE_UM: "their mean distance, µm",
    keys.CONTRIBUTION[keys.ST]: "contribution of the genes, 0 to 1",
    keys.CONTRIBUTION[keys.SM]: "contribution of the metabolites, 0 to 1",
    keys.ALIGNMENT: "the transform, with its quality",
    keys.TRAINING: "loss history and settings",
    "reassignment": "coverage of the spots",
    keys.MORANS_I: "spatial autocorrelation",
    keys.MORANS_FDR: "its false discovery rate",
    keys.SELECTED: "goes into the model",
    keys.TYPE: "ST or SM",
    keys.MZ: "mass to charge",
    keys.MORANS_P: "its p-value",
    "n_counts": "gene counts of the spot",
    "n_genes": "genes detected in the spot",
    "mito_share": "share of mitochondrial counts",
    "sm_total": "total intensity of the spot",
    "sm_mean": "mean intensity of the metabolites of the spot",
    "n_metabolites": "metabolites detected in the spot",
    "n_spots": "spots in which it is detected",
    "rank": "by Moran's I, within its modality",
    "excluded": "why it is not selected",
}


@dataclass(frozen=True)
class Slot:
    """One slot of the file."""

    name: str  # as one writes it in Python
    shape: str
    meaning: str
    bytes: int | None = None
    part: str | None = None  # the part that brings it, where it can be left out


@dataclass(frozen=True)
class Contents:
    """What "Write h5ad" would write now."""

    base: Result
    place: str  # what a row is called
    n_obs: int
    n_vars: int
    features: Mapping[str, int]
    slots: tuple[Slot, ...]
    history: tuple[Mapping[str, Any], ...]


def contents(here: Backend, sample: str) -> Contents | None:
    """The slots of the newest joint result that is up to date, with the annotations; None where there is none."""
    base = here.workspace.joint(sample)
    if base is None:
        return None
    view = open_view(here.workspace, base)
    meta = view.meta
    slots = [*_layer_slots(view), *_obs_slots(meta), *_var_slots(view), *_obsm_slots(view), *_uns_slots(meta)]
    slots += _annotation_slots(here.annotations.head(sample).document)
    history = tuple(meta["spatialmeta"].get(keys.HISTORY) or ())
    place = place_of(view)
    slots = [replace(slot, meaning=in_words_of(place, slot.meaning)) for slot in slots]
    return Contents(base, place, meta["n_obs"], meta["n_vars"], meta["features"], tuple(slots), history)


def _layer_slots(view: View) -> list[Slot]:
    shape = f"{view.meta['n_obs']:,} × {view.meta['n_vars']:,}"
    parts = {keys.NORMALIZED: "normalized", keys.RECONSTRUCTION: "reconstruction"}
    slots = []
    for name in view.meta["layers"]:
        size = _folder_bytes(view, f"layers/{name}")
        slots.append(Slot(f"layers['{name}']", shape, MEANINGS.get(name, ""), size, parts.get(name)))
        if name == keys.COUNTS:
            slots.insert(0, Slot("X", shape, "the same as layers['counts']", size))
    return slots


def _folder_bytes(view: View, name: str) -> int:
    return sum(path.stat().st_size for path in (view.directory / name).iterdir())


def _obs_slots(meta: Mapping[str, Any]) -> list[Slot]:
    shown = {n: about for n, about in meta["obs"].items() if n not in ("total_st", "total_sm")}
    slots = []
    for name, about in shown.items():
        n = len(about.get("categories", ()))
        kinds = f"{n} categor{'y' if n == 1 else 'ies'}" if about["kind"] == "categorical" else "numbers"
        slots.append(Slot(f"obs['{name}']", kinds, MEANINGS.get(name, "")))
    return slots


def _var_slots(view: View) -> list[Slot]:
    known = [c for c in view.features if c not in ("name", "mean")]
    kinds = {"f": "numbers", "i": "numbers", "u": "numbers", "b": "yes or no"}
    return [Slot(f"var['{c}']", kinds.get(view.features[c].dtype.kind, "text"), MEANINGS.get(c, "")) for c in known]


def _obsm_slots(view: View) -> list[Slot]:
    rows = view.meta["n_obs"]
    return [
        Slot(f"obsm['{name}']", f"{rows:,} × {columns}", MEANINGS.get(name, ""), 4 * rows * columns)
        for name, columns in view.meta["obsm"].items()
    ]


def _uns_slots(meta: Mapping[str, Any]) -> list[Slot]:
    ours = [n for n in meta["spatialmeta"] if n not in (keys.HISTORY, keys.REGIONS, keys.TRAJECTORIES)]
    slots = [Slot(f"uns['{keys.UNS}']['{name}']", "", MEANINGS.get(name, "")) for name in ours]
    steps_done = len(meta["spatialmeta"].get(keys.HISTORY) or ())
    slots.append(
        Slot(f"uns['{keys.UNS}']['{keys.HISTORY}']", f"{steps_done} steps", "settings, seed, inputs, versions, time")
    )
    if meta.get("pictures"):
        slots.append(Slot("uns['spatial']", "", "histology and scale factors, as squidpy reads them", None, "images"))
    return slots


def _annotation_slots(document: Mapping[str, Any]) -> list[Slot]:
    columns = [(name, "categories", "regions drawn by hand") for name in region_columns(document)]
    for position, distance in trajectory_columns(document):
        columns += [(position, "numbers", "position along the path, µm"), (distance, "numbers", "distance from it, µm")]
    return [Slot(f"obs['{name}']", shape, meaning, None, "annotations") for name, shape, meaning in columns]


# small files

#: those that a job writes: reading the data takes a while, and memory that the web process does not give
BY_JOB = ("spots",)


def files(here: Backend, sample: str) -> dict[str, str]:
    """The small files that can be had now: kind -> title. Those of ``BY_JOB`` are written by a job."""
    chosen = here.workspace.choices(sample)
    found = {}
    if here.annotations.head(sample).document.get("features"):
        found["geojson"] = "Regions and trajectories (GeoJSON, for QuPath)"
    if "align" in chosen:
        found["transform"] = "Transform of the SM section (JSON)"
    base = here.workspace.joint(sample)
    if base is not None:
        found["spots"] = f"Table of the {place_of(open_view(here.workspace, base))}s (CSV)"
    if any(step in chosen for step in steps.STEPS):
        found["script"] = "Script that repeats the work (sh)"
    return found


def file(here: Backend, sample: str, kind: str) -> tuple[str, str]:
    """Name and text of one of :func:`files` that is made at once."""
    name = keys.slug(here.workspace.sample(sample).name)
    match kind:
        case "geojson":
            return f"{name}_annotations.geojson", json.dumps(
                to_qupath(here.annotations.head(sample).document), indent=1
            )
        case "transform":
            return f"{name}_transform.json", json.dumps(_transform(here.workspace, sample), indent=1)
        case "script":
            return f"{name}.sh", script(here.workspace, sample)
    raise WorkspaceError(f"a file among {', '.join(files(here, sample))}", found=repr(kind))


def _transform(workspace: Workspace, sample: str) -> Any:
    aligned = workspace.choices(sample).get("align")
    if aligned is None:
        raise WorkspaceError("an alignment", found="none", mend="Run Align first.")
    return open_view(workspace, aligned).meta["spatialmeta"].get(keys.ALIGNMENT)


def script(workspace: Workspace, sample: str) -> str:
    """The commands that repeat the runs in use; '' where there is none."""
    chosen = workspace.choices(sample)
    return steps.script(list(chosen.values())) if any(step in chosen for step in steps.STEPS) else ""


# storage


def storage(workspace: Workspace, sample: str) -> list[tuple[str, int, int]]:
    """(title, number, bytes) of the uploads and of the results of each step of a sample."""
    results = workspace.results(sample)
    project = workspace.sample(sample).project
    uploads = workspace.uploads.list(project, sample=sample)
    rows = [("Uploaded files", len(uploads), sum(u.size for u in uploads))]
    for step in CHAIN:
        own = [r for r in results if r.step == step]
        if own:
            rows.append((steps.TITLES[step], len(own), sum(r.bytes for r in own)))
    return rows


def size(number: int | None) -> str:
    """Bytes in words; '' where unknown."""
    return "" if number is None else gib(number)
