"""A server of its own for a measurement: fresh data folder, free port, started as a person starts it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Server:
    """``ready_s``: seconds from the start of the process until ``/readyz`` answered."""

    url: str
    data: Path
    pid: int
    ready_s: float


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Server]:
    """``python app.py`` with ``SPATIALMETA_<NAME>=value`` for each setting; stopped with its runner at the end."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        values = {"data": folder, "port": str(port)} | settings
        env = os.environ | {f"SPATIALMETA_{name.upper()}": value for name, value in values.items()}
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/readyz", process)
        yield Server(url, Path(folder), process.pid, time.perf_counter() - start)


def _wait(url: str, process: subprocess.Popen[bytes], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"app.py ended with code {process.returncode} before it was ready")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"not ready after {limit_s:.0f} s")
