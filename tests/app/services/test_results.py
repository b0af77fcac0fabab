"""What pages show of a result, against the AnnData it was made from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from core import keys
from spatialmeta_app.services import features, results, steps


def test_series_counts_events_or_uses_the_counter() -> None:
    history, counter = results.series([{"loss": 3.0, "kl": 1.0}, {"loss": 2.0}])
    assert counter == ""
    assert history == {"loss": ([1, 2], [3.0, 2.0]), "kl": ([1], [1.0])}
    history, counter = results.series([{"epoch": 5, "loss": 3.0}, {"epoch": 6, "loss": 2.0}])
    assert (counter, history) == ("epoch", {"loss": ([5, 6], [3.0, 2.0])})


def test_curves_of_a_running_job_tell_the_browser_where_to_go_on(workspace, store, sample, selected) -> None:
    job = store.submit("integrate", project=sample.project, sample=sample, user="ada", config={})
    store.claim("runner")
    events = [
        {"time": 0.0, "fraction": f, "message": "", "numbers": {"kl": 1.0, "loss": 9 - f, "mmd": 0.0}}
        for f in (0.1, 0.2)
    ]
    store.report(job, events)
    view = steps.view(workspace, store, project=sample.project, sample=sample.id, step="integrate")
    found = results.curves(workspace, store, view)
    assert found.history == {"loss": ([1, 2], [8.9, 8.8]), "kl": ([1, 2], [1.0, 1.0])}
    assert found.meta["terms"] == ["loss", "kl"]
    assert found.meta["hidden"] == ["mmd"]
    assert (found.meta["job"], found.meta["last"]) == (job.id, store.events(job)[-1]["id"])


def test_curves_without_a_job_come_from_the_file(workspace, store, sample, aligned) -> None:
    view = steps.view(workspace, store, project=sample.project, sample=sample.id, step="align")
    found = results.curves(workspace, store, view)
    assert found.history == {"fit": ([1, 2], [9.0, 4.0])}
    assert found.meta["job"] is None


def test_one_line_tells_runs_apart(workspace, store, sample, selected) -> None:
    def line(step: str) -> str:
        view = steps.view(workspace, store, project=sample.project, sample=sample.id, step=step)
        return results.one_line(workspace, view.chosen)

    assert line("align") == "outline 42 µm, Dice 0.91"
    assert line("reassign") == f"{selected.n_obs} spots"
    assert line("features") == "2 genes, 2 metabolites"


def test_coverage_agrees_with_brute_force(workspace, sample, st, sm, reassigned) -> None:
    found = results.coverage(workspace, workspace.chosen(sample, "reassign"))
    distances = cdist(st.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL])
    reach = 1.5 * 200
    expected = np.minimum((distances <= reach).sum(axis=1), 5)
    np.testing.assert_array_equal(found.count, expected)
    assert (expected == 0).any()  # the right quarter has no SM
    np.testing.assert_array_equal(reassigned.obs[keys.N_PIXELS], expected[expected > 0])
    nearest = np.sort(distances, axis=1)[:, :5]
    np.testing.assert_allclose(np.sort(found.distances_um), np.sort(nearest[nearest <= reach]) * 0.5, rtol=1e-5)


def test_audit_names_the_pixels_of_a_spot(workspace, sample, st, sm, reassigned) -> None:
    found = results.coverage(workspace, workspace.chosen(sample, "reassign"))
    audit = results.audit(found, 20)
    distances = np.linalg.norm(sm.obsm[keys.SPATIAL] - st.obsm[keys.SPATIAL][20], axis=1) * 0.5
    assert set(audit.pixels) == set(np.argsort(distances)[:5])
    np.testing.assert_allclose(audit.distances_um, np.sort(distances)[:5], rtol=1e-5)
    np.testing.assert_allclose(audit.weights, 0.2)
    np.testing.assert_allclose(audit.xy_um, st.obsm[keys.SPATIAL][20] * 0.5, rtol=1e-6)
    assert results.audit(found, 10**6).spot == st.n_obs - 1


def rows(workspace, sample, **asked):
    view = results.open_view(workspace, workspace.chosen(sample, "features"))
    return results.feature_rows(view, **asked)


def test_feature_rows_sort_search_and_page(workspace, sample, selected) -> None:
    found, total = rows(workspace, sample, kind=keys.ST)
    scores = selected.var.loc[selected.var[keys.TYPE] == keys.ST, keys.MORANS_I].sort_values(ascending=False)
    assert total == 3
    assert [r.name for r in found] == list(scores.index)
    np.testing.assert_allclose([r.morans_i for r in found], scores)
    names, _ = rows(workspace, sample, kind=keys.ST, by="name", descending=False)
    assert [r.name for r in names] == ["Actb", "mt-Nd1", "Sox2"]
    hits, total = rows(workspace, sample, kind=keys.ST, query="sox")
    assert (total, hits[0].name) == (1, "Sox2")
    assert rows(workspace, sample, kind=keys.SM, query="421.19")[0][0].name == "FMP, 421.19"
    assert rows(workspace, sample, kind=keys.ST, page=1) == ([], 3)


def test_feature_rows_say_why_one_is_left_out(workspace, sample, selected) -> None:
    found, _ = rows(workspace, sample, kind=keys.ST)
    left_out = [r for r in found if not r.selected]
    assert [r.excluded for r in left_out] == ["not among the 2 highest Moran's I"]


def test_moran_groups_mark_the_cut(workspace, sample, selected) -> None:
    groups, cuts = results.moran_groups(results.open_view(workspace, workspace.chosen(sample, "features")))
    assert {name: len(v) for name, v in groups.items()} == {"genes": 3, "metabolites": 2}
    assert cuts == {"genes": pytest.approx(np.sort(groups["genes"])[1])}  # all metabolites are in: no cut


def test_quality_columns_name_each_quality_once(workspace, sample, selected) -> None:
    view = results.open_view(workspace, workspace.chosen(sample, "features"))
    found = results.quality_columns(view)
    assert len(set(found.values())) == len(found)
    assert found["n_counts"] == "counts a spot"
    assert "total_st" not in found
    values, label = features.map_values(view, "n_genes", None)
    np.testing.assert_allclose(values, selected.obs["n_genes"])
    assert label == "genes a spot"
    values, label = features.map_values(view, "feature", "Sox2")
    np.testing.assert_allclose(
        values, np.asarray(selected[:, "Sox2"].layers["normalized"].todense()).ravel(), rtol=1e-6
    )


def test_a_category_has_minus_one_for_missing(workspace, sample, keep, reassigned) -> None:
    joint = reassigned.copy()
    joint.obs["leiden"] = ["0", "1"] * (joint.n_obs // 2) + ["0"] * (joint.n_obs % 2)
    joint.obs["leiden"] = joint.obs["leiden"].astype("category")
    joint.obs.loc[joint.obs_names[3], "leiden"] = None
    result = keep("reassign", joint)
    codes, names = results.category(results.open_view(workspace, result), "leiden")
    assert (names, codes[3], codes[1]) == (["0", "1"], -1, 1)
