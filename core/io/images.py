"""Histology images: PNG, JPEG, TIFF of any depth, as 8-bit RGB."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from anndata import AnnData
from PIL import Image

from core import keys
from core.errors import DataError, FormatError, StorageError, UntrustedFileError
from core.io.notes import IMAGE_SCALE, note

#: 20,000 × 20,000: 1.2 GB as RGB
MAX_PIXELS = 400_000_000
#: long side of the image that is kept inside the AnnData
KEPT_SIDE = 4096
FORMATS = ("PNG", "JPEG", "TIFF")

_PILLOW_LIMIT = threading.Lock()  # Image.MAX_IMAGE_PIXELS is a global of Pillow


def read_image(path: str | Path, *, longest: int | None = None) -> np.ndarray:
    """Read a histology image as (H, W, 3) uint8; no side longer than *longest* pixels, where given, by averaging.

    The size in the header is looked at before anything is unpacked. Transparent parts become white; 16-bit and float
    images are scaled from zero to the bit depth in use (10, 12, 14 or 16 bits) or to their largest value.

    Raises
    ------
    UntrustedFileError
        More than 400 million pixels, or a damaged file.
    FormatError
        Not a PNG, JPEG or TIFF.
    """
    with picture(path) as image:
        if longest is None or max(image.size) <= longest:
            return np.array(image, dtype=np.uint8)
        shrink = longest / max(image.size)
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
        return np.array(image.resize(size, Image.Resampling.BOX), dtype=np.uint8)


@contextmanager
def picture(path: str | Path) -> Iterator[Image.Image]:
    """A histology image as Pillow's RGB image, open as long as the block: of plain RGB there is one copy in memory.

    Raises what :func:`read_image` raises.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            image.load()
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
            raise UntrustedFileError(
                "a whole image", found=f"damage in {path.name} ({error})", mend="Export or upload it again."
            ) from error
        plain = image.mode == "RGB" and "transparency" not in image.info
        yield image if plain else _to_rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels, from the header alone; refuses what :func:`read_image` refuses by its header."""
    with _opened(Path(path)) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise StorageError(f"the image {path}", found="no such file")
    try:
        with _PILLOW_LIMIT, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata that does not touch the pixels
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # our own check follows, on the header
            try:
                image = Image.open(path, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except Exception as error:
        raise FormatError(
            "a PNG, JPEG or TIFF image",
            found=f"{path.name}, which is none that can be read",
            mend="Export the histology as PNG or as plain RGB TIFF.",
        ) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise UntrustedFileError(
                "an image of at most 400 million pixels (20,000 × 20,000)",
                found=f"{image.width:,} × {image.height:,} in {path.name}",
                mend="Export it at a lower resolution and give the scale.",
            )
        yield image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return image.convert("RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max(initial=0.0))
    whole = largest > 1 and largest <= 65_535
    top = next((t for t in (255, 1023, 4095, 16_383, 65_535) if largest <= t), largest) if whole else max(largest, 1e-9)
    return np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)


def as_rgb(pixels: object) -> np.ndarray | None:
    """An image array as (H, W, 3) uint8: gray or RGB(A), of bytes, of 16 bits, or of floats up to 1 (as scanpy reads
    them) or up to 255; else None."""
    array = np.asarray(pixels)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.size == 0 or array.dtype.kind not in "fui":
        return None
    array = array[:, :, :3]
    if array.dtype != np.uint8:
        array = np.nan_to_num(array)
        largest = array.max()
        whole = array.dtype.kind != "f" or largest > 2  # interpolation takes floats a little beyond 1
        top = next((t for t in (255, 65_535) if largest <= t), float(largest)) if whole else 1.0
        array = np.clip(array * (255.0 / top) + 0.5, 0, 255)
    return np.ascontiguousarray(array, dtype=np.uint8)


def attach_image(adata: AnnData, path: str | Path, scale: float | None = None) -> None:
    """Put the histology at *path* into ``uns['spatial'][sample]['images']['hires']``, in place.

    Parameters
    ----------
    scale
        Image pixels per full-resolution pixel. None: 1 if all spots fall inside the image at 1, else the largest of
        the section's scale factors at which they do.

    Raises
    ------
    DataError
        The spots do not fall inside the image at any scale that is known.
    """
    size, entry = image_size(path), _entry(adata)
    scale = _fitting_scale(adata, size, entry["scalefactors"]) if scale is None else float(scale)
    if not (np.isfinite(scale) and scale > 0):
        raise DataError("an image scale above zero", found=f"{scale}")
    entry["images"]["hires"] = read_image(path, longest=KEPT_SIDE)
    shrink = min(1.0, KEPT_SIDE / max(size))
    entry["scalefactors"]["tissue_hires_scalef"] = scale * shrink
    note(adata, **{IMAGE_SCALE: scale})


def _entry(adata: AnnData) -> dict:
    """``uns['spatial'][sample]`` with images and scalefactors, made where it is missing."""
    samples = adata.uns.setdefault(keys.UNS_SPATIAL, {})
    name = next(iter(samples), "section")
    entry = samples.setdefault(name, {})
    entry.setdefault("images", {})
    factors = entry.setdefault("scalefactors", {})
    if "spot_diameter_fullres" not in factors:  # scanpy and squidpy need it to draw spots
        from core.spatial.scale import SPOT_DIAMETER_UM, um_per_px

        factors["spot_diameter_fullres"] = SPOT_DIAMETER_UM / um_per_px(adata)[0]
    return entry


def _fitting_scale(adata: AnnData, size: tuple[int, int], factors: dict) -> float:
    if keys.SPATIAL not in adata.obsm:
        raise DataError("spots with coordinates, to lay the image under", found="none")
    x, y = np.asarray(adata.obsm[keys.SPATIAL], dtype=np.float64)[:, :2].T
    known = [("1", 1.0)] + [
        (k, float(factors[k])) for k in ("tissue_hires_scalef", "tissue_lowres_scalef") if k in factors
    ]
    for _, scale in known:
        if x.min() >= 0 and y.min() >= 0 and x.max() * scale <= size[1] and y.max() * scale <= size[0]:
            return scale
    raise DataError(
        f"an image that holds all spots (x up to {x.max():,.0f}, y up to {y.max():,.0f} full-resolution pixels)",
        found=f"{size[1]:,} × {size[0]:,} pixels, too few at scale " + ", ".join(f"{s:.4g}" for _, s in known),
        mend="Give the scale (image_scale): image pixels per full-resolution pixel.",
    )
