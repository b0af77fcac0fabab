"""Zip archives of strangers: looked through before a byte is unpacked, and unpacked into a folder of their own."""

from __future__ import annotations

import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.errors import FormatError, StorageError, UntrustedFileError

MIB = 1 << 20
GIB = 1 << 30
BLOCK = MIB


@dataclass(frozen=True)
class ZipLimits:
    """What an archive may unpack to. Space Ranger folders of a section are below 10 GiB, packed 1 to 20 times."""

    total_bytes: int = 64 * GIB
    #: unpacked bytes per packed byte, for members above *small_bytes*
    ratio: int = 200
    small_bytes: int = 16 * MIB
    members: int = 20_000


def is_zip(path: Path) -> bool:
    """Whether *path* is a file that begins as a zip archive does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def members(path: Path, limits: ZipLimits = ZipLimits()) -> list[str]:
    """Names of the files in the archive, after all checks.

    Raises
    ------
    FormatError
        Not a zip archive.
    UntrustedFileError
        A path that leaves the folder, a link or device, an encrypted member, a name twice, or sizes beyond *limits*.
    """
    return [info.filename for info in _checked(path, limits)]


@contextmanager
def unpacked(path: Path, wanted: Callable[[str], bool], limits: ZipLimits = ZipLimits()) -> Iterator[Path]:
    """A temporary folder with the members whose name is *wanted*; it is removed at the end."""
    chosen = [info for info in _checked(path, limits) if wanted(info.filename)]
    with tempfile.TemporaryDirectory(prefix="spatialmeta-zip-") as name:
        folder = Path(name)
        needed = sum(info.file_size for info in chosen)
        if shutil.disk_usage(folder).free < needed + 64 * MIB:
            raise StorageError(
                f"{needed / 1e6:,.0f} MB of free space to unpack {path.name}",
                found="less",
                mend=f"Make room in {folder.parent} or set TMPDIR.",
            )
        try:
            with zipfile.ZipFile(path) as archive:
                for info in chosen:
                    _unpack(archive, info, folder)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as error:
            raise _damaged(path, error) from error
        yield folder


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(info.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size  # what the checks have seen; a member that goes on beyond it lies
    with archive.open(info) as packed, target.open("xb") as file:
        while block := packed.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{info.filename} is longer than it says")
            file.write(block)


def _checked(path: Path, limits: ZipLimits) -> list[zipfile.ZipInfo]:
    if not is_zip(path):
        raise FormatError("a zip archive", found=f"{path.name}, which is something else")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, UnicodeError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if len(infos) > limits.members:
        raise _refusal(path, f"at most {limits.members:,} members", f"{len(infos):,}")
    for info in infos:
        _check_member(path, info, limits)
    files = [info for info in infos if not info.is_dir() and not _is_finders(info.filename)]
    names = [info.filename.casefold() for info in files]
    if len(set(names)) < len(names):
        raise _refusal(path, "every name once", "a name twice")
    total = sum(info.file_size for info in files)
    if total > limits.total_bytes:
        raise _refusal(path, f"at most {limits.total_bytes / 1e9:,.0f} GB unpacked", f"{total / 1e9:,.0f} GB")
    return files


def _is_finders(name: str) -> bool:
    """What macOS puts beside every file of an archive: it has the file's ending and nothing of its content."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _check_member(path: Path, info: zipfile.ZipInfo, limits: ZipLimits) -> None:
    name = info.filename
    parts = PurePosixPath(name).parts
    shown = ascii(name[:80])
    # orig_filename: ZipInfo cuts a name at its first NUL, which can hide what the archive really says
    if (
        name.startswith("/")
        or "\\" in name
        or ".." in parts
        or "\0" in info.orig_filename
        or not parts
        or (len(name) > 1 and name[1] == ":")
    ):
        raise _refusal(path, "paths that stay inside the folder", shown)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refusal(path, "plain files and folders only", f"a link or device, {shown},")
    if info.flag_bits & 0x1:
        raise _refusal(path, "members without a password", f"the encrypted {shown}")
    if info.file_size > limits.small_bytes and info.file_size > limits.ratio * info.compress_size:
        raise _refusal(
            path,
            f"members packed at most {limits.ratio} times",
            f"{shown}, {info.file_size:,} bytes in {info.compress_size:,},",
        )


def _refusal(path: Path, expected: str, found: str) -> UntrustedFileError:
    return UntrustedFileError(
        f"a zip archive with {expected}",
        found=f"{found} in {path.name}",
        mend="Pack the folder again with an ordinary zip program.",
    )


def _damaged(path: Path, error: Exception) -> UntrustedFileError:
    return UntrustedFileError(
        "a whole zip archive", found=f"damage in {path.name} ({str(error)[:200]})", mend="Pack or upload it again."
    )
