"""The step by hand is the module's own loss and torch's derivative of it, in full and in mixed precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import nn

from core.vae import compiled
from core.vae.adam import Adam
from core.vae.autograd import ByAutograd
from core.vae.byhand import ByHand
from core.vae.compiled import EVALUATIONS
from core.vae.config import IntegrateConfig, resolve
from core.vae.data import Dataset
from core.vae.modality import Gaussian, Modality
from core.vae.module import Module
from core.vae.step import make_step

N, GENES, METABOLITES = 67, 23, 11


def both(
    *names: str, known: dict[str, np.ndarray] | None = None, mixed: bool = False, **settings
) -> tuple[ByAutograd, ByHand, Adam]:
    """The two steps of one module with random weights, on two batch columns; *known*: see Dataset's measured."""
    config = IntegrateConfig(**{"n_hidden": 12, "n_latent": 4, "weight_kl": 0.7, "weight_mmd": 0.0, **settings})
    config = resolve(config, n_samples=2, has_st="ST" in names, has_spatial=True)
    rng = np.random.default_rng(0)
    kinds = {
        "ST": Modality("ST", "zinb", "log1p", tuple(map(str, range(GENES))), 1.3, config.dispersion),
        "SM": Modality("SM", config.sm_likelihood, "standardize", tuple(map(str, range(METABOLITES))), 0.6),
    }
    values = {"ST": rng.poisson(rng.gamma(0.5, 4, (N, GENES))), "SM": rng.gamma(1, 2, (N, METABOLITES))}
    matrices = {name: sparse.csr_matrix(values[name].astype(np.float32)) for name in names}
    codes = np.stack([rng.integers(0, 2, N), rng.integers(0, 3, N)], axis=1)
    torch.manual_seed(1)
    module = Module([kinds[name] for name in names], (2, 3), config)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
    dataset, optimizer = Dataset(matrices, codes, measured=known), Adam(list(module.parameters()), 0.01)
    dataset.prepare(module.transforms)
    auto, hand = (kind(module, dataset, optimizer, mixed=mixed) for kind in (ByAutograd, ByHand))
    return auto, hand, optimizer


SETTINGS = [
    {},
    {"weight_mmd": 3.0},
    {"weight_single": 0.4, "dispersion": "spot"},
    {"sm_likelihood": "mse", "n_layers": 3},
    {"shared_decoders": False, "weight_single": 0.4, "n_layers": 2},
    {"weight_agreement": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("by_hand", [True, False])
def test_mixed_precision_is_the_same_to_its_eight_bits(settings: dict, by_hand: bool, monkeypatch):
    """By torch as on CUDA, which is rarely there when tests run."""
    monkeypatch.setattr(compiled, "WIDE", 1)
    found = []
    for mixed in (False, True):
        step = both("ST", "SM", mixed=mixed, **settings)[by_hand]
        torch.manual_seed(3)
        with step:
            terms = step.differentiate(np.arange(N), kl_share=0.5)
            found.append((terms, sum(step.gradients).clone()))
    (exact, slope), (rounded, rounded_slope) = found
    assert rounded == pytest.approx(exact, rel=2e-2)
    assert torch.cosine_similarity(slope, rounded_slope, dim=0) > 0.999
    assert rounded != exact


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("names", [("ST", "SM"), ("ST",), ("SM",)])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_loss_and_gradients_are_those_of_torch(settings, names, threads):
    assert_like_torch(np.arange(N), threads, *names, **settings)


@pytest.mark.parametrize("n", [1, 2])
def test_a_minibatch_of_fewer_spots_than_threads(n):
    assert_like_torch(np.arange(N)[-n:], 3, "ST", "SM")
    assert_like_torch(np.arange(N)[-n:], 3, "ST", "SM", shared_decoders=False, dispersion="spot")


def assert_like_torch(spots: np.ndarray, threads: int, *names: str, **settings) -> None:
    auto, hand, optimizer = both(*names, dropout=0.0, **settings)
    before = torch.get_num_threads()
    torch.manual_seed(2)
    with auto:
        expected = auto.differentiate(spots, kl_share=0.5)
        slopes = auto.gradients[0].clone()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(2)
        with hand:
            found = hand.differentiate(spots, kl_share=0.5)
    finally:
        torch.set_num_threads(before)
    assert found == pytest.approx(expected, rel=1e-5)
    total = sum(hand.gradients)
    for (name, p), one, other in zip(
        auto._module.named_parameters(), optimizer.views(total), optimizer.views(slopes), strict=True
    ):
        assert one.shape == p.shape
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-5 * float(other.abs().max()) + 1e-7, msg=name)


def test_dropout_leaves_out_what_was_drawn(monkeypatch):
    """With the module's dropout made to use the same random numbers."""
    auto, hand, _ = both("ST", "SM", dropout=0.4)
    uniforms = np.random.default_rng(3).random((2, N, 12), dtype=np.float32)
    monkeypatch.setattr(ByHand, "_uniforms", lambda *_: uniforms)
    torch.manual_seed(3)
    with hand:
        found = hand.differentiate(np.arange(N), kl_share=1.0)
    torch.manual_seed(3)
    noise, drawn = torch.randn(N, 4), itertools.cycle(torch.from_numpy(uniforms))
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x * (next(drawn) >= 0.4) / 0.6)
    with auto:
        expected = auto.differentiate(np.arange(N), kl_share=1.0)
    assert found == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(sum(hand.gradients), auto.gradients[0], rtol=1e-3, atol=2e-4)


def test_evaluation_drops_nothing():
    auto, hand, _ = both("ST", "SM", dropout=0.4)
    results = []
    for step in (auto, hand):
        torch.manual_seed(4)
        with step:
            results.append(step.evaluate(np.arange(N)))
    assert results[1] == pytest.approx(results[0], rel=1e-5)


def test_torchs_threads_are_given_back():
    _, hand, _ = both("ST")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with hand:
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_likelihood_without_loops_is_left_to_torch(monkeypatch):
    auto, _, optimizer = both("ST", "SM")
    assert isinstance(make_step(auto._module, auto._dataset, optimizer, mixed=False), ByHand)
    monkeypatch.delitem(EVALUATIONS, Gaussian)
    assert isinstance(make_step(auto._module, auto._dataset, optimizer, mixed=False), ByAutograd)


def test_uniform_numbers_are_uniform():
    torch.manual_seed(5)
    found = ByHand._uniforms(3, 100, 128)
    assert found.dtype == np.float32
    assert found.shape == (3, 100, 128)
    assert 0 <= found.min() < found.max() < 1
    assert stats.kstest(found.ravel(), "uniform").pvalue > 0.01
