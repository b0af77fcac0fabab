"""The simulator: what it promises, against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from core import keys
from core.datasets import SimulateConfig, Simulated, simulate
from core.datasets.features import METABOLITES, PROTON_MASS, draw_log_normal, draw_zinb, exact_mass
from core.datasets.simulator import SPOT_DISTANCE_UM, UM_PER_PX
from core.errors import ConfigError

SMALL = {"spots": 400, "genes": 60, "metabolites": 50}
SPOT_PX = SPOT_DISTANCE_UM / UM_PER_PX


@pytest.fixture(scope="module")
def pair() -> Simulated:
    return simulate(SimulateConfig(**SMALL, rotation_deg=130.0, flip=True, seed=3))


def test_zinb_has_the_moments_of_its_formula() -> None:
    mean, theta, dropout = 4.0, 1.5, 0.2
    counts = draw_zinb(np.full((200_000, 1), mean), np.array([theta]), dropout, np.random.default_rng(0))
    variance = (1 - dropout) * mean * (1 + mean / theta + dropout * mean)
    assert counts.mean() == pytest.approx((1 - dropout) * mean, rel=0.02)
    assert counts.var() == pytest.approx(variance, rel=0.04)


def test_negative_binomial_part_has_scipys_distribution() -> None:
    mean, theta = 3.0, 2.0
    counts = draw_zinb(np.full((100_000, 1), mean), np.array([theta]), 0.0, np.random.default_rng(1)).ravel()
    k = np.arange(8)
    expected = stats.nbinom(theta, theta / (theta + mean)).pmf(k)
    observed = np.array([(counts == value).mean() for value in k])
    np.testing.assert_allclose(observed, expected, atol=0.005)


def test_intensities_are_log_normal_with_dropouts() -> None:
    values = draw_log_normal(np.full((50_000, 1), 5.0), 0.4, 0.3, np.random.default_rng(2)).ravel()
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert stats.kstest(np.log(values[values > 0]), stats.norm(5.0, 0.4).cdf).pvalue > 0.001


@pytest.mark.parametrize(
    ("name", "mass"), [("GABA", 103.06333), ("Dopamine", 153.07898), ("Glucose", 180.06339), ("PC 34:1", 759.57781)]
)
def test_masses_are_those_of_the_literature(name: str, mass: float) -> None:
    assert exact_mass(METABOLITES[name]) == pytest.approx(mass, abs=2e-5)


def test_shapes_and_slots(pair: Simulated) -> None:
    assert pair.st.shape == (400, 60)
    assert pair.sm.n_vars == 50
    assert pair.sm.n_obs == pytest.approx(3.0 * 400, rel=0.05)
    for adata in (pair.st, pair.sm):
        assert adata.obs_names.is_unique
        assert adata.var_names.is_unique
        assert (adata.layers[keys.COUNTS] != adata.X).nnz == 0
        assert adata.X.dtype == np.float32
    counts = pair.st.X.data
    assert np.array_equal(counts, np.round(counts))
    known = pair.sm.var[pair.sm.var[keys.ANNOTATION] == "GABA"]
    assert known[keys.MZ].item() == pytest.approx(103.06333 + PROTON_MASS, abs=1e-4)


def test_spots_form_a_hexagonal_grid_that_agrees_with_the_array(pair: Simulated) -> None:
    xy = pair.st.obsm[keys.SPATIAL]
    distance = cKDTree(xy).query(xy, k=2)[0][:, 1]
    np.testing.assert_allclose(distance, SPOT_PX, rtol=1e-9)
    row, column = pair.st.obs["array_row"].to_numpy(), pair.st.obs["array_col"].to_numpy()
    assert ((row + column) % 2 == 0).all()
    assert row.min() >= 0
    assert row.max() < 78
    assert column.max() < 128
    place = np.column_stack([column * SPOT_PX / 2, row * SPOT_PX * np.sqrt(3) / 2])
    np.testing.assert_allclose(xy - xy[0], place - place[0], atol=1e-6)


def test_picture_shows_tissue_under_the_spots_and_glass_elsewhere(pair: Simulated) -> None:
    (spatial,) = pair.st.uns[keys.UNS_SPATIAL].values()
    for size in ("hires", "lowres"):
        image, scale = spatial["images"][size], spatial["scalefactors"][f"tissue_{size}_scalef"]
        x, y = np.round(pair.st.obsm[keys.SPATIAL] * scale).astype(int).T
        assert image.dtype == np.uint8
        assert np.median(image[y, x].min(axis=1)) < 200
        assert image[:5].min() > 230


def test_truth_is_the_transform_that_the_config_names() -> None:
    config = SimulateConfig(**SMALL, rotation_deg=130.0, flip=True, anisotropy=0.2, warp=0.0, seed=3)
    pair = simulate(config)
    design = np.column_stack([pair.sm.obsm[keys.SPATIAL], np.ones(pair.sm.n_obs)])
    solution, residual, *_ = np.linalg.lstsq(design, pair.truth.true_st_xy, rcond=None)
    matrix = solution[:2].T
    assert residual.max() < 1e-9
    angle = np.deg2rad(130.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = rotation @ np.diag(np.array(pair.truth.pixel_um) / UM_PER_PX) @ np.diag([-1, 1])
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    assert pair.truth.pixel_um[0] / pair.truth.pixel_um[1] == pytest.approx(1.2)


def test_warp_is_at_most_what_was_asked(pair: Simulated) -> None:
    straight = simulate(SimulateConfig(**SMALL, rotation_deg=130.0, flip=True, warp=0.0, seed=3))
    warped = {tuple(xy): at for xy, at in zip(pair.sm.obs_names, pair.truth.true_st_xy, strict=True)}
    moved = [
        np.linalg.norm(warped[tuple(name)] - at) / SPOT_PX
        for name, at in zip(straight.sm.obs_names, straight.truth.true_st_xy, strict=True)
        if tuple(name) in warped
    ]
    # Both grids start at the section's rim, so that they may differ by a whole pixel.
    pixel = max(pair.truth.pixel_um) / SPOT_DISTANCE_UM
    assert 0.2 < np.median(moved) < 0.5 + 1.5 * pixel


def test_domains_of_one_modality_are_hidden_in_the_other(pair: Simulated) -> None:
    table = pair.truth.domains
    assert set(table["visible_in"]) == {"both", "ST", "SM"}
    for adata, modality in ((pair.st, "ST"), (pair.sm, "SM")):
        hidden = table.index[~table["visible_in"].isin(["both", modality])]
        assert not adata.obs["visible_domain"].isin(hidden).any()
        seen = adata.obs["domain"].map(table["visible_in"]).isin(["both", modality])
        assert (adata.obs.loc[seen, "domain"].astype(str) == adata.obs.loc[seen, "visible_domain"].astype(str)).all()


def test_same_seed_same_sample_other_seed_another() -> None:
    first, again = (simulate(SimulateConfig(**SMALL, seed=5)) for _ in range(2))
    other = simulate(SimulateConfig(**SMALL, seed=6))
    assert (first.st.X != again.st.X).nnz == 0
    assert (first.sm.X != again.sm.X).nnz == 0
    np.testing.assert_array_equal(first.truth.true_st_xy, again.truth.true_st_xy)
    images = [next(iter(s.st.uns[keys.UNS_SPATIAL].values()))["images"]["hires"] for s in (first, again)]
    np.testing.assert_array_equal(*images)
    assert (first.st.X != other.st.X).nnz > 0


def test_samples_share_features_and_differ_by_batch() -> None:
    without = simulate(SimulateConfig(**SMALL, samples=2, batch_effect=0.0, seed=1))
    strong = simulate(SimulateConfig(**SMALL, samples=2, batch_effect=1.5, seed=1))
    spreads = []
    for made in (without, strong):
        first, second = made.samples
        assert first.st.var.equals(second.st.var)
        assert first.sm.var.equals(second.sm.var)
        means = [np.log(np.asarray(sample.sm.X.mean(axis=0)).ravel() + 1) for sample in made.samples]
        spreads.append(np.std(means[0] - means[1]))
    assert spreads[1] > 3 * spreads[0]
    assert [sample.name for sample in strong.samples] == ["sim1", "sim2"]
    assert list(strong.st.uns[keys.UNS_SPATIAL]) == ["sim1"]


def test_samples_can_be_written(pair: Simulated, tmp_path) -> None:
    import anndata as ad

    for name, adata in (("st", pair.st), ("sm", pair.sm)):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        assert ad.read_h5ad(tmp_path / f"{name}.h5ad").shape == adata.shape


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="pixel_density"):
        simulate(SimulateConfig(pixel_density=0.0))
