"""Losses beside the outlines in the linear stages: a disc, whose outline can not say how it is turned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.context import Context
from core.datasets.histology import EOSIN, HAEMATOXYLIN
from core.errors import DataError
from core.registration import AlignConfig, Landmarks, Pair, RegistrationResult, fit_landmarks, register
from core.registration.histology import Histology
from core.registration.transforms import Similarity

SPOT = 100.0  # full-resolution pixels
RADIUS = 14.0  # spot distances
CENTRE = np.array([2000.0, 2000.0])
SCALE = 0.1  # picture pixels per full-resolution pixel
TRUE = Similarity(50.0, True, 40.0, 40.0, (35.0, 35.0), tuple(CENTRE))
GIVEN = AlignConfig(
    transform="similarity", orientation="given", flip=True, rotation_deg=25.0, max_steps=60
)  # 25 degrees off


def domains(xy: np.ndarray) -> np.ndarray:
    """Two smooth features of the tissue at *xy* (n, 2), full-resolution pixels; without symmetry."""
    x, y = ((xy - CENTRE) / (RADIUS * SPOT)).T
    bumps = [
        np.exp(-8 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in ((0.5, 0.1), (-0.2, 0.55), (-0.4, -0.3), (0.1, -0.5))
    ]
    return np.column_stack([bumps[0] + 0.6 * bumps[2], bumps[1] + 0.8 * bumps[3]])


def disc(step: float) -> np.ndarray:
    at = np.arange(-RADIUS, RADIUS + step / 2, step)
    xy = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    return CENTRE + SPOT * xy[np.hypot(*xy.T) <= RADIUS]


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A round section whose picture shows what SM measured; what ST measured has nothing to do with it."""
    rng = np.random.default_rng(0)
    st_xy, true = disc(1.0), disc(0.5)
    x, y = np.meshgrid(np.arange(400) + 0.5, np.arange(400) + 0.5)
    at = np.column_stack([x.ravel(), y.ravel()]) / SCALE
    on = np.hypot(*((at - CENTRE) / SPOT).T) <= RADIUS + 0.5
    stain = domains(at) * [0.8, 0.5] + [0.1, 0.3]
    density = on[:, None] * (stain[:, :1] * HAEMATOXYLIN + stain[:, 1:] * EOSIN)
    image = 240 * np.exp(-density) + rng.normal(0, 4, density.shape)
    picture = Histology(np.clip(image, 0, 255).astype(np.uint8).reshape(400, 400, 3), SCALE)
    sm = rng.poisson(np.exp(1.5 + domains(true) @ rng.uniform(-1.5, 1.5, (2, 12)))).astype(float)
    st = rng.poisson(5.0, (len(st_xy), 10)).astype(float)
    return Pair(st_xy, TRUE.inverse(true), 1.0, values=(st, sm), picture=picture)


def error(result: RegistrationResult, pair: Pair) -> float:
    """Mean distance from the truth, spot distances."""
    return float(np.linalg.norm(result.forward(pair.sm_xy) - TRUE.forward(pair.sm_xy), axis=1).mean() / SPOT)


@pytest.mark.parametrize("transform", ["similarity", "affine"])
def test_histology_turns_a_disc_that_its_outline_can_not(pair: Pair, transform: str) -> None:
    config = replace(GIVEN, transform=transform)
    assert error(register(pair, config, Context()), pair) > 2
    assert error(register(pair, replace(config, histology_weight=30.0), Context()), pair) < 0.25


def test_histology_finds_a_swirl_within_the_outline(pair: Pair) -> None:
    """The middle is turned against the rim, so the outline fits as it is."""
    true = TRUE.forward(pair.sm_xy) - CENTRE
    angle = 0.25 * np.exp(-((np.hypot(*true.T) / (7 * SPOT)) ** 2))
    cos, sin = np.cos(angle), np.sin(angle)
    swirled = CENTRE + np.column_stack([cos * true[:, 0] - sin * true[:, 1], sin * true[:, 0] + cos * true[:, 1]])
    turned = replace(pair, sm_xy=TRUE.inverse(swirled))
    near = replace(GIVEN, rotation_deg=50.0, transform="nonrigid", max_steps=40)
    away = [
        np.linalg.norm(register(turned, one, Context()).forward(turned.sm_xy) - TRUE.forward(pair.sm_xy), axis=1).mean()
        for one in (replace(near, transform="affine"), replace(near, histology_weight=10.0))
    ]
    assert away[1] < 0.6 * away[0]


def test_the_picture_decides_where_the_outline_is_open(pair: Pair) -> None:
    """All turns fit the outline, ST's counts say nothing: only the colours know that it is turned and mirrored."""
    config = AlignConfig(transform="similarity", max_steps=60, histology_weight=30.0)
    result = register(pair, config, Context())
    assert result.orientation.decided_by == "features and image"
    assert result.transform.flip
    assert error(result, pair) < 0.5
    blind = register(replace(pair, picture=None), replace(config, histology_weight=0.0), Context())
    assert error(blind, pair) > 2
    assert blind.orientation.ambiguous


def test_histology_needs_a_picture(pair: Pair) -> None:
    with pytest.raises(DataError, match="histology image"):
        register(replace(pair, picture=None), replace(GIVEN, histology_weight=1.0), Context())


def marks(n: int, noise: float, seed: int = 0) -> Landmarks:
    """Pairs around the disc, set with an error of *noise* spot distances along each axis."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False) + 0.3
    true = CENTRE + 0.6 * RADIUS * SPOT * np.column_stack([np.cos(angle), np.sin(angle)])
    return Landmarks(TRUE.inverse(true), true + np.random.default_rng(seed).normal(0, noise * SPOT, true.shape))


def test_landmarks_and_outline_together_beat_either(pair: Pair) -> None:
    outline = error(register(pair, GIVEN, Context()), pair)
    both, alone = [], []
    for seed in range(3):
        noisy = marks(4, 1.0, seed)
        both.append(error(register(pair, replace(GIVEN, landmarks=noisy.to_text()), Context()), pair))
        fitted = fit_landmarks(noisy, "similarity").forward(pair.sm_xy) - TRUE.forward(pair.sm_xy)
        alone.append(np.linalg.norm(fitted, axis=1).mean() / SPOT)
    assert np.mean(both) < 0.6 * np.mean(alone)
    assert max(both) < 0.3 * outline


def test_two_landmarks_are_enough_for_the_turn(pair: Pair) -> None:
    """Too few to start from; as a loss they say what the outline leaves open."""
    exact = replace(GIVEN, landmarks=marks(2, 0.0).to_text())
    assert error(register(pair, exact, Context()), pair) < 0.1
    assert error(register(pair, replace(exact, landmarks_weight=0.0), Context()), pair) > 2


def test_the_weight_says_how_much_landmarks_count(pair: Pair) -> None:
    """Pairs that are all shifted by two spot distances draw the section off its outline, the more the heavier."""
    true = marks(4, 0.0)
    shifted = Landmarks(true.sm_xy, true.st_xy + np.array([2 * SPOT, 0.0])).to_text()
    away = []
    for weight in (0.1, 1.0, 10.0):
        found = register(pair, replace(GIVEN, landmarks=shifted, landmarks_weight=weight), Context())
        away.append(found.quality.landmark_um)
    assert away == sorted(away, reverse=True)
    assert away[0] > 1.5 * SPOT
    assert away[-1] < 0.5 * SPOT
