"""Sizes of regions and trajectories against shapely; profiles against a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from core import keys
from core.errors import DataError
from spatialmeta_app.services import annotations, explore
from tests.app.explored import UM_PER_PX, make_sample

RING = [[1510, 1610], [5210, 2410], [2610, 5010], [1510, 1610]]
PATH = [[1210, 2010], [3010, 2010], [3010, 4010], [5010, 4510]]


def region(id="r", name="A", group="regions"):
    properties = {"kind": "region", "name": name, "group": group, "color": "#ff0000"}
    return {
        "type": "Feature",
        "id": id,
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [RING]},
    }


def path(id="p", name="Mid line", width_um=300, coordinates=PATH):
    properties = {"kind": "trajectory", "name": name, "width_um": width_um, "color": "#ffffff"}
    geometry = {"type": "LineString", "coordinates": coordinates}
    return {"type": "Feature", "id": id, "properties": properties, "geometry": geometry}


def document(*features):
    return {"type": "FeatureCollection", "features": list(features)}


@pytest.fixture
def made(workspace):
    return make_sample(workspace)


@pytest.fixture
def view(workspace, made):
    return explore.view_of(workspace, made.results["cluster"])


def test_sizes_agree_with_shapely(view, made) -> None:
    found = annotations.measure(view, document(region(), path()), UM_PER_PX)
    polygon, line = shapely.Polygon(RING), shapely.LineString(PATH)
    assert found["r"]["spots"] == shapely.contains_xy(polygon, made.xy).sum()
    assert found["r"]["area_mm2"] == pytest.approx(polygon.area * UM_PER_PX**2 / 1e6)
    assert found["r"]["slot"] == "roi_regions"
    assert found["p"]["length_mm"] == pytest.approx(line.length * UM_PER_PX / 1e3)
    distance = shapely.distance(line, shapely.points(made.xy)) * UM_PER_PX
    assert found["p"]["spots"] == (distance <= 150).sum()
    assert found["p"]["slot"] == "toi_mid_line_position_um"


def test_without_a_scale_there_are_no_lengths(view) -> None:
    found = annotations.measure(view, document(region(), path()), None)
    assert found["r"]["area_mm2"] is None
    assert found["p"]["length_mm"] is None


def test_a_broken_shape_does_not_hide_the_others(view) -> None:
    found = annotations.measure(view, document(path(coordinates=[[1, 1], [1, 1]]), region()), UM_PER_PX)
    assert "error" in found["p"]
    assert found["r"]["spots"] > 0


def test_profile_of_a_gradient_is_the_gradient(view, made) -> None:
    """'Pcp4' is the share of the way across; along a horizontal path its profile is a straight line."""
    x0, width = made.xy[:, 0].min(), np.ptp(made.xy[:, 0])
    start, end = x0 + 0.2 * width, x0 + 0.8 * width
    found = annotations.profiles(
        view, [[start, 3000], [end, 3000]], width_um=300, features=[0, 2], layer=keys.COUNTS, scaled=False,
        um_per_px=UM_PER_PX,
    )  # fmt: skip
    assert found.names == ("Pcp4", "mz-674.2789")
    assert found.position_mm[-1] == pytest.approx((end - start) * UM_PER_PX / 1e3)
    inner = slice(15, 85)  # at its round ends a corridor holds spots from beyond the path
    np.testing.assert_allclose(found.mean[0][inner], np.linspace(0.2, 0.8, len(found.position_mm))[inner], atol=0.01)
    assert (found.low <= found.high).all()
    scaled = annotations.profiles(
        view, [[end, 3000], [start, 3000]], width_um=800, features=[0], layer=keys.COUNTS, scaled=True,
        um_per_px=UM_PER_PX,
    )  # fmt: skip
    assert scaled.mean[0][0] == pytest.approx(1)  # the other way round
    assert scaled.mean[0][-1] == pytest.approx(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": []},
        {"width_um": 0},
        {"width_um": "wide"},
        {"coordinates": [[1, 2]]},
        {"coordinates": [[9e9, 0], [9e9, 9]]},
    ],
)
def test_what_can_not_be_profiled_is_said(view, wrong) -> None:
    asked = {"coordinates": PATH, "width_um": 300, "features": [0]} | wrong
    with pytest.raises(DataError):
        annotations.profiles(
            view, asked["coordinates"], width_um=asked["width_um"], features=asked["features"], layer=None,
            scaled=False, um_per_px=UM_PER_PX,
        )  # fmt: skip
