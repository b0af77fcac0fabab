"""Imports and steps: read, run, write one immutable result."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core import keys
from core.context import Share
from core.errors import DataError
from core.quality import write_quality
from spatialmeta_app.jobs.task import RUN_SHARE, Task, add
from spatialmeta_app.workspace import Result, WorkspaceError
from spatialmeta_app.workspace.directories import write_file
from spatialmeta_app.workspace.errors import ConflictError

if TYPE_CHECKING:
    from anndata import AnnData

    from core.io import Check


def import_section(task: Task) -> Result:
    """Read and check an uploaded section and store it with its checks, also where they block the next steps."""
    from core import io
    from core.analysis.category_looks import revert_looks

    started = time.time()
    task = _fetched(task)
    task.context.progress(0.05, "reading the file")
    adata = _read(task)
    task.context.stop_if_cancelled()
    write_quality(adata)
    task.context.progress(0.5, "checking")
    checks = io.check_st(adata) if task.kind == "st" else [*io.check_sm(adata), *ion_modes(adata)]
    task.context.stop_if_cancelled()
    if task.kind == "st":
        checks += restore_annotations(task, adata)
        revert_looks(adata)  # names and colours are in the annotations again, and may be changed back there
    summary = {"checks": [dataclasses.asdict(check) for check in checks]}
    image = _file(task, "image") if task.kind == "st" else None
    given = {"config": task.config, "inputs": task.inputs, "started": started, "summary": summary}
    return add(task, task.kind, adata, image=image, **given)


def _fetched(task: Task) -> Task:
    """*task* with its files on the disk: those of the server's own folders are copied first, half of the bar."""
    paths = [task.inputs[name] for name in ("file", "spatial", "image", "ibd", "negative") if task.inputs.get(name)]
    copied = task.workspace.server_folders.fetch(task.project, paths, Share(task.context, 0.0, 0.5))
    return dataclasses.replace(task, context=Share(task.context, 0.5, 1.0)) if copied else task


def _file(task: Task, name: str) -> Path | None:
    """The upload called *name*."""
    path = task.inputs.get(name)
    return task.workspace.uploads.resolve(task.project, path) if path else None


def restore_annotations(task: Task, adata: AnnData) -> list[Check]:
    """Give a sample that has none yet the regions and trajectories that were saved in its file; what is to be said."""
    from core.analysis.annotations import read_annotations
    from core.io import Check
    from spatialmeta_app.workspace import Annotations
    from spatialmeta_app.workspace.annotations import empty_document

    title = "Regions and trajectories"
    try:
        document = read_annotations(adata)
        number = len(document["features"])
        if not number and len(document) == len(empty_document()):
            return []
        Annotations(task.workspace).seed(task.sample, document, user=task.user)
    except ConflictError:
        found = f"The file holds {number}; the sample has its own, which stay."
        return [Check("warning", title, found, "Import the file into a new sample to see those of the file.")]
    except DataError as error:
        mend = "The section itself is used; draw them again or import a GeoJSON in Explore."
        return [Check("warning", title, f"Those of the file were not read: {error.message}", mend)]
    return [Check("ok", title, f"{number} restored from the file.")]


def ion_modes(adata: AnnData) -> list[Check]:
    """How much of both ion modes a merged section has; nothing for one of a single mode."""
    from core.io import Check

    found = adata.uns.get(keys.UNS, {}).get(keys.POLARITY)
    if not found:
        return []
    modes = adata.var[keys.POLARITY].value_counts()
    features = " and ".join(f"{number} features of the {mode} mode" for mode, number in modes.items())
    matched, most = int(found["n_matched"]), int(max(found["n_positive"], found["n_negative"]))
    pixels = f"{matched:,} pixels are in both, of {found['n_positive']:,} positive and {found['n_negative']:,} negative"
    mend = "The others are left out. Choose coordinates that both files share if there should be more."
    few = matched < most
    return [Check("warning" if few else "ok", "Ion modes", f"{features}; {pixels}.", mend if few else "")]


def _read(task: Task) -> AnnData:
    from core import io

    path = _file(task, "file")
    if path is None:
        raise WorkspaceError(f"a file for '{task.kind}'", found="none", mend="Upload one first.")
    if task.kind == "st":
        scale = task.inputs.get("image_scale")
        return io.read_st(path, image=_file(task, "image"), image_scale=scale, spatial=_file(task, "spatial"))
    sm = io.read_sm(path, ibd=_file(task, "ibd"), spatial_key=task.config.get("spatial_key") or None)
    negative = _file(task, "negative")
    if negative is None:
        return sm
    from core.polarity import merge_polarities

    return merge_polarities(sm, io.read_sm(negative, spatial_key=task.config.get("spatial_key") or None))


def run(task: Task, step: str | None = None) -> Result:
    """Run a step of :data:`core.pipeline.STEPS` on the chosen results before it."""
    from core import io, pipeline

    step = step or task.kind
    started = time.time()
    sources = _sources(task, step)
    if step == "reassign" and task.workspace.sample(task.sample).parts:
        return _join(task, sources, started)
    config = pipeline.STEPS[step].config(task.config)
    task.context.progress(0.0, "reading")
    inputs = {name: io.read_h5ad(task.workspace.path(result, "data.h5ad")) for name, result in sources.items()}
    output = pipeline.run_step(step, inputs, config, Share(task.context, 0.0, RUN_SHARE))
    return add(
        task,
        step,
        output,
        config=dataclasses.asdict(config),
        inputs={name: result.id for name, result in sources.items()},
        started=started,
        summary={"stopped": task.context.cancelled()},
    )


def _sources(task: Task, step: str) -> dict[str, Result]:
    """The results that *step* reads: the chosen ones when the job first began, the same ones when it goes on."""
    note = task.folder / f"inputs-{step}.json"
    if note.is_file():
        return {name: task.workspace.result(id) for name, id in json.loads(note.read_text()).items()}
    sources = task.workspace.inputs_of(task.sample, step)
    task.folder.mkdir(parents=True, exist_ok=True)
    write_file(note, json.dumps({name: result.id for name, result in sources.items()}).encode())
    return sources


def _join(task: Task, sources: dict[str, Result], started: float) -> Result:
    """The joint object of a sample that joins others, under their names."""
    from core import io, pipeline
    from core.joining import ConcatConfig, clean
    from core.options import from_mapping

    config = from_mapping(ConcatConfig, task.config)
    task.context.progress(0.0, "reading")
    joints = {}
    for part, result in sources.items():
        name = task.workspace.sample(part).name
        while name in joints:
            name += " again"
        joints[name] = io.read_h5ad(task.workspace.path(result, "data.h5ad"))
        task.context.stop_if_cancelled()
    joined = pipeline.run_concat(joints, config, Share(task.context, 0.1, RUN_SHARE))
    inputs = {part: result.id for part, result in sources.items()}
    given = {"config": dataclasses.asdict(config), "inputs": inputs, "started": started}
    return add(task, "reassign", joined, summary={"parts": [clean(name) for name in joints]}, **given)
