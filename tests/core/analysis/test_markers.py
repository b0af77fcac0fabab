from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import false_discovery_control, mannwhitneyu
from sklearn.metrics import roc_auc_score

from core import keys
from core.analysis.markers import compare, markers, rank_sum
from core.errors import DataError
from core.preprocessing import select_features
from core.reassignment import reassign
from tests.core.pairs import pair


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(8, 80), negative=st.booleans())
def test_equals_scipy_and_sklearn(seed: int, n: int, negative: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.uniform(0.05, 3, 7), (n, 7)).astype(float) - negative * rng.integers(0, 3, (n, 7))
    X[:, 6] = 2.0  # constant
    codes = rng.integers(-1, 3, n)
    codes[:6] = [0, 0, 1, 1, 2, 2]
    found = rank_sum(sparse.csr_matrix(X), codes, 3)
    for group in range(3):
        inside = codes == group
        for feature in range(7):
            a, b = X[inside, feature], X[~inside, feature]
            assert found.auc[group, feature] == pytest.approx(roc_auc_score(inside, X[:, feature]))
            if np.ptp(X[:, feature]) == 0:
                assert found.p[group, feature] == 1
                continue
            expected = mannwhitneyu(a, b, alternative="two-sided", method="asymptotic")
            assert found.p[group, feature] == pytest.approx(expected.pvalue, abs=1e-12)


def test_form_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).poisson(0.5, (100, 30)).astype(np.float32)
    codes = np.arange(100) % 4
    whole = rank_sum(X, codes, 4)
    monkeypatch.setattr("core.analysis.markers.BLOCK_NUMBERS", 70)
    cut = rank_sum(sparse.csc_matrix(X), codes, 4)
    np.testing.assert_array_equal(cut.p, whole.p)
    np.testing.assert_array_equal(cut.auc, whole.auc)


@pytest.fixture(scope="module")
def joint() -> AnnData:
    joint = select_features(reassign(*pair()))
    side = np.where(joint.obsm[keys.SPATIAL][:, 0] < 2000, "left", "right").astype(object)
    side[:20] = None
    joint.obs["side"] = side
    return joint


def test_table(joint: AnnData) -> None:
    table = markers(joint, "side")
    assert len(table) == 2 * joint.n_vars
    left = table[table["group"] == "left"].set_index("feature")
    inside = (joint.obs["side"] == "left").to_numpy()
    values = joint.layers[keys.NORMALIZED].toarray()
    for feature, invert in (("Gene2", np.expm1), ("mz3", np.asarray)):
        v = invert(values[:, joint.var_names.get_loc(feature)].astype(float))
        assert left.loc[feature, "mean_in"] == pytest.approx(v[inside].mean())
        assert left.loc[feature, "mean_out"] == pytest.approx(v[~inside].mean())  # spots without a side are outside
        assert left.loc[feature, "log2fc"] == pytest.approx(np.log2(v[inside].mean() / v[~inside].mean()))
        assert left.loc[feature, "share_in"] == pytest.approx((v[inside] > 0).mean())
        assert left.loc[feature, "share_out"] == pytest.approx((v[~inside] > 0).mean())
    np.testing.assert_allclose(left["fdr"], false_discovery_control(left["p"]))
    assert left["auc"].is_monotonic_decreasing
    assert set(left["type"]) == {keys.ST, keys.SM}


def test_counts_are_linear(joint: AnnData) -> None:
    left = markers(joint, "side", layer=keys.COUNTS).set_index(["group", "feature"]).loc["left"]
    inside = (joint.obs["side"] == "left").to_numpy()
    v = joint.layers[keys.COUNTS].toarray()[:, joint.var_names.get_loc("Gene2")].astype(float)
    assert left.loc["Gene2", "log2fc"] == pytest.approx(np.log2(v[inside].mean() / v[~inside].mean()))


