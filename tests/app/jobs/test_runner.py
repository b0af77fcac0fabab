"""Jobs from start to end, and what happens when something is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from spatialmeta_app.jobs.alive import alive
from spatialmeta_app.jobs.engines import LocalEngine
from spatialmeta_app.jobs.runner import POLL_S, Runner, locked
from tests.app.jobs import play
from tests.app.jobs.conftest import gone, wait_for


def pids(store, job) -> list[int]:
    path = store.folder(job) / "pids.txt"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def ended(store, job):
    return wait_for(lambda: (now := store.get(job)).active is False and now)


def running(store, job):
    wait_for(lambda: store.get(job).message == "training" or store.get(job).numbers)
    return pids(store, job)[-1]


def test_a_job_runs_reports_and_ends(store, submit, run):
    job = submit(epochs=50)
    run()
    done = ended(store, job)
    assert (done.state, done.result, done.fraction, done.attempt) == ("done", "attempt 1", 1.0, 1)
    assert [event["numbers"]["epoch"] for event in store.events(job)] == list(range(50))
    assert "a word for the log" in store.log(job)
    assert "no JSON" not in store.log(job)
    wait_for(lambda: not (store.folder(job) / "checkpoints").exists())  # cleared after the end is on record
    assert alive(store.settings)


def test_a_refusal_is_one_message_and_no_second_attempt(store, submit, run):
    job = submit(error="Expected a file. Found none.")
    run()
    failed = ended(store, job)
    assert (failed.state, failed.error, failed.attempt) == ("failed", "Expected a file. Found none.", 1)


def test_a_killed_child_goes_on_from_its_checkpoint(store, submit, run):
    job = submit(epochs=30, pause=0.05)
    run()
    wait_for(lambda: len(store.events(job)) > 5)
    os.kill(pids(store, job)[0], signal.SIGKILL)
    done = ended(store, job)
    assert (done.state, done.attempt, len(pids(store, job))) == ("done", 2, 2)
    epochs = [event["numbers"]["epoch"] for event in store.events(job)]
    assert set(epochs) == set(range(30))
    assert len(epochs) <= 31  # at most the epoch that was under way is done twice


def test_a_child_that_always_dies_fails_with_its_log(store, submit, run):
    job = submit(die_in_attempts=9)
    run()
    failed = ended(store, job)
    assert failed.state == "failed"
    assert failed.attempt == 3
    assert "SIGKILL" in failed.error
    assert "a word for the log" in failed.error


@pytest.mark.parametrize("config", [{}, {"deaf": True}, {"deaf": True, "ignore_term": True}])
def test_cancel_ends_the_child_within_three_seconds(store, submit, run, config):
    job = submit(epochs=1, wait=True, **config)
    run()
    pid = running(store, job)
    start = time.monotonic()
    assert store.cancel(job).state == "cancelling"
    assert ended(store, job).state == "cancelled"
    took = time.monotonic() - start
    assert gone(pid)
    assert took < 3.0  # the promise itself, with a second to spare: ask, TERM after 1 s, KILL after 2 s


def test_deleting_the_project_stops_its_jobs_and_removes_their_folders(store, submit, run, workspace, project):
    job = submit(epochs=1, wait=True)
    run()
    pid = running(store, job)
    workspace.delete_project(project)
    wait_for(lambda: gone(pid) and not store.folder(job).exists())


def test_a_stopped_runner_puts_its_jobs_back_without_costing_an_attempt(store, submit, run):
    job = submit(epochs=1, wait=True)
    runner = run()
    pid = running(store, job)
    runner.halt()
    assert gone(pid)
    assert store.get(job).state == "queued"
    run()
    wait_for(lambda: len(pids(store, job)) == 2)
    assert store.get(job).attempt == 1
    store.cancel(job)
    ended(store, job)


def start_runner(settings) -> subprocess.Popen:
    command = [sys.executable, play.__file__, "runner", str(settings.data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_killed_runner_takes_its_children_along_and_the_next_goes_on(store, submit, settings):
    job = submit(epochs=40, pause=0.05)
    with start_runner(settings) as first:
        wait_for(lambda: len(store.events(job)) > 5)
        child = pids(store, job)[0]
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    wait_for(lambda: gone(child))
    assert store.get(job).state == "running"
    with start_runner(settings) as second:
        done = ended(store, job)
        second.terminate()
        assert second.wait(20) == 0
    assert (done.state, done.attempt) == ("done", 2)
    second_half = [event["numbers"]["epoch"] for event in store.events(job) if event["attempt"] == 2]
    assert second_half[0] >= 5  # from its checkpoint; the epoch under way is done again
    assert second_half == list(range(second_half[0], 40))


def test_a_cancel_that_the_killed_runner_did_not_see_is_kept(store, submit, settings):
    job = submit(epochs=1, wait=True)
    with start_runner(settings) as first:
        running(store, job)
        os.kill(first.pid, signal.SIGSTOP)
        store.cancel(job)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with start_runner(settings) as second:
        assert ended(store, job).state == "cancelled"
        second.terminate()
        second.wait(20)


def test_there_is_one_runner_per_data_directory(settings):
    with start_runner(settings) as first:
        with locked(settings) as lock:
            assert lock is None
        first.terminate()
        first.wait(20)
    with locked(settings) as lock:
        assert lock is not None


def test_a_spare_does_the_job(store, submit, run):
    engine = LocalEngine(command=play.COMMAND)
    run(engine)
    spare = wait_for(lambda: engine._spare)
    job = submit(epochs=1)
    assert ended(store, job).state == "done"
    assert pids(store, job) == [spare.pid]


def test_no_spare_is_started_beside_a_job_that_is_starting(store, submit, run):
    """Two people press Train at once: the second job has no spare, and the next spare would take its processor."""
    engine = LocalEngine(command=play.COMMAND)
    runner = run(engine, workers=2)
    wait_for(lambda: engine._spare)
    for user in ("ada", "bob"):
        submit(imports=2.0, pause=1.0, epochs=3, user=user)
    wait_for(lambda: len(runner._threads) == 2)
    time.sleep(6 * POLL_S)
    assert engine._spare is None
    wait_for(lambda: engine._spare)  # now it disturbs nobody


def test_what_a_killed_process_left_is_swept(settings, workspace, sample, run):
    half = settings.data / "projects" / sample.project / "samples" / sample.id / "results" / ".new-x"
    scratch = settings.data / "jobs" / "gone"
    deleted, copied = settings.data / "projects" / "deleted", settings.data / "projects" / "copied"
    for folder in (half, scratch, deleted, copied):
        folder.mkdir(parents=True)
    os.utime(deleted, (time.time() - 1e6,) * 2)
    run()
    wait_for(lambda: not half.exists() and not scratch.exists() and not deleted.exists())
    assert copied.exists()  # young: a copy that is being made
    assert half.parent.exists()


class Broken:
    """An engine whose machine is gone."""

    def run(self, spec, emit, cancelled):
        raise RuntimeError("no route to host")

    def prepare(self):
        pass

    def stop(self):
        pass


def test_an_engine_that_breaks_fails_the_job_not_the_runner(store, submit, run):
    run(Broken())
    for _ in range(2):
        assert "no route to host" in ended(store, submit()).error


def test_the_end_of_a_job_is_told_again_when_the_disk_was_full(store, submit, settings, monkeypatch):
    from core.errors import StorageError
    from spatialmeta_app.jobs import runner as module

    runner = Runner(settings, LocalEngine(spare=False, command=play.COMMAND))
    finish, failures = runner.store.finish, []

    def full(*args, **values):
        if len(failures) < 2:
            failures.append(1)
            raise StorageError("room")
        finish(*args, **values)

    monkeypatch.setattr(runner.store, "finish", full)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    job = submit()
    runner._claim()
    assert ended(store, job).state == "done"
    assert len(failures) == 2
