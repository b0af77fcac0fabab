"""The columns of a table that hold positions, by the names that programs give them."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: of x and of y, as :func:`plain` has them; the first pair that is there counts
PAIRS = (
    ("pxlcolinfullres", "pxlrowinfullres"),
    ("imagecol", "imagerow"),
    ("x", "y"),
    ("xcoord", "ycoord"),
    ("xcoordoriginal", "ycoordoriginal"),
    ("xcoordinate", "ycoordinate"),
    ("coordx", "coordy"),
    ("coordsx", "coordsy"),
    ("posx", "posy"),
    ("xpos", "ypos"),
    ("xposition", "yposition"),
    ("positionx", "positiony"),
    ("pixelx", "pixely"),
    ("xpixel", "ypixel"),
    ("xcentroid", "ycentroid"),
    ("xum", "yum"),
    ("xµm", "yµm"),
    ("xmm", "ymm"),
    ("col", "row"),
    ("column", "row"),
)
NAMES = frozenset(name for pair in PAIRS for name in pair)


def plain(column: object) -> str:
    """'X position [µm]' as 'xposition'."""
    return re.sub(r"[\W_]+", "", re.sub(r"[\[(].*$", "", str(column).strip().lower()).replace("μ", "µ"))


def position_columns(columns: Iterable) -> tuple | None:
    """The columns of x and of y, or None where no pair is there."""
    known = {plain(column): column for column in reversed(list(columns))}
    return next(((known[x], known[y]) for x, y in PAIRS if x in known and y in known), None)
