"""A result as typed arrays for the browser: written once by a job's child
(:mod:`spatialmeta_app.workspace.viewing`), read with memory maps by the web.

Reading needs numpy alone (no h5py, anndata, pandas), holds no file open beyond its map, and touches only the bytes of
what is asked: one feature is one slice.

On disk::

    meta.json                          sizes, units, names; see View.meta
    names.npy                          names of the spots
    obsm/<name>.npy                    float32 (n_obs, k), row by row
    obs/<number>.npy                   float32, or uint16 codes (65535: missing)
    layers/<name>/dense.npy            float32 (n_vars, n_obs): one feature is one row
    layers/<name>/{indptr,indices,data}.npy   or the columns of a sparse matrix
    features.npz                       one array per column of the feature table
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from spatialmeta_app.workspace.errors import NotFoundError
from spatialmeta_app.workspace.search import lowered, search

if TYPE_CHECKING:
    from anndata import AnnData

MISSING = 65535  # code of a spot without a category
COUNTS_FIRST = (keys.NORMALIZED, keys.COUNTS, keys.RECONSTRUCTION)
FEATURE_TEXT = (keys.SYMBOL, keys.GENE_IDS, keys.ANNOTATION, keys.ADDUCT, keys.POLARITY)


def counts(adata: AnnData) -> dict[str, Any]:
    """``n_obs, n_vars, features`` (per modality): what a list of results shows."""
    types = adata.var[keys.TYPE].astype(str) if keys.TYPE in adata.var else None
    features = {} if types is None else {name: int(number) for name, number in types.value_counts().items()}
    return {"n_obs": int(adata.n_obs), "n_vars": int(adata.n_vars), "features": features}


@dataclass(frozen=True)
class Column:
    """A column of obs: ``values`` (n_obs,) float32, or uint16 codes of ``categories`` (65535: missing)."""

    values: np.ndarray
    categories: tuple[str, ...] | None = None
    colors: tuple[str, ...] | None = None  # '#rrggbb' per category, where the data has them


class View:
    """Reader of a view directory. Cheap to make; immutable, as the result is.

    Unknown names raise :class:`~spatialmeta_app.workspace.errors.NotFoundError` that lists those that exist.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What is here, as JSON.

        ``n_obs, n_vars, features`` (number per modality), ``um_per_px, um_per_px_source, spot_diameter_px``,
        ``layers`` (names), ``default_layer``, ``obs`` (``{name: {kind: numeric, min, max}}`` or ``{kind: categorical,
        categories, colors}``), ``obsm`` (``{name: columns}``), ``image`` (place in full-res px, or None), ``columns``
        (of the feature table), and ``spatialmeta``: ``uns['spatialmeta']`` (alignment, reassignment, training …; the
        history as a list of records)."""
        try:
            return json.loads((self.directory / "meta.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFoundError("the view of a result", found="none", mend="Run the step again.") from None

    @property
    def names(self) -> np.ndarray:
        """Names of the spots, text (n_obs,), memory-mapped."""
        return self._load("names.npy")

    def obsm(self, name: str) -> np.ndarray:
        """Coordinates or an embedding, float32 (n_obs, k), memory-mapped."""
        return self._load(f"obsm/{self._known(name, self.meta['obsm'], 'obsm')}.npy")

    def obs(self, name: str) -> Column:
        """A column of obs; totals per spot are ``total_st``, ``total_sm``."""
        column = self.meta["obs"][self._known(name, self.meta["obs"], "obs")]
        values = self._load(f"obs/{column['number']}.npy")
        if column["kind"] == "numeric":
            return Column(values)
        colors = column.get("colors")
        return Column(values, tuple(column["categories"]), tuple(colors) if colors else None)

    def feature(self, index: int, layer: str | None = None) -> np.ndarray:
        """Values of one feature in every spot, float32 (n_obs,); *layer* None is ``meta['default_layer']``.

        NaN in spots that the reassignment kept without values of its modality (:meth:`sources`).
        """
        layer = layer or self.meta["default_layer"]
        values, types = self._stored(index, layer), self.features.get(keys.TYPE)
        source = None if types is None else self.sources(layer).get(keys.N_SOURCES.get(str(types[index])))
        return values if source is None or source.all() else np.where(source == 0, np.float32(np.nan), values)

    def sources(self, layer: str | None = None) -> dict[str, np.ndarray]:
        """:func:`core.quality.sources_of` of *layer*, each (n_obs,)."""
        predicted = (layer or self.meta["default_layer"]) == keys.RECONSTRUCTION  # that has values everywhere
        names = () if predicted else keys.N_SOURCES.values()
        return {name: self.obs(name).values for name in names if name in self.meta["obs"]}

    def _stored(self, index: int, layer: str) -> np.ndarray:
        folder = f"layers/{self._known(layer, self.meta['layers'], 'layer')}"
        if not 0 <= index < self.meta["n_vars"]:
            raise NotFoundError(f"a feature from 0 to {self.meta['n_vars'] - 1}", found=str(index))
        if (self.directory / folder / "dense.npy").exists():
            return self._load(f"{folder}/dense.npy")[index]
        start, end = self._load(f"{folder}/indptr.npy")[index : index + 2]
        values = np.zeros(self.meta["n_obs"], dtype=np.float32)
        values[self._load(f"{folder}/indices.npy")[start:end]] = self._load(f"{folder}/data.npy")[start:end]
        return values

    def matrix(self, layer: str | None = None) -> Any:
        """All features of a layer as one sparse matrix (n_obs, n_vars), by column; the arrays stay memory-mapped."""
        from scipy import sparse

        layer = layer or self.meta["default_layer"]
        folder = f"layers/{self._known(layer, self.meta['layers'], 'layer')}"
        if (self.directory / folder / "dense.npy").exists():
            return sparse.csr_matrix(self._load(f"{folder}/dense.npy")).T
        data, indices, indptr = (self._load(f"{folder}/{name}.npy") for name in ("data", "indices", "indptr"))
        return sparse.csc_matrix((data, indices, indptr), shape=(self.meta["n_obs"], self.meta["n_vars"]))

    @property
    def features(self) -> dict[str, np.ndarray]:
        """The feature table, one array (n_vars,) per column: ``name, type, symbol, mz, annotation, selected,
        morans_i, mean …`` as far as the data has them; texts are '' and numbers NaN where missing."""
        return _features(self.directory / "features.npz")[0]

    def index_of(self, name: str) -> int:
        """Index of the feature called *name*."""
        found = np.flatnonzero(self.features["name"] == name)
        if found.size == 0:
            raise NotFoundError("a feature of this result", found=name, mend="Search for another.")
        return int(found[0])

    def search(self, query: str, limit: int = 20, *, kind: str | None = None) -> list[dict[str, Any]]:
        """The features that fit *query* by name, symbol, annotation or m/z, best first; *kind* 'ST' or 'SM' only.

        Each is ``{index, name, type, symbol, mz, annotation}`` without what is missing.
        """
        features, texts = _features(self.directory / "features.npz")
        return search(features, texts, query, limit, kind=kind)

    def _known(self, name: str, known: Any, noun: str) -> str:
        if name not in known:  # also what keeps a hostile name from becoming a path
            raise NotFoundError(f"an {noun} of this result", found=repr(name), mend=f"There are: {', '.join(known)}.")
        return name

    def _load(self, name: str) -> np.ndarray:
        return np.load(self.directory / name, mmap_mode="r", allow_pickle=False)


@lru_cache(maxsize=8)  # 40,000 features take about 20 MB; a result never changes
def _features(path: Path) -> tuple[dict[str, np.ndarray], list[list[str]]]:
    try:
        with np.load(path, allow_pickle=False) as table:
            features = {name: table[name] for name in table.files}
    except FileNotFoundError:
        raise NotFoundError("the view of a result", found="none", mend="Run the step again.") from None
    return features, lowered(features)
