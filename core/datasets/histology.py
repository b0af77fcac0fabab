"""A picture of the simulated section as if stained with haematoxylin and eosin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.datasets.tissue import N_DOMAINS, Tissue

#: optical density per unit of stain in red, green and blue: the reference slide of Macenko et al., ISBI 2009
HAEMATOXYLIN = np.array([0.56, 0.72, 0.41])
EOSIN = np.array([0.22, 0.80, 0.56])
BACKGROUND = 244.0
COARSE = 4  # the section's shape is evaluated on a grid this many times coarser than the picture


def draw_histology(
    tissue: Tissue, *, width: int, height: int, centre: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """The section as uint8 RGB of shape (height, width, 3).

    Parameters
    ----------
    centre
        [x, y] of the section's centre, in pixels of this picture.
    radius
        Pixels of this picture per unit of *tissue*.
    """
    x, y = np.meshgrid(np.arange(0, width + COARSE, COARSE), np.arange(0, height + COARSE, COARSE))
    at = (np.column_stack([x.ravel(), y.ravel()]) - centre) / radius
    strength = rng.permutation(np.linspace(0.5, 1.6, N_DOMAINS))[tissue.domain(at)].reshape(x.shape)
    inside = _enlarge(1 - tissue.level(at).reshape(x.shape), height, width) + 0.006 * _texture(rng, height, width, 2.0)
    cover = np.clip(inside * radius / 2 + 0.5, 0, 1)  # an edge two pixels wide
    strength = _enlarge(ndimage.gaussian_filter(strength, 1.0), height, width)

    nuclei = np.clip(_texture(rng, height, width, 0.8) - 1.0, 0, None)
    fibres = _texture(rng, height, width, 8.0)
    haematoxylin = cover * (0.26 * strength + 0.02 * fibres + 0.35 * strength * nuclei)
    eosin = cover * (0.30 + 0.025 * _texture(rng, height, width, 2.0) + 0.02 * fibres - 0.10 * (strength - 1))
    density = np.clip(haematoxylin, 0, None)[..., None] * HAEMATOXYLIN + np.clip(eosin, 0, None)[..., None] * EOSIN
    light = BACKGROUND * np.exp(-density) + rng.normal(0, 1.2, (height, width, 1))
    return np.clip(light, 0, 255).astype(np.uint8)


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """*image* (h, w, 3) as uint8 with the longer side *longest* pixels long."""
    scale = longest / max(image.shape[:2])
    blurred = ndimage.gaussian_filter(image.astype(np.float32), (0.5 / scale, 0.5 / scale, 0))
    small = ndimage.zoom(blurred, (scale, scale, 1), order=1, grid_mode=True, mode="nearest")
    return np.clip(small, 0, 255).astype(np.uint8)


def _enlarge(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear values between the points of *coarse*, which lie COARSE pixels apart, as (height, width)."""
    rows, columns = np.arange(height) / COARSE, np.arange(width) / COARSE
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None], (columns - left)[None, :]
    upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
    lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
    return upper * (1 - down) + lower * down


def _texture(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Smoothed noise of mean 0 and standard deviation 1, as float32 (height, width)."""
    noise = ndimage.gaussian_filter(rng.standard_normal((height, width), dtype=np.float32), sigma, truncate=2.5)
    return noise / noise.std()
