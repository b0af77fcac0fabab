"""Outlines of spots, against shapely."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.outlines import boundaries, outline, outlines, typical_pitch
from core.errors import DataError


def hexagons(rows: int, columns: int, pitch: float = 100.0) -> np.ndarray:
    r, c = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([(c + 0.5 * (r % 2)) * pitch, r * pitch * np.sqrt(3) / 2]) + 5000


XY = hexagons(12, 14)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=len(XY), max_size=len(XY)).filter(any))
def test_the_polygons_hold_the_chosen_spots_and_no_others(chosen: list[bool]) -> None:
    mask = np.array(chosen)
    shapes = [shapely.geometry.shape(g) for g in outline(XY, mask)]
    assert all(s.is_valid for s in shapes)
    np.testing.assert_array_equal(shapely.contains_xy(shapely.union_all(shapes), XY), mask)


def test_parts_and_holes() -> None:
    r = np.hypot(*(XY - XY[6 * 14 + 6]).T)
    ring, corner = (r < 420) & (r > 150), (XY.sum(axis=1) > np.percentile(XY.sum(axis=1), 97))
    first, second = outline(XY, ring | corner)
    assert len(first["coordinates"]) == 2  # the ring comes first, with its hole
    assert len(second["coordinates"]) == 1
    hole = shapely.Polygon(first["coordinates"][1])
    np.testing.assert_array_equal(shapely.contains_xy(hole, XY), r <= 150)


def test_the_area_is_that_of_the_spots_cells() -> None:
    inner = (np.abs(XY - XY.mean(axis=0)) < [400, 300]).all(axis=1)
    area = sum(shapely.geometry.shape(g).area for g in outline(XY, inner))
    assert area == pytest.approx(inner.sum() * 100**2 * np.sqrt(3) / 2, rel=0.03)


def test_outlines_of_many_spots_hold_each_code_and_share_no_place() -> None:
    """20,000 spots in five codes with ragged borders, holes and islands; a sixth code has none, 65535 is no code."""
    xy = hexagons(125, 160)
    rng = np.random.default_rng(0)
    codes = np.floor(2.5 + 2.5 * np.sin(xy[:, 0] / 1500) * np.cos(xy[:, 1] / 1900) + 0.3 * rng.standard_normal(len(xy)))
    codes = np.where((codes < 0) | (codes > 4), 65535, codes).astype(np.uint16)
    found = [shapely.union_all([shapely.geometry.shape(g) for g in parts]) for parts in outlines(xy, codes, 6)]
    assert found[5].is_empty
    for code, area in enumerate(found[:5]):
        np.testing.assert_array_equal(shapely.contains_xy(area, xy), codes == code)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20 - 1))
def test_boundaries_enclose_the_cells(bits: int) -> None:
    inside = np.array([bits >> i & 1 for i in range(20)], dtype=bool).reshape(4, 5)
    rings = boundaries(inside)
    signed = [np.dot(r[:, 0], np.roll(r[:, 1], -1)) - np.dot(r[:, 1], np.roll(r[:, 0], -1)) for r in rings]
    assert abs(sum(signed)) / 2 == inside.sum()  # outer lines minus holes
    assert all(np.abs(np.diff(np.vstack([r, r[:1]]), axis=0)).sum(axis=1).max() == 1 for r in rings)


def test_nothing_chosen_is_said() -> None:
    with pytest.raises(DataError, match="at least one spot"):
        outline(XY, np.zeros(len(XY), dtype=bool))


def test_typical_pitch() -> None:
    assert typical_pitch(XY) == pytest.approx(100)
    assert typical_pitch(XY[:1]) == 1.0
