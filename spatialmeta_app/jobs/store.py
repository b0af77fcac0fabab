"""The truth about jobs, in SQLite. Pages submit and read; the runner claims, reports and finishes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.errors import StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.jobs.records import (
    ACTIVE,
    CANCELLED,
    CANCELLING,
    DONE,
    FAILED,
    FILES,
    KINDS,
    QUEUED,
    RUNNING,
    Job,
    Waiting,
    job_from_row,
)
from spatialmeta_app.workspace.database import Database, next_seq
from spatialmeta_app.workspace.errors import ForbiddenError, NotFoundError, WorkspaceError
from spatialmeta_app.workspace.records import DEMO, key, new_id

LEASE_S = 10.0
MAX_ATTEMPTS = 3
NOT_STARTED = "not started"  # of a job whose predecessor did not end well
LOG_TAIL = 4000  # characters of the log that a failed job shows


class JobStore:
    """All jobs of a data directory. Cheap; safe from several threads and processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database)

    # pages

    def submit(
        self,
        kind: str,
        *,
        project: Any,
        sample: Any,
        user: str,
        config: dict[str, Any],
        inputs: dict[str, Any] | None = None,
        after: str | Job | None = None,
        priority: int = 0,
        resources: Sequence[str] = (),
    ) -> Job:
        """Queue a job.

        Parameters
        ----------
        kind
            A step of ``workspace.CHAIN``, ``demo``, or one that writes a file (``records.FILES``).
        config
            The settings that differ from the defaults, as JSON; checked by the child. ``seed`` belongs in here where
            the step has one.
        inputs
            Imports only: ``{"file": upload path, "image": upload path, "image_scale": number, "ibd": upload path}``.
        after
            A job that has to end well first; this one fails with a clear word if that one does not.
        priority
            Higher goes first.
        resources
            Names of things that only one running job at a time may hold, e.g. ``("gpu",)``.

        Raises
        ------
        WorkspaceError
            An unknown kind, or a sample of another project.
        ForbiddenError
            A change of the demonstration project.
        StorageError
            The disk is too full to start more work.
        """
        if kind not in KINDS:
            raise WorkspaceError(f"one of the kinds {', '.join(KINDS)}", found=repr(kind))
        self._check_room()
        values = {
            "id": new_id(), "kind": kind, "project": key(project), "sample": key(sample), "user": user,
            "config": json.dumps(config), "inputs": json.dumps(inputs or {}), "after": key(after), "priority": priority,
            "resources": json.dumps(list(resources)), "state": QUEUED, "created": time.time(),
        }  # fmt: skip
        with self.database.write() as db:
            self._check_place(db, kind, values["project"], values["sample"], user)
            values["seq"] = next_seq(db)
            names = ", ".join(values)
            db.execute(f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))
        return self.get(values["id"])

    def get(self, job: str | Job) -> Job:
        row = self.database.row("SELECT * FROM jobs WHERE id = ?", (key(job),))
        if row is None:
            raise NotFoundError("a job", found="none with this id", mend="It was deleted with its project.")
        return job_from_row(row)

    def exists(self, job: str | Job) -> bool:
        """Whether the job is still there; it goes with its project."""
        return self.database.row("SELECT 1 FROM jobs WHERE id = ?", (key(job),)) is not None

    def jobs(self, project: Any = None, since: int = 0, user: str | None = None) -> list[Job]:
        """Jobs (of a project, of a user) that changed after *since*, newest first."""
        rows = self.database.rows(
            "SELECT * FROM jobs WHERE seq > ? AND (? IS NULL OR project = ?) AND (? IS NULL OR user = ?)"
            " ORDER BY created DESC, rowid DESC",
            (since, key(project), key(project), user, user),
        )
        return [job_from_row(row) for row in rows]

    def seq(self) -> int:
        """The number of the newest change in the store."""
        return self.database.row("SELECT value FROM counters WHERE name = 'seq'")["value"]

    def cancel(self, job: str | Job) -> Job:
        """Ask for the end of a job: a waiting one ends at once, a running one within 3 s, an ended one stays."""
        with self.database.write() as db:
            now = time.time()
            state = {QUEUED: CANCELLED, RUNNING: CANCELLING}.get(_state(db, key(job)))
            if state == CANCELLED:
                _update(db, key(job), state=state, message="cancelled", finished=now)
                self._end_followers(db)
            elif state == CANCELLING:
                _update(db, key(job), state=state, message="stopping")
        return self.get(job)

    def resumable(self, job: Job) -> bool:
        """Whether a cancelled job left a state from which it can go on."""
        return job.state == CANCELLED and any((self.folder(job) / "checkpoints").glob("*.pt"))

    def resume(self, job: str | Job) -> Job:
        """Let a cancelled job go on from its checkpoint, with the inputs it began with; what waited for it waits again.

        Raises
        ------
        WorkspaceError
            It was not cancelled, or left no checkpoint.
        """
        found = self.get(job)
        if not self.resumable(found):
            why = "no checkpoint" if found.state == CANCELLED else f"one that is {found.state}"
            raise WorkspaceError("a cancelled job with a checkpoint", found=why, mend="Run the step again.")
        self._check_room()
        fresh = {"state": QUEUED, "error": None, "finished": None, "runner": None, "lease": None}
        with self.database.write() as db:
            if _state(db, found.id) == CANCELLED:  # two tabs may press at once
                _update(db, found.id, **fresh, message="waiting to go on", attempt=max(0, found.attempt - 1))
                waited_for = [found.id]
                while waited_for:
                    followers = "SELECT id FROM jobs WHERE after = ? AND message = ?"
                    for row in db.execute(followers, (waited_for.pop(), NOT_STARTED)).fetchall():
                        _update(db, row["id"], **fresh, message="")
                        waited_for.append(row["id"])
        return self.get(found)

    def events(self, job: str | Job, since: int = 0) -> list[dict[str, Any]]:
        """What a job reported with numbers, all attempts, oldest first: ``{id, attempt, time, fraction, message,
        numbers}``."""
        rows = self.database.rows("SELECT * FROM events WHERE job = ? AND id > ? ORDER BY id", (key(job), since))
        return [dict(row) | {"numbers": json.loads(row["numbers"])} for row in rows]

    def log(self, job: str | Job, tail: int | None = None) -> str:
        """What the child wrote to standard error (its last *tail* characters)."""
        try:
            with open(self.folder(job) / "log.txt", "rb") as file:
                if tail is not None:
                    file.seek(max(0, file.seek(0, 2) - tail))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def folder(self, job: str | Job) -> Path:
        """The job's scratch folder."""
        return self.settings.data / "jobs" / key(job)

    def download(self, job: str | Job) -> Path | None:
        """The file that a job wrote, or None where it has not ended well or writes none."""
        job = self.get(job)
        path = self.folder(job) / "download" / (job.result or "")
        return path if job.kind in FILES and job.state == DONE and path.is_file() else None

    # the runner

    def claim(self, runner: str, *, held: Iterable[str] = ()) -> Job | None:
        """Take the next job that may run now, or None.

        By priority, then people with fewer running jobs, then age, whereby a person whose job has just run stands
        behind those who waited meanwhile; at most ``workers`` at a time and ``jobs_per_user`` a person; its resources
        free; the job it comes after done. Jobs whose predecessor did not end well end here.
        A job of a priority below 0 begins where a worker is free, but takes nobody's place while it runs.

        Parameters
        ----------
        runner
            Name of the claiming runner, kept beside the lease.
        held
            Resources that something outside the store holds.
        """
        if not self._worth_claiming():
            return None
        with self.database.write() as db:
            self._end_followers(db)
            running = db.execute(
                "SELECT user, resources, priority FROM jobs WHERE state IN (?, ?)", (RUNNING, CANCELLING)
            ).fetchall()
            if sum(row["priority"] >= 0 for row in running) >= self.settings.workers:
                return None
            users = [row["user"] for row in running]
            taken = set(held).union(*(json.loads(row["resources"]) for row in running))
            job = next(
                (
                    row
                    for row in _ready(db, users)
                    if users.count(row["user"]) < self.settings.jobs_per_user
                    and (row["priority"] >= 0 or len(running) < self.settings.workers)
                    and taken.isdisjoint(json.loads(row["resources"]))
                ),
                None,
            )
            if job is None:
                return None
            now = time.time()
            _update(
                db, job["id"], state=RUNNING, runner=runner, lease=now + LEASE_S, attempt=job["attempt"] + 1,
                started=now, message="starting", fraction=0.0, numbers="{}",
            )  # fmt: skip
            return job_from_row(_row(db, job["id"]))

    def waiting(self) -> dict[str, Waiting]:
        """What each job in the queue waits for, by id; those that come after another job are not in it yet."""
        if not self.database.row("SELECT 1 FROM jobs WHERE state = ? LIMIT 1", (QUEUED,)):
            return {}
        with self.database.connect() as db:
            running = db.execute(
                "SELECT user, priority FROM jobs WHERE state IN (?, ?)", (RUNNING, CANCELLING)
            ).fetchall()
            left = _ready(db, [])
        users = [row["user"] for row in running]
        full = {user for user in users if users.count(user) >= self.settings.jobs_per_user}
        found = {row["id"]: Waiting(0, own=True) for row in left if row["user"] in full}
        left = [row for row in left if row["id"] not in found]
        ahead = sum(row["priority"] >= 0 for row in running) + 1 - self.settings.workers
        while left:  # in turns: whoever is at it stands behind the others
            row = min(left, key=lambda row: _turn(row, users))
            left.remove(row)
            users.append(row["user"])
            found[row["id"]] = Waiting(max(0, ahead), own=False)
            ahead += 1
        return found

    def _worth_claiming(self) -> bool:
        """A look without the write lock, since the runner asks several times a second."""
        sql = """SELECT state != 'queued' AS busy, COUNT(*) AS n FROM jobs
                 WHERE state IN (?, ?, ?) AND (state = 'queued' OR priority >= 0) GROUP BY busy"""
        numbers = {row["busy"]: row["n"] for row in self.database.rows(sql, ACTIVE)}
        return numbers.get(0, 0) > 0 and numbers.get(1, 0) < self.settings.workers

    def heartbeat(self, runner: str) -> None:
        """Prolong the leases of all jobs that *runner* holds."""
        with self.database.write() as db:
            db.execute(
                "UPDATE jobs SET lease = ? WHERE runner = ? AND state IN (?, ?)",
                (time.time() + LEASE_S, runner, RUNNING, CANCELLING),
            )

    def wanted(self, runner: str) -> set[str]:
        """The jobs that *runner* should go on with: not asked to stop, not deleted with their project."""
        rows = self.database.rows("SELECT id FROM jobs WHERE runner = ? AND state = ?", (runner, RUNNING))
        return {row["id"] for row in rows}

    def report(self, job: str | Job, events: Sequence[dict[str, Any]]) -> None:
        """Keep progress: the newest in the job, those with numbers as events."""
        if not events:
            return
        with self.database.write() as db:
            row = _row(db, key(job))
            if row is None or row["state"] not in (RUNNING, CANCELLING):
                return
            db.executemany(
                "INSERT INTO events (job, attempt, time, fraction, message, numbers) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (row["id"], row["attempt"], e["time"], e["fraction"], e["message"], json.dumps(e["numbers"]))
                    for e in events
                    if e["numbers"]
                ],
            )
            numbers = next((e["numbers"] for e in reversed(events) if e["numbers"]), json.loads(row["numbers"]))
            message = row["message"] if row["state"] == CANCELLING else events[-1]["message"]
            _update(db, row["id"], fraction=events[-1]["fraction"], message=message, numbers=json.dumps(numbers))

    def finish(
        self,
        job: str | Job,
        state: str,
        *,
        result: str | None = None,
        error: str | None = None,
        message: str | None = None,
    ) -> None:
        """End a job as 'done', 'failed' or 'cancelled'; an ended job stays as it is."""
        with self.database.write() as db:
            if _state(db, key(job)) not in ACTIVE:
                return
            values = {"state": state, "result": result, "error": error, "finished": time.time()}
            if state == DONE:
                values["fraction"] = 1.0
            _update(db, key(job), **values, message=message or state)
            self._end_followers(db)
        if state == DONE:
            shutil.rmtree(self.folder(job) / "checkpoints", ignore_errors=True)

    def retry(self, job: str | Job, reason: str, *, counted: bool = True) -> None:
        """Put back a job whose child died: queued again, cancelled where that was asked for, or failed with the end of
        its log after the last attempt. Not *counted*: the attempt was ended by an orderly stop of the runner."""
        with self.database.write() as db:
            if not counted:
                db.execute("UPDATE jobs SET attempt = attempt - 1 WHERE id = ? AND state = ?", (key(job), RUNNING))
            row = _row(db, key(job))
            if row is not None:
                self._put_back(db, row, reason)

    def recover(self, runner: str) -> list[str]:
        """Put back the running jobs of other runners. Only for the one that holds the lock, which proves that no other
        runner lives; returns their ids."""
        with self.database.write() as db:
            rows = db.execute(
                "SELECT * FROM jobs WHERE state IN (?, ?) AND runner IS NOT ?", (RUNNING, CANCELLING, runner)
            ).fetchall()
            for row in rows:
                self._put_back(db, row, "the runner was stopped")
        return [row["id"] for row in rows]

    def _put_back(self, db: sqlite3.Connection, row: sqlite3.Row, reason: str) -> None:
        now = time.time()
        if row["state"] == CANCELLING:
            _update(db, row["id"], state=CANCELLED, message="cancelled", finished=now, lease=None)
        elif row["state"] == RUNNING and row["attempt"] >= MAX_ATTEMPTS:
            log = self.log(row["id"], LOG_TAIL).strip() or "nothing"
            error = f"Stopped {MAX_ATTEMPTS} times ({reason}). The end of its log: {log}"
            _update(db, row["id"], state=FAILED, message="failed", error=error, finished=now, lease=None)
        elif row["state"] == RUNNING:
            message = f"waiting to go on ({reason})"
            _update(db, row["id"], state=QUEUED, message=message, runner=None, lease=None)

    def _end_followers(self, db: sqlite3.Connection) -> None:
        """End what waits for a job that did not end well, as that ended: what a person cancelled is no failure. Again
        until a whole chain is told."""
        sql = """SELECT jobs.id, before.kind, before.state FROM jobs LEFT JOIN jobs AS before ON before.id = jobs.after
                 WHERE jobs.state = 'queued' AND jobs.after IS NOT NULL
                 AND (before.id IS NULL OR before.state IN ('failed', 'cancelled'))"""
        while followers := db.execute(sql).fetchall():
            for row in followers:
                before = "the step '{kind}' before it failed".format(**row) if row["kind"] else "it was deleted"
                cancelled = row["state"] == CANCELLED
                error = None if cancelled else f"Not started: {before}. Run that again first."
                state = CANCELLED if cancelled else FAILED
                _update(db, row["id"], state=state, message=NOT_STARTED, error=error, finished=time.time())

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.settings.data).free
        if free < self.settings.min_free_bytes:
            raise StorageError(
                f"at least {self.settings.min_free_bytes >> 20} MiB free on the server",
                found=f"{free >> 20} MiB",
                mend="Delete projects or results that are not needed.",
            )

    def _check_place(self, db: sqlite3.Connection, kind: str, project: str, sample: str | None, user: str) -> None:
        row = db.execute("SELECT owner FROM projects WHERE id = ?", (project,)).fetchone()
        if row is None:
            raise NotFoundError("a project", found="none with this id", mend="Reload the page.")
        if row["owner"] == DEMO and user != DEMO and kind not in FILES:
            raise ForbiddenError("a project of your own", found="the demonstration", mend="Make your own copy of it.")
        if sample is None:
            if kind != "demo":
                raise WorkspaceError(f"a sample for the step '{kind}'", found="none", mend="Choose one.")
        elif db.execute("SELECT 1 FROM samples WHERE id = ? AND project = ?", (sample, project)).fetchone() is None:
            raise NotFoundError("a sample of this project", found="none with this id", mend="Reload the page.")


