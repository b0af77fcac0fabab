"""Export: the newest fresh joint result and the annotations as one h5ad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import keys
from spatialmeta_app.workspace import Annotations, WorkspaceError
from spatialmeta_app.workspace.uploads import safe_name

if TYPE_CHECKING:
    from anndata import AnnData

    from spatialmeta_app.jobs.task import Task

PARTS = ("annotations", "normalized", "reconstruction", "images")


def export(task: Task) -> str:
    """Write ``download/<sample>.h5ad`` in the job's folder, whole or not at all; returns the file's name.

    ``config['parts']`` names what goes in beside counts, embeddings, clusters and history; all of ``PARTS`` by default.
    """
    from core import io
    from core.analysis.annotations import write_annotations

    parts = _parts(task.config)
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
    if "annotations" in parts:
        task.context.progress(0.4, "adding regions and trajectories")
        adata = write_annotations(adata, Annotations(task.workspace).head(task.sample).document)
    _leave_out(adata, parts)
    task.context.stop_if_cancelled()
    task.context.progress(0.6, "writing the file")
    folder = task.folder / "download"
    folder.mkdir(exist_ok=True)
    name = safe_name(f"{task.workspace.sample(task.sample).name}.h5ad".replace("/", "_"))
    io.write_h5ad(adata, folder / name)
    return name


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
