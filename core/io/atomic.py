"""A file that is there whole, or the one before it is untouched."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENDING = ".tmp"
#: a temporary file that nobody wrote to for so long was left by a process that was killed
LEFT_S = 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside *path* to write to; it takes the place of *path* when the block ends well.

    It is synced, renamed, and the folder synced. What killed processes left of earlier attempts at *path* is removed.
    """
    _remove_left(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=ENDING)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """fsync of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_left(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{ENDING}"):
        with contextlib.suppress(OSError):  # another process may remove it too
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
