"""Images of every depth against numpy, and headers that lie."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import anndata
import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, FormatError, StorageError, UntrustedFileError
from core.io import read_image, read_st
from core.io.checks import check_st
from core.io.images import as_rgb, image_size

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", PIXELS)
    np.testing.assert_array_equal(read_image(path), PIXELS)
    assert image_size(path) == (20, 30)


def test_jpeg_and_cmyk(tmp_path: Path) -> None:
    gray = np.full((32, 32, 3), 120, dtype=np.uint8)
    for mode in ("RGB", "L", "CMYK"):
        pixels = read_image(save(tmp_path / f"{mode}.jpg", gray, mode))
        assert pixels.shape == (32, 32, 3)
        assert np.abs(pixels.astype(int) - 120).max() <= 3


def test_transparent_is_white(tmp_path: Path) -> None:
    rgba = np.dstack([PIXELS, np.full((20, 30), 255, np.uint8)])
    rgba[:5, :, 3] = 0
    rgba[5, :, 3] = 51
    pixels = read_image(save(tmp_path / "a.png", rgba))
    assert (pixels[:5] == 255).all()
    np.testing.assert_array_equal(pixels[6:], PIXELS[6:])
    np.testing.assert_allclose(pixels[5], 255 * 0.8 + PIXELS[5] * 0.2, atol=1)


def test_palette_and_bilevel(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "p.png", np.full((4, 4, 3), 200, np.uint8), "P"))
    assert pixels.shape == (4, 4, 3)
    assert set(np.unique(read_image(save(tmp_path / "b.png", PIXELS, "1")))) <= {0, 255}


@pytest.mark.parametrize("top", [4095, 65_535])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_uses_its_bit_depth(tmp_path: Path, top: int, suffix: str) -> None:
    values = RNG.integers(0, top + 1, (10, 12)).astype(np.uint16)
    values[0, 0] = top
    pixels = read_image(save(tmp_path / f"a.{suffix}", values))
    np.testing.assert_allclose(pixels[:, :, 1], values * (255 / top), atol=1)


def test_float_tiff(tmp_path: Path) -> None:
    values = RNG.random((10, 12)).astype(np.float32)
    values[1, 1] = np.nan
    pixels = read_image(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(pixels[:, :, 0], np.nan_to_num(values) / np.nanmax(values) * 255, atol=1)


def test_16_bit_rgb_tiff(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 65_536, (10, 12, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), values >> 8)


def test_real_tiff(data_dir: Path) -> None:
    pixels = read_image(data_dir / "mouse_bladder/he.tif")
    with Image.open(data_dir / "mouse_bladder/he.tif") as image:
        theirs = np.asarray(image.convert("RGBA"))
    opaque = theirs[..., 3] == 255
    assert pixels.shape == (482, 904, 3)
    np.testing.assert_array_equal(pixels[opaque], theirs[opaque][:, :3])


def huge_png(path: Path, width: int, height: int) -> Path:
    """A PNG whose header declares *width* × *height* and that holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("size", [(20_001, 20_000), (200_000, 200_000), (2_000_000_000, 1)])
