"""The one process that runs jobs: ``python -m spatialmeta_app.jobs.runner``.

It holds ``DATA/runner.lock``; the lock proves that no other runner lives, so what an earlier one left running is put
back at once. The lock file's time is the runner's sign of life.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from core.errors import SpatialMetaError, StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.jobs import demo
from spatialmeta_app.jobs.alive import lock_path
from spatialmeta_app.jobs.engines import Engine, LocalEngine
from spatialmeta_app.jobs.records import CANCELLED, DONE, FAILED, Job
from spatialmeta_app.jobs.store import LEASE_S, LOG_TAIL, JobStore
from spatialmeta_app.jobs.supervise import Outcome
from spatialmeta_app.workspace import Workspace
from spatialmeta_app.workspace.directories import write_file

log = logging.getLogger("spatialmeta.runner")

POLL_S = 0.15
HEARTBEAT_S = 1.0
REPORT_S = 0.1
RETRY_S = 2.0
TIDY_S = 3600.0


class Runner:
    """Claims jobs and runs each by the engine, in a thread of its own."""

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.store = JobStore(settings)
        self.engine = engine or LocalEngine(threads=max(1, _cores() // settings.workers))
        self.name = f"{os.uname().nodename}-{os.getpid()}-{time.monotonic_ns()}"
        self._threads: dict[str, threading.Thread] = {}
        self._flags: dict[str, threading.Event] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`. The caller holds the lock (:func:`locked`)."""
        self._clean()
        for job in self.store.recover(self.name):
            log.info("job %s goes on", job)
        next_beat, next_tidy = 0.0, 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() > next_beat:
                    self._beat()
                    next_beat = time.monotonic() + HEARTBEAT_S
                if time.monotonic() > next_tidy:
                    Workspace(self.settings).uploads.expire()
                    next_tidy = time.monotonic() + TIDY_S
                self._pass_on_cancels()
                self._claim()
                self.engine.prepare()
            except StorageError as error:  # a full disk passes; a runner that ends does not come back by itself
                log.warning("%s", error.message)
            self._stopping.wait(POLL_S)
        self.engine.stop()
        for thread in list(self._threads.values()):
            thread.join(LEASE_S)

    def stop(self) -> None:
        """End the loop; running jobs are put back and go on with the next runner."""
        self._stopping.set()

    def _beat(self) -> None:
        os.utime(lock_path(self.settings))
        if self._threads:
            self.store.heartbeat(self.name)

    def _pass_on_cancels(self) -> None:
        for job in [job for job, thread in self._threads.items() if not thread.is_alive()]:
            del self._threads[job], self._flags[job]
        if self._threads:
            wanted = self.store.wanted(self.name)
            for job in self._threads.keys() - wanted:
                self._flags[job].set()

    def _claim(self) -> None:
        while job := self.store.claim(self.name):
            flag = self._flags[job.id] = threading.Event()
            thread = self._threads[job.id] = threading.Thread(target=self._work, args=(job, flag), daemon=True)
            thread.start()

    def _work(self, job: Job, flag: threading.Event) -> None:
        reporter = _Reporter(self.store, job)

        def cancelled() -> bool:
            reporter.flush()
            return flag.is_set()

        try:
            outcome = self.engine.run(self._write_spec(job), reporter.emit, cancelled)
            reporter.flush(always=True)
        except SpatialMetaError as error:
            outcome = Outcome(FAILED, error=error.message)
        except Exception as error:
            log.exception("job %s", job.id)
            outcome = Outcome(FAILED, error=f"The runner could not run it: {error}")
        self._end_surely(job, outcome)

    def _end_surely(self, job: Job, outcome: Outcome) -> None:
        """Record the end, again and again while the disk is full: a job must not stay 'running' for ever."""
        while True:
            try:
                self._end(job, outcome)
                break
            except StorageError as error:
                log.warning("end of %s: %s", job.id, error.message)
                if self._stopping.wait(RETRY_S):
                    return  # the next runner finds it
        if not self.store.exists(job):  # deleted with its project meanwhile
            shutil.rmtree(self.store.folder(job), ignore_errors=True)

    def _end(self, job: Job, outcome: Outcome) -> None:
        if outcome.state == "died":
            if self._stopping.is_set():
                self.store.retry(job, "the server was stopped", counted=False)
            else:
                self.store.retry(job, outcome.error or "its process ended")
        elif outcome.state == DONE:
            self.store.finish(job, DONE, result=outcome.result, message="stopped early" if outcome.stopped else None)
        elif outcome.state == CANCELLED:
            self.store.finish(job, CANCELLED)
        else:
            self.store.finish(job, FAILED, error=outcome.error or self.store.log(job, LOG_TAIL))

    def _write_spec(self, job: Job) -> Path:
        folder = self.store.folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        names = ("kind", "project", "sample", "user", "config", "inputs", "attempt", "priority")
        spec = {"job": job.id} | {name: getattr(job, name) for name in names}
        spec["settings"] = {k: str(v) if isinstance(v, Path) else v for k, v in _plain(self.settings).items()}
        write_file(folder / "spec.json", json.dumps(spec, indent=1).encode())
        return folder / "spec.json"

    def _clean(self) -> None:
        """Remove the scratch of deleted jobs and what a killed process left half-written."""
        known = {job.id for job in self.store.jobs()}
        for folder in (self.settings.data / "jobs").glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        Workspace(self.settings).sweep()


class _Reporter:
    """Gathers a child's lines and writes them to the store ten times a second, in one transaction.

    A runner that is killed loses what it gathered: at most a tenth of a second of a curve, no work.
    """

    def __init__(self, store: JobStore, job: Job) -> None:
        self._store, self._job = store, job
        self._events: list[dict[str, Any]] = []
        self._next = 0.0

    def emit(self, line: dict[str, Any]) -> None:
        if line["type"] == "progress":
            self._events.append(
                {
                    "time": line.get("time", time.time()),
                    "fraction": line.get("fraction", 0.0),
                    "message": line.get("message", ""),
                    "numbers": line.get("numbers") or {},
                }
            )

    def flush(self, *, always: bool = False) -> None:
        if not self._events or (not always and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + REPORT_S
        try:
            self._store.report(self._job, self._events)
            self._events = []
        except StorageError as error:  # kept for the next time
            log.warning("progress of %s: %s", self._job.id, error.message)


def _cores() -> int:
    """Processors that this process may use: of a machine that is shared out, not all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain(settings: Settings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}


@contextmanager
def locked(settings: Settings) -> Iterator[IO[str] | None]:
    """Hold the data directory's runner lock; gives None where another runner holds it."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with open(lock_path(settings), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file


def main() -> int:
    """Run until SIGTERM or SIGINT; 1 where another runner works on this data directory."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = Settings.from_env()
    settings = dataclasses.replace(settings, data=settings.data.resolve())
    with locked(settings) as lock:
        if lock is None:
            log.error("another runner works on %s", settings.data)
            return 1
        runner = Runner(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        demo.ensure(Workspace(settings), runner.store)
        log.info("ready on %s", settings.data)
        runner.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
