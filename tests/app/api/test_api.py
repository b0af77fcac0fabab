"""Errors, people, health and downloads."""

from __future__ import annotations

import dataclasses
import os
import time

import flask
import pytest

from core.errors import DataError, StorageError
from spatialmeta_app import api
from spatialmeta_app.jobs.runner import locked
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import Conflict, ForbiddenError, NotFound, Revision
from tests.app.api.conftest import CHANGE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("a sample"), 404),
        (ForbiddenError("a project of your own"), 403),
        (Conflict("revision 2", current=Revision(2)), 409),
        (StorageError("room"), 507),
        (DataError("counts", found="NaN", mend="Mend."), 422),
    ],
)
def test_every_error_is_json_with_its_status(server, client, error, status):
    @server.get("/api/test")
    def fail():
        raise error

    response = client.get("/api/test")
    assert response.status_code == status
    assert response.json["error"] == {
        "expected": error.expected,
        "found": error.found,
        "mend": error.mend,
        "message": error.message,
    }
    if status == 409:
        assert response.json["current"]["number"] == 2
        assert response.json["current"]["document"]["features"] == []


def test_unknown_addresses_of_the_api_are_json(client):
    response = client.get("/api/nothing")
    assert response.status_code == 404
    assert "/api/nothing" in response.json["error"]["message"]
    assert client.put("/api/jobs", headers=CHANGE).status_code in (404, 405)


@pytest.mark.parametrize("method", ["post", "patch", "delete", "put"])
@pytest.mark.parametrize("headers", [{}, {"X-SpatialMETA": "0"}, {"Content-Type": "text/plain"}])
def test_changes_without_the_header_are_refused(client, method, headers):
    assert getattr(client, method)("/api/uploads", headers=headers).status_code == 403


def test_a_browser_gets_one_cookie_and_keeps_it(client):
    first = client.get("/api/jobs")
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Set-Cookie" not in client.get("/api/jobs").headers


def test_a_forged_cookie_is_replaced(server):
    client = server.test_client()
    client.set_cookie("sm_user", "demo")
    assert "Set-Cookie" in client.get("/api/jobs").headers


def test_the_name_of_a_proxy_counts_and_can_not_be_the_demonstrations(settings):
    server = flask.Flask("test")
    api.register(server, dataclasses.replace(settings, user_header="X-Remote-User"))
    server.get("/who")(current_user)
    client = server.test_client()
    response = client.get("/who", headers={"X-Remote-User": "demo"})
    assert response.text == "user:demo"
    assert "Set-Cookie" not in response.headers


def test_the_header_counts_only_where_it_is_set(server, client):
    server.get("/who")(current_user)
    assert client.get("/who", headers={"X-Remote-User": "root"}).text != "user:root"


def test_health(client, settings):
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").status_code == 503
    with locked(settings):
        os.utime(settings.data / "runner.lock")
        assert client.get("/readyz").json == {"status": "ok", "database": True, "runner": True}
        os.utime(settings.data / "runner.lock", (time.time() - 60,) * 2)
        assert client.get("/readyz").json["runner"] is False


def test_downloads_are_what_an_export_wrote(client, store, project, sample):
    job = store.submit("export", project=project, sample=sample, user="ada", config={})
    assert client.get(f"/api/download/{job.id}").status_code == 404
    store.claim("r")
    (store.folder(job) / "download").mkdir(parents=True)
    (store.folder(job) / "download" / "section 1.h5ad").write_bytes(b"0123456789")
    store.finish(job, "done", result="section 1.h5ad")
    with client.get(f"/api/download/{job.id}") as response:
        assert response.data == b"0123456789"
        assert response.headers["Content-Disposition"] == 'attachment; filename="section 1.h5ad"'
    with client.get(f"/api/download/{job.id}", headers={"Range": "bytes=4-"}) as part:
        assert (part.status_code, part.data) == (206, b"456789")


def test_other_jobs_have_no_download(client, store, project, sample):
    job = store.submit("st", project=project, sample=sample, user="ada", config={})
    store.claim("r")
    store.finish(job, "done", result="../spec.json")
    assert client.get(f"/api/download/{job.id}").status_code == 404
