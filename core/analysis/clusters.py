"""Clusters (Leiden) and a map in the plane (UMAP) of an embedding; the same slots as scanpy writes."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError
from core.options import check, option

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: Leiden passes over the graph; more change nothing that could be seen
ITERATIONS = 2
#: resolutions between which a wanted number of clusters is sought
RESOLUTIONS = (1e-3, 50.0)
BISECTIONS = 30
#: embeddings with fewer points than this are drawn by their first two axes: UMAP's start needs more
SMALLEST_UMAP = 8


@dataclass(frozen=True)
class ClusterConfig:
    """Settings of :func:`cluster`."""

    n_neighbors: int = option(15, "neighbours of a spot in the embedding", minimum=2, maximum=500, label="Neighbours")
    resolution: float = option(0.3, "Leiden resolution: higher gives more clusters", minimum=1e-3, maximum=50.0)
    n_clusters: int | None = option(
        None, "wanted number of clusters; empty: as the resolution gives", minimum=1, maximum=500, label="Clusters"
    )
    min_dist: float = option(
        0.5, "UMAP: how near points may lie", minimum=0.0, maximum=0.99, advanced=True, label="UMAP minimum distance"
    )
    seed: int = option(0, "seed of Leiden and UMAP", minimum=0, advanced=True)


def cluster(joint: AnnData, config: ClusterConfig | None = None, context: Context | None = None) -> AnnData:
    """Neighbours in ``obsm['X_emb']``, Leiden clusters and UMAP.

    Writes ``obs['leiden']`` (categories '0', '1', … by size), ``obsm['X_umap']`` (n, 2), ``obsp['distances']``,
    ``obsp['connectivities']`` and the uns entries that scanpy's functions look for. Deterministic by the seed.

    Raises
    ------
    DataError
        When there is no embedding, or it has NaN.
    """
    config, context = check(config or ClusterConfig()), context or Context()
    embedding = _embedding(joint)
    joint = joint.copy()
    n_neighbors = min(config.n_neighbors, joint.n_obs)
    context.progress(0.02, "loading UMAP")
    context.stop_if_cancelled()
    distances, connectivities = neighbours(embedding, n_neighbors, config.seed)
    context.stop_if_cancelled()
    context.progress(0.35, "clustering")
    labels, resolution = leiden_for(connectivities, config, context)
    context.stop_if_cancelled()
    context.progress(0.5, "placing the spots on the map", clusters=int(labels.max()) + 1)
    coordinates, ab = umap_layout(embedding, connectivities, min_dist=config.min_dist, seed=config.seed)
    categories = [str(i) for i in range(labels.max() + 1)]
    joint.obs[keys.LEIDEN] = pd.Categorical.from_codes(labels, categories=categories)
    joint.obsm[keys.X_UMAP] = coordinates
    joint.obsp["distances"], joint.obsp["connectivities"] = distances, connectivities
    _write_uns(joint, config, n_neighbors, resolution, ab)
    context.progress(1.0, f"{len(categories)} clusters", clusters=len(categories))
    return joint


def neighbours(embedding: np.ndarray, n_neighbors: int, seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Distances to the nearest points and the fuzzy connectivities of UMAP, both (n, n).

    *n_neighbors* counts the point itself, as in scanpy. McInnes, Healy & Melville, arXiv:1802.03426.
    """
    from scipy.spatial import cKDTree

    n = len(embedding)
    if n < 2:
        empty = sparse.csr_matrix((n, n), dtype=np.float32)
        return empty, empty.copy()
    distances, indices = cKDTree(embedding).query(embedding, k=n_neighbors)
    indices, distances = _itself_first(indices, distances)
    graph = _umap().fuzzy_simplicial_set(
        embedding,
        n_neighbors,
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        knn_indices=indices,
        knn_dists=distances.astype(np.float32),
    )[0]
    others = np.repeat(np.arange(n), n_neighbors - 1)
    found = sparse.csr_matrix((distances[:, 1:].ravel(), (others, indices[:, 1:].ravel())), shape=(n, n))
    return found, sparse.csr_matrix(graph)


def leiden(connectivities: sparse.csr_matrix, resolution: float, seed: int) -> np.ndarray:
    """Leiden communities, shape (n,), numbered by size (largest 0); Traag et al., Sci. Rep. 9, 5233 (2019)."""
    return _communities(_graph(connectivities), resolution, seed)


