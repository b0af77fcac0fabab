"""``python app.py``: the web server and its runner for one person, started and stopped together."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

import dash

from spatialmeta_app.config import PREFIX, Settings

log = logging.getLogger("spatialmeta")

RUNNER = (sys.executable, "-m", "spatialmeta_app.jobs.runner")
RESTART_S = 3.0
STOP_S = 15.0


class RunnerKeeper:
    """Keeps one runner process alive: starts it, starts it again when it dies, stops it at the end.

    Where another runner holds the data folder (left by a server that was killed, so that its jobs go on), none is
    started until that one has gone.
    """

    def __init__(self, settings: Settings, command: tuple[str, ...] = RUNNER, restart_s: float = RESTART_S) -> None:
        self._settings = settings
        self._environment = environment(settings)
        self._command = command
        self._restart_s = restart_s
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start the runner; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the runner to end (its jobs go on at the next start), and wait for it."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join(STOP_S)

    @property
    def pid(self) -> int | None:
        """Process id of the runner that lives now."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _keep(self) -> None:
        while not self._stopping.is_set():
            if self._other_works():
                self._stopping.wait(self._restart_s)
                continue
            # Its own session: Ctrl-C in the terminal reaches the server alone, which then stops the runner in order.
            self._process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)
            if self._stopping.is_set():  # stop() came between the test and the start
                self._process.terminate()
            code = self._process.wait()
            if not self._stopping.is_set():
                log.warning("the runner ended with code %s; starting it again", code)
                self._stopping.wait(self._restart_s)

    def _other_works(self) -> bool:
        from spatialmeta_app.jobs.runner import locked

        with locked(self._settings) as lock:
            return lock is None


def environment(settings: Settings) -> dict[str, str]:
    """The environment that makes another process read the same *settings*."""
    values = {PREFIX + f.name.upper(): _text(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    return {**os.environ, **values}


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def serve(app: dash.Dash, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Prints the address when requests are answered."""
    from waitress.server import create_server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # eight tabs at once are no news
    try:
        server = create_server(app.server, host=settings.host, port=settings.port, threads=settings.threads)
    except OSError as error:
        sys.exit(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Set {PREFIX}PORT to another port."
        )
    keeper = RunnerKeeper(settings) if settings.runner else None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if keeper:
        keeper.start()
    print(f"SpatialMETA is ready: http://{settings.host}:{settings.port}", flush=True)
    try:
        server.run()  # returns on Ctrl-C
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.close()
        if keeper:
            keeper.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
