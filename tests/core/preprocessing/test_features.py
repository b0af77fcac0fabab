from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData, concat, read_h5ad
from scipy import sparse
from scipy.stats import false_discovery_control, spearmanr

from core import keys
from core.context import Context
from core.errors import Cancelled, ConfigError, DataError
from core.preprocessing import FeaturesConfig, select_features
from core.preprocessing.features import names_of
from core.reassignment import reassign
from core.spatial import grid_graph, morans_i, row_standardised
from tests.core.pairs import pair
from tests.core.spatial.test_autocorrelation import reference


@pytest.fixture(scope="module")
def joint() -> AnnData:
    return reassign(*pair())


def test_selects_the_most_variable_of_each_modality(joint: AnnData) -> None:
    found = select_features(joint, FeaturesConfig(n_genes=5, n_metabolites=3)).var
    for modality, n in ((keys.ST, 5), (keys.SM, 3)):
        part = found[found[keys.TYPE] == modality]
        assert part[keys.SELECTED].sum() == n
        assert set(part.index[part[keys.SELECTED]]) == set(part[keys.MORANS_I].nlargest(n).index)
        assert sorted(part[keys.RANK]) == list(range(1, len(part) + 1))
        assert spearmanr(part[keys.RANK], part[keys.MORANS_I]).statistic == pytest.approx(-1)
    assert (found[keys.EXCLUDED] == "").equals(found[keys.SELECTED])
    # the first half of the features was made smooth in space
    smooth = [f"Gene{i}" for i in range(10)]
    assert set(found.index[found[keys.SELECTED]][:5]) <= set(smooth)


def test_score_is_that_of_normalised_values(joint: AnnData) -> None:
    found = select_features(joint)
    weights = row_standardised(grid_graph(found.obsm[keys.SPATIAL], 6))
    expected = morans_i(found.layers[keys.NORMALIZED].toarray(), weights)
    np.testing.assert_allclose(found.var[keys.MORANS_I], expected.score)
    np.testing.assert_allclose(found.var[keys.MORANS_FDR], expected.fdr)


def without_pixels(joint: AnnData, spots: np.ndarray, value: float) -> AnnData:
    """As a reassignment that keeps places leaves it, but for *value* where there is nothing."""
    joint = joint.copy()
    counts = joint.layers[keys.COUNTS].toarray()
    counts[np.ix_(spots, joint.var[keys.TYPE] == keys.SM)] = value
    joint.layers[keys.COUNTS] = joint.X = sparse.csr_matrix(counts)
    joint.obs.iloc[spots, joint.obs.columns.get_loc(keys.N_PIXELS)] = 0
    return joint