def test_places_without_values_count_on_neither_side(joint: AnnData) -> None:
    """Metabolites as scipy compares the spots that were measured, genes as all; whatever stands in the other places."""
    spots = np.random.default_rng(0).permutation(joint.n_obs)[: joint.n_obs // 4]
    kept = joint.copy()
    kept.obs[keys.N_PIXELS] = np.where(np.isin(np.arange(joint.n_obs), spots), 0, 5)
    values = kept.layers[keys.NORMALIZED].toarray()
    values[np.ix_(spots, kept.var[keys.TYPE] == keys.SM)] = 0
    kept.layers[keys.NORMALIZED] = sparse.csr_matrix(values)
    inside, known = (joint.obs["side"] == "left").to_numpy(), kept.obs[keys.N_PIXELS].to_numpy() > 0
    found, full = (markers(a, "side").query("group == 'left'").set_index("feature") for a in (kept, joint))
    for name in ("mz0", "mz3"):
        v = values[:, joint.var_names.get_loc(name)]
        expected = mannwhitneyu(v[inside & known], v[~inside & known], method="asymptotic")
        assert found.loc[name, "p"] == pytest.approx(expected.pvalue)
        assert found.loc[name, "auc"] == pytest.approx(
            expected.statistic / (inside & known).sum() / (~inside & known).sum()
        )
        assert found.loc[name, "mean_out"] == pytest.approx(v[~inside & known].mean(), rel=1e-5)
    genes = full.index[full["type"] == keys.ST]
    np.testing.assert_allclose(found.loc[genes, "p"], full.loc[genes, "p"])
    np.testing.assert_allclose(found["fdr"], false_discovery_control(found["p"]))

    kept.obs.loc[inside, keys.N_PIXELS] = 0  # a side that was not measured at all has no metabolite as a marker
    assert set(markers(kept, "side").query("group == 'left'")["type"]) == {keys.ST}
    kept.obs[keys.N_PIXELS] = 0
    assert set(compare(kept, inside, ~inside)["type"]) == {keys.ST}
    kept.layers[keys.RECONSTRUCTION] = kept.layers[keys.NORMALIZED]  # what a model predicts is compared everywhere
    assert len(compare(kept, inside, layer=keys.RECONSTRUCTION)) == kept.n_vars


def test_one_region_against_another(joint: AnnData) -> None:
    left, right = (joint.obs["side"] == "left").to_numpy(), (joint.obs["side"] == "right").to_numpy()
    found = compare(joint, left, right).set_index("feature").loc["Gene0"]
    gene = joint[:, "Gene0"].layers[keys.NORMALIZED].toarray().ravel()
    assert found["p"] == pytest.approx(mannwhitneyu(gene[left], gene[right], method="asymptotic").pvalue)
    rest = compare(joint, left).set_index("feature").loc["Gene0"]
    assert rest["p"] == pytest.approx(mannwhitneyu(gene[left], gene[~left], method="asymptotic").pvalue)


def test_refusals(joint: AnnData) -> None:
    with pytest.raises(DataError, match="side"):
        markers(joint, "nothing")
    with pytest.raises(DataError, match="layer"):
        markers(joint, "side", layer="scaled")
    with pytest.raises(DataError, match="outside"):
        compare(joint, np.ones(joint.n_obs, dtype=bool))
    with pytest.raises(DataError, match="every group"):
        compare(joint, np.zeros(joint.n_obs, dtype=bool))


@pytest.mark.parametrize("kind", ["measured", "counted", "named"])
def test_a_column_without_groups_is_refused(joint: AnnData, kind: str) -> None:
    """A group a spot would take hours and say nothing."""
    rng = np.random.default_rng(0)
    columns = {"measured": rng.random(joint.n_obs), "counted": rng.integers(0, 100_000, joint.n_obs)}
    columns |= {"named": joint.obs_names.to_numpy(dtype=object)}
    whole = joint.copy()
    whole.obs["layer"] = pd.Categorical(np.arange(joint.n_obs) % 3)
    whole.obs["tried"] = columns[kind]
    whole.obs.loc[whole.obs_names[:2], "tried"] = whole.obs["tried"].iloc[2]  # some share a value
    told = r"in groups\. Found 160 different values among 162 spots in 'tried'\. Choose .*layer.*cut"
    with pytest.raises(DataError, match=told):
        markers(whole, "tried")
    whole.obs["dose"] = np.where(np.arange(joint.n_obs) % 2, 0.5, 1.0)  # numbers may well be groups
    assert set(markers(whole, "dose")["group"]) == {"0.5", "1.0"}
