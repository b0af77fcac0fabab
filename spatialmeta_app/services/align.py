"""What the Align page draws: where the arrays are, the frame of the manual controls, colours of the SM section."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.spatial import smallest_distance
from spatialmeta_app.services import pictures
from spatialmeta_app.services.results import coordinates, open_view
from spatialmeta_app.workspace.records import Result
from spatialmeta_app.workspace.views import View

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

#: what SM can be coloured by besides its features
COLORS = TOTAL, OUTLINE, FIRST, RGB, PLAIN = (
    "Total intensity",
    "Outline",
    "First component",
    "Three components (RGB)",
    "One colour",
)
#: principal components that can be drawn
SHOWN_COMPONENTS = 3
#: settings that the manual controls hold; the rest is in the form
MANUAL = ("flip", "rotation_deg", "scale_x", "scale_y", "shift_x_um", "shift_y_um")
SAVE = {"mode": "manual"}
FIT_FROM = {"mode": "automatic", "orientation": "given"}
BY_LANDMARKS = {"mode": "landmarks"}
WITH_LANDMARKS = {"mode": "automatic", "orientation": "search"}


def as_text(rows: list[list[float]]) -> str:
    """Landmark pairs as the settings keep them."""
    from core.registration.landmarks import from_rows

    return from_rows(rows).to_text()


def frames(workspace: Workspace, sample: str) -> list[str]:
    """Coordinates of the SM section that can be aligned: obsm entries with two columns, 'spatial' first."""
    sm = workspace.choices(sample).get("sm")
    if sm is None:
        return []
    found = [name for name, columns in open_view(workspace, sm).meta["obsm"].items() if columns == 2]
    return sorted(found, key=lambda name: (name != keys.SPATIAL, name))


def scene(workspace: Workspace, sample: str, *, frame: str = keys.SPATIAL) -> dict[str, Any] | None:
    """All that ``assets/align.js`` needs to draw, as JSON; None where a section is missing. *frame* names the SM
    coordinates that are to be aligned.

    ``base`` is ``core.registration.manual_base``: raw coordinates are moved from ``source`` to ``target`` and
    multiplied by ``scale`` before anything is set by hand. Lengths in full-resolution pixels, ``pitch`` in the unit of
    the raw coordinates. ``start`` are the manual values of an alignment that was set by hand, ``marks`` the
    landmark pairs of the one in use.
    """
    chosen = workspace.choices(sample)
    if "st" not in chosen or "sm" not in chosen:
        return None
    st, sm = (open_view(workspace, chosen[name]) for name in ("st", "sm"))
    base, pitch = _frame(st.directory, sm.directory, frame)
    aligned = _aligned(chosen, frame)
    return {
        "key": f"{chosen['st'].id}.{chosen['sm'].id}.{frame}",
        "st_url": f"/api/view/{chosen['st'].id}/obsm/{keys.SPATIAL}",
        "sm_url": f"/api/view/{chosen['sm'].id}/obsm/{frame}",
        "aligned_url": f"/api/view/{aligned.id}/obsm/{keys.SPATIAL}" if aligned else None,
        "image": next(iter(pictures.of_result(workspace, chosen["st"])), None),
        "um_per_px": float(st.meta["um_per_px"] or 1.0),
        "spot_px": float(st.meta["spot_diameter_px"] or 0.55 * smallest_distance(coordinates(st))),
        "pixel_px": pitch * base["scale"],
        "pitch": pitch,
        "base": base,
        "start": _start(aligned),
        "marks": _marks(aligned),
    }


def _aligned(chosen: dict[str, Result], frame: str) -> Result | None:
    """The alignment in use, where it was made from this SM section and this frame."""
    result = chosen.get("align")
    if result is None or result.inputs.get("sm") != chosen["sm"].id:
        return None
    return result if result.config.get("spatial_key", keys.SPATIAL) == frame else None


def _start(aligned: Result | None) -> dict[str, Any]:
    if aligned is None or aligned.config.get("mode") != "manual":
        return {}
    return {name: aligned.config[name] for name in MANUAL if name in aligned.config}


def _marks(aligned: Result | None) -> list[list[float]]:
    from core.registration.landmarks import from_text

    return from_text(aligned.config.get("landmarks") or "").rows.tolist() if aligned else []


@lru_cache(maxsize=32)  # a few numbers a pair; views never change
def _frame(st_directory: Path, sm_directory: Path, frame: str) -> tuple[dict[str, Any], float]:
    from core.registration import manual_base

    raw = _exact(sm_directory, frame)
    base = manual_base(_exact(st_directory, keys.SPATIAL), raw)
    source, target = ([float(v) for v in point] for point in (base.source, base.target))
    return {"source": source, "target": target, "scale": float(base.scale)}, smallest_distance(raw)


def _exact(view_directory: Path, name: str) -> np.ndarray:
    """Coordinates (n, 2) as the step will read them, float64: the view rounds to float32, and with ties in the
    triangulation that changes the area of the outline by some hundredths of a percent."""
    import h5py

    with h5py.File(view_directory.parent / "data.h5ad", "r") as file:
        stored = file["obsm"][name]
        if isinstance(stored, h5py.Dataset):
            return np.asarray(stored, dtype=float)[:, :2]
    return _raw(view_directory, name)


def _raw(view_directory: Path, name: str) -> np.ndarray:
    return np.asarray(View(view_directory).obsm(name), dtype=float)[:, :2]


@lru_cache(maxsize=32)
def _outline_pixels(sm_directory: Path, frame: str) -> tuple[int, ...]:
    """The pixels along the outline of the SM section: corners of the edges that bound one triangle only."""
    from scipy.spatial import cKDTree

    from core.registration.outline import alpha_shape

    raw = _raw(sm_directory, frame)
    rings = [ring.xy for ring in alpha_shape(raw).rings]
    near = cKDTree(np.concatenate(rings)).query(raw)[0] <= 1e-6 * np.ptp(raw)
    return tuple(int(i) for i in np.flatnonzero(near))


def color_names(workspace: Workspace, sample: str, query: str) -> list[str]:
    """What SM can be coloured by: total, outline, one colour, and the features that fit *query*."""
    sm = workspace.choices(sample).get("sm")
    if sm is None:
        return []
    typed = "" if query in COLORS else query
    return [*COLORS, *(_label(hit) for hit in open_view(workspace, sm).search(_name(typed), 30))]


def color(workspace: Workspace, sample: str, name: str, *, frame: str = keys.SPATIAL) -> dict[str, Any] | None:
    """How ``assets/align.js`` colours the SM pixels: ``{}`` is one colour; None where *name* names nothing (yet)."""
    sm = workspace.choices(sample).get("sm")
    if sm is None:
        return None
    view, address = open_view(workspace, sm), f"/api/view/{sm.id}"
    if name == PLAIN:
        return {}
    if name == OUTLINE:
        return {"outline": list(_outline_pixels(view.directory, frame))}
    if name in (FIRST, RGB):
        shown = 1 if name == FIRST else SHOWN_COMPONENTS
        return {"components_url": f"{address}/components", "shown": shown, "label": name.lower()}
    if name == TOTAL:
        return {"values_url": f"{address}/obs/total_sm", "label": "total intensity"}
    hits = [hit for hit in view.search(_name(name), 30) if name in (_label(hit), hit["name"])]
    return {"values_url": f"{address}/feature/{hits[0]['index']}", "label": hits[0]["name"]} if hits else None


@lru_cache(maxsize=4)  # 100,000 pixels take 1.2 MB; a result never changes
def component_scores(view_directory: Path) -> np.ndarray:
    """Scores of an SM section on its first principal components, float32 (n, 3); 0 where it has fewer."""
    from core.registration.features import components

    view = View(view_directory)
    scores = components(view.matrix(keys.COUNTS), np.zeros((view.meta["n_obs"], 2))).scores
    found = np.zeros((view.meta["n_obs"], SHOWN_COMPONENTS), dtype=np.float32)
    shown = min(SHOWN_COMPONENTS, scores.shape[1])
    found[:, :shown] = scores[:, :shown]
    return found


SEPARATOR = "  m/z "


def _label(hit: dict[str, Any]) -> str:
    name, mz = str(hit["name"]), hit.get(keys.MZ)
    return name if mz is None or f"{mz:g}"[:5] in name else f"{name}{SEPARATOR}{mz:.4f}"


def _name(label: str) -> str:
    return label.split(SEPARATOR, maxsplit=1)[0]
