"""What a reader changed or assumed, kept in ``uns['spatialmeta']['import']`` so that the checks can say it."""

from __future__ import annotations

from typing import Any

from anndata import AnnData

from core import keys

IMPORT = "import"
FORMAT = "format"
RENAMED_FEATURES = "renamed_features"
RENAMED_OBSERVATIONS = "renamed_observations"
OUTSIDE_TISSUE = "spots_outside_tissue"
COUNTS_FROM = "counts_from"
COORDINATES_FROM = "coordinates_from"
CENTROIDED = "centroided"
NO_PROFILE = "no_profile"
RARE_PEAKS = "rare_peaks_dropped"
TOLERANCE_PPM = "mz_tolerance_ppm"
PIXEL_SIZE_UM = "pixel_size_um"
OTHER_FEATURES = "other_features_dropped"
IMAGE_SCALE = "image_scale"


def note(adata: AnnData, **facts: Any) -> None:
    """Add *facts* (plain numbers and texts) to the notes of *adata*, in place."""
    ours = adata.uns.setdefault(keys.UNS, {})
    if not isinstance(ours.get(IMPORT), dict):  # an uploaded file may hold anything there
        ours[IMPORT] = {}
    ours[IMPORT].update(facts)


def noted(adata: AnnData, fact: str, default: Any = None) -> Any:
    """The note *fact*, or *default*."""
    notes = adata.uns.get(keys.UNS, {}).get(IMPORT, {})
    return notes.get(fact, default) if isinstance(notes, dict) else default
