"""An alignment as a JSON file, its large arrays in an .npz beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.io.text import write_bytes, write_text

LARGEST_LIST = 1000  # numbers that are still read by people
ARRAY = "array"  # {"array": NAME} in the JSON stands for the array NAME of the .npz


def arrays_beside(path: str | Path) -> Path:
    """Where the arrays of the alignment at *path* lie."""
    return Path(path).with_suffix(".npz")


def write_alignment(values: Mapping[str, Any], path: str | Path) -> None:
    """Write what ``RegistrationResult.to_dict`` gave to *path* (.json), with its arrays, if it has any, in an .npz."""
    arrays: dict[str, np.ndarray] = {}
    plain = _apart(values, "", arrays)
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(buffer.getvalue(), arrays_beside(path))
    write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", path)


def read_alignment(path: str | Path) -> dict[str, Any]:
    """What :func:`write_alignment` wrote, for ``RegistrationResult.from_dict``.

    Raises
    ------
    DataError
        It is no JSON object, or names arrays that are not beside it.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"an alignment in {path.name}", found=str(error)[:200]) from None
    if not isinstance(values, dict):
        raise DataError(f"an alignment in {path.name}", found=type(values).__name__)
    try:
        with np.load(arrays_beside(path), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        arrays = {}
    except (OSError, ValueError) as error:
        raise DataError(f"arrays in {arrays_beside(path).name}", found=str(error)[:200]) from None
    return _together(values, arrays, arrays_beside(path).name)


def _apart(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _apart(part, f"{name}.{key}" if name else str(key), arrays) for key, part in value.items()}
    if isinstance(value, np.ndarray) and value.size > LARGEST_LIST:
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_apart(part, f"{name}.{i}", arrays) for i, part in enumerate(value)]
    return value


def _together(value: Any, arrays: Mapping[str, np.ndarray], where: str) -> Any:
    if isinstance(value, list):
        return [_together(part, arrays, where) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {ARRAY}:
        if value[ARRAY] not in arrays:
            raise DataError(f"the array {value[ARRAY]!r} in {where} beside the JSON", found="none")
        return arrays[value[ARRAY]]
    return {key: _together(part, arrays, where) for key, part in value.items()}
