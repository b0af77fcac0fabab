from __future__ import annotations

import dataclasses
import threading

import pytest

from core.errors import StorageError
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.jobs.records import Waiting
from spatialmeta_app.jobs.store import MAX_ATTEMPTS
from spatialmeta_app.workspace import DEMO, ForbiddenError, NotFound, WorkspaceError


@pytest.fixture
def wide(settings) -> JobStore:
    """A store where many jobs may run."""
    return JobStore(dataclasses.replace(settings, workers=10, jobs_per_user=2))


def test_a_job_is_what_was_submitted(store, submit):
    job = submit("align", weight=2.0, inputs={"a": "b"}, priority=3, resources=("gpu",))
    assert (job.kind, job.state, job.config, job.inputs) == ("align", "queued", {"weight": 2.0}, {"a": "b"})
    assert (job.priority, job.resources, job.attempt, job.active) == (3, ("gpu",), 0, True)
    assert store.get(job.id) == job
    assert store.jobs(job.project) == [job]


def test_what_can_not_be_a_job_is_refused(store, workspace, project, sample, submit):
    other = workspace.create_project("other", "bob")
    with pytest.raises(WorkspaceError, match="kinds"):
        submit("rm -rf")
    with pytest.raises(NotFound):
        store.submit("st", project=other, sample=sample, user="ada", config={})
    with pytest.raises(NotFound):
        store.submit("st", project="nobody", sample=sample, user="ada", config={})
    with pytest.raises(WorkspaceError, match="sample"):
        store.submit("st", project=project, sample=None, user="ada", config={})
    with pytest.raises(NotFound):
        store.get("nobody")
    assert store.jobs() == []


def test_the_demonstration_takes_exports_but_no_steps(store, workspace):
    demo = workspace.create_project("Demonstration", DEMO, id=DEMO)
    sample = workspace.create_sample(demo, "s")
    with pytest.raises(ForbiddenError):
        store.submit("align", project=demo, sample=sample, user="ada", config={})
    store.submit("export", project=demo, sample=sample, user="ada", config={})
    store.submit("demo", project=demo, sample=sample, user=DEMO, config={})


def test_a_full_disk_refuses_jobs(settings, project, sample):
    full = JobStore(dataclasses.replace(settings, min_free_bytes=1 << 60))
    with pytest.raises(StorageError):
        full.submit("st", project=project, sample=sample, user="ada", config={})


def test_seq_tells_what_changed(store, submit):
    first, second = submit(), submit()
    seq = store.seq()
    assert store.jobs(since=seq) == []
    claimed = store.claim("r")
    assert claimed.id == first.id
    assert [job.id for job in store.jobs(since=seq)] == [first.id]
    store.cancel(second)
    assert {job.id for job in store.jobs(since=seq)} == {first.id, second.id}


def test_priority_goes_before_age(store, submit):
    submit(), submit(priority=-1)
    urgent = submit(priority=1)
    assert store.claim("r").id == urgent.id


def test_no_more_run_than_there_are_workers(settings, submit):
    store = JobStore(dataclasses.replace(settings, workers=2, jobs_per_user=9))
    for _ in range(3):
        submit()
    assert [bool(store.claim("r")) for _ in range(3)] == [True, True, False]


def test_what_runs_in_the_background_takes_nobodys_place(settings, submit):
    store = JobStore(dataclasses.replace(settings, workers=1, jobs_per_user=9))
    demo = submit(user="demo", priority=-1)
    assert store.claim("r").id == demo.id
    mine, second = submit(), submit(user="demo", priority=-1)
    assert store.claim("r").id == mine.id  # beside the demonstration
    assert store.claim("r") is None
    store.finish(mine, "done")
    assert store.claim("r") is None  # another one in the background waits for a free worker
    store.finish(demo, "done")
    assert store.claim("r").id == second.id


def test_a_person_runs_no_more_than_allowed_and_others_go_first(wide, submit):
    for _ in range(4):
        submit(user="ada")
    bob = submit(user="bob")
    assert wide.claim("r").user == "ada"
    assert wide.claim("r").id == bob.id  # ada has one running, bob none
    assert wide.claim("r").user == "ada"
    assert wide.claim("r") is None


def test_people_take_turns_and_see_how_many_are_before_them(store, submit):
    """One worker, three people: who asks for three trainings at once does not let the others wait for all three."""
    adas = [submit(user="ada") for _ in range(3)]
    bob, carol = submit(user="bob"), submit(user="carol")
    order = [adas[0], bob, carol, adas[1], adas[2]]
    for at, job in enumerate(order):
        assert {key: found.before for key, found in store.waiting().items()} == {
            later.id: before for before, later in enumerate(order[at:])
        }
        assert store.claim("r").id == job.id
        assert {key: found.before for key, found in store.waiting().items()} == {
            later.id: before for before, later in enumerate(order[at + 1 :], 1)
        }
        store.finish(job, "done")
    assert store.waiting() == {}


def test_what_follows_a_training_goes_before_those_who_wait(store, submit):
    training = submit("integrate", user="ada")
    clusters = submit("cluster", user="ada", after=training)
    bob = submit("integrate", user="bob")
    assert store.claim("r").id == training.id
    assert set(store.waiting()) == {bob.id}  # clusters wait for the training
    store.finish(training, "done")
    assert [store.claim("r").id, store.claim("r")] == [clusters.id, None]
    assert store.waiting()[bob.id] == Waiting(1, own=False)


def test_a_job_that_waits_for_ones_own_says_so(wide, submit):
    jobs = [submit(user="ada") for _ in range(3)]
    assert {wide.claim("r").id, wide.claim("r").id} == {jobs[0].id, jobs[1].id}
    bob = submit(user="bob")
    assert wide.waiting() == {jobs[2].id: Waiting(0, own=True), bob.id: Waiting(0, own=False)}