def leiden_for(connectivities: sparse.csr_matrix, config: ClusterConfig, context: Context) -> tuple[np.ndarray, float]:
    """Labels by the resolution, or by bisection on it for the wanted number of clusters; and the resolution used.

    Where no resolution gives exactly the wanted number, the nearest number met on the way is taken.
    """
    graph = _graph(connectivities)
    if config.n_clusters is None:
        return _communities(graph, config.resolution, config.seed), config.resolution
    low, high = np.log(RESOLUTIONS)
    best: tuple[int, np.ndarray, float] | None = None
    middle = np.log(config.resolution)
    for _ in range(BISECTIONS):
        context.stop_if_cancelled()
        resolution = float(np.exp(middle))
        labels = _communities(graph, resolution, config.seed)
        excess = int(labels.max()) + 1 - config.n_clusters
        if best is None or abs(excess) < best[0]:
            best = (abs(excess), labels, resolution)
        if excess == 0:
            break
        low, high = (low, middle) if excess > 0 else (middle, high)
        middle = (low + high) / 2
    return best[1], best[2]


def umap_layout(
    embedding: np.ndarray, connectivities: sparse.csr_matrix, *, min_dist: float, seed: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Coordinates of shape (n, 2), float32, and the curve parameters a and b."""
    umap = _umap()
    a, b = umap.find_ab_params(1.0, min_dist)
    n = len(embedding)
    if n < SMALLEST_UMAP:
        flat = np.zeros((n, 2), dtype=np.float32)
        flat[:, : min(2, embedding.shape[1])] = embedding[:, :2]
        return flat, (a, b)
    coordinates, _ = umap.simplicial_set_embedding(
        embedding,
        connectivities.tocoo(),
        2,
        1.0,
        a,
        b,
        1.0,
        5,
        None,
        "spectral",
        np.random.RandomState(seed),
        "euclidean",
        {},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return coordinates.astype(np.float32), (a, b)


def _umap():
    """The functions of umap-learn, loaded late (compiling takes seconds) and without its word on TensorFlow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap.umap_ as functions
    return functions


def _embedding(joint: AnnData) -> np.ndarray:
    if keys.X_EMB not in joint.obsm:
        raise DataError("an embedding in obsm['X_emb']", found=f"{sorted(joint.obsm)}", mend="Integrate first.")
    embedding = np.ascontiguousarray(joint.obsm[keys.X_EMB], dtype=np.float32)
    if not np.isfinite(embedding).all() or len(embedding) == 0:
        raise DataError("a finite embedding of at least one spot", found=f"NaN or nothing in {embedding.shape}")
    return embedding


def _itself_first(indices: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring the point itself to the first column, as UMAP expects, also where others share its place."""
    n, k = indices.shape
    indices, distances = indices.reshape(n, k).copy(), distances.reshape(n, k)
    own = np.arange(n)
    for row in np.flatnonzero(indices[:, 0] != own):
        place = np.flatnonzero(indices[row] == row)
        indices[row, place[0] if place.size else -1] = indices[row, 0]
        indices[row, 0] = row
    return indices, distances


def _graph(connectivities: sparse.csr_matrix):
    import igraph

    upper = sparse.triu(connectivities, k=1).tocoo()
    edges = np.column_stack([upper.row, upper.col])
    graph = igraph.Graph(n=connectivities.shape[0], edges=edges)
    graph.es["weight"] = upper.data.astype(np.float64)
    return graph


def _communities(graph, resolution: float, seed: int) -> np.ndarray:
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = graph.community_leiden(
            objective_function="modularity", weights="weight", resolution=resolution, n_iterations=ITERATIONS
        )
    finally:
        igraph.set_random_number_generator(random)
    labels = np.asarray(found.membership)
    # the number of a cluster is its place by size; equal sizes by their first member
    values, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    number = np.empty(len(values), dtype=np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(len(values))
    return number[np.searchsorted(values, labels)]


def _write_uns(
    joint: AnnData, config: ClusterConfig, n_neighbors: int, resolution: float, ab: tuple[float, float]
) -> None:
    parameters = {
        "n_neighbors": n_neighbors,
        "method": "umap",
        "metric": "euclidean",
        "random_state": config.seed,
        "use_rep": keys.X_EMB,
    }
    joint.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": parameters,
    }
    joint.uns["leiden"] = {
        "params": {"resolution": resolution, "random_state": config.seed, "n_iterations": ITERATIONS}
    }
    joint.uns["umap"] = {"params": {"a": float(ab[0]), "b": float(ab[1])}}
