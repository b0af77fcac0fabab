"""Loss terms against scikit-learn and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from core.registration.features import principal_components
from core.registration.losses import LandmarkTerm, Objective, OutlineTerm, Target
from core.registration.objective import image_term
from core.registration.optimise import LinearMap
from core.registration.rasters import Raster, rasterise


def linear(*rows: list[float], flip: bool = False) -> LinearMap:
    values = torch.tensor(rows, dtype=torch.float32)
    return LinearMap(torch.full((len(rows),), flip), values)


def outline(xy: np.ndarray) -> Target:
    xy = torch.tensor(xy, dtype=torch.float32)
    return Target(xy, torch.ones(len(xy)), torch.zeros(0, 2), torch.zeros(0))


@pytest.fixture(scope="module")
def pictures() -> tuple[Raster, Raster]:
    """ST is a linear function of SM at the same place, plus noise."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(30.0), np.arange(24.0))
    waves = [np.sin(x / 4 + y / 7), np.cos(y / 5), np.sin(x * y / 90)]
    sm = np.stack(waves, axis=-1)
    st = sm @ rng.normal(size=(3, 4)) + rng.normal(0, 0.2, (24, 30, 4))
    everywhere = np.ones(x.shape, dtype=bool)
    return Raster(st, everywhere, np.zeros(2), 1.0), Raster(sm, everywhere, np.zeros(2), 1.0)


def test_outline_loss_is_half_the_squared_distance_both_ways() -> None:
    rng = np.random.default_rng(1)
    sm, st = rng.normal(size=(40, 2)) * 5, rng.normal(size=(50, 2)) * 5
    term = OutlineTerm(outline(sm), outline(st), scale=100.0)
    away = cdist(sm + np.array([1.0, 2.0]), st)
    expected = ((away.min(axis=0) ** 2).mean() + (away.min(axis=1) ** 2).mean()) / 4
    assert float(term(linear([0, 0, 0, 0, 1.0, 2.0]))) == pytest.approx(expected, rel=0.02)


def test_image_loss_is_what_regression_leaves(pictures) -> None:
    st, sm = pictures
    loss = float(image_term(st, sm)(linear([0.0] * 6)))
    wanted, latent = st.values.reshape(-1, 4), sm.values.reshape(-1, 3)
    left = wanted - LinearRegression().fit(latent, wanted).predict(latent)
    expected = (left**2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    assert loss == pytest.approx(expected, rel=0.01)


def test_objective_weighs_its_terms(pictures) -> None:
    terms = {
        "features": image_term(*pictures),
        "landmarks": LandmarkTerm(torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0, 5.0]])),
    }
    objective = Objective(terms, {"features": 2.0, "landmarks": 0.5})
    here = linear([0.0] * 6)
    parts = objective.terms_of(here)
    assert float(parts["landmarks"]) == pytest.approx(12.5)
    assert float(objective(here)) == pytest.approx(2 * float(parts["features"]) + 0.5 * 12.5)
    assert set(Objective(terms, {"features": 1.0, "landmarks": 0.0}).terms_of(here)) == {"features"}


def test_raster_is_a_local_mean() -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 20, (3000, 2))
    values = np.column_stack([xy[:, 0], np.full(3000, 7.0)])
    raster = rasterise(xy, values, pitch=0.5, blur=0.7)
    inner = (raster.cells > 3).all(axis=1) & (raster.cells < 17).all(axis=1)
    found = raster.values[raster.on_section][inner]
    np.testing.assert_allclose(found[:, 1], 7.0)
    np.testing.assert_allclose(found[:, 0], raster.cells[inner, 0], atol=0.4)
    assert 0.9 < raster.on_section.sum() * 0.25 / 400 < 1.2


def test_principal_components_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(180, 6)) * [5, 4, 3, 2, 1, 0.5]
    found = principal_components(values, rng.normal(size=(180, 2)))
    pca = PCA(6).fit(values)
    np.testing.assert_allclose(found.share, pca.explained_variance_ratio_)
    scores = pca.transform(values) / pca.transform(values).std(axis=0)
    np.testing.assert_allclose(np.abs(found.scores), np.abs(scores), rtol=1e-6, atol=1e-9)
