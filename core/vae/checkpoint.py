"""Torch files that are either whole or not there, and hold nothing but tensors and plain values."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from core.errors import FormatError, StorageError


def write(path: Path, content: Any) -> None:
    """Write beside *path*, flush to disk, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"to write {path.name}", found=str(error), mend="Free some space and start again."
        ) from error


def read(path: Path) -> Any:
    """Load without running code from the file (``weights_only``)."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FormatError(f"{path.name} to be a model saved by this program", found=str(error)[:200]) from error
