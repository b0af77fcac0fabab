"""The scene of the Align page against core.registration."""

from __future__ import annotations

import numpy as np
import pytest

from core import keys
from core.registration import manual_base
from spatialmeta_app.services import align


def test_without_both_sections_there_is_no_scene(workspace, sample, keep, st) -> None:
    keep("st", st)
    assert align.scene(workspace, sample.id) is None
    assert align.color_names(workspace, sample.id, "") == []
    assert align.color(workspace, sample.id, align.TOTAL) is None


def test_the_scene_has_the_base_of_the_manual_formula(workspace, sample, imported, st, sm) -> None:
    scene = align.scene(workspace, sample.id)
    base = manual_base(st.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL])
    np.testing.assert_allclose(scene["base"]["source"], base.source, rtol=1e-12)
    np.testing.assert_allclose(scene["base"]["target"], base.target, rtol=1e-12)
    assert scene["base"]["scale"] == pytest.approx(base.scale, rel=1e-12)
    assert scene["pitch"] == pytest.approx(110, rel=1e-4)
    assert scene["um_per_px"] == 0.5
    assert scene["aligned_url"] is None
    assert scene["start"] == {}


def test_an_alignment_of_another_import_is_not_shown(workspace, sample, aligned, keep, sm) -> None:
    used = workspace.chosen(sample, "align")
    assert align.scene(workspace, sample.id)["aligned_url"] == f"/api/view/{used.id}/obsm/spatial"
    keep("sm", sm)
    assert align.scene(workspace, sample.id)["aligned_url"] is None


def test_a_kept_manual_position_is_the_next_start(workspace, sample, aligned, keep) -> None:
    config = {"mode": "manual", "flip": True, "rotation_deg": 95.0, "scale_x": 1.1, "scale_y": 1.0}
    keep("align", aligned, config=config)
    start = align.scene(workspace, sample.id)["start"]
    assert start == {"flip": True, "rotation_deg": 95.0, "scale_x": 1.1, "scale_y": 1.0}


def test_colours_are_searched_by_name(workspace, sample, imported) -> None:
    found = align.color_names(workspace, sample.id, "dopa")
    assert found == [*align.COLORS, "Dopamine  m/z 154.0863"]
    assert align.color_names(workspace, sample.id, align.TOTAL)[5:] == ["Dopamine  m/z 154.0863", "FMP, 421.19"]
    sm = workspace.chosen(sample, "sm")
    assert align.color(workspace, sample.id, "Dopamine") == {
        "values_url": f"/api/view/{sm.id}/feature/0",
        "label": "Dopamine",
    }
    assert align.color(workspace, sample.id, found[-1]) == align.color(workspace, sample.id, "Dopamine")
    assert align.color(workspace, sample.id, align.PLAIN) == {}
    assert align.color(workspace, sample.id, "Dopam") is None


def test_the_outline_of_a_rectangle_is_its_border(workspace, sample, imported, sm) -> None:
    xy = sm.obsm[keys.SPATIAL]
    low, high = xy.min(axis=0), xy.max(axis=0)
    border = np.flatnonzero(((xy <= low + 1) | (xy >= high - 1)).any(axis=1))
    assert set(align.color(workspace, sample.id, align.OUTLINE)["outline"]) == set(border.tolist())


def test_components_are_those_of_scikit_learn(workspace, sample, imported, sm) -> None:
    """Up to their sign: of logarithms of values brought to equal totals."""
    from sklearn.decomposition import PCA

    total = sm.X.sum(axis=1, keepdims=True)
    values = np.log1p(sm.X / total * np.median(total))
    expected = PCA(2, whiten=True).fit_transform(values)
    chosen = workspace.chosen(sample, "sm")
    found = align.component_scores(workspace.path(chosen, "view"))
    for k in range(2):
        assert abs(np.corrcoef(found[:, k], expected[:, k])[0, 1]) == pytest.approx(1, abs=1e-4)
    assert not found[:, 2].any()
    assert align.color(workspace, sample.id, align.RGB)["shown"] == 3
