"""Shapes carried through the alignment of a sample: from the ST image to the SM section as measured, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import keys
from core.analysis.shapes import carry
from core.errors import DataError
from core.registration import RegistrationResult
from spatialmeta_app.workspace.errors import WorkspaceError
from spatialmeta_app.workspace.views import View

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

FRAMES = ("st", "sm")


def registration_of(workspace: Workspace, sample: str) -> RegistrationResult | None:
    """The chosen alignment of a sample; None where there is none, or it was read in without its transform."""
    aligned = workspace.choices(sample).get("align")
    if aligned is None:
        return None
    stored = View(workspace.path(aligned, "view")).meta["spatialmeta"].get(keys.ALIGNMENT)
    return RegistrationResult.from_dict(stored) if stored else None


def carried(workspace: Workspace, sample: str, geometries: Any, *, to: str) -> list[dict[str, Any]]:
    """GeoJSON geometries of the one frame in the other.

    Parameters
    ----------
    to
        'st': the geometries are in pixels of the SM section as measured; 'sm': in the frame of the ST image.

    Raises
    ------
    WorkspaceError
        The sample has no alignment.
    DataError
        For something that is no list of geometries.
    """
    if to not in FRAMES:
        raise DataError(f"a frame among {', '.join(FRAMES)}", found=repr(to)[:40])
    if not isinstance(geometries, Sequence) or not all(isinstance(g, Mapping) for g in geometries):
        raise DataError("a list of GeoJSON geometries", found=repr(geometries)[:80])
    found = registration_of(workspace, sample)
    if found is None:
        raise WorkspaceError("an alignment", found="none", mend="Align the sections first; then shapes can be carried.")
    move = found.forward if to == "st" else found.inverse
    return [carry(dict(geometry), move) for geometry in geometries]
