"""Files to fetch: the newest fresh joint result and the annotations as one h5ad, or its spots as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import keys
from core.quality import QUALITY
from spatialmeta_app.workspace import Annotations, WorkspaceError
from spatialmeta_app.workspace.uploads import safe_name

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from pandas import DataFrame

    from spatialmeta_app.jobs.task import Task

PARTS = ("annotations", "normalized", "reconstruction", "images")


def export(task: Task) -> str:
    """Write ``download/<sample>.h5ad`` in the job's folder, whole or not at all; returns the file's name.

    ``config['parts']`` names what goes in beside counts, embeddings, clusters and history; all of ``PARTS`` by default.
    """
    from core import io

    parts = _parts(task.config)
    adata = _joint(task, annotations="annotations" in parts)
    _leave_out(adata, parts)
    task.context.stop_if_cancelled()
    task.context.progress(0.6, "writing the file")
    path = _place(task, ".h5ad")
    io.write_h5ad(adata, path)
    return path.name


def spots(task: Task) -> str:
    """Write ``download/<sample>_spots.csv`` (``_pixels.csv`` of SM alone) in the job's folder; returns the file's name.

    A row for each spot: its name, ``x_px`` and ``y_px`` in the full-resolution pixels of its own sample, then ``obs``
    with the columns of the annotations. What was not measured at a spot is left empty.
    """
    adata = _joint(task, annotations=True)
    table = _measured(adata.obs)
    place = "spot" if keys.ST in set(adata.var[keys.TYPE]) else "pixel"
    for i, name in enumerate(("x_px", "y_px")):
        table.insert(i, name, adata.obsm[keys.SPATIAL][:, i])
    task.context.stop_if_cancelled()
    task.context.progress(0.6, "writing the table")
    path = _place(task, f"_{place}s.csv")
    table.to_csv(path, index_label=place)
    return path.name


def _measured(obs: DataFrame) -> DataFrame:
    """A copy of *obs* where the quality of a modality is missing, not 0, in spots that were kept without values of it:
    a table has a word for that, which sparse matrices have not."""
    table = obs.copy()
    for modality, sources in keys.N_SOURCES.items():
        if sources in table:
            for column in table.columns.intersection(QUALITY[modality]):
                table[column] = table[column].convert_dtypes().where(table[sources] != 0)  # whole numbers stay whole
    return table


def _joint(task: Task, *, annotations: bool) -> AnnData:
    """The newest joint result that is up to date, with what was drawn."""
    from core import io
    from core.analysis.annotations import write_annotations

    base = task.workspace.joint(task.sample)
    if base is None:
        raise WorkspaceError(
            "a joint result that is up to date",
            found="none",
            mend="Run the steps up to Reassign, or again where stale.",
        )
    task.context.progress(0.1, f"reading the result of '{base.step}'")
    adata = io.read_h5ad(task.workspace.path(base, "data.h5ad"))
    task.context.stop_if_cancelled()
    if annotations:
        task.context.progress(0.4, "adding regions and trajectories")
        adata = write_annotations(adata, Annotations(task.workspace).head(task.sample).document)
    return adata


def _place(task: Task, ending: str) -> Path:
    """Where the file of the sample is written."""
    folder = task.folder / "download"
    folder.mkdir(exist_ok=True)
    return folder / safe_name(f"{task.workspace.sample(task.sample).name}{ending}".replace("/", "_"))


def _parts(config: dict[str, Any]) -> set[str]:
    parts = set(config.get("parts", PARTS))
    if unknown := parts - set(PARTS):
        raise WorkspaceError(f"parts among {', '.join(PARTS)}", found=", ".join(sorted(map(str, unknown))))
    return parts


def _leave_out(adata: AnnData, parts: set[str]) -> None:
    """Remove what was not asked for; *adata* was read from disk for this file alone."""
    for layer in (keys.NORMALIZED, keys.RECONSTRUCTION):
        if layer not in parts and layer in adata.layers:
            del adata.layers[layer]
    if "images" not in parts:
        for entry in adata.uns.get(keys.UNS_SPATIAL, {}).values():
            entry.pop("images", None)
