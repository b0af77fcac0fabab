"""Where a job's child runs. The local engine is here; one for a cluster needs only the same ``run``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from spatialmeta_app.jobs.supervise import CHILD, Cancelled, Emit, Outcome, start, supervise


class Engine(Protocol):
    """Runs one job; called in a thread of its own for every job."""

    def run(self, spec: Path, emit: Emit, cancelled: Cancelled) -> Outcome:
        """Run the job of *spec* and stay until it ended, as :func:`spatialmeta_app.jobs.supervise.supervise`."""

    def prepare(self) -> None:
        """Called now and then by the runner: get ready for the next job."""

    def stop(self) -> None:
        """End everything now; :meth:`run` then answers 'died'."""


SPARE_PAUSE_S = 10.0  # after a spare that ended by itself


class LocalEngine:
    """Children on this machine, with one spare that has done its imports, so that a job starts at once."""

    def __init__(self, *, spare: bool = True, command: Sequence[str] = CHILD, threads: int | None = None) -> None:
        self._threads = threads
        self._keep_spare = spare
        self._command = command
        self._spare: subprocess.Popen[bytes] | None = None
        self._children: set[subprocess.Popen[bytes]] = set()
        self._silent: set[subprocess.Popen[bytes]] = set()  # of them, those that still do their imports
        self._lock = threading.Lock()
        self._not_before = 0.0

    def run(self, spec: Path, emit: Emit, cancelled: Cancelled) -> Outcome:
        with self._lock:
            spare, self._spare = self._spare, None
            spare = spare if spare is not None and spare.poll() is None else None
            child = spare or start(spec, command=self._command, threads=self._threads)
            self._children.add(child)
            self._silent.add(child)

        def heard(line: dict[str, Any]) -> None:
            self._silent.discard(child)
            emit(line)

        try:
            return supervise(spec, heard, cancelled, child=child, warm=spare is not None)
        finally:
            with self._lock:
                self._children.discard(child)
                self._silent.discard(child)

    def prepare(self) -> None:
        """Start a spare where there is none, and no job still at its imports, which a spare would slow down. Called by
        the runner's main thread: Linux ends a child with the thread that started it, and that one lives as long as the
        runner."""
        with self._lock:
            if self._spare is not None and self._spare.poll() is not None:
                _close(self._spare)
                self._spare, self._not_before = None, time.monotonic() + SPARE_PAUSE_S
            if self._keep_spare and self._spare is None and not self._silent and time.monotonic() > self._not_before:
                self._spare = start(command=self._command, threads=self._threads)

    def stop(self) -> None:
        with self._lock:
            self._keep_spare = False
            for child in [*self._children, *([self._spare] if self._spare else [])]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
            if self._spare:
                _close(self._spare)
                self._spare = None


def _close(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    child.stdin.close()
    child.stdout.close()
