"""Hostile archives are refused before anything is written."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from core.errors import FormatError, UntrustedFileError
from core.io import read_st
from core.io.archives import Limits, members, unpacked

DEFAULT = Limits()
EVERYTHING = lambda name: True  # noqa: E731


def make(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, word: str, limits: Limits = DEFAULT) -> None:
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


def tar(path: Path, *infos: tarfile.TarInfo, format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def entry(name: str, *, size: int = 1, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def test_a_tar_is_unpacked_as_tarfile_does(tmp_path: Path) -> None:
    long = "top/" + "a" * 150 + ".txt"  # a name that takes an entry of its own
    path = tar(tmp_path / "a.tar", entry("top", size=0, kind=tarfile.DIRTYPE), entry(long, size=700), entry("./b.bin"))
    assert members(path) == [long, "b.bin"]
    with unpacked(path, lambda name: name.endswith(".txt")) as folder, tarfile.open(path) as theirs:
        assert (folder / long).read_bytes() == theirs.extractfile(long).read()
        assert not (folder / "b.bin").exists()


@pytest.mark.parametrize(
    ("hostile", "word"),
    [
        (entry("../evil.h5"), "inside the folder"),
        (entry("/etc/evil.h5"), "inside the folder"),
        (entry("spatial", size=0, kind=tarfile.SYMTYPE, target="/etc"), "link or device"),
        (entry("spatial", size=0, kind=tarfile.LNKTYPE, target="a"), "link or device"),
        (entry("spatial", size=0, kind=tarfile.CHRTYPE), "link or device"),
        (entry("A"), "twice"),
        (entry("b" * (2 << 20)), "damage"),  # a name of 2 MiB
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value.name[:9]),
)
def test_hostile_tars(tmp_path: Path, hostile: tarfile.TarInfo, word: str) -> None:
    refused(tar(tmp_path / "bad.tar", entry("a"), hostile), word)


def test_a_tar_that_was_cut(tmp_path: Path) -> None:
    path = tar(tmp_path / "cut.tar", entry("a", size=5000), entry("b", size=5000))
    path.write_bytes(path.read_bytes()[:6000])
    refused(path, "damage")


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
    refused(make(tmp_path / "bomb.zip", a=b"1" * 600, b=b"2" * 600), "unpacked", Limits(total_bytes=1000))


def test_too_many_members(tmp_path: Path) -> None:
    refused(make(tmp_path / "many.zip", a=b"1", b=b"2"), "members", Limits(members=1))


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
