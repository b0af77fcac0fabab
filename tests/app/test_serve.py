"""The runner is kept alive, and stopped with the server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spatialmeta_app.config import Settings
from spatialmeta_app.jobs.runner import locked
from spatialmeta_app.serve import RunnerKeeper

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def until(condition: Callable[[], object], limit_s: float = 30.0) -> object:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("did not come true in time")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def keeper(settings: Settings):
    kept = RunnerKeeper(settings, SLEEPER, restart_s=0.05)
    yield kept
    kept.stop()


def test_a_killed_runner_is_started_again_and_stopped_at_the_end(keeper: RunnerKeeper) -> None:
    keeper.start()
    first = until(lambda: keeper.pid)
    os.kill(first, signal.SIGKILL)
    second = until(lambda: keeper.pid if keeper.pid != first else None)
    keeper.stop()
    assert not alive(second)
    assert keeper.pid is None


def test_no_second_runner_is_started_beside_one_that_works(keeper: RunnerKeeper, settings: Settings) -> None:
    with locked(settings) as lock:
        assert lock is not None
        keeper.start()
        time.sleep(0.3)
        assert keeper.pid is None
    assert until(lambda: keeper.pid)


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        values = {"DATA": str(tmp_path / "data"), "PORT": str(taken.getsockname()[1]), "RUNNER": "0"}
        env = os.environ | {f"SPATIALMETA_{name}": value for name, value in values.items()}
        ran = subprocess.run(
            [sys.executable, "app.py"],
            check=False,
            cwd=Path(__file__).parents[2],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode != 0
    assert "Cannot listen on" in ran.stderr
    assert "Traceback" not in ran.stderr
