"""What is good, doubtful or impossible about an ST and an SM section together."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from core import keys
from core.io import notes
from core.io.checks import Check, mixed_sections


def check_pair(st: AnnData, sm: AnnData, *, aligned: bool = False) -> list[Check]:
    """The findings about two sections together.

    Before alignment the frames have nothing to do with each other, so only the sizes are compared. With *aligned* the
    SM coordinates are full-res ST pixels, and sections that do not overlap are blocking.
    """
    a, b = _finite_coordinates(st), _finite_coordinates(sm)
    if a is None or b is None:
        return [
            Check(
                "blocking",
                "Coordinates",
                "One of the sections has no usable coordinates.",
                "Choose files with obsm['spatial'].",
            )
        ]
    findings = []
    for section in (st, sm):
        xy = np.asarray(section.obsm[keys.SPATIAL], dtype=np.float64)[:, :2]
        several = mixed_sections(section, xy) if np.isfinite(xy).all() else None
        if several:
            findings.append(Check("blocking", "Coordinates", several.found, several.mend))
    findings.append(_density(len(a), len(b)))
    findings.append(_overlap(a, b) if aligned else _extents(a, b))
    pixel = notes.noted(sm, notes.PIXEL_SIZE_UM)
    um_per_px = st.uns.get(keys.UNS, {}).get(keys.UM_PER_PX)
    if not aligned and pixel is not None and um_per_px is not None:
        findings.append(_lengths(np.ptp(a, axis=0) * float(um_per_px), np.ptp(b, axis=0) * np.asarray(pixel)))
    return findings


def _finite_coordinates(adata: AnnData) -> np.ndarray | None:
    if keys.SPATIAL not in adata.obsm:
        return None
    xy = np.asarray(adata.obsm[keys.SPATIAL])
    if xy.ndim != 2 or xy.shape[1] < 2 or xy.dtype.kind not in "fiu":
        return None
    xy = xy[np.isfinite(xy[:, :2]).all(axis=1), :2].astype(np.float64)
    return xy if len(xy) > 1 else None


def _density(spots: int, pixels: int) -> Check:
    ratio = pixels / spots
    text = f"{pixels:,} SM pixels on {spots:,} ST spots ({ratio:.2g} to 1)."
    if 0.2 <= ratio <= 200:
        return Check("ok", "Density", text)
    return Check("warning", "Density", text, "Check that both files show the same section.")


def _extents(st: np.ndarray, sm: np.ndarray) -> Check:
    """Compare the shapes of the bounding boxes, long side by short side, which no rotation by 90° changes."""
    shapes = []
    for xy in (st, sm):
        short, long = np.sort(np.ptp(xy, axis=0))
        shapes.append(long / short if short > 0 else np.inf)
    factor = max(shapes) / min(shapes)
    text = f"Long side by short side: ST {shapes[0]:.2f}, SM {shapes[1]:.2f}."
    if factor <= 2:
        return Check("ok", "Extent", text)
    return Check("warning", "Extent", text, "Shapes differ much; check that both files show the same section.")


def _lengths(st_um: np.ndarray, sm_um: np.ndarray) -> Check:
    """Compare the long sides of the bounding boxes in µm."""
    st, sm = float(st_um.max()), float(sm_um.max())
    text = f"Long side: ST {st:,.0f} µm, SM {sm:,.0f} µm."
    if 1 / 3 <= sm / st <= 3:
        return Check("ok", "Length", text)
    return Check("warning", "Length", text, "Check the pixel size of the SM file and the scale of the ST file.")


def _overlap(st: np.ndarray, sm: np.ndarray) -> Check:
    low, high = np.maximum(st.min(0), sm.min(0)), np.minimum(st.max(0), sm.max(0))
    inside = np.all((st >= low) & (st <= high), axis=1) if np.all(high > low) else np.zeros(len(st), dtype=bool)
    share = float(inside.mean())
    if share == 0:
        return Check(
            "blocking",
            "Overlap",
            "The aligned sections do not overlap.",
            "Align again, with a start position if needed.",
        )
    text = f"{share:.0%} of the ST spots lie within the extent of the SM section."
    return Check(
        "ok" if share >= 0.5 else "warning",
        "Overlap",
        text,
        "" if share >= 0.5 else "Check the alignment; spots without SM are left out.",
    )
