"""The application as a person starts it: ``python app.py`` with its runner, in a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from spatialmeta_app.config import Settings
from spatialmeta_app.jobs import JobStore

ROOT = Path(__file__).parents[2]
READY_S = 90.0  # of a busy machine; the aim is 10 s and is measured by the benchmarks
STOP_S = 20.0
HELD_S = 240.0  # two cores, shared with the browser


@dataclass
class Server:
    """A running application; :meth:`kill` and :meth:`start` serve tests of a web process that dies."""

    data: Path
    settings: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.with_suffix(".log")

    def start(self) -> None:
        """Start and wait until ``/readyz`` says that database and runner work."""
        values = {"data": str(self.data), "port": str(self.port)} | self.settings
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SPATIALMETA_")}
        environment |= {f"SPATIALMETA_{name.upper()}": value for name, value in values.items()}
        environment.setdefault("OMP_NUM_THREADS", "1")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """kill -9 of the web process alone; the runner lives on."""
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def held(self, kind: str = "", message: str = "", project: str = "") -> Iterator[None]:
        """Halt the children once a running job of *kind* (of *project*) says *message*, or the one that waits for a
        job: what is seen meanwhile does not depend on how fast the machine is. They go on at the end of the block."""
        store = JobStore(Settings(data=self.data))

        def reached() -> bool:
            said = (
                j.kind == kind and j.state == "running" and message in j.message for j in store.jobs(project or None)
            )
            return any(said) if kind else bool(self._children())

        end = time.monotonic() + HELD_S
        while not reached():
            if time.monotonic() > end:
                raise RuntimeError(f"no running {kind} said {message!r} within {HELD_S:.0f} s")
            time.sleep(0.01)
        children = self._children()
        _signal(children, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(children, signal.SIGCONT)

    def _children(self) -> list[psutil.Process]:
        return [p for p in self._family() if "spatialmeta_app.jobs.child" in p.cmdline()]

    def stop(self) -> None:
        """SIGTERM, as a person or a service manager does it; whatever is left then is killed."""
        family = self._family()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _family(self) -> list[psutil.Process]:
        """The web process, the runner (also one left by a killed web process) and their children."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SPATIALMETA_DATA") == str(self.data):
                    mine.append(process)
        return mine

    def _wait(self) -> None:
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"app.py ended with code {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"not ready after {READY_S:.0f} s:\n{self.log.read_text()[-2000:]}")


def _signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextlib.contextmanager
def running(data: Path, **settings: str) -> Iterator[Server]:
    """The application on a free port; ``SPATIALMETA_<NAME>=value`` for each setting."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(data, settings, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