def test_huge_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = huge_png(tmp_path / "huge.png", *size)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UntrustedFileError, match="400 million"):
        read_image(path)
    with pytest.raises(UntrustedFileError, match="400 million"):
        image_size(path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_size_above_pillows_own_limit_is_read_from_the_header(tmp_path: Path) -> None:
    assert image_size(huge_png(tmp_path / "large.png", 15_000, 14_000)) == (14_000, 15_000)


def test_cut_image_other_formats_and_missing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", PIXELS)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UntrustedFileError, match="whole image"):
        read_image(path)
    save(tmp_path / "a.gif", PIXELS)
    (tmp_path / "a.txt").write_text("hello")
    for name in ("a.gif", "a.txt"):
        with pytest.raises(FormatError):
            read_image(tmp_path / name)
    with pytest.raises(StorageError):
        read_image(tmp_path / "none.png")


def test_as_rgb() -> None:
    np.testing.assert_array_equal(as_rgb(PIXELS), PIXELS)
    np.testing.assert_array_equal(as_rgb((PIXELS / 255).astype(np.float32)), PIXELS)
    for other in (PIXELS.astype(np.float64), PIXELS.astype(np.int64), PIXELS.astype(np.uint16) * 257):
        np.testing.assert_array_equal(as_rgb(other), PIXELS)
    assert as_rgb(PIXELS[..., 0]).shape == (20, 30, 3)
    assert as_rgb(np.zeros((3, 3, 7))) is None
    assert as_rgb("text") is None


def test_a_smaller_picture_is_averaged(tmp_path: Path) -> None:
    pixels = np.repeat(np.repeat(PIXELS, 2, axis=0), 2, axis=1)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(path, longest=max(PIXELS.shape)), PIXELS)
    np.testing.assert_array_equal(read_image(path, longest=4096), pixels)


@pytest.fixture
def section(tmp_path: Path) -> Path:
    """An ST section of 10 x 10 spots, 100 px apart, without any image."""
    xy = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=-1).reshape(-1, 2) * 100.0 + 50
    adata = anndata.AnnData(np.ones((100, 4), np.float32), obsm={"spatial": xy})
    adata.obs_names = [f"s{i}" for i in range(100)]
    adata.uns["spatial"] = {
        "a": {
            "images": {},
            "scalefactors": {"tissue_hires_scalef": 0.5, "tissue_lowres_scalef": 0.1, "spot_diameter_fullres": 65.0},
        }
    }
    adata.write_h5ad(tmp_path / "st.h5ad")
    return tmp_path / "st.h5ad"


@pytest.mark.parametrize(("side", "scale"), [(1000, 1.0), (500, 0.5), (100, 0.1)])
def test_scale_of_an_image_is_found(section: Path, tmp_path: Path, side: int, scale: float) -> None:
    image = save(tmp_path / "he.png", np.zeros((side, side, 3), np.uint8))
    entry = read_st(section, image=image).uns["spatial"]["a"]
    assert entry["scalefactors"]["tissue_hires_scalef"] == scale
    assert entry["images"]["hires"].shape == (side, side, 3)


def test_scale_of_an_image_must_be_given(section: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "he.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(DataError, match="image_scale"):
        read_st(section, image=image)
    adata = read_st(section, image=image, image_scale=0.05)
    assert adata.uns["spatial"]["a"]["scalefactors"]["tissue_hires_scalef"] == 0.05
    assert "Histology" not in [c.title for c in check_st(adata) if c.level == "warning"]
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="above zero"):
            read_st(section, image=image, image_scale=wrong)


def test_spots_outside_the_image_are_said(section: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "he.png", np.zeros((50, 50, 3), np.uint8))
    adata = read_st(section, image=image, image_scale=0.1)
    outside = (adata.obsm["spatial"] > 500).any(axis=1).sum()
    said = next(c for c in check_st(adata) if c.title == "Histology")
    assert 0 < outside < adata.n_obs
    assert (said.level, said.found.split()[0]) == ("warning", str(outside))
    assert "scale" in said.mend


def test_a_large_image_is_kept_smaller(section: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "he.png", np.zeros((1000, 8192, 3), np.uint8))
    entry = read_st(section, image=image).uns["spatial"]["a"]
    assert entry["images"]["hires"].shape == (500, 4096, 3)
    assert entry["scalefactors"]["tissue_hires_scalef"] == 0.5


def test_an_image_for_a_section_without_uns(data_dir: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "he.png", np.zeros((400, 420, 3), np.uint8))
    adata = read_st(data_dir / "vicari_A1/st.h5ad", image=image, image_scale=0.01)
    factors = adata.uns["spatial"]["section"]["scalefactors"]
    assert factors["spot_diameter_fullres"] * adata.uns["spatialmeta"]["um_per_px"] == pytest.approx(65)
