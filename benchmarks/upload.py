"""Upload of a large file: time, and the server's memory meanwhile (aim: 2 GiB at less than 200 MB).

``SPATIALMETA_BENCH_UPLOAD_MIB`` sets the size in MiB; 2048 where it is not set. The bytes are zeros made on the way; on
the server they take their full size for as long as the measurement lasts.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace
from tests.e2e.serving import Server, running

MIB = 1 << 20
VARIABLE = "SPATIALMETA_BENCH_UPLOAD_MIB"
SAMPLE_S = 0.05


def main() -> None:
    size = int(os.environ.get(VARIABLE, "2048")) * MIB
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", demo="0", min_free_bytes="0") as server,
    ):
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with Peak(process) as peak:
            seconds = _upload(server, size)
        rss = f"before {before / MIB:.0f} MB, at most {peak.rss / MIB:.0f} MB (aim: below 200 MB)"
        print(f"upload {size / MIB:,.0f} MiB: {seconds:.1f} s, {size / MIB / seconds:.0f} MiB/s; server's memory {rss}")


class Peak:
    """The largest resident memory of a process while the block runs, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        self.rss = process.memory_info().rss
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.rss = max(self.rss, self._process.memory_info().rss)


def _upload(server: Server, size: int) -> float:
    """Send *size* zero bytes as a browser does, piece after piece; returns the seconds it took."""
    workspace = Workspace(Settings(data=server.data))
    project = workspace.create_project("benchmark", "nobody")
    sample = workspace.create_sample(project, "large")
    about = {"project": project.id, "sample": sample.id, "slot": "image", "filename": "large.tif", "size": size}
    start = time.perf_counter()
    upload = _call(server, "POST", "/api/uploads", json.dumps(about).encode(), {"Content-Type": "application/json"})
    zeros, offset = bytes(upload["chunk"]), 0
    while offset < size:
        piece = zeros[: min(len(zeros), size - offset)]
        path = f"/api/uploads/{upload['id']}"
        offset = _call(server, "PATCH", path, piece, {"Upload-Offset": str(offset)})["offset"]
    _call(server, "POST", f"/api/uploads/{upload['id']}/finish", b"", {})
    return time.perf_counter() - start


def _call(server: Server, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    given = {"X-SpatialMETA": "1", "Content-Type": "application/octet-stream"} | headers
    request = urllib.request.Request(server.url + path, data=body, method=method, headers=given)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    main()
