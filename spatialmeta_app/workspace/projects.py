"""Projects, samples and results."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import directories
from spatialmeta_app.workspace.copying import copy_project
from spatialmeta_app.workspace.database import Database, Writer
from spatialmeta_app.workspace.errors import ForbiddenError, NotFoundError, WorkspaceError
from spatialmeta_app.workspace.records import (
    CHAIN,
    DEMO,
    IMPORTS,
    JOINT,
    Project,
    Result,
    Sample,
    from_row,
    key,
    new_id,
    result_from_row,
    sample_from_row,
)
from spatialmeta_app.workspace.server_folders import ServerFolders
from spatialmeta_app.workspace.uploads import Uploads

LONGEST_NAME = 120
SWEEP_AFTER_S = 24 * 3600.0


class Workspace:
    """Everything that belongs to projects. Cheap, one per process; all methods are safe from several processes.

    Arguments called ``project``, ``sample``, ``result`` take a record or its id. Ids that do not exist raise
    :class:`~spatialmeta_app.workspace.errors.NotFoundError`. :attr:`uploads` holds the raw files,
    :attr:`server_folders` those that the server offers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.uploads = Uploads(settings, self.database)
        self.server_folders = ServerFolders(settings, self.uploads)

    # projects

    def create_project(self, name: str, owner: str, *, id: str | None = None) -> Project:
        """A new, empty project of *owner*."""
        project = Project(id or new_id(), _clean(name), owner, time.time())
        with self.database.write() as db:
            db.execute("INSERT INTO projects VALUES (?, ?, ?, ?)", dataclasses.astuple(project))
        return project

    def projects(self, user: str) -> list[Project]:
        """The projects of *user*, newest first, then the demonstration."""
        rows = self.database.rows(
            "SELECT * FROM projects WHERE owner IN (?, ?) ORDER BY owner = ?, created DESC", (user, DEMO, DEMO)
        )
        return [from_row(Project, row) for row in rows]

    def project(self, project: str | Project) -> Project:
        row = self.database.row("SELECT * FROM projects WHERE id = ?", (key(project),))
        if row is None:
            raise NotFoundError("a project", found="none with this address", mend="Open one from the list of projects.")
        return from_row(Project, row)

    def rename_project(self, project: str | Project, name: str) -> Project:
        self.require_writable(project)
        with self.database.write() as db:
            db.execute("UPDATE projects SET name = ? WHERE id = ?", (_clean(name), key(project)))
        return self.project(project)

    def delete_project(self, project: str | Project) -> None:
        """Remove a project with its files, results, annotations and jobs (running ones are stopped by the runner)."""
        project = self.project(project)
        self.require_writable(project)
        with self.database.write() as db:
            db.execute("DELETE FROM projects WHERE id = ?", (project.id,))
        shutil.rmtree(self._project_path(project.id), ignore_errors=True)

    def copy_project(self, project: str | Project, user: str) -> Project:
        """A copy of everything in *project* that *user* owns and may change; results share their bytes on disk."""
        return copy_project(self.database, self.settings.data / "projects", self.project(project), user)

    def require_writable(self, project: str | Project) -> Project:
        """The project; ForbiddenError where it is the shared demonstration."""
        project = self.project(project)
        if project.demo:
            raise ForbiddenError(
                "a project of your own",
                found="the demonstration, which everybody sees",
                mend="Make your own copy of it on the start page and work there.",
            )
        return project

    # samples

    def create_sample(self, project: str | Project, name: str, *, parts: Sequence[str | Sample] = ()) -> Sample:
        """A new sample; with *parts*, at least two samples of the project, one that joins them.

        Raises
        ------
        WorkspaceError
            One part alone, or one of another project.
        """
        project = self.project(project)
        joined = tuple(dict.fromkeys(map(key, parts)))
        known = {sample.id for sample in self.samples(project)}
        if parts and (len(joined) < 2 or not known.issuperset(joined)):
            raise WorkspaceError("at least two samples of this project to join", found=str(len(known & set(joined))))
        sample = Sample(new_id(), project.id, _clean(name), time.time(), joined)
        row = (sample.id, sample.project, sample.name, sample.created, json.dumps(joined))
        with self.database.write() as db:
            db.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", row)
        return sample

    def samples(self, project: str | Project) -> list[Sample]:
        """The samples of a project, oldest first."""
        rows = self.database.rows("SELECT * FROM samples WHERE project = ? ORDER BY created, rowid", (key(project),))
        return [sample_from_row(row) for row in rows]

    def sample(self, sample: str | Sample) -> Sample:
        row = self.database.row("SELECT * FROM samples WHERE id = ?", (key(sample),))
        if row is None:
            raise NotFoundError("a sample", found="none with this address", mend="Choose one of the project's samples.")
        return sample_from_row(row)

    def rename_sample(self, sample: str | Sample, name: str) -> Sample:
        self.require_writable(self.sample(sample).project)
        with self.database.write() as db:
            db.execute("UPDATE samples SET name = ? WHERE id = ?", (_clean(name), key(sample)))
        return self.sample(sample)

    def delete_sample(self, sample: str | Sample) -> None:
        """Remove a sample with its uploads, results and annotations."""
        sample = self.sample(sample)
        self.require_writable(sample.project)
        folders = [self.uploads.folder(u) for u in self.uploads.list(sample.project, sample=sample.id)]
        with self.database.write() as db:
            db.execute("DELETE FROM samples WHERE id = ?", (sample.id,))
            db.execute("DELETE FROM jobs WHERE sample = ?", (sample.id,))
        for folder in [*folders, self._project_path(sample.project) / "samples" / sample.id]:
            shutil.rmtree(folder, ignore_errors=True)

    # results

    def add_result(
        self,
        sample: str | Sample,
        step: str,
        *,
        writer: Writer,
        config: dict[str, Any],
        inputs: dict[str, str],
        seed: int | None = None,
        versions: dict[str, str] | None = None,
        job: str | None = None,
        started: float | None = None,
    ) -> Result:
        """Write a result directory whole or not at all, record it, and make it the chosen one of its step.

        Parameters
        ----------
        writer
            Fills the directory it is given (``data.h5ad``, ``view/``, ``image/``) and returns the summary.
        inputs
            Input name -> id of the result used (``workspace.CHAIN`` has the names); imports: -> upload path.
        started
            When the work began, seconds since the epoch; gives ``duration_s``.

        Raises
        ------
        StorageError
            The disk is full; nothing has changed then.
        """
        sample = self.sample(sample)
        begun = time.time() if started is None else started
        record: dict[str, Any] = {}
        head = {"id": new_id(), "project": sample.project, "sample": sample.id, "step": step, "job": job}

        def write(directory: Path) -> None:
            summary = writer(directory) or {}
            files = sorted(p for p in directory.iterdir() if p.is_file())
            record.update(
                config=config,
                inputs=inputs,
                seed=seed,
                hashes={p.name: directories.sha256(p) for p in files},
                versions=versions or {},
                started=begun,
                duration_s=round(time.time() - begun, 3),
                summary=summary,
            )
            (directory / "result.json").write_text(json.dumps(head | record, indent=1), encoding="utf-8")

        final = self._result_path(sample.project, sample.id, head["id"])
        directories.write_directory(final, write)
        result = Result(**head, **record, bytes=directories.tree_bytes(final), created=time.time())
        self._insert_result(result, record)
        return result

    def _insert_result(self, result: Result, record: dict[str, Any]) -> None:
        row = (result.id, result.project, result.sample, result.step, result.job, result.bytes, result.created)
        try:
            with self.database.write() as db:
                db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(record)))
                db.execute("INSERT OR REPLACE INTO choices VALUES (?, ?, ?)", (result.sample, result.step, result.id))
        except (sqlite3.IntegrityError, StorageError) as error:
            shutil.rmtree(self._result_path(result.project, result.sample, result.id), ignore_errors=True)
            if isinstance(error, StorageError):
                raise
            raise NotFoundError("the sample of this result", found="none", mend="It was deleted meanwhile.") from error

    def results(self, sample: str | Sample, step: str | None = None) -> list[Result]:
        """The results of a sample (of one step), newest first."""
        where, values = ("AND step = ?", (step,)) if step else ("", ())
        rows = self.database.rows(
            f"SELECT * FROM results WHERE sample = ? {where} ORDER BY created DESC, rowid DESC", (key(sample), *values)
        )
        return [result_from_row(row) for row in rows]

    def result(self, result: str | Result) -> Result:
        row = self.database.row("SELECT * FROM results WHERE id = ?", (key(result),))
        if row is None:
            raise NotFoundError("a result", found="none with this address", mend="Reload the page.")
        return result_from_row(row)

    def result_of_job(self, job: str) -> Result | None:
        """The result that *job* already wrote: a job that is run again after a crash does not write a second."""
        row = self.database.row("SELECT * FROM results WHERE job = ?", (job,))
        return result_from_row(row) if row else None

    def delete_result(self, result: str | Result) -> None:
        """Remove a result that is not chosen; the chosen one is in use."""
        result = self.result(result)
        self.require_writable(result.project)
        if self.chosen(result.sample, result.step) == result:
            raise WorkspaceError(
                "a result that is not in use", found="the chosen one of its step", mend="Choose another version first."
            )
        with self.database.write() as db:
            db.execute("DELETE FROM results WHERE id = ?", (result.id,))
        shutil.rmtree(self._result_path(result.project, result.sample, result.id), ignore_errors=True)

    def chosen(self, sample: str | Sample, step: str) -> Result | None:
        """The result of *step* that later steps and pages use, or None where there is none yet."""
        return self.choices(sample).get(step)

    def choices(self, sample: str | Sample) -> dict[str, Result]:
        """step -> chosen result, in the order of the work, in one query."""
        rows = self.database.rows(
            "SELECT results.* FROM choices JOIN results ON results.id = choices.result WHERE choices.sample = ?",
            (key(sample),),
        )
        chosen = {row["step"]: result_from_row(row) for row in rows}
        return {step: chosen[step] for step in CHAIN if step in chosen}

    def choose(self, result: str | Result) -> Result:
        """Make *result* the chosen one of its step."""
        result = self.result(result)
        self.require_writable(result.project)
        with self.database.write() as db:
            db.execute("INSERT OR REPLACE INTO choices VALUES (?, ?, ?)", (result.sample, result.step, result.id))
        return result

    def sources(self, sample: str | Sample) -> dict[str, dict[str, Result | None]]:
        """step -> input name -> the result it would take now, in the order of the work.

        A sample that joins others begins with 'reassign', whose inputs are the chosen reassignments of its parts, by
        the id of the part; all that follows is as for any other sample. One that has an ST or an SM section alone
        begins with 'features', which take it as it was measured.
        """
        sample = self.sample(sample)
        chosen = self.choices(sample)
        found = {step: {name: chosen.get(s) for name, s in inputs.items()} for step, inputs in CHAIN.items()}
        if not sample.parts:
            alone = self._alone(chosen)
            return found | ({"features": {"joint": alone}} if alone else {})
        joined = {"reassign": {part: self.chosen(part, "reassign") for part in sample.parts}}
        return joined | {step: inputs for step, inputs in found.items() if "joint" in inputs}

    def alone(self, sample: str | Sample) -> Result | None:
        """The section of a sample that has one modality alone, from which its features are taken; None for others."""
        return self._alone(self.choices(sample))

    @staticmethod
    def _alone(chosen: Mapping[str, Result]) -> Result | None:
        sections = [chosen[step] for step in IMPORTS if step in chosen]
        return sections[0] if len(sections) == 1 and "reassign" not in chosen else None

    def status(self, sample: str | Sample) -> dict[str, str]:
        """step -> 'missing', 'done', 'stale' (an input changed since) or 'blocked' (a check has to be mended first).

        A sample that joins others has no imports and no alignment, so these are not among the steps.
        """
        sample = self.sample(sample)
        chosen = self.choices(sample)
        status: dict[str, str] = {}
        for step, sources in self.sources(sample).items():
            result = chosen.get(step)
            if result is None:
                status[step] = "missing"
            elif result.blocked:
                status[step] = "blocked"
            else:
                fresh = all(
                    source is not None and result.inputs.get(name) == source.id and self._fresh(source, sample, status)
                    for name, source in sources.items()
                )
                status[step] = "done" if fresh else "stale"
        return status

    def _fresh(self, source: Result, sample: Sample, status: dict[str, str]) -> bool:
        """Whether an input is up to date itself: in this sample, or in the one that is a part of it."""
        found = status if source.sample == sample.id else self.status(source.sample)
        return found[source.step] == "done"

    def joint(self, sample: str | Sample) -> Result | None:
        """The most complete joint result that is not stale: what Explore shows and Export saves."""
        status, chosen = self.status(sample), self.choices(sample)
        return next((chosen[step] for step in JOINT if status[step] == "done"), None)

    def inputs_of(self, sample: str | Sample, step: str) -> dict[str, Result]:
        """Input name -> chosen result that *step* would take now.

        Raises
        ------
        WorkspaceError
            A step before it has no result yet, or one with a blocking check.
        """
        sources = self.sources(sample).get(step)
        if sources is None:
            raise WorkspaceError("a sample of its own", found="several that are joined", mend="Work in one of them.")
        for name, source in sources.items():
            if source is None or source.blocked:
                before = CHAIN[step].get(name, step)
                found = "none yet" if source is None else "one that its checks refuse"
                raise WorkspaceError(
                    f"a result of the step '{before}' before '{step}'", found=found, mend=f"Do '{before}' first."
                )
        return {name: source for name, source in sources.items() if source is not None}

    def path(self, result: str | Result, name: str = "") -> Path:
        """Where *name* ('data.h5ad', 'view', 'image/overview.jpg') of a result lies; never outside the result."""
        result = result if isinstance(result, Result) else self.result(result)
        folder = self._result_path(result.project, result.sample, result.id)
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.exists():
            raise NotFoundError("a file of this result", found=repr(name), mend="Reload the page.")
        return path

    def bytes_used(self, project: str | Project) -> int:
        """What the files of a project take, half uploads counted at their full size."""
        return self.uploads.bytes_used(key(project))

    def sweep(self) -> None:
        """Remove what killed processes left: half-written results, folders of projects that were deleted meanwhile.

        Only while no job runs, as at the start of the runner.
        """
        projects = self.settings.data / "projects"
        for folder in projects.glob("*/samples/*/results/.new-*"):
            aside = folder.with_name(folder.name.replace(".new-", ".swept-", 1))
            with contextlib.suppress(OSError):  # aside first: who still writes it after all fails, and shows no part
                folder.rename(aside)
        for folder in projects.glob("*/samples/*/results/.swept-*"):
            shutil.rmtree(folder, ignore_errors=True)
        known = {row["id"] for row in self.database.rows("SELECT id FROM projects")}
        for folder in projects.glob("*"):  # a copy that is being made is not known yet, but young
            if folder.name not in known and time.time() - folder.stat().st_mtime > SWEEP_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)

    def _project_path(self, project: str) -> Path:
        return self.settings.data / "projects" / project

    def _result_path(self, project: str, sample: str, result: str) -> Path:
        return self._project_path(project) / "samples" / sample / "results" / result


def _clean(name: str) -> str:
    """A name as people see it: one line, no control characters, never empty."""
    kept = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:LONGEST_NAME]
    if not kept:
        raise WorkspaceError("a name", found="an empty one", mend="Type a name.")
    return kept
