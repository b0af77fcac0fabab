"""One child process: started, listened to, stopped. Knows no database: the local engine and a cluster share it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL_S = 0.05
CHILD = (sys.executable, "-m", "spatialmeta_app.jobs.child")

Emit = Callable[[dict[str, Any]], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    ``state``: 'done' (``result`` is what it reported), 'failed' (``error`` is its message), 'cancelled', or 'died'
    where it ended without a word (killed, out of memory, a crash in a library): that may be tried again.
    """

    state: str
    result: str | None = None
    error: str | None = None
    stopped: bool = False  # done, but with the best so far because it was asked to stop
    returncode: int | None = None


def start(
    spec: Path | None = None, *, command: Sequence[str] = CHILD, threads: int | None = None
) -> subprocess.Popen[bytes]:
    """A child in a process group of its own, its errors in the log beside *spec*.

    Without *spec* it is a spare: it imports what every step needs and waits for a spec on its standard input. *threads*
    is how many its libraries use, where the environment does not say.
    """
    # threads that spin while they wait tripled the time of a training where others used the cores too
    quiet = {"OMP_WAIT_POLICY": "PASSIVE"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with open(spec.parent / "log.txt" if spec else os.devnull, "ab") as errors:
        return subprocess.Popen(
            [*command, *([str(spec)] if spec else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=quiet | os.environ,
        )


def supervise(
    spec: Path,
    emit: Emit,
    cancelled: Cancelled,
    *,
    grace_s: float = 1.0,
    child: subprocess.Popen[bytes] | None = None,
    warm: bool = False,
) -> Outcome:
    """Run one job in a child and stay until it has ended.

    Parameters
    ----------
    spec
        The job's ``spec.json``; its folder takes the log.
    emit
        Called with every progress and preview line, as a dict.
    cancelled
        Asked about 20 times a second. Once true: the line ``cancel`` on the child's standard input, TERM to its
        process group after *grace_s*, KILL after twice that. A child that answers ``saving`` (it writes the best so
        far) gets TERM after eight times that and KILL after ten: on a busy machine the best would be lost otherwise.
    child
        The child, where somebody started it already; None starts one.
    warm
        *child* is a spare that waits to be told the spec.
    """
    process = child or start(spec)
    if warm:
        _say(process, json.dumps({"spec": str(spec)}))
    try:
        return _follow(process, emit, _Stop(process, cancelled, grace_s))
    finally:
        _kill(process)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def _follow(process: subprocess.Popen[bytes], emit: Emit, stop: _Stop) -> Outcome:
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    last: dict[str, Any] = {}
    ended_at: float | None = None
    while True:
        stop.step()
        if process.poll() is not None and ended_at is None:
            ended_at = time.monotonic()
        # a grandchild may hold the pipe open after the child's end; its words are not waited for
        if ended_at is not None and time.monotonic() - ended_at > 1.0:
            break
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if line is None:
            break
        if line["type"] in ("done", "error", "cancelled"):
            last = line
        elif line["type"] == "saving":
            stop.saving()
        else:
            emit(line)
    return _outcome(_wait(process, stop), last, stop)


def _wait(process: subprocess.Popen[bytes], stop: _Stop) -> int:
    """The return code; a child that has said its last word but does not end is killed."""
    deadline = time.monotonic() + 5.0
    while process.poll() is None:
        if time.monotonic() > deadline:
            _kill(process)
        stop.step()
        time.sleep(POLL_S / 5)
    return process.returncode


def _outcome(returncode: int, last: dict[str, Any], stop: _Stop) -> Outcome:
    if last.get("type") == "done":  # also when it was asked to stop: what it wrote is whole
        stopped = bool(last.get("stopped"))
        return Outcome("done", result=last.get("result"), stopped=stopped, returncode=returncode)
    if last.get("type") == "error":
        return Outcome("failed", error=str(last.get("message")), returncode=returncode)
    if stop.asked is not None or last.get("type") == "cancelled":
        return Outcome("cancelled", returncode=returncode)
    return Outcome("died", error=_cause(returncode), returncode=returncode)


def _cause(returncode: int) -> str:
    if returncode < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-returncode).name
            return f"its process was ended by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")
    return f"its process ended with code {returncode} and no answer"


class _Stop:
    """Asks, then TERM, then KILL; one :meth:`step` looks whether it is time."""

    def __init__(self, process: subprocess.Popen[bytes], cancelled: Cancelled, grace_s: float) -> None:
        self.process, self.cancelled, self.grace_s = process, cancelled, grace_s
        self.asked: float | None = None
        self.term_after, self.kill_after = grace_s, 2 * grace_s
        self.sent: set[int] = set()

    def saving(self) -> None:
        self.term_after, self.kill_after = 8 * self.grace_s, 10 * self.grace_s

    def step(self) -> None:
        if self.asked is None:
            if self.cancelled():
                self.asked = time.monotonic()
                _say(self.process, "cancel")
            return
        waited = time.monotonic() - self.asked
        if waited > self.kill_after:
            self._send(signal.SIGKILL)
        elif waited > self.term_after:
            self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        if number not in self.sent:
            self.sent.add(number)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[dict[str, Any] | None]) -> None:
    """Every JSON object on the child's standard output; what is none is dropped."""
    with contextlib.suppress(ValueError, OSError):  # the pipe was closed under us
        for text in process.stdout:
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and "type" in line:
                    lines.put(line)
    lines.put(None)


def _say(process: subprocess.Popen[bytes], text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # it has ended: seen elsewhere
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
