"""µm per pixel against what is known of real slides and against scipy."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from core.errors import DataError
from core.io import read_st
from core.spatial.scale import smallest_distance, um_per_px


def section(xy: np.ndarray, **factors: float) -> anndata.AnnData:
    adata = anndata.AnnData(np.ones((len(xy), 1), np.float32), obsm={"spatial": xy})
    adata.uns["spatial"] = {"a": {"scalefactors": factors}}
    return adata


def test_smallest_distance_equals_scipys() -> None:
    xy = np.random.default_rng(0).random((200, 2))
    assert smallest_distance(xy) == pytest.approx(pdist(xy).min())
    assert smallest_distance(np.vstack([xy, xy])) == pytest.approx(pdist(xy).min())
    assert smallest_distance(np.zeros((5, 2))) is None
    assert smallest_distance(np.array([[np.nan, 1], [1, 1]])) is None


def test_grid_gives_100_um() -> None:
    value, source = um_per_px(section(np.array([[0.0, 0], [200, 0], [500, 0]])))
    assert value == 0.5
    assert "100 µm" in source


def test_sparse_spots_use_the_diameter() -> None:
    value, source = um_per_px(section(np.array([[0.0, 0], [2000, 0]]), spot_diameter_fullres=130.0))
    assert value == 0.5
    assert "65 µm" in source


def test_visium_hd_says_it_itself() -> None:
    assert um_per_px(section(np.array([[0.0, 0], [29, 0]]), microns_per_pixel=0.27))[0] == 0.27


def test_no_two_spots() -> None:
    with pytest.raises(DataError):
        um_per_px(section(np.zeros((1, 2))))


def test_a_section_is_as_large_as_a_capture_area(data_dir: Path) -> None:
    """Visium's capture area is 6.5 mm square: full sections must come out at most so long, and near it."""
    for name in ("dlpfc_151673_pair", "vicari_B1"):
        adata = read_st(data_dir / name / "st.h5ad")
        long_side_mm = np.ptp(adata.obsm["spatial"], axis=0).max() * adata.uns["spatialmeta"]["um_per_px"] / 1000
        assert 5.5 < long_side_mm < 6.9


def test_the_laser_raster_of_vicari_is_100_um(data_dir: Path) -> None:
    """Vicari et al. rastered at 100 µm; the experts' affine says how many full-res pixels that is."""
    st = read_st(data_dir / "vicari_B1/st.h5ad")
    affine = anndata.read_h5ad(data_dir / "vicari_B1/sm.h5ad").uns["affine_grid_to_visium_px"]
    pitch_px = np.sqrt(abs(np.linalg.det(affine[:2])))
    assert pitch_px * st.uns["spatialmeta"]["um_per_px"] == pytest.approx(100, rel=0.05)
