from __future__ import annotations

import warnings

import numpy as np
import pytest
from anndata import AnnData
from scipy.spatial.distance import cdist, pdist
from sklearn.neighbors import kneighbors_graph

from core.errors import ConfigError, DataError
from core.spatial import grid_graph, knn_graph, nearest, neighbour_graph, row_standardised, smallest_distance
from tests.core.pairs import hexagon


def squidpy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import squidpy
    return squidpy


def test_knn_graph_equals_sklearn() -> None:
    xy = np.random.default_rng(0).random((200, 2))
    assert (knn_graph(xy, 7) != kneighbors_graph(xy, 7)).nnz == 0


def test_grid_graph_equals_squidpy() -> None:
    xy = hexagon(9, 11) + np.random.default_rng(0).normal(0, 3, (99, 2))
    xy = np.delete(xy, [0, 17, 18, 50], axis=0)
    adata = AnnData(np.zeros((len(xy), 1), dtype=np.float32), obsm={"spatial": xy})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        squidpy().gr.spatial_neighbors(adata, coord_type="grid", n_neighs=6)
    assert (grid_graph(xy, 6) != adata.obsp["spatial_connectivities"]).nnz == 0


def test_interior_of_a_hexagonal_grid_has_six_neighbours() -> None:
    degree = np.asarray(grid_graph(hexagon(8, 8)).sum(axis=1)).ravel().reshape(8, 8)
    assert (degree[1:-1, 1:-1] == 6).all()
    assert degree[0, 0] < 6


def test_points_at_one_place_are_no_neighbours_of_themselves() -> None:
    graph = knn_graph(np.array([[0.0, 0], [0, 0], [0, 0], [0, 0], [5, 5]]), 2)
    assert graph.diagonal().sum() == 0
    assert (np.asarray(graph.sum(axis=1)) == 2).all()


def test_samples_are_kept_apart() -> None:
    xy, samples = np.concatenate([hexagon(4, 4), hexagon(4, 4)]), np.array(["b", "a"] * 16)
    graph = neighbour_graph(xy, 6, samples=samples).tocoo()
    assert (samples[graph.row] == samples[graph.col]).all()
    alone = grid_graph(xy[samples == "a"])
    assert (neighbour_graph(xy, 6, samples=samples)[samples == "a"][:, samples == "a"] != alone).nnz == 0


def test_rows_of_weights_sum_to_one_or_stay_empty() -> None:
    graph = knn_graph(np.random.default_rng(0).random((5, 2)), 3).tolil()
    graph[2] = 0
    np.testing.assert_allclose(np.asarray(row_standardised(graph.tocsr()).sum(axis=1)).ravel(), [1, 1, 0, 1, 1])


def test_nearest_equals_brute_force_and_breaks_ties_by_number() -> None:
    target, source = np.zeros((1, 2)), np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [3, 0]])
    distances, indices = nearest(target, source, 3)
    assert indices.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(distances, np.sort(cdist(target, source))[:, :3])


def test_smallest_distance_equals_brute_force_and_skips_doubles() -> None:
    xy = np.random.default_rng(1).random((60, 2))
    assert smallest_distance(np.concatenate([xy, xy[:3]])) == pytest.approx(pdist(xy).min())


def test_refusals() -> None:
    with pytest.raises(DataError, match="two different positions"):
        smallest_distance(np.ones((3, 2)))
    with pytest.raises(DataError, match="finite"):
        knn_graph(np.array([[0.0, np.nan], [1, 1]]))
    with pytest.raises(DataError, match="shape"):
        knn_graph(np.zeros((3, 3)))
    with pytest.raises(ConfigError, match="grid, generic"):
        neighbour_graph(hexagon(2, 2), coordinates="delaunay")


def test_one_point_has_no_neighbour() -> None:
    assert knn_graph(np.zeros((1, 2)), 6).nnz == 0
    assert grid_graph(np.zeros((1, 2)), 6).nnz == 0
