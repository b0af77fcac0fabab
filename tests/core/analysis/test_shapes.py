"""Shapes against closed forms; combinations against what inclusion and exclusion say of the points inside."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import mapping, shape

from core.analysis.regions import points_in_geometry
from core.analysis.shapes import CARRY_TOLERANCE, area, carry, combine, perimeter, stroke
from core.errors import DataError


def box(x0: float, y0: float, x1: float, y1: float, *holes: list) -> dict:
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return {"type": "Polygon", "coordinates": [ring, *holes]}


def ring(x0: float, y0: float, x1: float, y1: float) -> list:
    return box(x0, y0, x1, y1)["coordinates"][0]


BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]}


@pytest.mark.parametrize(
    ("geometry", "square", "round_"),
    [
        (box(0, 0, 4, 3), 12, 14),
        (box(0, 0, 10, 10, ring(2, 2, 4, 4)), 96, 48),
        ({"type": "MultiPolygon", "coordinates": [[ring(0, 0, 1, 1)], [ring(5, 5, 7, 7)]]}, 5, 12),
        (
            {"type": "MultiPolygon", "coordinates": [[ring(0, 0, 4, 4)], [ring(2, 0, 6, 4)]]},
            24,
            20,
        ),  # overlap counts once
        (BOWTIE, 8, 8 + 8 * 2**0.5),
    ],
)
def test_area_and_perimeter(geometry: dict, square: float, round_: float) -> None:
    assert area(geometry) == pytest.approx(square)
    assert perimeter(geometry) == pytest.approx(round_)


@pytest.mark.parametrize(
    "second", [box(3, 3, 14, 8), box(2, 2, 5, 5), box(20, 20, 30, 30), box(0, 4, 10, 6, ring(4, 4.5, 5, 5.5)), BOWTIE]
)
def test_combinations_hold_the_points_that_logic_says(second: dict) -> None:
    first = box(0, 0, 10, 10, ring(6, 6, 8, 8))
    xy = np.random.default_rng(0).uniform(-1, 31, (4000, 2))
    a, b = points_in_geometry(xy, first), points_in_geometry(xy, second)
    for operation, expected in (("union", a | b), ("difference", a & ~b), ("intersection", a & b)):
        found = combine(operation, [first, second])
        inside = points_in_geometry(xy, found) if found else np.zeros(len(xy), bool)
        np.testing.assert_array_equal(inside, expected, err_msg=operation)
        assert found is None or shape(found).is_valid


def test_nothing_left_is_none_and_many_are_joined() -> None:
    assert combine("difference", [box(0, 0, 1, 1), box(-1, -1, 2, 2)]) is None
    assert combine("intersection", [box(0, 0, 1, 1), box(1, 0, 2, 1)]) is None  # an edge has no area
    tiles = [box(i, 0, i + 1, 1) for i in range(200)]
    joined = combine("union", tiles)
    assert joined["type"] == "Polygon"
    assert area(joined) == pytest.approx(200)
    with pytest.raises(DataError, match="union"):
        combine("xor", tiles)


def test_a_stroke_is_a_stadium() -> None:
    found = stroke([[0, 0], [100, 0]], 10)
    assert area(found) == pytest.approx(100 * 20 + np.pi * 100, rel=0.02)
    assert area(stroke([[5, 5]], 10)) == pytest.approx(np.pi * 100, rel=0.03)
    for line, radius in (([], 1), ([[0, 0]], 0), ([[0, "a"]], 1), ([[0, 0]], True)):
        with pytest.raises(DataError):
            stroke(line, radius)


def test_carrying_is_exact_for_an_affine_map_and_follows_a_bent_one() -> None:
    matrix = np.array([[0.0, -2.0], [-2.0, 0.0]])  # a mirror image, turned
    region = box(0, 0, 10, 4, ring(2, 1, 3, 2))
    moved = carry(region, lambda p: p @ matrix.T + [100, 50])
    assert [len(r) for r in moved["coordinates"]] == [5, 5]
    assert area(moved) == pytest.approx(4 * 39)
    back = carry(moved, lambda q: (q - [100, 50]) @ np.linalg.inv(matrix).T)
    np.testing.assert_allclose(back["coordinates"][0], region["coordinates"][0], atol=1e-9)
    # the plane rolled to a disc: a rectangle in (radius, angle) becomes a ring sector
    sector = carry(box(1, 0, 2, 1), lambda p: np.column_stack([p[:, 0] * np.cos(p[:, 1]), p[:, 0] * np.sin(p[:, 1])]))
    assert area(sector) == pytest.approx(1.5, rel=2 * CARRY_TOLERANCE)
    line = carry({"type": "LineString", "coordinates": [[1, 0], [1, 1]]}, lambda p: p[:, ::-1])
    assert line == {"type": "LineString", "coordinates": [[0.0, 1.0], [1.0, 1.0]]}


def test_brush_and_boolean_results_are_plain_geojson() -> None:
    found = combine("difference", [box(0, 0, 10, 10), mapping(shape(box(2, 2, 4, 4)))])
    assert len(found["coordinates"]) == 2
    assert all(isinstance(v, float) for r in found["coordinates"] for p in r for v in p)
