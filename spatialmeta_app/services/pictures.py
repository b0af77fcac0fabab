"""The histology under a result: whose it is, where its files are, where it lies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core import keys
from core.errors import SpatialMetaError
from spatialmeta_app.workspace.records import Result
from spatialmeta_app.workspace.views import View

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace


def st_result(workspace: Workspace, result: Result) -> Result | None:
    """The ST section a result was made from; for an SM section that is not aligned yet there is none."""
    if result.step == "st":
        return result
    for source in result.inputs.values():
        try:
            found = st_result(workspace, workspace.result(source))
        except SpatialMetaError:  # an upload's path, or a version that was deleted since
            continue
        if found is not None:
            return found
    return None


def of_result(workspace: Workspace, result: Result) -> list[dict[str, Any]]:
    """Address and place, in the pixels in which the spots of *result* are shown, of each picture under it.

    Each is ``{url, x, y, width, height, tiles}``, ``tiles`` None or the pyramid. A section has at most one; samples
    that were joined lie side by side, each on its own picture.
    """
    union = _union(workspace, result)
    if union is None:
        source = st_result(workspace, result)
        return _picture(workspace, source) if source else []
    layout = View(workspace.path(union, "view")).meta["spatialmeta"].get(keys.JOINED, {})
    found = []
    for part, name in zip(union.inputs.values(), union.summary["parts"], strict=True):
        try:
            source = st_result(workspace, workspace.result(part))
        except SpatialMetaError:  # the part, or its version that was joined, was deleted since
            continue
        found += [moved(picture, layout[name]) for picture in (_picture(workspace, source) if source else [])]
    return found


def _union(workspace: Workspace, result: Result) -> Result | None:
    """The result that joined samples, where *result* is one of them or made from one."""
    if "parts" in result.summary:
        return result
    before = result.inputs.get("joint")
    try:
        return _union(workspace, workspace.result(before)) if before else None
    except SpatialMetaError:
        return None


def _picture(workspace: Workspace, st: Result) -> list[dict[str, Any]]:
    place = _json(workspace, st, "overview.json")
    if place is None:
        return []
    base = f"/api/image/{st.id}"
    pyramid = _json(workspace, st, "pyramid.json")
    found = {"url": f"{base}/overview.jpg", "tiles": pyramid and pyramid | {"base": f"{base}/tiles"}}
    return [found | {"x": place["x0"], "y": place["y0"], "width": place["width_px"], "height": place["height_px"]}]


def _json(workspace: Workspace, result: Result, name: str) -> dict[str, Any] | None:
    try:
        return json.loads(workspace.path(result, f"image/{name}").read_text(encoding="utf-8"))
    except (SpatialMetaError, FileNotFoundError):
        return None


def moved(picture: dict[str, Any], at: dict[str, float]) -> dict[str, Any]:
    """*picture* where the layout of joined samples puts it: ``scale * pixels + (x, y)``."""
    scale, tiles = at["scale"], picture["tiles"]
    if tiles:  # pixels of the picture for each pixel of the layout
        levels = [level | {"scale": level["scale"] / scale} for level in tiles["levels"]]
        tiles = tiles | {"overview": tiles["overview"] / scale, "levels": levels}
    moved = {side: scale * picture[side] for side in ("width", "height")}
    return picture | moved | {axis: scale * picture[axis] + at[axis] for axis in "xy"} | {"tiles": tiles}
