"""What a training cannot be faster than: its matrix products, and its gamma functions where counts are positive."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from anndata import AnnData

ROUNDS = 30
WIDTH = 128  # of a hidden layer


def seconds(
    joint: AnnData, epochs: int, *, batch: int, by_spot: bool, threads: int, kind: torch.dtype = torch.float32
) -> tuple[float, float]:
    """Wall seconds of the products and of the gamma functions at the best rates measured now with *threads*; the
    products of numbers of this *kind*.

    Encoders see a batch once (no gradient by the data: two products), decoders twice, from the joint and from the
    single embedding (three products). The ZINB has two heads, or three where the dispersion is decoded.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        is_gene = (joint.var["type"] == "ST").to_numpy()
        genes, metabolites = int(is_gene.sum()), int((~is_gene).sum())
        steps = epochs * np.ceil(joint.n_obs / batch)
        products = (2 + by_spot) * _decoder(genes, batch, kind) + 2 * _decoder(metabolites, batch, kind)
        products += _encoder(genes, batch, kind) + _encoder(metabolites, batch, kind)
        x = torch.rand(200_000) * 20 + 0.1
        gamma = (_best(lambda: torch.lgamma(x)) + _best(lambda: torch.digamma(x))) / len(x)
        positive = 2 * epochs * joint.layers["counts"][:, is_gene].count_nonzero()
        return products * steps, gamma * positive
    finally:
        torch.set_num_threads(before)


def _decoder(features: int, batch: int, kind: torch.dtype) -> float:
    shapes = (2 * batch, WIDTH), (features, WIDTH), (2 * batch, features)
    hidden, weight, slope = (torch.randn(shape).to(kind) for shape in shapes)
    return _best(lambda: hidden @ weight.t()) + _best(lambda: slope @ weight) + _best(lambda: slope.t() @ hidden)


def _encoder(features: int, batch: int, kind: torch.dtype) -> float:
    x, weight, slope = (torch.randn(shape).to(kind) for shape in ((batch, features), (WIDTH, features), (batch, WIDTH)))
    return _best(lambda: x @ weight.t()) + _best(lambda: slope.t() @ x)


def _best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
