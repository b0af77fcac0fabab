from __future__ import annotations

import dataclasses
import threading
import time

import psutil
import pytest

from spatialmeta_app.jobs import JobStore
from spatialmeta_app.jobs.engines import LocalEngine
from spatialmeta_app.jobs.runner import Runner, locked
from tests.app.jobs import play


def wait_for(condition, seconds: float = 30.0):
    """The first true value of *condition*."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def submit(store: JobStore, project, sample):
    """Queue a job that plays its config."""

    def submit(kind: str = "st", *, user: str = "ada", **more):
        keys = ("after", "priority", "resources", "inputs")
        passed = {key: more.pop(key) for key in keys if key in more}
        return store.submit(kind, project=project, sample=sample, user=user, config=more, **passed)

    return submit


@pytest.fixture
def run(settings):
    """Start runners in this process whose children play; all are stopped at the end."""
    stops = []

    def run(engine=None, **changes) -> Runner:
        changed = dataclasses.replace(settings, **changes)
        lock = locked(changed)
        assert lock.__enter__() is not None
        runner = Runner(changed, engine or LocalEngine(spare=False, command=play.COMMAND))
        thread = threading.Thread(target=runner.run)
        thread.start()

        def stop():
            runner.stop()
            thread.join()
            lock.__exit__(None, None, None)

        stops.append(stop)
        runner.halt = stop
        return runner

    yield run
    for stop in stops:
        stop()
