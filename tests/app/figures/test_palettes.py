"""Colours as colour-blind people see them: Machado, Oliveira & Fernandes (IEEE TVCG 15, 2009) at full severity,
distances in CIEDE2000 as scikit-image computes them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from core.palette import CATEGORIES
from spatialmeta_app.figures.palettes import LINES, OUTLINES, SCALES, hex_stops
from spatialmeta_app.services.raster import NO_VALUE, SIDE, _ramp, _square

EYES = {  # on linear sRGB
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colours, eyes: str) -> np.ndarray:
    """CIELAB (n, 3) of colours, '#rrggbb' or uint8 (n, 3)."""
    if isinstance(colours[0], str):
        colours = [list(bytes.fromhex(c.removeprefix("#"))) for c in colours]
    rgb = np.asarray(colours) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(EYES[eyes]), 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def least(colours, eyes: str) -> float:
    """The smallest distance between two of them."""
    lab = seen(colours, eyes)
    i, j = np.triu_indices(len(lab), 1)
    return float(deltaE_ciede2000(lab[i], lab[j]).min())


@pytest.mark.parametrize("eyes", EYES)
def test_categories_outlines_and_lines_are_told_apart(eyes: str) -> None:
    """Twelve well, twenty-four still; also from the grey of 'no value'. 2.3 is a difference that is just noticed."""
    assert least([*CATEGORIES[:12], NO_VALUE], eyes) > 10
    assert least([*CATEGORIES, NO_VALUE], eyes) > 7
    assert least(OUTLINES, eyes) > 12
    assert least(LINES, eyes) > 12


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("scale", SCALES)
def test_scales_run_one_way_in_lightness(scale: str, eyes: str) -> None:
    light = seen(_ramp(hex_stops(scale), 32), eyes)[:, 0]
    steps = np.diff(light) * np.sign(light[-1] - light[0])
    assert steps.min() > -0.5
    assert abs(light[-1] - light[0]) > 50
    assert least(_ramp(hex_stops(scale), 8), eyes) > 3


@pytest.mark.parametrize("eyes", EYES)
def test_corners_of_the_square_of_two_features_are_told_apart(eyes: str) -> None:
    square = _square().reshape(SIDE, SIDE, 3)
    assert least([square[i, j] for i in (0, -1) for j in (0, -1)], eyes) > 20
