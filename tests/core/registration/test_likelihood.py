"""What an alignment is worth: against scikit-learn's CCA, simulated noise and numerical derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage, sparse
from scipy.spatial.distance import cdist
from sklearn.cross_decomposition import CCA

from core.registration.frame import Frame
from core.registration.latents import Latents, spatial_components
from core.registration.lddmm import DeformedMap, Deforming, Grid
from core.registration.likelihood import (
    GRAIN,
    LEAST_SIGMA,
    FeatureTerm,
    chance,
    feature_term,
    independent_spots,
    weighed,
)
from core.registration.losses import read
from core.registration.optimise import LinearMap
from core.registration.section import Section


def linear(*values: float) -> LinearMap:
    return LinearMap(torch.tensor([False]), torch.tensor([values], dtype=torch.float32))


HERE = linear(0, 0, 0, 0, 0, 0)
SIZE = 30.0


def section(xy: np.ndarray) -> Section:
    return Section(xy, np.ones(len(xy)), Frame(np.zeros((0, 2)), np.zeros(0)), np.zeros(2), 1.0)


def square(step: float) -> np.ndarray:
    at = np.arange(step / 2, SIZE, step)
    return np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)


def waves(xy: np.ndarray) -> np.ndarray:
    """Three smooth features at *xy* (n, 2)."""
    x, y = xy.T
    return np.column_stack([np.sin(x / 4 + y / 7), np.cos(y / 3), np.sin(x * y / 90)])


def latents(noise: float, *, related: bool = True, seed: int = 0) -> Latents:
    """A spot for each unit of area, four pixels a spot; ST is a linear function of SM, plus noise."""
    rng = np.random.default_rng(seed)
    spots, pixels = square(1.0), square(0.5)
    seen = waves(spots) if related else rng.normal(size=(len(spots), 3))
    st = seen @ rng.normal(size=(3, 4)) + rng.normal(0, noise, (len(spots), 4))
    sm = waves(pixels) + rng.normal(0, 0.1, (len(pixels), 3))
    return Latents(section(spots), section(pixels), spots, pixels, (st, sm), latent=True)


def test_components_are_eigenvectors_of_the_covariance_of_neighbours() -> None:
    rng = np.random.default_rng(1)
    xy = square(1.0)[:400]
    values = waves(xy) @ rng.normal(size=(3, 8)) + rng.normal(0, 1.0, (len(xy), 8))
    beside = (cdist(xy, xy) <= 1.6) & ~np.eye(len(xy), dtype=bool)
    centred = values - values.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ beside @ centred)
    found = spatial_components(xy, sparse.csr_matrix(values), 2)
    for component in (0, 1):
        expected = centred @ axes[:, ::-1][:, component]
        assert abs(np.corrcoef(found[:, component], expected)[0, 1]) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found.std(axis=0), 1)


def test_noise_that_neighbours_do_not_share_is_no_component() -> None:
    rng = np.random.default_rng(2)
    xy = square(1.0)
    loud = rng.normal(0, 1.0, (len(xy), 5))  # twice the variance of what has a place
    found = spatial_components(xy, np.column_stack([loud, waves(xy)]), 2)
    explained = np.linalg.lstsq(waves(xy), found, rcond=None)[1] / len(xy)
    assert explained.max() < 0.2


def test_term_is_the_canonical_correlation() -> None:
    pair = latents(0.3)
    term = feature_term(pair, HERE, 0.7)
    seen = read(term.picture, term.origin, term.pitch, term.xy[None])[0].numpy()
    inner = term.weight[:, 0].numpy() > 0.99 * float(term.weight.max())
    n = term.latent.shape[1]
    a, b = CCA(n, scale=False, max_iter=5000, tol=1e-10).fit_transform(term.latent.numpy()[inner], seen[inner])
    r = np.array([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(n)])
    assert float(term(HERE)) == pytest.approx(np.log(1 - r**2).sum(), rel=0.03)


def test_it_is_least_where_the_sections_belong() -> None:
    term = feature_term(latents(0.3), HERE, 0.7)
    here = float(term(HERE))
    for away in ((0, 0, 0, 0, 1.0, 0), (0.04, 0, 0, 0, 0, 0), (0, 0.04, 0, 0, 0, 0), (0, 0, 0, 0, 0, -1.0)):
        assert float(term(linear(*away))) > here + 0.05


def test_leaving_the_section_gains_nothing() -> None:
    term = feature_term(latents(0.3), HERE, 0.7)
    assert float(term(linear(0, 0, 0, 0, 500, 0))) == pytest.approx(0, abs=0.05)


def test_what_has_nothing_to_do_with_each_other_takes_no_part() -> None:
    assert [feature_term(latents(0.3, related=False, seed=seed), HERE, 0.7) for seed in range(5)] == [None] * 5


def test_only_variates_that_agree_take_part() -> None:
    """Of four channels of ST, two follow SM."""
    rng = np.random.default_rng(3)
    pair = latents(0.2)
    smooth = ndimage.gaussian_filter(rng.normal(size=(30, 30, 2)), (1, 1, 0)).reshape(900, 2)
    both = np.column_stack([waves(pair.st_xy)[:, :2], smooth / smooth.std(axis=0)])
    term = feature_term(replace(pair, values=(both, pair.values[1]), _kept={}), HERE, 0.7)
    assert term.latent.shape[1] == term.picture.shape[1] == 2


@pytest.mark.parametrize(("p", "q", "n"), [(4, 3, 200), (12, 12, 900)])
def test_chance_is_the_largest_correlation_of_noise(p: int, q: int, n: int) -> None:
    rng = np.random.default_rng(4)
    largest = []
    for _ in range(40):
        a, b = (np.linalg.qr(rng.normal(size=(n, k)))[0] for k in (p, q))
        largest.append(np.linalg.svd(a.T @ b, compute_uv=False)[0])
    assert np.mean(largest) < chance(p, q, n) < 1.5 * np.mean(largest)


@pytest.mark.parametrize("blur", [0.0, 1.0, 2.0])
def test_independent_spots_of_smoothed_noise(blur: float) -> None:
    """White noise smoothed by a Gaussian of sigma has one independent spot in 4 pi sigma²."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(60, 60, 8))
    noise = ndimage.gaussian_filter(noise, (blur, blur, 0), mode="wrap").reshape(3600, 8)
    at = np.arange(60.0)
    xy = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    white = np.linalg.qr(noise - noise.mean(axis=0))[0] * 60
    weight = torch.full((3600, 1), 1 / 3600)
    picture = torch.as_tensor(rng.normal(size=(1, 1, 80, 80)), dtype=torch.float32)
    term = FeatureTerm(
        torch.as_tensor(xy, dtype=torch.float32),
        torch.as_tensor(white, dtype=torch.float32),
        weight,
        picture,
        torch.tensor([-5.0, -5.0]),
        1.0,
    )
    found = independent_spots(term, HERE, 3600.0)
    assert found == pytest.approx(3600 / max(4 * np.pi * blur**2, 1), rel=0.2)


