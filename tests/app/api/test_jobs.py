from __future__ import annotations

import json

import numpy as np
import pytest

from spatialmeta_app.workspace import DEMO
from tests.app.api.conftest import CHANGE


@pytest.fixture
def job(store, project, sample):
    return store.submit("align", project=project, sample=sample, user="ada", config={"a": 1})


def test_pages_learn_what_changed(client, store, project, sample, job):
    first = client.get(f"/api/jobs?project={project.id}").json
    assert [j["id"] for j in first["jobs"]] == [job.id]
    assert first["jobs"][0]["state"] == "queued"
    assert client.get(f"/api/jobs?project={project.id}&since={first['seq']}").json["jobs"] == []
    store.claim("r")
    after = client.get(f"/api/jobs?project={project.id}&since={first['seq']}").json
    assert [j["state"] for j in after["jobs"]] == ["running"]
    assert after["seq"] > first["seq"]


def test_nothing_new_is_304(client, store, project, job):
    address = f"/api/jobs?project={project.id}&since=0"
    tag = client.get(address).headers["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    store.claim("r")
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


def test_nobody_learns_the_cookie_of_another(client, project, job):
    text = client.get(f"/api/jobs?project={project.id}").text
    assert "ada" not in text
    assert client.get(f"/api/jobs/{job.id}").json["mine"] is False


def test_without_a_project_one_sees_ones_own(client, store, project, sample, job):
    assert client.get("/api/jobs").json["jobs"] == []
    me = client.get_cookie("sm_user").value
    own = store.submit("st", project=project, sample=sample, user=me, config={})
    jobs = client.get("/api/jobs").json["jobs"]
    assert [(j["id"], j["mine"]) for j in jobs] == [(own.id, True)]


@pytest.mark.parametrize("since", ["x", "-1", "1.5"])
def test_a_since_that_is_none(client, since):
    assert client.get(f"/api/jobs?since={since}").status_code == 422


def test_cancel_log_and_events(client, store, job):
    store.claim("r")
    store.folder(job).mkdir(parents=True)
    (store.folder(job) / "log.txt").write_text("epoch 1\nepoch 2\n")
    store.report(job, [{"time": 0.0, "fraction": 0.5, "message": "m", "numbers": {"loss": 2.0}}])
    assert client.get(f"/api/jobs/{job.id}/log").text == "epoch 1\nepoch 2\n"
    assert client.get(f"/api/jobs/{job.id}/log?tail=8").text == "epoch 2\n"
    events = client.get(f"/api/jobs/{job.id}/events").json["events"]
    assert [event["numbers"] for event in events] == [{"loss": 2.0}]
    assert client.post(f"/api/jobs/{job.id}/cancel", headers=CHANGE).json["state"] == "cancelling"
    assert client.post("/api/jobs/nobody/cancel", headers=CHANGE).status_code == 404


def test_nobody_cancels_the_demonstration(client, store, workspace):
    demo = workspace.create_project("Demonstration", DEMO, id=DEMO)
    sample = workspace.create_sample(demo, "s")
    job = store.submit("demo", project=demo, sample=sample, user=DEMO, config={})
    assert client.post(f"/api/jobs/{job.id}/cancel", headers=CHANGE).status_code == 422
    assert store.get(job).state == "queued"


def test_a_preview_is_raw_bytes_with_a_description(client, store, job):
    folder = store.folder(job) / "previews"
    folder.mkdir(parents=True)
    arrays = {"xy": np.arange(6, dtype=">f4").reshape(3, 2), "n": np.array([7], dtype=np.uint16)}
    np.savez(folder / "overlay.npz", **arrays)
    address = f"/api/jobs/{job.id}/preview/overlay"
    response = client.get(address)
    for about in json.loads(response.headers["X-Arrays"]):
        raw = response.data[about["offset"] : about["offset"] + about["nbytes"]]
        array = np.frombuffer(raw, about["dtype"]).reshape(about["shape"])
        np.testing.assert_array_equal(array, arrays[about["name"]])
    assert len(response.data) == 26
    again = client.get(address, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    np.savez(folder / "new.npz", xy=np.zeros(2))
    (folder / "new.npz").replace(folder / "overlay.npz")
    assert client.get(address, headers={"If-None-Match": response.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("name", ["nothing", "..%2fspec", "%2e%2e", "..\\spec"])
def test_previews_that_are_none(client, store, job, name):
    store.folder(job).mkdir(parents=True)
    np.savez(store.folder(job) / "spec.npz", x=np.zeros(1))
    assert client.get(f"/api/jobs/{job.id}/preview/{name}").status_code == 404
