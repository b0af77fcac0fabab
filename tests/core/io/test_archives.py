"""Hostile zip archives are refused before anything is written."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from core.errors import FormatError, UntrustedFileError
from core.io import read_st
from core.io.archives import ZipLimits, members, unpacked

DEFAULT = ZipLimits()
EVERYTHING = lambda name: True  # noqa: E731


def make(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, word: str, limits: ZipLimits = DEFAULT) -> None:
    with pytest.raises(UntrustedFileError, match=word):
        members(path, limits)
    with pytest.raises(UntrustedFileError, match=word), unpacked(path, EVERYTHING, limits):
        pytest.fail("unpacked")


def test_unpacks_only_what_is_wanted_and_cleans_up(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", **{"top/a.txt": b"1", "top/b.bin": b"2"})
    with unpacked(path, lambda name: name.endswith(".txt")) as folder:
        assert [p.name for p in folder.rglob("*") if p.is_file()] == ["a.txt"]
        assert (folder / "top/a.txt").read_bytes() == b"1"
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../evil.h5", "a/../../evil.h5", "/etc/evil.h5", "..\\evil.h5", "C:evil.h5"])
def test_paths_that_leave(tmp_path: Path, name: str) -> None:
    refused(make(tmp_path / "slip.zip", **{name: b"x"}), "inside the folder")
    assert not (tmp_path.parent / "evil.h5").exists()


def test_read_st_refuses_slip(tmp_path: Path) -> None:
    path = make(tmp_path / "slip.zip", **{"../filtered_feature_bc_matrix.h5": b"x"})
    with pytest.raises(UntrustedFileError, match="inside the folder"):
        read_st(path)


def test_symlink(tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    info = zipfile.ZipInfo("spatial")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc")
    refused(path, "link or device")


def test_bomb_by_ratio(tmp_path: Path) -> None:
    refused(make(tmp_path / "bomb.zip", bomb=b"\0" * (64 << 20)), "packed at most")


def test_bomb_by_total(tmp_path: Path) -> None:
    refused(make(tmp_path / "bomb.zip", a=b"1" * 600, b=b"2" * 600), "unpacked", ZipLimits(total_bytes=1000))


def test_too_many_members(tmp_path: Path) -> None:
    refused(make(tmp_path / "many.zip", a=b"1", b=b"2"), "members", ZipLimits(members=1))


def test_member_longer_than_it_says(tmp_path: Path) -> None:
    path = make(tmp_path / "lie.zip", **{"a.txt": b"abcdefgh" * 1000})
    raw = bytearray(path.read_bytes())
    for signature, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = raw.index(signature) + field
        raw[start : start + 4] = (100).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(UntrustedFileError, match="damage"), unpacked(path, EVERYTHING):
        pytest.fail("unpacked")


def test_encrypted(tmp_path: Path) -> None:
    path = make(tmp_path / "locked.zip", a=b"1")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    refused(path, "encrypted")


def test_one_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("A.txt", "2")
    refused(path, "twice")


def test_damage_and_no_zip(tmp_path: Path) -> None:
    path = make(tmp_path / "cut.zip", a=b"1" * 1000)
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, "damage")
    (tmp_path / "no.zip").write_bytes(b"hello")
    with pytest.raises(FormatError):
        members(tmp_path / "no.zip")
    with pytest.raises(FormatError):
        read_st(tmp_path / "no.zip")
