"""Small text files (JSON, CSV), written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from core.errors import StorageError


def write_text(text: str, path: str | Path) -> None:
    """Write *text* (UTF-8) under a temporary name, fsync, rename; on failure what was there before stays.

    Raises
    ------
    StorageError
        When the folder does not exist or can not be written, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0o077)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"to write {path}", found=str(error), mend="What was there before is untouched.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
