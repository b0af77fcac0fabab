from __future__ import annotations

import http.client
import json
import subprocess
import sys

import psutil
import pytest

from tests.app.api.conftest import CHANGE


@pytest.fixture
def begin(client, project, sample):
    def begin(size: int, **changes):
        body = {"project": project.id, "sample": sample.id, "slot": "st", "filename": "a.h5ad", "size": size}
        return client.post("/api/uploads", json=body | changes, headers=CHANGE)

    return begin


def send(client, upload_id: str, offset, data: bytes):
    return client.patch(f"/api/uploads/{upload_id}", data=data, headers=CHANGE | {"Upload-Offset": str(offset)})


def test_a_file_goes_up_in_pieces(client, begin, workspace, project):
    begun = begin(10)
    assert begun.status_code == 201
    assert begun.json["offset"] == 0
    assert begun.json["chunk"] > 0
    upload = begun.json["id"]
    assert send(client, upload, 0, b"01234").json["offset"] == 5
    assert client.get(f"/api/uploads/{upload}").json["offset"] == 5
    assert client.post(f"/api/uploads/{upload}/finish", headers=CHANGE).status_code == 409
    assert send(client, upload, 5, b"56789").json["offset"] == 10
    done = client.post(f"/api/uploads/{upload}/finish", headers=CHANGE)
    assert done.json["state"] == "done"
    assert workspace.uploads.resolve(project.id, done.json["path"]).read_bytes() == b"0123456789"


def test_a_whole_file_is_imported_once_with_what_is_known_of_the_image(client, begin, store, project, sample):
    def whole(slot: str, filename: str, **body):
        upload = begin(1, slot=slot, filename=filename).json["id"]
        send(client, upload, 0, b"x")
        address = f"/api/uploads/{upload}/finish"
        assert client.post(address, json=body, headers=CHANGE).status_code == 200
        before = store.jobs(project.id)
        assert client.post(address, json=body, headers=CHANGE).status_code == 200  # the answer was lost: asked again
        assert store.jobs(project.id) == before
        return before

    assert whole("ibd", "a.ibd") == []  # waits for its imzML
    (job,) = whole("sm", "a.imzML")
    assert (job.kind, job.sample, set(job.inputs)) == ("sm", sample.id, {"file", "ibd"})
    whole("st", "a.h5ad")
    newest = whole("image", "he.png", image_scale=0.5)[0]
    assert (newest.kind, newest.inputs["image_scale"]) == ("st", 0.5)


@pytest.mark.parametrize("scale", [0, -1, "1", True, [1]])
def test_an_image_scale_that_is_none(client, begin, store, project, scale):
    upload = begin(1).json["id"]
    send(client, upload, 0, b"x")
    answer = client.post(f"/api/uploads/{upload}/finish", json={"image_scale": scale}, headers=CHANGE)
    assert answer.status_code == 422
    assert not store.jobs(project.id)


@pytest.mark.parametrize("offset", [0, 4, 6, 10**20])
def test_a_wrong_offset_is_told_the_right_one(client, begin, offset):
    upload = begin(10).json["id"]
    send(client, upload, 0, b"01234")
    response = send(client, upload, offset, b"xx")
    assert response.status_code == 409
    assert response.json["current"] == 5


@pytest.mark.parametrize("offset", ["", "abc", "1.5"])
def test_an_offset_that_is_none(client, begin, offset):
    assert send(client, begin(10).json["id"], offset, b"x").status_code == 422


def test_what_can_not_be_an_upload(client, begin):
    assert begin(10, slot="exe").status_code == 422
    assert begin(10, project="nobody").status_code == 404
    assert begin("ten").status_code == 422
    assert begin(1 << 60).status_code in (422, 507)
    assert begin(10, filename="..").status_code == 422
    assert client.post("/api/uploads", data=b"no json", headers=CHANGE).status_code == 422
    assert client.get("/api/uploads/nobody").status_code == 404


def test_the_answer_keeps_the_person_secret(client, begin):
    begun = begin(10).json
    assert "user" not in begun
    assert "user" not in client.get(f"/api/uploads/{begun['id']}").json


def test_an_upload_can_be_forgotten(client, begin):
    upload = begin(10).json["id"]
    assert client.delete(f"/api/uploads/{upload}", headers=CHANGE).status_code == 204
    assert client.get(f"/api/uploads/{upload}").status_code == 404


SERVER = """
import sys
from pathlib import Path
import flask
from waitress.server import create_server
from spatialmeta_app import api
from spatialmeta_app.config import Settings

app = flask.Flask("x")
api.register(app, Settings(data=Path(sys.argv[1]), min_free_bytes=0))
server = create_server(app, host="127.0.0.1", port=0)
print(server.effective_port, flush=True)
server.run()
"""


def test_memory_of_a_real_server_stays_flat(settings, workspace, project):
    size, chunk = 256 << 20, 8 << 20
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", size, user="ada")
    with subprocess.Popen([sys.executable, "-c", SERVER, str(settings.data)], stdout=subprocess.PIPE) as process:
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()))
        before = psutil.Process(process.pid).memory_info().rss
        peak = before
        for offset in range(0, size, chunk):
            headers = CHANGE | {"Upload-Offset": str(offset)}
            connection.request("PATCH", f"/api/uploads/{upload.id}", body=bytes(chunk), headers=headers)
            assert json.loads(connection.getresponse().read())["offset"] == offset + chunk
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        connection.close()
        process.kill()
    assert workspace.uploads.finish(upload).state == "done"
    assert peak - before < 64 << 20
