"""Writing a view: the half of :mod:`spatialmeta_app.workspace.views` that only job children load."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from spatialmeta_app.workspace.views import COUNTS_FIRST, FEATURE_TEXT, MISSING, counts

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

LARGEST_JSON_ARRAY = 200_000  # values of an array in uns that still travel as JSON
MOST_CATEGORIES = 4096
NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")


def write_view(adata: AnnData, directory: Path) -> None:
    """Write all of *adata* that a page may show to *directory*, which must not exist."""
    directory.mkdir(parents=True)
    layers = _layers(adata)
    totals = _totals(adata, layers.get(keys.COUNTS, adata.X))
    meta = counts(adata) | {
        "obs": _write_obs(adata, totals, directory / "obs"),
        "obsm": _write_obsm(adata, directory / "obsm"),
        "layers": list(layers),
        "default_layer": next((name for name in COUNTS_FIRST if name in layers), next(iter(layers), None)),
        "columns": _write_features(adata, layers.get(keys.COUNTS, adata.X), directory / "features.npz"),
        "pictures": sum("images" in entry for entry in adata.uns.get(keys.UNS_SPATIAL, {}).values()),
    }
    np.save(directory / "names.npy", adata.obs_names.to_numpy(dtype=str))
    for name, values in layers.items():
        _write_layer(values, directory / "layers" / name)
    meta |= _scale(adata) | {"spatialmeta": _notes(adata)}
    (directory / "meta.json").write_text(json.dumps(meta, allow_nan=False), encoding="utf-8")


def _layers(adata: AnnData) -> dict[str, Any]:
    """Layers by name; X is 'counts' where no layer is called so."""
    layers = {name: values for name, values in adata.layers.items() if NAME.fullmatch(name)}
    if keys.COUNTS not in layers and adata.X is not None:
        layers = {keys.COUNTS: adata.X, **layers}
    return layers


def _write_layer(values: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    if hasattr(values, "tocsc"):
        columns = values.tocsc()
        if not columns.has_canonical_format:
            columns = columns.copy()
            columns.sum_duplicates()
        np.save(folder / "indptr.npy", columns.indptr.astype(np.int64))
        np.save(folder / "indices.npy", columns.indices.astype(np.int32))
        np.save(folder / "data.npy", columns.data.astype(np.float32))
    else:
        np.save(folder / "dense.npy", np.ascontiguousarray(np.asarray(values, dtype=np.float32).T))


def _totals(adata: AnnData, values: Any) -> dict[str, np.ndarray]:
    """Sum of the counts per spot: ``total_st``, ``total_sm``, as far as the object has the modality."""
    if values is None or keys.TYPE not in adata.var:
        return {}
    types = adata.var[keys.TYPE].astype(str).to_numpy()
    found = {}
    for modality in (keys.ST, keys.SM):
        mask = (types == modality).astype(np.float64)
        if mask.any():
            found[f"total_{modality.lower()}"] = np.asarray(values @ mask, dtype=np.float32).ravel()
    return found


def _write_obs(adata: AnnData, totals: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    folder.mkdir()
    described: dict[str, Any] = {}
    columns = {str(name): adata.obs[name] for name in adata.obs.columns}
    for name, column in (columns | totals).items():
        values, about = _column(column, adata.uns.get(f"{name}_colors"))
        if values is not None:
            np.save(folder / f"{len(described)}.npy", values)
            described[name] = about | {"number": len(described)}
    return described


def _column(column: Any, colors: Any) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Values and description; None for what can not be coloured by (more categories than a legend could hold)."""
    import pandas as pd

    if isinstance(column, np.ndarray) or (
        pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    ):
        values = column if isinstance(column, np.ndarray) else column.to_numpy(dtype=np.float32, na_value=np.nan)
        finite = values[np.isfinite(values)]
        span = {"min": float(finite.min()), "max": float(finite.max())} if finite.size else {"min": None, "max": None}
        return np.ascontiguousarray(values, dtype=np.float32), {"kind": "numeric"} | span
    category = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("string").astype("category")
    names = [str(value) for value in category.cat.categories]
    if len(names) > MOST_CATEGORIES:
        return None, {}
    codes = category.cat.codes.to_numpy(dtype=np.int64)
    about: dict[str, Any] = {"kind": "categorical", "categories": names}
    if colors is not None and len(colors) >= len(names):
        about["colors"] = [str(color) for color in list(colors)[: len(names)]]
    return np.where(codes < 0, MISSING, codes).astype(np.uint16), about


def _write_obsm(adata: AnnData, folder: Path) -> dict[str, int]:
    folder.mkdir()
    described = {}
    for name, values in adata.obsm.items():
        if not NAME.fullmatch(name):
            continue
        # several samples lie side by side on a page, whatever pixels each of them has
        shown = adata.obsm.get(keys.SPATIAL_LAYOUT, values) if name == keys.SPATIAL else values
        array = shown.toarray() if hasattr(shown, "toarray") else np.asarray(shown)
        if array.ndim == 2 and array.dtype.kind in "fiub":
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array, dtype=np.float32))
            described[name] = int(array.shape[1])
    return described


def _write_features(adata: AnnData, values: Any, path: Path) -> list[str]:
    table: dict[str, np.ndarray] = {"name": adata.var_names.to_numpy(dtype=str)}
    for name in adata.var.columns:
        array = _feature_column(adata.var[name], text=name in FEATURE_TEXT)
        if array is not None and NAME.fullmatch(str(name)) and name not in table:
            table[str(name)] = array
    if values is not None and adata.n_obs:
        table.setdefault("mean", np.asarray(values.mean(axis=0), dtype=np.float32).ravel())
    np.savez(path, **table)
    return list(table)


def _feature_column(column: pd.Series, *, text: bool) -> np.ndarray | None:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=bool, na_value=False)
    if pd.api.types.is_numeric_dtype(column) and not text:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=str)


def _scale(adata: AnnData) -> dict[str, Any]:
    ours = adata.uns.get(keys.UNS, {})
    factors = [entry.get("scalefactors", {}) for entry in adata.uns.get(keys.UNS_SPATIAL, {}).values()]
    diameter = next((float(f["spot_diameter_fullres"]) for f in factors if "spot_diameter_fullres" in f), None)
    um = ours.get(keys.UM_PER_PX)
    source = ours.get(keys.UM_PER_PX_SOURCE)
    return {
        "um_per_px": None if um is None else float(um),
        "um_per_px_source": None if source is None else str(source),
        "spot_diameter_px": diameter,
    }


def _notes(adata: AnnData) -> dict[str, Any]:
    from core.provenance import history

    ours = {k: v for k, v in adata.uns.get(keys.UNS, {}).items() if k != keys.HISTORY}
    return as_json(ours) | {keys.HISTORY: history(adata)}


def as_json(value: Any) -> Any:
    """*value* of an uns as JSON: arrays as lists (large ones None), texts that hold JSON read, NaN None."""
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a table
        return {str(name): as_json(value[name].to_numpy()) for name in value.columns}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist()) if value.size <= LARGEST_JSON_ARRAY else None
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, str) and value[:1] in "{[":
        return _parsed(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _parsed(text: str) -> Any:
    try:
        return as_json(json.loads(text)) if text else text
    except ValueError:
        return text
