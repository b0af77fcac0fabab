"""The tissue in a picture, against drawn shapes and shapely; when its outline is taken in place of the spots'."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPoint, Point, Polygon

from core import keys
from core.context import Context
from core.datasets import SimulateConfig, simulate
from core.datasets.histology import EOSIN, HAEMATOXYLIN
from core.errors import DataError
from core.registration import AlignConfig, Pair, register
from core.registration.histology import Histology, Source, cut_share, find_tissue, histology_of, outline_sources
from core.registration.outline import alpha_shape, point_distance

SCALE = 0.1  # picture pixels per full-resolution pixel
SPOT = 100.0  # full-resolution pixels
BEAN = Polygon([(600, 900), (1500, 500), (3000, 700), (3600, 1900), (2700, 2100), (2300, 3100), (1000, 3000)])
HOLE = Point(1400, 1700).buffer(260)
ISLAND = Polygon([(3200, 2700), (3900, 2700), (3900, 3300), (3200, 3300)])
TISSUE = BEAN.difference(HOLE).union(ISLAND)


def drawn(tissue: shapely.Geometry, *, side: int = 420, seed: int = 0) -> Histology:
    """Stain on *tissue* (full-resolution pixels), a pink haze over half of the glass, noise, and dots around it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    on = shapely.contains_xy(tissue, x.ravel() / SCALE, y.ravel() / SCALE).reshape(side, side)
    haematoxylin, eosin = 0.25 * on * rng.gamma(2, 0.5, (side, side)), 0.35 * on + 0.08 * x / side
    density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN
    image = 225 * np.exp(-density) + rng.normal(0, 4, (side, side, 3))
    dots = ((x % 12 < 5) & (y % 12 < 5)) & ((x < 14) | (x > side - 14))  # a fiducial frame
    image[dots] = 90
    return Histology(np.clip(image, 0, 255).astype(np.uint8), SCALE)


def hexagonal(tissue: shapely.Geometry, low: float = 0.0, high: float = 4200.0) -> np.ndarray:
    row, column = np.meshgrid(np.arange(60), np.arange(60), indexing="ij")
    xy = np.column_stack([(column + 0.5 * (row % 2)).ravel(), (row * np.sqrt(3) / 2).ravel()]) * SPOT
    kept = shapely.contains_xy(tissue, *xy.T) & ((xy > low) & (xy < high)).all(axis=1)
    return xy[kept]


def dice(a: shapely.Geometry, b: shapely.Geometry) -> float:
    return 2 * a.intersection(b).area / (a.area + b.area)


def polygons(xy: np.ndarray) -> shapely.Geometry:
    shape = alpha_shape(xy)
    pieces = shapely.union_all([Polygon(ring.xy).buffer(shape.rim(ring), join_style="mitre") for ring in shape.pieces])
    return pieces.difference(shapely.union_all([Polygon(ring.xy) for ring in shape.holes]))


def test_drawn_tissue_is_found_with_its_hole_and_both_pieces() -> None:
    tissue = find_tissue(drawn(TISSUE), hexagonal(TISSUE))
    shape = alpha_shape(tissue.xy)
    assert (len(shape.pieces), len(shape.holes)) == (2, 1)
    assert dice(polygons(tissue.xy), TISSUE) > 0.97
    assert tissue.match > 0.95
    assert not tissue.at_border.any()


def test_pieces_without_a_spot_are_left_out() -> None:
    tissue = find_tissue(drawn(TISSUE), hexagonal(BEAN))
    assert dice(polygons(tissue.xy), BEAN.difference(HOLE)) > 0.97


def test_tissue_that_leaves_the_picture_is_cut_there() -> None:
    tissue = find_tissue(drawn(shapely.box(-500, 1000, 2000, 3000)), hexagonal(shapely.box(0, 1000, 2000, 3000)))
    assert tissue.xy[tissue.at_border][:, 0].max() < SPOT
    assert np.ptp(tissue.xy[tissue.at_border][:, 1]) == pytest.approx(2000, abs=2 * SPOT)


def test_match_is_the_dice_of_the_areas() -> None:
    """Spots on the left three quarters of the tissue only, and some beside it."""
    placed = hexagonal(BEAN.buffer(150))
    spots = placed[(placed[:, 0] < 3000) | (placed[:, 1] < 800)]
    tissue = find_tissue(drawn(BEAN), spots)
    low, high = spots.min(axis=0) - SPOT / 2, spots.max(axis=0) + SPOT / 2
    measured = shapely.union_all([Point(p).buffer(0.577 * SPOT) for p in spots])
    assert tissue.match == pytest.approx(dice(measured, BEAN.intersection(shapely.box(*low, *high))), abs=0.03)
    assert tissue.match < 0.95


