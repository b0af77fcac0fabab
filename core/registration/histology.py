"""The tissue in the picture of the ST section: where it lies, and its colours as a raster. Numpy and scipy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from core.errors import DataError
from core.registration.features import Components, principal_components
from core.registration.outline import alpha_shape, point_distance
from core.registration.rasters import Raster, rasterise
from core.registration.section import Section

IMAGES = (("hires", "tissue_hires_scalef"), ("lowres", "tissue_lowres_scalef"))
CELL = 0.4  # side of the cells in which tissue is told from glass, spot distances
BLUR = 0.35  # nuclei and fibres are no borders: standard deviation over which the stain is averaged, spot distances
CLEAN = 0.6  # specks and threads thinner than twice this are no tissue (a fiducial ring is), spot distances
GREEN = 1  # both haematoxylin and eosin absorb green
BINS = 256
FAINTEST = 0.05  # difference of the mean optical densities of tissue and glass, below which there is no tissue to see
BEYOND = 1.5  # tissue further from all spots than this was not measured, spot distances
MOSTLY = 0.5  # share of the spots' rim that has to be cut before the picture is asked
LEAST_MATCH = 0.9  # Dice of the tissue and the spots within the measured area, from which on the picture is believed


@dataclass(frozen=True)
class Histology:
    """A picture under the spots.

    Attributes
    ----------
    image
        (height, width, 3) uint8.
    scale
        Its pixels per full-resolution pixel.
    """

    image: np.ndarray
    scale: float


@dataclass(frozen=True)
class Source:
    """Points that an outline goes around.

    Attributes
    ----------
    xy
        (n, 2) full-resolution pixels.
    limit_xy
        (k, 2) those of them beyond which nothing could be seen or measured; None where that is not known.
    name
        'spots' or 'image'.
    """

    xy: np.ndarray
    limit_xy: np.ndarray | None
    name: str


@dataclass(frozen=True)
class Tissue:
    """Where a picture shows tissue.

    Attributes
    ----------
    xy
        (n, 2) centres of the cells of a square grid that lie on tissue, full-resolution pixels.
    at_border
        (n,) bool: cells along the border of the picture, beyond which there may be more.
    match
        Dice coefficient of the tissue and the spots within the measured area.
    """

    xy: np.ndarray
    at_border: np.ndarray
    match: float


def histology_of(spatial: Mapping[str, Any] | None) -> Histology | None:
    """The finest picture of ``uns['spatial']`` that has a scale; None where there is none."""
    for library in (spatial or {}).values():
        images, factors = library.get("images") or {}, library.get("scalefactors") or {}
        for name, factor in IMAGES:
            image = np.asarray(images[name]) if name in images else np.zeros(0)
            if image.ndim == 3 and image.shape[2] >= 3 and factor in factors:
                if image.dtype.kind == "f":
                    image = np.clip(image * 255, 0, 255)
                return Histology(image[:, :, :3].astype(np.uint8), float(factors[factor]))
    return None


def outline_sources(wanted: str, picture: Histology | None, spots: Source) -> list[Source]:
    """What ST's outline may be taken from, best guess first.

    Parameters
    ----------
    wanted
        'spots'; 'image'; or 'auto': the spots, and the image too where most of their rim lies within the tissue that
        it shows, so that they say little of its shape. SM was usually measured on the part under the spots.

    Raises
    ------
    DataError
        The image is wanted, and missing or without tissue.
    """
    if wanted == "spots" or (picture is None and wanted == "auto"):
        return [spots]
    if picture is None:
        mend = "Attach one, or take the outline from the spots."
        raise DataError("a histology image of the ST section", found="none with a scale", mend=mend)
    try:
        tissue = find_tissue(picture, spots.xy)
    except DataError:
        if wanted == "auto":
            return [spots]
        raise
    image = Source(tissue.xy, tissue.xy[tissue.at_border], "image")
    if wanted == "image":
        return [image]
    useful = tissue.match >= LEAST_MATCH and cut_share(tissue, spots.xy) >= MOSTLY
    return [spots, image] if useful else [spots]


def cut_share(tissue: Tissue, st_xy: np.ndarray) -> float:
    """Share of the rim of the spots *st_xy* (n, 2) beyond which the tissue goes on."""
    spot = point_distance(st_xy)
    beyond = tissue.xy[cKDTree(st_xy).query(tissue.xy)[0] > BEYOND * spot]
    if len(beyond) == 0:
        return 0.0
    rim = np.vstack([ring.xy for ring in alpha_shape(st_xy).pieces])
    return float((cKDTree(beyond).query(rim)[0] < (BEYOND + 1) * spot).mean())


def find_tissue(picture: Histology, st_xy: np.ndarray) -> Tissue:
    """Tissue by its stain: the optical density of green, averaged, above Otsu's threshold (IEEE Trans. SMC 9, 1979).

    Pieces on which no spot lies are left out (the next capture area, debris, fiducials).

    Parameters
    ----------
    st_xy
        (n, 2) spots, full-resolution pixels.

    Raises
    ------
    DataError
        No tissue is seen, or no spot lies on it.
    """
    spot = point_distance(st_xy)
    cells, step = _cells(picture, CELL * spot)
    sigma = BLUR * spot / step
    density = ndimage.gaussian_filter(-np.log((cells[:, :, GREEN] + 1) / 256), sigma, mode="nearest")
    threshold, apart = otsu(density)
    if apart < FAINTEST:
        found = f"a picture whose darker half absorbs only {100 * (1 - np.exp(-apart)):.1f} % more green"
        raise DataError("tissue in the histology", found=found, mend="Take the outline from the spots.")
    mask = _cleaned(density > threshold, CLEAN * spot / step)
    pieces = ndimage.label(mask)[0]
    seen = np.unique(pieces[_inside(st_xy / step, mask.shape)])
    mask = np.isin(pieces, seen[seen > 0])
    if not mask.any():
        raise DataError("spots on the tissue that the histology shows", found="none on any of its pieces",
                        mend="Take the outline from the spots, or mend the picture's scale.")  # fmt: skip
    row, column = np.nonzero(mask)
    height, width = mask.shape
    border = (row == 0) | (column == 0) | (row == height - 1) | (column == width - 1)
    xy = (np.column_stack([column, row]) + 0.5) * step
    return Tissue(xy, border, _match(xy, st_xy, spot, step))


def colours(picture: Histology, tissue: Tissue, section: Section, pitch: float, blur: float) -> Raster:
    """Red, green and blue (0 to 1) of the tissue, averaged as other values are; *pitch* and *blur* in working units."""
    cells, step = _cells(picture, pitch / section.unit / 2)
    row, column = _inside(tissue.xy / step, cells.shape[:2])
    xy = (np.column_stack([column, row]) + 0.5) * step
    return rasterise(section.work(xy), cells[row, column] / 255, pitch=pitch, blur=blur)


def colour_components(picture: Histology, st_xy: np.ndarray) -> Components:
    """Principal components of the colours under the spots *st_xy* (n, 2)."""
    spot = point_distance(st_xy)
    cells, step = _cells(picture, CELL * spot)
    at = st_xy.T[::-1] / step - 0.5
    seen = [
        ndimage.map_coordinates(
            ndimage.gaussian_filter(cells[:, :, c], BLUR * spot / step), at, order=1, mode="nearest"
        )
        for c in range(3)
    ]
    return principal_components(np.stack(seen, axis=1).astype(np.float64), st_xy)


def otsu(values: np.ndarray) -> tuple[float, float]:
    """The threshold that parts *values* with the largest variance between both sides, and how far their means lie
    apart."""
    counts, edges = np.histogram(values, bins=BINS)
    middle = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middle)
    above, total = below[-1] - below, sums[-1]
    low = sums / np.maximum(below, 1)
    high = (total - sums) / np.maximum(above, 1)
    between = below * above * (high - low) ** 2
    best = int(between.argmax())
    return float(edges[best + 1]), float(high[best] - low[best]) if between[best] > 0 else 0.0


def _cells(picture: Histology, side: float) -> tuple[np.ndarray, float]:
    """*picture* averaged over square cells of about *side* full-resolution pixels, float (h, w, 3), and their side."""
    block = max(1, round(side * picture.scale))
    height, width = (n // block for n in picture.image.shape[:2])
    if min(height, width) < 2:
        raise DataError("a picture that shows more than a few spots", found=f"{picture.image.shape[:2]} pixels")
    whole = picture.image[: height * block, : width * block].reshape(height, block, width, block, 3)
    return whole.mean(axis=(1, 3), dtype=np.float32), block / picture.scale


def _cleaned(mask: np.ndarray, radius: float) -> np.ndarray:
    """*mask* without what is thinner than twice *radius*, and with cracks that thin closed; cells."""
    reach = int(np.ceil(radius))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = x**2 + y**2 <= radius**2 + 0.25
    around = np.pad(mask, reach, mode="edge")  # tissue goes on beyond the picture
    around = ndimage.binary_opening(ndimage.binary_closing(around, disc), disc)
    return around[reach:-reach, reach:-reach]


def _inside(at: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of cells in which points *at* (n, 2), in cells, lie; those beside the picture are left out."""
    column, row = np.floor(at).astype(int).T
    kept = (row >= 0) & (column >= 0) & (row < shape[0]) & (column < shape[1])
    return row[kept], column[kept]


def _match(xy: np.ndarray, st_xy: np.ndarray, spot: float, step: float) -> float:
    """Dice of the cells *xy* and the spots within the box of the spots."""
    low, high = st_xy.min(axis=0) - spot / 2, st_xy.max(axis=0) + spot / 2
    measured = ((xy >= low) & (xy <= high)).all(axis=1)
    reach = 0.75 * spot  # the corners of a hexagonal cell lie at 0.58
    with_spot = np.isfinite(cKDTree(st_xy).query(xy[measured], distance_upper_bound=reach)[0]).sum()
    on_tissue = np.isfinite(cKDTree(xy).query(st_xy, distance_upper_bound=step)[0]).mean()
    area = measured.sum()
    return float(2 * with_spot / (area + with_spot / max(on_tissue, 1e-6))) if area else 0.0