def test_a_resource_is_held_by_one(wide, submit):
    first, second, free = (submit(resources=r, user=u) for r, u in ((("gpu",), "a"), (("gpu", "x"), "b"), ((), "c")))
    assert {wide.claim("r").id, wide.claim("r").id} == {first.id, free.id}
    assert wide.claim("r") is None
    wide.finish(first, "done")
    assert wide.claim("r").id == second.id


def test_a_chain_waits_and_goes_on(wide, submit):
    first = submit("reassign")
    second = submit("features", after=first)
    assert wide.claim("r").id == first.id
    assert wide.claim("r") is None
    wide.finish(first, "done", result="x")
    assert wide.claim("r").id == second.id


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_chain_ends_with_a_clear_word(wide, submit, end):
    first = submit("reassign")
    second = submit("features", after=first)
    third = submit("integrate", after=second)
    wide.claim("r")
    wide.finish(first, end, error="no")
    assert [wide.get(job).state for job in (second, third)] == [end, end]
    for job, before in ((second, "reassign"), (third, "features")):
        error = wide.get(job).error
        assert f"'{before}' before it failed" in error if end == "failed" else error is None


def test_cancelling_a_waiting_job_ends_it_and_its_chain_at_once(store, submit):
    first = submit("reassign")
    second = submit("features", after=first)
    assert store.cancel(first).state == "cancelled"
    assert store.get(second).state == "cancelled"
    assert store.cancel(first).state == "cancelled"
    assert store.claim("r") is None


def test_a_running_job_is_asked_and_an_ended_one_stays(store, submit):
    job = submit()
    store.claim("r")
    assert store.wanted("r") == {job.id}
    assert store.cancel(job).state == "cancelling"
    assert store.wanted("r") == set()
    store.finish(job, "cancelled")
    store.finish(job, "done", result="late")
    assert store.get(job).state == "cancelled"
    assert store.cancel(job).state == "cancelled"


def test_a_cancelled_job_goes_on_with_what_waited_for_it(wide, submit):
    first = submit("integrate")
    second = submit("cluster", after=first)
    third = submit("export", after=second)
    wide.claim("r")
    wide.finish(first, "cancelled")
    assert not wide.resumable(wide.get(first))
    with pytest.raises(WorkspaceError, match="no checkpoint"):
        wide.resume(first)
    checkpoints = wide.folder(first) / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "training.pt").write_bytes(b"state")
    assert wide.resumable(wide.get(first))
    assert wide.resume(first).state == "queued"
    assert [wide.get(job).state for job in (second, third)] == ["queued", "queued"]
    assert wide.get(second).error is None
    with pytest.raises(WorkspaceError, match="queued"):
        wide.resume(first)
    again = wide.claim("r")
    assert (again.id, again.attempt) == (first.id, 1)  # being stopped costs no attempt
    wide.finish(first, "done", result="x")
    assert not checkpoints.exists()
    assert wide.claim("r").id == second.id


def test_reports_keep_the_newest_and_every_number(store, submit):
    job = submit()
    store.claim("r")
    event = {"time": 1.0, "fraction": 0.1, "message": "reading", "numbers": {}}
    numbers = [event | {"fraction": i / 10, "message": "training", "numbers": {"loss": i}} for i in range(5)]
    store.report(job, [event, *numbers, event | {"fraction": 0.9, "message": "writing"}])
    now = store.get(job)
    assert (now.fraction, now.message, now.numbers) == (0.9, "writing", {"loss": 4})
    assert [e["numbers"]["loss"] for e in store.events(job)] == [0, 1, 2, 3, 4]
    newest = store.events(job)[-2]["id"]
    assert [e["numbers"]["loss"] for e in store.events(job, since=newest)] == [4]
    store.finish(job, "done")
    store.report(job, numbers)
    assert len(store.events(job)) == 5


def test_a_died_job_is_tried_three_times_then_fails_with_its_log(store, submit):
    job = submit()
    store.folder(job).mkdir(parents=True)
    (store.folder(job) / "log.txt").write_text("x" * 9000 + "the last words")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert store.claim("r").attempt == attempt
        store.retry(job, "killed")
    failed = store.get(job)
    assert failed.state == "failed"
    assert failed.error.startswith("Stopped 3 times (killed).")
    assert failed.error.endswith("the last words")
    assert len(failed.error) < 5000


def test_an_orderly_stop_costs_no_attempt(store, submit):
    job = submit()
    for _ in range(5):
        assert store.claim("r").attempt == 1
        store.retry(job, "stopped", counted=False)
    assert store.get(job).state == "queued"


def test_recover_puts_back_what_other_runners_left(wide, submit):
    mine, running, asked = submit(user="a"), submit(user="b"), submit(user="c")
    wide.claim("new"), wide.claim("old"), wide.claim("old")
    wide.cancel(asked)
    assert set(wide.recover("new")) == {running.id, asked.id}
    assert [wide.get(job).state for job in (mine, running, asked)] == ["running", "queued", "cancelled"]
    assert wide.claim("new").attempt == 2


def test_many_runners_claim_each_job_once(settings, submit):
    jobs = {submit(user=str(i)).id for i in range(20)}
    claimed: list[str] = []

    def claim():
        store = JobStore(dataclasses.replace(settings, workers=100))
        while job := store.claim("r"):
            claimed.append(job.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(jobs)


def test_the_log_is_empty_before_the_start_and_can_be_cut(store, submit):
    job = submit()
    assert store.log(job) == ""
    store.folder(job).mkdir(parents=True)
    (store.folder(job) / "log.txt").write_bytes(b"abc\xff def")
    assert store.log(job, tail=3) == "def"
    assert store.log(job).startswith("abc")
