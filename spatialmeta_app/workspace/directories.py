"""Directories and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import StorageError
from core.io.atomic import sync
from spatialmeta_app.workspace.errors import refused

PIECE = 1 << 20


def write_directory(final: Path, writer: Callable[[Path], Any]) -> Any:
    """Let *writer* fill a temporary directory, sync it, and rename it to *final*; returns what *writer* returned.

    A process killed on the way leaves only a ``.new-…`` directory, which nobody reads and :func:`sweep` removes.

    Raises
    ------
    StorageError
        The disk is full or not writable, or a runner that started meanwhile swept the temporary directory away; *final*
        does not exist then.
    """
    temporary = final.with_name(f".new-{final.name}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)  # of an earlier attempt with the same id
        temporary.mkdir()
        answer = writer(temporary)
        sync_tree(temporary)
        temporary.rename(final)
        sync(final.parent)
    except BaseException as error:
        gone = final.parent.exists() and not temporary.exists() and not final.exists()
        shutil.rmtree(temporary, ignore_errors=True)
        if gone and isinstance(error, (OSError, StorageError)):
            raise StorageError(
                "to keep what is being written until it is whole",
                found="that a runner which has just started cleared it away",
                mend="Nothing was changed. Try again.",
            ) from error
        if isinstance(error, OSError):
            raise refused("to write a result", error) from error
        raise
    return answer


def write_file(path: Path, data: bytes) -> None:
    """Replace *path* at once: a reader sees the old bytes or the new, never a part."""
    temporary = path.with_name(f".new-{path.name}-{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(data)
    temporary.replace(path)


def sync_tree(directory: Path) -> None:
    """fsync every file and folder below *directory*."""
    for folder, _, files in os.walk(directory):
        for name in files:
            sync(Path(folder) / name)
        sync(Path(folder))


def link_tree(source: Path, target: Path) -> None:
    """Copy a directory of files that never change: hard links where the disk has them, copies elsewhere."""

    def link(a: str, b: str) -> None:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)

    shutil.copytree(source, target, copy_function=link)


def tree_bytes(directory: Path) -> int:
    """Bytes of all files below *directory*."""
    return sum((Path(f) / n).lstat().st_size for f, _, names in os.walk(directory) for n in names)


def sha256(path: Path) -> str:
    """Hash of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
