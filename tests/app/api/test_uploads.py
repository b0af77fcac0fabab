from __future__ import annotations

import subprocess
import sys

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


MEMORY = """
import resource, sys
from pathlib import Path
import flask
from spatialmeta_app import api
from spatialmeta_app.config import Settings

class Body:
    def __init__(self, size): self.left = size
    def read(self, size=-1):
        n = self.left if size < 0 else min(size, self.left)
        self.left -= n
        return bytes(n)
    def tell(self): return 0
    def seek(self, *position): pass

size = int(sys.argv[2])
server = flask.Flask("x")
api.register(server, Settings(data=Path(sys.argv[1]), min_free_bytes=0))
backend = server.extensions["spatialmeta"]
project = backend.workspace.create_project("p", "ada")
upload = backend.workspace.uploads.start(project.id, None, "st", "a", size, user="ada")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
headers = {"X-SpatialMETA": "1", "Upload-Offset": "0"}
address = f"/api/uploads/{upload.id}"
answer = server.test_client().patch(address, input_stream=Body(size), content_length=size, headers=headers)
assert answer.json["offset"] == size, answer.json
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat(tmp_path):
    size = 256 << 20
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "data"), str(size)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 32 << 10  # KiB
