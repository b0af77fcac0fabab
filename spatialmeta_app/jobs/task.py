"""A job as its child sees it, and how what it made becomes a result."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import keys
from core.context import Context
from core.errors import DataError
from spatialmeta_app.workspace import Result, Workspace

if TYPE_CHECKING:
    from anndata import AnnData

RUN_SHARE = 0.95  # of the progress bar; the rest is writing

BeginSaving = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """A job as its child sees it. ``begin_saving`` is called before something is written that a cancel should keep."""

    job: str
    kind: str
    project: str
    sample: str | None
    user: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    attempt: int
    folder: Path
    workspace: Workspace
    context: Context
    begin_saving: BeginSaving


def add(
    task: Task,
    step: str,
    adata: AnnData,
    *,
    config: dict[str, Any],
    inputs: dict[str, Any],
    started: float,
    summary: dict[str, Any],
    image: Path | None = None,
) -> Result:
    """Write *adata* as a result: the data, its view for the browser, and for ST the histology (its file: *image*)."""
    from core import io
    from core.provenance import versions
    from spatialmeta_app.workspace import overview, viewing, views

    if adata.n_obs == 0 and not any(check["level"] == "blocking" for check in summary.get("checks", ())):
        raise DataError("something left after the step", found="no spots", mend="Loosen the settings.")

    def write(directory: Path) -> dict[str, Any]:
        io.write_h5ad(adata, directory / "data.h5ad")
        viewing.write_view(adata, directory / "view")
        if step == "st":
            overview.write_histology(adata, directory / "image", image)
        if step == "integrate":
            shutil.copyfile(task.context.checkpoints / keys.MODEL_FILE, directory / keys.MODEL_FILE)
        return views.counts(adata) | summary

    task.context.progress(RUN_SHARE, "writing the result")
    task.begin_saving()
    return task.workspace.add_result(
        task.sample,
        step,
        writer=write,
        config=config,
        inputs=inputs,
        seed=config.get("seed"),
        versions=versions(),
        job=task.job,
        started=started,
    )
