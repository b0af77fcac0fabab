"""The histology of an ST section as pictures the browser can lay under the spots: an overview and, under it, tiles."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import keys

if TYPE_CHECKING:
    from anndata import AnnData
    from PIL.Image import Image

LONGEST_SIDE = 2048
QUALITY = 88
NAME = "overview"
PYRAMID = "pyramid.json"
TILE = 512  # pixels a side


def write_histology(adata: AnnData, directory: Path, source: Path | None = None) -> dict[str, Any] | None:
    """Write the histology of *adata* to *directory*, which must not exist: ``overview.jpg`` (longest side at most 2048
    pixels) with ``overview.json``, and, where the image is larger, a pyramid of tiles.

    *source* is the image file as it was uploaded, which is sharper than what the AnnData keeps of it; without one the
    sharpest image in ``uns['spatial']`` is taken. ``overview.json`` is the place in full-resolution pixels: ``{x0, y0,
    width_px, height_px, width, height}``, the last two the picture's own size. ``pyramid.json``: ``{size, overview,
    levels: [{level, scale, columns, rows}]}``, scales being pixels per full-resolution pixel, level 0 the image itself
    and each further one half as sharp; a tile is ``tiles/<level>/<column>_<row>.jpg``.

    Nothing is written, and None returned, where the section has no image. A file of 400 million pixels takes 1.2 GB of
    memory, that is one copy of it.
    """
    from PIL import Image

    from core.io.images import picture
    from core.io.notes import IMAGE_SCALE, noted

    scale = noted(adata, IMAGE_SCALE)
    if source is not None and scale:
        opened = picture(source)
    else:
        found = largest_image(adata)
        if found is None:
            return None
        pixels, scale = found
        opened = nullcontext(Image.fromarray(pixels))
    with opened as image:
        return _write(image, float(scale), directory)


def _write(image: Image, scale: float, directory: Path) -> dict[str, Any]:
    from PIL import Image as Pillow

    shrink = min(1.0, LONGEST_SIDE / max(image.size))
    small = tuple(max(1, round(side * shrink)) for side in image.size)
    place = {"x0": 0.0, "y0": 0.0, "width_px": image.width / scale, "height_px": image.height / scale}
    place |= {"width": small[0], "height": small[1]}
    directory.mkdir(parents=True)
    overview = image if shrink == 1 else image.resize(small, Pillow.Resampling.BOX)
    overview.save(directory / f"{NAME}.jpg", quality=QUALITY)
    (directory / f"{NAME}.json").write_text(json.dumps(place), encoding="utf-8")
    if shrink < 1:
        levels = _write_tiles(image, scale, directory / "tiles")
        about = {"size": TILE, "overview": scale * shrink, "levels": levels}
        (directory / PYRAMID).write_text(json.dumps(about), encoding="utf-8")
    return place


def _write_tiles(image: Image, scale: float, folder: Path) -> list[dict[str, Any]]:
    """Tiles of the image, and of its halves as long as they are sharper than the overview."""
    levels: list[dict[str, Any]] = []
    while max(image.size) > LONGEST_SIDE:
        level, columns, rows = len(levels), -(-image.width // TILE), -(-image.height // TILE)
        (folder / str(level)).mkdir(parents=True)
        for row in range(rows):
            for column in range(columns):
                left, top = column * TILE, row * TILE
                box = (left, top, min(left + TILE, image.width), min(top + TILE, image.height))
                image.crop(box).save(folder / str(level) / f"{column}_{row}.jpg", quality=QUALITY)
        levels.append({"level": level, "scale": scale / 2**level, "columns": columns, "rows": rows})
        image = image.reduce(2)
    return levels


def largest_image(adata: AnnData) -> tuple[Any, float] | None:
    """The sharpest image (H, W, 3) uint8 and its pixels per full-resolution pixel."""
    import numpy as np

    found = []
    for entry in adata.uns.get(keys.UNS_SPATIAL, {}).values():
        for name, image in entry.get("images", {}).items():
            scale = float(entry.get("scalefactors", {}).get(f"tissue_{name}_scalef", 0.0))
            if scale > 0 and np.ndim(image) >= 2:
                found.append((_rgb(np.asarray(image)), scale))
    return max(found, key=lambda pair: pair[0].shape[0], default=None)


def _rgb(image: Any) -> Any:
    """Any picture as (H, W, 3) uint8: grey is repeated, an alpha channel dropped, floats in [0, 1] scaled."""
    import numpy as np

    image = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    if image.dtype.kind == "f" and image.size and np.nanmax(image) <= 1.0:
        image = image * 255.0
    image = np.clip(np.nan_to_num(image), 0, 255).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image[:, :, :3])
