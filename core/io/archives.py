"""Archives of strangers (zip, tar): looked through before a byte is unpacked, and unpacked to folders of their own."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
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
MAX_GUNZIPPED = 16 * GIB
#: what the libraries raise at archives that are not whole
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
)


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to. Space Ranger folders of a section are below 10 GiB, packed 1 to 20 times."""

    total_bytes: int = 64 * GIB
    #: unpacked bytes per packed byte, for members above *small_bytes*
    ratio: int = 200
    small_bytes: int = 16 * MIB
    members: int = 20_000


@dataclass(frozen=True)
class _Member:
    """What an archive says of one of its files or folders."""

    info: zipfile.ZipInfo | tarfile.TarInfo
    name: str
    size: int
    packed: int  # its bytes in the archive
    folder: bool
    ordinary: bool  # a plain file or folder
    locked: bool = False


def is_archive(path: Path) -> bool:
    """Whether *path* is a file that begins as a zip or tar archive does. One in gzip is not: see :func:`ungzipped`."""
    return path.is_file() and (_is_zip(path) or _is_tar(path))


def _is_zip(path: Path) -> bool:
    return _begins(path, 0, b"PK\x03\x04", b"PK\x05\x06")


def _is_tar(path: Path) -> bool:
    return _begins(path, 257, b"ustar")


def _begins(path: Path, at: int, *signs: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(signs[0])) in signs


def members(path: Path, limits: Limits = Limits()) -> list[str]:
    """Names of the files in the archive, after all checks.

    Raises
    ------
    FormatError
        Neither zip nor tar.
    UntrustedFileError
        A path that leaves the folder, a link or device, an encrypted member, a name twice, or sizes beyond *limits*.
    """
    return [member.name for member in _checked(path, limits)]


@contextmanager
def unpacked(path: Path, wanted: Callable[[str], bool], limits: Limits = Limits()) -> Iterator[Path]:
    """A temporary folder with the members whose name is *wanted*; it is removed at the end."""
    chosen = [member for member in _checked(path, limits) if wanted(member.name)]
    with tempfile.TemporaryDirectory(prefix="spatialmeta-archive-") as name:
        folder = Path(name)
        needed = sum(member.size for member in chosen)
        if shutil.disk_usage(folder).free < needed + 64 * MIB:
            raise _no_room(path, folder, needed)
        try:
            with zipfile.ZipFile(path) if _is_zip(path) else _opened_tar(path) as archive:
                for member in chosen:
                    _unpack(archive, member, folder)
        except DAMAGE as error:
            raise _damaged(path, error) from error
        yield folder


@contextmanager
def ungzipped(path: Path) -> Iterator[Path]:
    """*path* itself or, for "name.gz" and "name.tgz", a temporary "name" and "name.tar" with what it packs.

    Raises
    ------
    UntrustedFileError
        Damage, or more than 16 GiB or 200 times its size unpacked.
    """
    ending = path.suffix.lower()
    if ending not in (".gz", ".tgz") or not path.is_file() or not _begins(path, 0, b"\x1f\x8b"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="spatialmeta-gzip-") as folder:
        yield _gunzip(path, Path(folder) / f"{path.stem}{'.tar' if ending == '.tgz' else ''}")


def _gunzip(packed: Path, target: Path) -> Path:
    """Unpack a gzip file (up to 16 GiB and 200 times its size) to *target*, and return that."""
    most, size = min(MAX_GUNZIPPED, max(16 * MIB, 200 * packed.stat().st_size)), 0
    try:
        with gzip.open(packed) as source, target.open("xb") as file:
            while block := source.read(BLOCK):
                size += len(block)
                if size > most:
                    raise UntrustedFileError(
                        "a gzip file of ordinary packing",
                        found=f"{packed.name} that unpacks to more than {most:,} bytes",
                    )
                file.write(block)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise _no_room(packed, target.parent, size) from error
        raise UntrustedFileError("a whole gzip file", found=f"damage in {packed.name} ({error})") from error
    return target


def _no_room(path: Path, folder: Path, needed: int) -> StorageError:
    return StorageError(
        f"{needed / 1e6:,.0f} MB of free space to unpack {path.name}",
        found="less",
        mend=f"Make room in {folder.parent} or set TMPDIR.",
    )