def test_gradients_are_those_of_the_loss() -> None:
    """Of the linear parameters, and of the velocity of a flow, through the way back."""
    term = feature_term(latents(0.3), HERE, 1.0)
    double = FeatureTerm(*(v.double() if isinstance(v, torch.Tensor) else v for v in vars(term).values()))
    grid = Grid(np.zeros(2), np.full(2, SIZE), Deforming(8.0, 1.0, 3, 10, 0.1))
    shape = (3, 2, *grid.shape)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, generator=generator) / 5
    direction = torch.randn(shape, generator=generator)

    def loss(parameters: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        velocity = grid.velocity(noise + along.float() * direction).double()
        return double(DeformedMap(grid, velocity, LinearMap(torch.tensor([False]), parameters))).sum()

    at = torch.tensor([[0.003, 0.002, -0.001, 0.001, 0.37, -0.21]], dtype=torch.float64, requires_grad=True)
    along = torch.zeros((), dtype=torch.float64, requires_grad=True)
    of_linear, of_flow = torch.autograd.grad(loss(at, along), (at, along))
    at, along = at.detach(), along.detach()
    for index in range(6):
        step = torch.zeros(1, 6, dtype=torch.float64)
        step[0, index] = 1e-4
        numerical = float(loss(at + step, along) - loss(at - step, along)) / 2e-4
        assert float(of_linear[0, index]) == pytest.approx(numerical, rel=0.02, abs=5e-3)
    numerical = float(loss(at, along + 1e-2) - loss(at, along - 1e-2)) / 2e-2
    assert float(of_flow) == pytest.approx(numerical, rel=0.02, abs=5e-3)


def ring(radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, round(4 * np.pi * radius), endpoint=False)
    return radius * np.column_stack([np.cos(angle), np.sin(angle)])


def test_outlines_count_by_their_scatter() -> None:
    """Circles that are 1 spot distance apart: sigma is 1, one independent stretch for each GRAIN."""
    inner, outer = ring(20.0), ring(21.0)
    sm, _, weight, _ = weighed(HERE, section(inner), section(outer))
    trust = float(sm.weight.mean())
    assert weight == pytest.approx(trust * 2 * np.pi * 20 / GRAIN, rel=0.05)
    closer = weighed(HERE, section(inner), section(inner))[2]
    assert closer == pytest.approx(2 * np.pi * 20 / GRAIN / LEAST_SIGMA**2, rel=0.05)


def test_a_rim_that_the_other_section_lacks_is_not_trusted() -> None:
    circle, bitten = ring(20.0), ring(20.0)
    gone = bitten[:, 0] > 12
    bitten[gone, 0] = 12  # a piece is cut off
    sm, st, _, _ = weighed(HERE, section(bitten), section(circle))
    away = cdist(circle, bitten).min(axis=1) > 3
    assert st.weight[away].max() < 0.1
    assert sm.weight[~gone].min() > 0.9
