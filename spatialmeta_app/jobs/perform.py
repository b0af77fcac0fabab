"""What a job's child does for each kind of job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.context import Context
from spatialmeta_app.config import Settings
from spatialmeta_app.jobs.task import BeginSaving, Task
from spatialmeta_app.workspace import IMPORTS, Workspace


def perform(spec: dict[str, Any], context: Context, begin_saving: BeginSaving) -> str | None:
    """Do the job of *spec*; returns the id of its result, or the name of the file an export wrote.

    Raises
    ------
    SpatialMetaError
        With one message for the person.
    Cancelled
        The person asked to stop and there was nothing worth keeping.
    """
    settings = settings_of(spec)
    names = ("job", "kind", "project", "sample", "user", "config", "inputs", "attempt")
    folder = settings.data / "jobs" / spec["job"]
    workspace = Workspace(settings)
    task = Task(
        **{n: spec[n] for n in names}, folder=folder, workspace=workspace, context=context, begin_saving=begin_saving
    )
    context.progress(0.0, "starting")
    if task.kind == "demo":
        from spatialmeta_app.jobs.demo import make

        return make(task)
    if task.kind == "export":
        from spatialmeta_app.jobs.export import export

        return export(task)
    if task.kind == "spots":
        from spatialmeta_app.jobs.export import spots

        return spots(task)
    if task.kind == "markers":
        from spatialmeta_app.jobs.compare import markers

        return markers(task)
    written = workspace.result_of_job(task.job)  # by an attempt that was killed after its last word was written
    if written is not None:
        return written.id
    from spatialmeta_app.jobs.work import import_section, run

    return (import_section(task) if task.kind in IMPORTS else run(task)).id


def settings_of(spec: dict[str, Any]) -> Settings:
    """The runner's settings, which travel in the spec: the child reads no environment."""
    values = dict(spec["settings"])
    return Settings(**values | {"data": Path(values["data"])})