def _unpack(archive: zipfile.ZipFile | tarfile.TarFile, member: _Member, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(member.name).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size  # what the checks have seen; a member that goes on beyond it lies
    opened = archive.open if isinstance(archive, zipfile.ZipFile) else archive.extractfile
    with opened(member.info) as packed, target.open("xb") as file:
        while block := packed.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.name} is longer than it says")
            file.write(block)


class _TarInfo(tarfile.TarInfo):
    """Refuses what tarfile would read into memory at any length: names, and what else stands before a file."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and self.size > MIB:
            raise tarfile.ReadError("a name of more than 1 MiB")
        return super()._proc_member(tar)


def _opened_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "r:", tarinfo=_TarInfo)


def _listed(path: Path) -> list[_Member]:
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            return [_of_zip(info) for info in archive.infolist()]
    with _opened_tar(path) as archive:
        found = [_of_tar(info) for info in archive]
        if path.stat().st_size < archive.offset + tarfile.BLOCKSIZE:  # which tarfile takes for the end
            raise tarfile.ReadError("it ends in the middle")
        return found


def _of_zip(info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return _Member(
        info,
        # ZipInfo cuts a name at its first NUL, which can hide what the archive really says
        info.orig_filename if "\0" in info.orig_filename else info.filename,
        info.file_size,
        info.compress_size,
        info.is_dir(),
        ordinary=kind in (0, stat.S_IFREG, stat.S_IFDIR),
        locked=bool(info.flag_bits & 0x1),
    )


def _of_tar(info: tarfile.TarInfo) -> _Member:
    ordinary = info.isdir() or (info.isreg() and not info.issparse())
    return _Member(info, info.name.removeprefix("./"), info.size, info.size, info.isdir(), ordinary=ordinary)


def _checked(path: Path, limits: Limits) -> list[_Member]:
    if not is_archive(path):
        raise FormatError("a zip or tar archive", found=f"{path.name}, which is something else")
    try:
        found = _listed(path)
    except (*DAMAGE, ValueError, UnicodeError) as error:
        raise _damaged(path, error) from error
    if len(found) > limits.members:
        raise _refusal(path, f"at most {limits.members:,} members", f"{len(found):,}")
    for member in found:
        _check_member(path, member, limits)
    files = [member for member in found if not member.folder and not _is_finders(member.name)]
    names = [member.name.casefold() for member in files]
    if len(set(names)) < len(names):
        raise _refusal(path, "every name once", "a name twice")
    total = sum(member.size for member in files)
    if total > limits.total_bytes:
        raise _refusal(path, f"at most {limits.total_bytes / 1e9:,.0f} GB unpacked", f"{total / 1e9:,.0f} GB")
    return files


def _is_finders(name: str) -> bool:
    """What macOS puts beside every file of an archive: it has the file's ending and nothing of its content."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _check_member(path: Path, member: _Member, limits: Limits) -> None:
    name = member.name
    parts = PurePosixPath(name).parts
    shown = ascii(name[:80])
    leaves = name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":")
    if leaves or "\\" in name or "\0" in name or not (parts or member.folder):
        raise _refusal(path, "paths that stay inside the folder", shown)
    if not member.ordinary:
        raise _refusal(path, "plain files and folders only", f"a link or device, {shown},")
    if member.locked:
        raise _refusal(path, "members without a password", f"the encrypted {shown}")
    if member.size > limits.small_bytes and member.size > limits.ratio * member.packed:
        raise _refusal(
            path,
            f"members packed at most {limits.ratio} times",
            f"{shown}, {member.size:,} bytes in {member.packed:,},",
        )


def _refusal(path: Path, expected: str, found: str) -> UntrustedFileError:
    return UntrustedFileError(
        f"an archive with {expected}",
        found=f"{found} in {path.name}",
        mend="Pack the folder again with an ordinary zip program.",
    )


def _damaged(path: Path, error: Exception) -> UntrustedFileError:
    return UntrustedFileError(
        "a whole archive", found=f"damage in {path.name} ({str(error)[:200]})", mend="Pack or upload it again."
    )
