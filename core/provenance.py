"""The history of an object: one record per step, kept in ``uns['spatialmeta']['history']``.

HDF5 holds no list of dictionaries, so the history is a dictionary of JSON texts with the keys '0000', '0001', … in the
order of the work. It survives ``write_h5ad`` and plain scanpy opens it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

import core
from core import keys

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata and pandas
    import pandas as pd
    from anndata import AnnData

PACKAGES = ("anndata", "numpy", "scipy", "pandas", "torch", "igraph", "umap-learn")


def history(adata: AnnData) -> list[dict[str, Any]]:
    """The records of *adata*, oldest first; empty where there are none."""
    stored = adata.uns.get(keys.UNS, {}).get(keys.HISTORY, {})
    return [json.loads(str(stored[key])) for key in sorted(stored)]


def write_history(adata: AnnData, records: Iterable[dict[str, Any]]) -> None:
    """Replace the history of *adata*, in place; its ``uns['spatialmeta']`` is not shared with other objects then."""
    texts = {f"{i:04d}": json.dumps(record, allow_nan=False) for i, record in enumerate(records)}
    adata.uns[keys.UNS] = {**adata.uns.get(keys.UNS, {}), keys.HISTORY: texts}


def merge_histories(adata: AnnData, sources: Iterable[AnnData]) -> None:
    """Give *adata* the records of all *sources*, each once, in the order in which the steps were started."""
    merged: dict[str, dict[str, Any]] = {}
    for source in sources:
        for record in history(source):
            merged.setdefault(json.dumps(record, sort_keys=True), record)
    # a stable sort: records that say nothing of their start stay where they are, at the front
    write_history(adata, sorted(merged.values(), key=lambda record: record.get("start", "")))


def versions() -> dict[str, str]:
    """Versions of the program, Python, and the packages that numbers depend on; nothing is imported for it."""
    found = {"core": core.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def content_hash(adata: AnnData) -> str:
    """BLAKE2b (128 bit, hex) of the values of *adata*: X, layers, obs, var, obsm and the names.

    ``uns`` is left out: images and histories do not change what a step calculates from the values.
    """
    digest = hashlib.blake2b(digest_size=16)
    _add_array(digest, "X", adata.X)
    for slot in ("layers", "obsm"):
        mapping = getattr(adata, slot)
        for name in sorted(mapping):
            _add_array(digest, f"{slot}/{name}", mapping[name])
    for slot in ("obs", "var"):
        _add_frame(digest, slot, getattr(adata, slot))
    return digest.hexdigest()


def _add_array(digest: hashlib._Hash, name: str, values: Any) -> None:
    if hasattr(values, "columns"):  # a DataFrame, told without importing pandas
        _add_frame(digest, name, values)
        return
    digest.update(f"{name}:{getattr(values, 'shape', None)};".encode())
    if values is None:
        return
    if sparse.issparse(values):
        matrix = values.tocsr()
        parts = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
    else:
        parts = (np.asarray(values),)
    for part in parts:
        part = part.astype(str) if part.dtype.hasobject else part  # noqa: PLW2901
        digest.update(part.dtype.str.encode())
        digest.update(memoryview(np.ascontiguousarray(part)).cast("B") if part.size else b"")


def _add_frame(digest: hashlib._Hash, name: str, frame: pd.DataFrame) -> None:
    from pandas.util import hash_pandas_object

    digest.update(f"{name}:{frame.shape}:{','.join(map(str, frame.columns))};".encode())
    digest.update(hash_pandas_object(frame.index, categorize=True).to_numpy().tobytes())
    for column in frame.columns:
        digest.update(hash_pandas_object(frame[column], index=False, categorize=True).to_numpy().tobytes())
