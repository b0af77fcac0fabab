"""The atomic writer: a file is there whole, or the one before it is untouched."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import sparse

from core.errors import DataError, SpatialMetaError, StorageError
from core.io.atomic import replacing

#: kept free beyond the size of the file itself
SPARE_BYTES = 16 << 20


def write_h5ad(adata: AnnData, path: str | Path) -> None:
    """Write *adata* to *path* (.h5ad, gzip) so that a failure at any moment leaves the file that was there.

    The file is written under a temporary name in the same folder, fsynced, renamed, and the folder fsynced. *adata* is
    not changed. A full disk can make HDF5 end the whole process, so the space is checked before; should it happen all
    the same, the old file survives.

    Raises
    ------
    DataError
        A key contains '/', which HDF5 would split into folders.
    StorageError
        Not enough space, no permission, or a failure while writing.
    """
    path = Path(path)
    _refuse_slashes(adata)
    _check_space(path, _size(adata))
    try:
        with replacing(path) as temporary:
            _write(adata, temporary)
    except SpatialMetaError:
        raise
    except Exception as error:
        raise StorageError(
            f"to write {path.name}",
            found=f"{type(error).__name__}: {str(error)[:300]}",
            mend="Nothing was changed. Make room or choose another folder, then save again.",
        ) from error


def _write(adata: AnnData, path: Path) -> None:
    # a shell over the same arrays: anndata's writer turns text columns into categories in the object it is given
    shell = AnnData(
        X=adata.X,
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        uns=dict(adata.uns),
        obsm=dict(adata.obsm),
        varm=dict(adata.varm),
        layers=dict(adata.layers),
        obsp=dict(adata.obsp),
        varp=dict(adata.varp),
    )
    if adata.raw is not None:
        shell.raw = adata.raw.to_adata()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to programmers about dtypes; errors still come through
        shell.write_h5ad(path, compression="gzip", compression_opts=1)


def _check_space(path: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise StorageError(f"a folder to write {path.name} into", found=str(error)) from error
    if free < needed + SPARE_BYTES:
        raise StorageError(
            f"{(needed + SPARE_BYTES) / 1e6:,.0f} MB of free space for {path.name}",
            found=f"{free / 1e6:,.0f} MB",
            mend="Nothing was changed. Make room, then save again.",
        )


def _size(adata: AnnData) -> int:
    """Bytes of all arrays, unpacked: an upper bound of the file, headers aside."""
    parts = [
        adata.X,
        *adata.layers.values(),
        *adata.obsm.values(),
        *adata.varm.values(),
        *adata.obsp.values(),
        *adata.varp.values(),
        adata.raw.X if adata.raw is not None else None,
        adata.uns,
        adata.obs,
        adata.var,
    ]
    return sum(_bytes(part) for part in parts)


def _bytes(value: object) -> int:
    if isinstance(value, Mapping):
        return sum(_bytes(v) for v in value.values())
    if sparse.issparse(value):
        value = value.tocsr() if value.format not in ("csr", "csc") else value
        return value.data.nbytes + value.indices.nbytes + value.indptr.nbytes
    if hasattr(value, "memory_usage"):  # DataFrame
        return int(np.sum(value.memory_usage(deep=True)))
    if isinstance(value, str):
        return len(value)
    return int(getattr(value, "nbytes", 0))


def _refuse_slashes(adata: AnnData) -> None:
    places = {
        "obs": adata.obs,
        "var": adata.var,
        "obsm": adata.obsm,
        "varm": adata.varm,
        "layers": adata.layers,
        "obsp": adata.obsp,
        "varp": adata.varp,
    }
    bad = [f"{place}[{key!r}]" for place, part in places.items() for key in part.keys() if "/" in str(key)]  # noqa: SIM118
    bad += [f"uns[{key!r}]" for key in _nested_keys(adata.uns) if "/" in key]
    if bad:
        raise DataError(
            "keys without '/', which HDF5 takes for folders",
            found=", ".join(bad[:5]),
            mend="Rename them and save again.",
        )


def _nested_keys(mapping: Mapping) -> list[str]:
    found = []
    for key, value in mapping.items():
        found.append(str(key))
        if isinstance(value, Mapping):
            found.extend(_nested_keys(value))
    return found