def test_places_without_values_do_not_count_in_morans_i(joint: AnnData) -> None:
    """Metabolites have squidpy's score of the spots that were measured; genes are left alone."""
    spots = np.random.default_rng(0).permutation(joint.n_obs)[: joint.n_obs // 4]
    found = select_features(without_pixels(joint, spots, 0.0))
    metabolites, known = (found.var[keys.TYPE] == keys.SM).to_numpy(), np.ones(joint.n_obs, dtype=bool)
    known[spots] = False
    graph = grid_graph(found.obsm[keys.SPATIAL][known], 6)
    expected = reference(found.layers[keys.NORMALIZED][known][:, metabolites], graph, "moran")
    np.testing.assert_allclose(found.var[keys.MORANS_I][metabolites], expected["I"], atol=1e-6)
    np.testing.assert_allclose(found.var[keys.MORANS_P][metabolites], expected["pval_norm"], atol=1e-6)
    genes = select_features(joint).var[keys.MORANS_I][~metabolites]
    np.testing.assert_allclose(found.var[keys.MORANS_I][~metabolites], genes)
    np.testing.assert_allclose(found.var[keys.MORANS_FDR], false_discovery_control(found.var[keys.MORANS_P]))
    counted = morans_i(found.layers[keys.NORMALIZED], row_standardised(grid_graph(found.obsm[keys.SPATIAL], 6)))
    assert np.abs(counted.score - found.var[keys.MORANS_I])[metabolites].max() > 0.05  # the test is sharp


def test_places_without_values_hide_no_batch_bias(joint: AnnData) -> None:
    """A metabolite that is brighter wherever one sample was measured, in two thirds of its places."""
    spots = np.flatnonzero(np.arange(joint.n_obs) % 3 == 0)
    other = without_pixels(joint, spots, 0.0)
    counts = other.layers[keys.COUNTS].toarray()
    counts[:, joint.var_names.get_loc("mz0")] *= 30
    other.layers[keys.COUNTS] = sparse.csr_matrix(counts)
    two = concat({"a": joint, "b": other}, label=keys.SAMPLE, index_unique="-", merge="same")
    two = select_features(two, FeaturesConfig(min_samples=1))
    found, measured = two.var.loc["mz0"], two[two.obs[keys.N_PIXELS] > 0, two.var[keys.TYPE] == keys.SM]
    a, b = (measured[measured.obs[keys.SAMPLE] == name].layers[keys.NORMALIZED].toarray().mean(0) for name in "ab")
    change = np.log2(b / a)
    assert found[keys.BATCH_LOGFC] == pytest.approx((change - np.median(change))[0], rel=1e-3)
    assert found[keys.EXCLUDED].startswith("batch bias")
    assert found[keys.BATCH_SAMPLE] == "b"


def test_few_features_are_all_selected(joint: AnnData) -> None:
    assert select_features(joint).var[keys.SELECTED].all()


def test_input_is_not_changed_and_result_can_be_saved(joint: AnnData, tmp_path) -> None:
    columns, layers = list(joint.var.columns), list(joint.layers)
    select_features(joint, FeaturesConfig(n_genes=3)).write_h5ad(tmp_path / "a.h5ad")
    assert list(joint.var.columns) == columns
    assert list(joint.layers) == layers
    again = read_h5ad(tmp_path / "a.h5ad")
    assert again.var[keys.SELECTED].dtype == bool
    assert again.var[keys.EXCLUDED].astype(str).str.contains("not among the 3 highest").sum() == 17


@pytest.mark.parametrize("which", [0, 1])
def test_a_section_as_it_was_read_goes_on_to_the_model(which: int) -> None:
    """A file has no layers of ours; what follows takes the counts from ``layers['counts']``."""
    section = pair()[which]
    section.layers.clear()
    section.var[keys.TYPE] = (keys.ST, keys.SM)[which]
    found = select_features(section)
    assert (found.layers[keys.COUNTS] != section.X).nnz == 0
    assert keys.COUNTS not in section.layers


def test_pinned_and_dropped(joint: AnnData) -> None:
    config = FeaturesConfig(n_genes=2, pinned="Gene19, mz11", dropped="Gene0", n_metabolites=1)
    var = select_features(joint, config).var
    assert var.loc["Gene19", keys.SELECTED]
    assert var.loc["mz11", keys.SELECTED]
    assert var.loc["Gene0", keys.EXCLUDED] == "dropped by hand"
    assert (var[keys.TYPE] == keys.ST)[var[keys.SELECTED]].sum() == 3
    with pytest.raises(ConfigError, match="Nope"):
        select_features(joint, FeaturesConfig(pinned="Nope"))
    with pytest.raises(ConfigError, match="not both"):
        select_features(joint, FeaturesConfig(pinned="Gene1", dropped="Gene1"))


def test_names_with_commas() -> None:
    known = np.array(["PC(16:0,18:1)", "A", "B"])
    assert names_of("PC(16:0,18:1); A,B", known).all()
    assert names_of("", known).sum() == 0


def test_rare_and_constant_features(joint: AnnData) -> None:
    joint = joint.copy()
    X = joint.X.toarray()
    X[:, 2], X[:, 3] = 0, 0
    X[7, 3] = 5
    joint.X, joint.layers[keys.COUNTS] = X, X
    var = select_features(joint, FeaturesConfig(min_spots=3)).var
    assert var[keys.EXCLUDED].iloc[2] == "the same value everywhere"
    assert var[keys.RANK].iloc[2] == 0
    assert var[keys.EXCLUDED].iloc[3] == "detected in 1 of at least 3 spots"


def test_refusals(joint: AnnData) -> None:
    with pytest.raises(DataError, match="Reassign"):
        select_features(AnnData(np.ones((3, 2), dtype=np.float32)))
    with pytest.raises(DataError, match="at least one feature"):
        select_features(joint, FeaturesConfig(n_genes=0, n_metabolites=0))
    with pytest.raises(ConfigError, match="neighbours"):
        select_features(joint, FeaturesConfig(neighbours=0))


def test_reports_and_cancels(joint: AnnData) -> None:
    class Watching(Context):
        seen: list[float]

        def __init__(self, stop: bool) -> None:
            self.stop, self.seen = stop, []

        def progress(self, fraction: float, message: str, **numbers: float) -> None:
            self.seen.append(fraction)

        def cancelled(self) -> bool:
            return self.stop

    context = Watching(stop=False)
    select_features(joint, None, context)
    assert context.seen == sorted(context.seen)
    assert context.seen[-1] == 1.0
    with pytest.raises(Cancelled):
        select_features(joint, None, Watching(stop=True))
