from __future__ import annotations

import warnings

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from core import keys
from core.errors import DataError
from core.joining import concat
from core.preprocessing import FeaturesConfig, select_features
from core.preprocessing.batch import batch_bias
from core.reassignment import reassign
from tests.core.pairs import hexagon, pair, section

SHIFTED = {"mz2": "b", "mz7": "a", "Gene4": "c"}


def biased_samples() -> AnnData:
    """Three samples; three features are 16 times higher in one of them, the others vary by a factor of up to 2.5."""
    parts = {}
    for i, name in enumerate("abc"):
        st, sm = pair()
        rng = np.random.default_rng(i)
        factors = {m: np.exp(rng.normal(0, 0.3, s.n_vars)) for m, s in ((keys.ST, st), (keys.SM, sm))}
        for feature, sample in SHIFTED.items():
            part = keys.ST if feature.startswith("Gene") else keys.SM
            if sample == name:
                factors[part][(st if part == keys.ST else sm).var_names.get_loc(feature)] *= 16
        st.X = sparse.csr_matrix(rng.poisson(st.X.toarray() * factors[keys.ST]), dtype=np.float32)
        sm.X = sparse.csr_matrix(sm.X.multiply(factors[keys.SM]), dtype=np.float32)
        parts[name] = reassign(st, sm)
    return concat(parts)


def test_shifted_features_are_found_and_others_kept() -> None:
    var = select_features(biased_samples()).var
    reasons = var[keys.EXCLUDED].astype(str)
    found = reasons[reasons.str.startswith("batch bias")]
    assert set(found.index) == set(SHIFTED)
    for feature, sample in SHIFTED.items():
        assert found[feature].endswith(f"in {sample}")
        assert var.loc[feature, keys.BATCH_LOGFC] == pytest.approx(4.0, abs=1.0)
    assert var[keys.SELECTED].sum() == len(var) - 3
    kept = select_features(biased_samples(), FeaturesConfig(min_logfc=7.0, pinned="mz2")).var
    assert kept[keys.SELECTED].all()


def test_fold_changes_equal_scanpy_where_no_median_is_taken_out() -> None:
    """Counts of one common total: the shift is one of the feature alone; scanpy gives log2 of the ratio of means."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy

    rng = np.random.default_rng(0)
    X = rng.poisson(5.0, (300, 41)).astype(np.float32)
    codes = np.repeat([0, 1, 2], 100)
    X[codes == 1, 3] *= 12
    adata = AnnData(np.log1p(X), obs={"s": codes.astype(str)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.obs["s"] = adata.obs["s"].astype("category")
        scanpy.tl.rank_genes_groups(adata, "s", method="t-test", pts=True)
        table = scanpy.get.rank_genes_groups_df(adata, "1").set_index("names")
    found = batch_bias(sparse.csr_matrix(X), codes)
    # scanpy compares expm1 of the mean of logarithms; close for counts of this size
    assert found.logfc[1, 3] == pytest.approx(table.loc["3", "logfoldchanges"], abs=0.15)
    np.testing.assert_allclose(found.fraction[1], table.loc[adata.var_names, "pct_nz_group"])
    assert np.flatnonzero(found.biased(3.0, 0.8).any(axis=0)).tolist() == [3]


def test_a_feature_seen_in_few_spots_is_not_biased() -> None:
    rng = np.random.default_rng(0)
    X = rng.poisson(5.0, (200, 10)).astype(np.float32)
    codes = np.repeat([0, 1], 100)
    X[:, 0] = 0
    X[:30, 0] = 50
    assert not batch_bias(sparse.csr_matrix(X), codes).biased(3.0, 0.8)[:, 0].any()
    assert batch_bias(sparse.csr_matrix(X), codes).biased(3.0, 0.2)[0, 0]
    with pytest.raises(DataError, match="two samples"):
        batch_bias(sparse.csr_matrix(X), np.zeros(200, dtype=int))


def test_features_must_be_variable_in_enough_samples() -> None:
    parts = {}
    for i, name in enumerate("abc"):
        st = section(hexagon(12, 14), 20, i, modality=keys.ST)
        _, sm = pair()
        if name == "c":  # Gene0 is smooth in a and b only
            X = st.X.toarray()
            X[:, 0] = np.random.default_rng(1).permutation(X[:, 0])
            st.X = sparse.csr_matrix(X)
        st.uns[keys.UNS] = {keys.UM_PER_PX: 0.5, keys.UM_PER_PX_SOURCE: "test"}
        parts[name] = reassign(st, sm)
    joined = concat(parts)
    two = select_features(joined, FeaturesConfig(n_genes=10)).var
    assert two.loc["Gene0", keys.N_VARIABLE] == 2
    assert two.loc["Gene0", keys.SELECTED]
    three = select_features(joined, FeaturesConfig(n_genes=10, min_samples=3)).var
    assert three.loc["Gene0", keys.EXCLUDED] == "among the 10 highest Moran's I in 2 of at least 3 samples"
    alone = select_features(parts["a"], FeaturesConfig(n_genes=10)).var
    np.testing.assert_allclose(two["morans_i_a"].loc[alone.index], alone[keys.MORANS_I])
    np.testing.assert_allclose(two[keys.MORANS_I], two[[f"morans_i_{n}" for n in "abc"]].mean(axis=1))
