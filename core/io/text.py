"""Small files (JSON, CSV, npz): texts read up to a size; written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from core.errors import FormatError, StorageError
from core.io.atomic import replacing

MAX_BYTES = 4 << 20


def read_text(path: str | Path, what: str) -> str:
    """The text (UTF-8) in *path*, which is to be *what*, e.g. 'a landmark CSV'.

    Raises
    ------
    FormatError
        It is not there, larger than 4 MiB, or no text.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FormatError(f"{what} of at most {MAX_BYTES >> 20} MiB", found=f"{size >> 20} MiB in {path.name}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{what} in {path}", found=type(error).__name__) from None


def write_text(text: str, path: str | Path) -> None:
    """:func:`write_bytes` of *text* as UTF-8."""
    write_bytes(text.encode("utf-8"), path)


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write *content* under a temporary name, fsync, rename; on failure what was there before stays.

    Raises
    ------
    StorageError
        When the folder does not exist or can not be written, or the disk is full.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise StorageError(f"to write {path}", found=str(error), mend="What was there before is untouched.") from error
