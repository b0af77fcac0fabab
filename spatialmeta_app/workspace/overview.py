"""The histology of an ST section as a picture the browser can lay under the spots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import keys

if TYPE_CHECKING:
    from anndata import AnnData

LONGEST_SIDE = 2048
QUALITY = 88
NAME = "overview"


def write_overview(adata: AnnData, directory: Path) -> dict[str, Any] | None:
    """Write ``overview.jpg`` (longest side at most 2048) and ``overview.json`` from ``uns['spatial']``.

    The JSON is its place in full-resolution pixels: ``{x0, y0, width_px, height_px, width, height}``, the last two the
    picture's own size. Nothing is written, and None returned, where the section has no image.
    """
    from PIL import Image

    found = largest_image(adata)
    if found is None:
        return None
    pixels, scale = found
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    place = {
        "x0": 0.0,
        "y0": 0.0,
        "width_px": pixels.shape[1] / scale,
        "height_px": pixels.shape[0] / scale,
        "width": picture.width,
        "height": picture.height,
    }
    directory.mkdir(parents=True)
    picture.save(directory / f"{NAME}.jpg", quality=QUALITY)
    (directory / f"{NAME}.json").write_text(json.dumps(place), encoding="utf-8")
    return place


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
