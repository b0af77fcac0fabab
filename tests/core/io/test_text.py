from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import StorageError
from core.io.text import write_text


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text("µ one\n", path)
    write_text("µ two\n", path)
    assert path.read_text("utf-8") == "µ two\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("of", "name"), [(os, "fsync"), (Path, "write_bytes")])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: object, name: str
) -> None:
    path = tmp_path / "a.json"
    write_text("before", path)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(of, name, fail)
    with pytest.raises(StorageError, match="No space left"):
        write_text("after", path)
    monkeypatch.undo()
    assert path.read_text("utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="to write"):
        write_text("x", tmp_path / "no" / "a.json")
