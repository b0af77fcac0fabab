"""Hidden layers: the compiled loops against torch's own functions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from core.vae.nn import Mlp


def results(layers: Mlp, x: torch.Tensor, forward) -> list[torch.Tensor]:
    """What comes out, and the derivatives of a weighted sum of it by input and parameters."""
    layers, given = copy.deepcopy(layers).to(x.dtype), x.clone().requires_grad_(True)
    torch.manual_seed(3)
    out = forward(layers, given)
    (out * torch.linspace(-1, 2, out.numel(), dtype=x.dtype).view_as(out)).sum().backward()
    return [out.detach(), given.grad, *(p.grad for p in layers.parameters())]


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_compiled_layers_are_torchs(n_layers, dropout):
    torch.manual_seed(n_layers)
    layers = Mlp(13, 37, n_layers, dropout)
    for norm in layers:
        if isinstance(norm, nn.LayerNorm):  # not the identity that it starts as
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    x = torch.randn(29, 13)
    found = results(layers, x, Mlp.forward)
    for one, other in zip(found, results(layers, x, nn.Sequential.forward), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
    if dropout == 0:
        for one, other in zip(found, results(layers, x.double(), nn.Sequential.forward), strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_layers_in_use_drop_nothing():
    layers, x = Mlp(5, 8, 2, 0.5).eval(), torch.randn(4, 5)
    torch.testing.assert_close(layers(x), nn.Sequential.forward(layers, x))
    assert torch.equal(layers(x), layers(x))


def test_no_number_stays_none():
    layers, x = Mlp(5, 8, 1, 0.0), torch.ones(2, 5)
    x[1, 3] = torch.nan
    assert torch.isfinite(layers(x)[0]).all()
    assert torch.isnan(layers(x)[1]).all()