def test_blank_pictures_and_other_scales_are_refused() -> None:
    spots = hexagonal(BEAN)
    blank = Histology(np.random.default_rng(1).normal(220, 3, (420, 420, 3)).astype(np.uint8), SCALE)
    with pytest.raises(DataError, match="tissue in the histology"):
        find_tissue(blank, spots)
    with pytest.raises(DataError, match="spots on the tissue"):
        find_tissue(drawn(ISLAND), spots)


def test_auto_takes_the_spots_unless_they_lie_within_the_tissue() -> None:
    picture, whole, inner = drawn(BEAN), hexagonal(BEAN), hexagonal(BEAN, 1200, 2600)
    blank = Histology(np.full((420, 420, 3), 220, dtype=np.uint8), SCALE)

    def names(wanted: str, xy: np.ndarray, shown: Histology | None = picture) -> list[str]:
        return [source.name for source in outline_sources(wanted, shown, Source(xy, None, "spots"))]

    assert names("auto", whole) == names("spots", inner) == ["spots"]
    assert names("auto", inner) == ["spots", "image"]
    assert names("image", whole) == ["image"]
    assert names("auto", inner, None) == names("auto", inner, blank) == ["spots"]
    assert names("auto", inner + np.array([700, 900])) == ["spots"]  # it does not show these spots
    for shown in (None, blank):
        with pytest.raises(DataError, match="histology"):
            names("image", inner, shown)


def test_cut_share_is_that_of_the_rim() -> None:
    square = shapely.box(500, 500, 3500, 3500)
    tissue = find_tissue(drawn(square), hexagonal(square))
    assert cut_share(tissue, hexagonal(square)) == 0
    half = hexagonal(square, 0, 4200)
    half = half[half[:, 0] < 2000]  # 3 m of 1.5 + 1.5 + 3 + 3 are cut
    assert cut_share(tissue, half) == pytest.approx(3 / 9, abs=0.06)


def test_pictures_are_read_as_scanpy_keeps_them() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (4, 5, 4)).astype(np.float32)
    factors = {"tissue_lowres_scalef": 0.1, "tissue_hires_scalef": 0.5}
    found = histology_of({"a": {"images": {"lowres": image}, "scalefactors": factors}})
    assert (found.scale, found.image.shape, found.image.dtype) == (0.1, (4, 5, 3), np.uint8)
    np.testing.assert_allclose(found.image, image[:, :, :3] * 255, atol=1)
    both = histology_of({"a": {"images": {"lowres": image, "hires": image}, "scalefactors": factors}})
    assert both.scale == 0.5
    assert histology_of(None) is histology_of({"a": {"images": {"hires": image}}}) is None


@pytest.fixture(scope="module")
def cropped() -> tuple[Pair, np.ndarray]:
    """SM of a whole section, ST of a square within it, a histology of all; and where the SM pixels truly lie."""
    made = simulate(SimulateConfig(spots=900, genes=20, metabolites=20, rotation_deg=70.0, flip=True, warp=0.0, seed=3))
    xy = np.asarray(made.st.obsm[keys.SPATIAL], dtype=float)
    inner = (np.abs(xy - (xy.min(axis=0) + xy.max(axis=0)) / 2) <= 6 * point_distance(xy)).all(axis=1)
    picture = histology_of(made.st.uns[keys.UNS_SPATIAL])
    values = (made.st.X[inner], made.sm.X)
    pair = Pair(xy[inner], np.asarray(made.sm.obsm[keys.SPATIAL], dtype=float), 0.5, values=values, picture=picture)
    return pair, made.truth.true_st_xy


def test_whole_section_on_a_part_of_it_is_placed_by_the_image(cropped) -> None:
    pair, truth = cropped
    result = register(pair, AlignConfig(transform="similarity"), Context())
    assert result.st_outline == "image"
    away = np.linalg.norm(result.forward(pair.sm_xy) - truth, axis=1).mean() / point_distance(pair.st_xy)
    assert away < 0.4
    assert result.note == ""
    assert not result.orientation.ambiguous


def test_without_an_image_it_says_that_it_can_not_know(cropped) -> None:
    result = register(cropped[0], AlignConfig(transform="similarity", st_outline="spots", max_steps=60), Context())
    assert "ST is cut nearly all around" in result.note
    assert result.orientation.ambiguous


def test_real_tissue_is_where_the_spots_are(data_dir: Path) -> None:
    st = ad.read_h5ad(data_dir / "vicari_B1" / "st.h5ad")
    xy = np.asarray(st.obsm[keys.SPATIAL], dtype=float)
    tissue = find_tissue(histology_of(st.uns[keys.UNS_SPATIAL]), xy)
    reach = point_distance(xy) / np.sqrt(3)
    measured = shapely.union_all(shapely.buffer(shapely.points(xy), reach, quad_segs=4))
    box = MultiPoint(xy).envelope.buffer(reach)
    assert dice(measured, polygons(tissue.xy).intersection(box)) > 0.97
    assert tissue.match > 0.97
    assert len(alpha_shape(tissue.xy).holes) == 2  # the ventricles
