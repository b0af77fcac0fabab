"""What changes along a path, against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import shapely

from core import keys
from core.analysis.gradients import trend
from core.errors import DataError
from spatialmeta_app.services import explore, paths
from spatialmeta_app.workspace import viewing
from spatialmeta_app.workspace.views import View
from tests.app.explored import UM_PER_PX, make_sample


@pytest.fixture
def made(workspace):
    return make_sample(workspace)


@pytest.fixture
def view(workspace, made):
    return explore.view_of(workspace, made.results["cluster"])


LINE = [[1100, 3000], [5900, 3000]]
ASK = {"width_um": 800, "layer": keys.COUNTS, "um_per_px": UM_PER_PX}


def test_the_gradient_along_the_path_leads(view, made) -> None:
    """Feature 0 grows with x, feature 2 is a step in x; y changes across the path and the others are noise."""
    found = paths.top_features(view, LINE, **ASK)
    assert [r["name"] for r in found["rows"][:2]] == ["Pcp4", "mz-674.2789"]
    line = shapely.LineString(LINE)
    inside = shapely.distance(line, shapely.points(made.xy)) <= 800
    assert found["spots"] == inside.sum()
    position = shapely.line_locate_point(line, shapely.points(made.xy))[inside] * UM_PER_PX
    tested = trend(np.asarray(made.joint.X)[inside], position)
    lead = found["rows"][0]
    assert lead["p"] == pytest.approx(tested.p[0])
    assert lead["fdr"] == pytest.approx(tested.fdr[0])
    expected = scipy.stats.spearmanr(np.asarray(made.joint.X)[inside, 0], position).statistic
    assert lead["rho"] == pytest.approx(expected)
    np.testing.assert_allclose(lead["values"], np.linspace(0, 1, paths.GRID), atol=0.05)  # linear in x
    assert lead["peak_um"] == pytest.approx(2400)
    back = paths.top_features(view, LINE[::-1], **ASK)["rows"][0]
    assert back["rho"] == pytest.approx(-lead["rho"])
    assert back["fdr"] == pytest.approx(lead["fdr"])


def test_places_without_values_are_left_out(made, tmp_path) -> None:
    """Every third spot without a pixel: a metabolite is tested in the others, a gene in all."""
    joint, known = made.joint.copy(), np.arange(made.joint.n_obs) % 3 > 0
    joint.obs[keys.N_PIXELS] = 5 * known
    values = np.asarray(joint.X) * np.where(known[:, None] | (joint.var[keys.TYPE] == keys.ST).to_numpy(), 1, 0)
    joint.layers[keys.COUNTS] = values.astype(np.float32)
    viewing.write_view(joint, tmp_path / "view")
    line = shapely.LineString(LINE)
    inside = shapely.distance(line, shapely.points(made.xy)) <= 800
    position = shapely.line_locate_point(line, shapely.points(made.xy)) * UM_PER_PX
    rows = {row["index"]: row for row in paths.top_features(View(tmp_path / "view"), LINE, **ASK)["rows"]}
    for index, spots in ((0, inside), (2, inside & known)):
        tested = trend(values[spots][:, [index]], position[spots])
        assert rows[index]["p"] == pytest.approx(tested.p[0])
        expected = scipy.stats.spearmanr(values[spots, index], position[spots]).statistic
        assert rows[index]["rho"] == pytest.approx(expected)
        assert rows[index]["r2"] == pytest.approx(tested.r2[0], abs=1e-4)


def test_a_list_or_one_modality_is_tested_alone(view) -> None:
    assert {r["tag"] for r in paths.top_features(view, LINE, kind="SM", **ASK)["rows"]} == {"SM"}
    found = paths.top_features(view, LINE, features=[1, 0], **ASK)
    assert [r["index"] for r in found["rows"]] == [0, 1]
    assert found["tested"] == 2
    assert found["rows"][0]["fdr"] == pytest.approx(min(1, 2 * found["rows"][0]["p"]))


@pytest.mark.parametrize(
    ("ask", "word"),
    [({"features": []}, "gene or metabolite"), ({"features": [99]}, "features from"), ({"width_um": 1}, "spots in")],
)
def test_what_is_missing_is_said(view, ask, word) -> None:
    with pytest.raises(DataError, match=word):
        paths.top_features(view, LINE, **ASK | ask)


def test_too_much_is_refused_before_it_is_read(view, monkeypatch) -> None:
    monkeypatch.setattr(paths, "MOST_VALUES", 100)
    with pytest.raises(DataError, match="narrower"):
        paths.top_features(view, LINE, **ASK)


def test_a_list_of_names(view) -> None:
    found = paths.find_list(view, "Gnas, dopamine; nothing such\n421.191\nGnas")
    assert [f["name"] for f in found["features"]] == ["Gnas", "mz-674.2789", "mz-421.1910"]
    assert found["missing"] == ["nothing such"]


def test_the_numbers_behind_a_profile(view) -> None:
    found = paths.profile_table(view, LINE, features=[0], scaled=False, **ASK)
    assert found["position_mm"][-1] == pytest.approx(2.4)
    middle = slice(20, 80)
    x = np.asarray(found["position_mm"]) / UM_PER_PX * 1e3 + 1100
    expected = (x - 1000) / (25.5 * 200)
    np.testing.assert_allclose(np.asarray(found["mean"][0])[middle], expected[middle], atol=0.01)