def _ready(db: sqlite3.Connection, users: list[str]) -> list[sqlite3.Row]:
    """Queued jobs whose predecessor is done, in the order in which they should run."""
    rows = db.execute(
        """SELECT jobs.*, CASE WHEN jobs.after IS NULL THEN MAX(jobs.created, COALESCE((
               SELECT MAX(COALESCE(own.finished, own.started)) FROM jobs AS own
               WHERE own.user = jobs.user AND own.priority = jobs.priority AND own.started IS NOT NULL
           ), 0)) ELSE jobs.created END AS since
           FROM jobs LEFT JOIN jobs AS before ON before.id = jobs.after
           WHERE jobs.state = 'queued' AND (jobs.after IS NULL OR before.state = 'done')
           ORDER BY jobs.created, jobs.rowid"""
    ).fetchall()
    return sorted(rows, key=lambda row: _turn(row, users))


def _turn(row: sqlite3.Row, users: list[str]) -> tuple[int, int, float]:
    """What comes first is least; *users* are those of the running jobs."""
    return -row["priority"], users.count(row["user"]), row["since"]


def _row(db: sqlite3.Connection, job: str) -> sqlite3.Row | None:
    return db.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()


def _state(db: sqlite3.Connection, job: str) -> str | None:
    row = _row(db, job)
    return row["state"] if row else None


def _update(db: sqlite3.Connection, job: str, **values: Any) -> None:
    values["seq"] = next_seq(db)
    names = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), job))
