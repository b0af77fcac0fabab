from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely.geometry import Polygon, mapping

from core.analysis.regions import assign_regions, class_colors, groups_of, points_in_geometry, points_in_polygon
from core.errors import DataError

SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
HOLE = np.array([[1.0, 1], [3, 1], [3, 3], [1, 3]])


def off_the_edge(xy: np.ndarray, geometry: shapely.Geometry) -> np.ndarray:
    """Points whose side does not hang on rounding."""
    return shapely.distance(shapely.boundary(geometry), shapely.points(xy)) > 1e-9


@settings(deadline=None, max_examples=150)
@given(
    ring=hnp.arrays(np.float64, (7, 2), elements=st.floats(-10, 10).map(lambda v: round(v, 3))),
    seed=st.integers(0, 1000),
)
def test_simple_polygons_equal_shapely(ring: np.ndarray, seed: int) -> None:
    around = ring - ring.mean(axis=0)
    ring = ring[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
    polygon = Polygon(ring)
    assume(polygon.is_valid and polygon.area > 1e-6)
    xy = np.random.default_rng(seed).uniform(-11, 11, (200, 2))
    xy = np.concatenate([xy, ring, (ring + np.roll(ring, 1, axis=0)) / 2])
    sure = off_the_edge(xy, polygon)
    np.testing.assert_array_equal(
        points_in_polygon(xy, [ring])[sure], shapely.contains_xy(polygon, xy[:, 0], xy[:, 1])[sure]
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_multipolygons_with_holes_equal_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = [shapely.Point(*rng.uniform(0, 10, 2)).buffer(rng.uniform(0.5, 3)) for _ in range(4)]
    geometry = shapely.union_all(blobs[:3]).difference(blobs[3])
    assume(not geometry.is_empty)
    xy = rng.uniform(-3, 13, (500, 2))
    sure = off_the_edge(xy, geometry)
    found = points_in_geometry(xy, mapping(geometry))
    np.testing.assert_array_equal(found[sure], shapely.contains_xy(geometry, xy[:, 0], xy[:, 1])[sure])


def test_hole_and_closing_point() -> None:
    xy = np.array([[0.5, 0.5], [2, 2], [3.5, 2], [5, 2]])
    assert points_in_polygon(xy, [SQUARE, HOLE]).tolist() == [True, False, True, False]
    closed = [np.vstack([ring, ring[:1]]) for ring in (SQUARE, HOLE[::-1])]
    assert points_in_polygon(xy, closed).tolist() == [True, False, True, False]


def test_boundary_rule() -> None:
    edges = np.array([[0.0, 2], [2, 0], [4, 2], [2, 4], [0, 0], [4, 0], [0, 4], [4, 4]])
    assert points_in_polygon(edges, [SQUARE]).tolist() == [True, True, False, False, True, False, False, False]


def test_polygons_that_share_edges_share_no_point() -> None:
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    xy = np.column_stack([x.ravel(), y.ravel()])
    tiles = [SQUARE + np.array([4 * i, 4 * j]) for i in range(2) for j in range(2)]
    count = np.sum([points_in_polygon(xy, [tile]) for tile in tiles], axis=0)
    np.testing.assert_array_equal(count, (xy < 8).all(axis=1))
    # also along a slanted edge
    lower, upper = np.array([[0.0, 0], [9, 3], [9, 9], [0, 9]]), np.array([[0.0, 0], [9, 0], [9, 3]])
    assert (points_in_polygon(xy, [lower]) & points_in_polygon(xy, [upper])).sum() == 0


def test_self_crossing_line_follows_the_even_odd_rule() -> None:
    angle = np.arange(5) * 4 * np.pi / 5
    star = np.column_stack([np.cos(angle), np.sin(angle)])
    inside = points_in_polygon(np.array([[0.0, 0], [0.9, 0], [2, 2]]), [star])
    assert inside.tolist() == [False, True, False]


def test_a_line_that_turns_back_and_forth_equals_shapely() -> None:
    """A comb of 400 teeth: every level has 800 edges beside it, and points come in any order."""
    k = np.arange(400)
    tips = np.column_stack([np.repeat(k, 2) / 40, np.tile([0.0123, 9.0123], 400)])
    ring = np.vstack([tips, [[10, 10], [0, 10]]])
    xy = np.random.default_rng(0).uniform(-1, 11, (3000, 2))
    np.testing.assert_array_equal(points_in_polygon(xy, [ring]), shapely.contains_xy(Polygon(ring), xy))


def region(name: str, ring: np.ndarray, **properties: str) -> dict:
    geometry = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
    return {"type": "Feature", "id": name, "properties": {"kind": "region", "name": name} | properties} | {
        "geometry": geometry
    }


def test_a_spot_has_one_class_per_group_and_the_last_wins() -> None:
    document = {
        "type": "FeatureCollection",
        "features": [
            region("all", SQUARE),
            region("core", HOLE),
            region("side", HOLE + 10, group="other"),
            region("all", SQUARE + 10),
        ],
    }
    xy = np.array([[0.5, 0.5], [2, 2], [20, 20], [13.5, 13.5]])
    found = assign_regions(xy, document, "regions")
    assert list(found.categories) == ["all", "core"]
    assert found.astype(object).tolist() == ["all", "core", np.nan, "all"]
    assert assign_regions(xy, document, "other").codes.tolist() == [-1, -1, -1, -1]
    assert groups_of(document) == ["regions", "other"]
    assert len(assign_regions(np.empty((0, 2)), document, "regions")) == 0


@pytest.mark.parametrize(
    ("geometry", "word"),
    [
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "Polygon"),
        ({"type": "Polygon", "coordinates": []}, "ring"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "three"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, None], [1, 1]]]}, "finite"),
        ({"type": "Polygon", "coordinates": [["a", "b", "c"]]}, "lists"),
    ],
)
def test_refusals(geometry: dict, word: str) -> None:
    with pytest.raises(DataError, match=word):
        points_in_geometry(SQUARE, geometry)


def test_classes_join_regions_and_keep_the_colour_of_the_first() -> None:
    features = [
        region("left", SQUARE, color="#ff0000", **{"class": "striatum"}),
        region("right", SQUARE + 10, color="#ff0000", **{"class": "striatum"}),
        region("midline", HOLE, color="#00ff00"),
    ]
    document = {"type": "FeatureCollection", "features": features}
    found = assign_regions(np.array([[0.5, 0.5], [2, 2], [13.5, 13.5], [30, 30]]), document)
    assert found.astype(object).tolist() == ["striatum", "midline", "striatum", np.nan]
    assert class_colors(document, "regions") == ["#ff0000", "#00ff00"]
