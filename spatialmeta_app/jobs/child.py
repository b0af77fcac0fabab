"""The process that does one job: ``python -m spatialmeta_app.jobs.child SPEC.json``.

Standard output carries JSON lines and nothing else (what libraries print goes to standard error, the log). A line
``cancel`` on standard input asks it to stop; its end means that whoever started it has died, and the child dies too.
Without an argument it does the imports that every step needs, then waits for ``{"spec": path}`` on standard input.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from core.context import Context
from core.errors import Cancelled, SpatialMetaError

INTERVAL_S = 0.1  # progress and previews reach the disk at most this often
NICENESS = 5  # the web server goes first
PR_SET_PDEATHSIG = 1


class Channel:
    """The JSON lines to whoever supervises; safe from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()

    def send(self, kind: str, **values: Any) -> None:
        text = json.dumps({"type": kind, **values}, default=float)
        try:
            with self._lock:
                self._file.write(text.encode() + b"\n")
        except BrokenPipeError:
            os._exit(1)  # nobody listens any more


class ChildContext(Context):
    """Progress and previews of a step, gathered and sent ten times a second.

    Every call of :meth:`progress` with numbers is kept (loss curves need each epoch); of those without, the newest.
    """

    def __init__(self, channel: Channel, folder: Path, asked: threading.Event) -> None:
        self.checkpoints = folder / "checkpoints"
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._previews = folder / "previews"
        self._previews.mkdir(exist_ok=True)
        self._channel = channel
        self._asked = asked
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        self._pending: dict[str, dict[str, np.ndarray]] = {}
        threading.Thread(target=self._send_often, daemon=True).start()

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        line = {"fraction": min(max(float(fraction), 0.0), 1.0), "message": str(message), "time": time.time()}
        line["numbers"] = {name: _finite(value) for name, value in numbers.items()}
        with self._lock:
            if self._lines and not self._lines[-1]["numbers"]:
                self._lines.pop()
            self._lines.append(line)

    def preview(self, name: str, **arrays: np.ndarray) -> None:
        copies = {key: np.array(value) for key, value in arrays.items()}  # the step goes on changing its own
        with self._lock:
            self._pending[name] = copies

    def cancelled(self) -> bool:
        return self._asked.is_set()

    def flush(self) -> None:
        """Send what was gathered."""
        with self._lock:
            lines, self._lines = self._lines, []
            pending, self._pending = self._pending, {}
            for line in lines:
                self._channel.send("progress", **line)
            for name, arrays in pending.items():
                self._write_preview(name, arrays)

    def _send_often(self) -> None:
        while True:
            time.sleep(INTERVAL_S)
            self.flush()

    def _write_preview(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        from spatialmeta_app.workspace.directories import write_file

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_file(self._previews / f"{name}.npz", buffer.getvalue())
        self._channel.send("preview", name=name)


def main(arguments: list[str]) -> int:
    """Do the job of the spec named by the argument, or of the one that comes on standard input."""
    _die_with_parent()
    channel = Channel(os.dup(1))
    os.dup2(2, 1)  # print() of any library goes to the log
    os.nice(NICENESS)
    if arguments:
        path = Path(arguments[0])
    else:
        _import_heavy()
        text = sys.stdin.readline()
        if not text:
            return 0  # the runner ended, there is nothing to do
        path = Path(json.loads(text)["spec"])
        _open_log(path.parent / "log.txt")
    return _work(path, channel)


def _work(path: Path, channel: Channel) -> int:
    from spatialmeta_app.jobs.perform import perform

    spec = json.loads(path.read_text(encoding="utf-8"))
    print(f"--- attempt {spec['attempt']} of {spec['kind']}, {time.strftime('%Y-%m-%d %H:%M:%S')}", file=sys.stderr)
    if spec.get("priority", 0) < 0:
        os.nice(NICENESS)  # once more: it runs beside the jobs that people wait for
    asked, saving = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(channel, asked, saving), daemon=True).start()
    context = ChildContext(channel, path.parent, asked)

    def begin_saving() -> None:
        saving.set()
        if asked.is_set():
            channel.send("saving")

    try:
        result = perform(spec, context, begin_saving)
    except Cancelled:
        return _last_word(context, channel, "cancelled")
    except SpatialMetaError as error:
        traceback.print_exc()
        return _last_word(context, channel, "error", message=error.message)
    except MemoryError:
        traceback.print_exc()
        return _last_word(context, channel, "error", message="The server's memory was too small for this step.")
    except Exception as error:  # whatever a library raises: the person gets one line, the log has the rest
        traceback.print_exc()
        message = f"The step stopped on an error that was not foreseen: {type(error).__name__}: {error}"
        return _last_word(context, channel, "error", message=message[:500])
    return _last_word(context, channel, "done", result=result, stopped=asked.is_set())


def _last_word(context: ChildContext, channel: Channel, kind: str, **values: Any) -> int:
    context.flush()
    channel.send(kind, **values)
    return 0 if kind == "done" else 1


def _listen(channel: Channel, asked: threading.Event, saving: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "cancel":
            asked.set()
            if saving.is_set():
                channel.send("saving")
    os._exit(1)  # the pipe's other end is gone: the runner has died, another will start this job again


def _die_with_parent() -> None:
    """Linux ends this process with its parent, even where a library holds the interpreter's lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _open_log(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 2)
    os.dup2(descriptor, 1)
    os.close(descriptor)


def _import_heavy() -> None:
    import anndata  # noqa: F401
    import scipy.sparse  # noqa: F401
    import torch  # noqa: F401

    import core.pipeline  # noqa: F401
    from spatialmeta_app.jobs import perform, work  # noqa: F401


def _finite(value: float) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None  # JSON knows no NaN


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # the listening thread sits in a read that an orderly end would wait for
