"""Maps of the plane that know their inverse: SM coordinates -> ST coordinates.

All are numpy only, so that the web process may use them. New kinds (a diffeomorphism, a thin-plate spline) join by
:func:`register`; a saved alignment names its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from core.errors import DataError


class Transform(Protocol):
    """What every map offers. Points are arrays of shape (n, 2), [x, y]."""

    kind: ClassVar[str]

    def forward(self, xy: np.ndarray) -> np.ndarray: ...

    def inverse(self, xy: np.ndarray) -> np.ndarray: ...

    def jacobian_determinant(self, xy: np.ndarray) -> np.ndarray: ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform: ...


TRANSFORMS: dict[str, type] = {}
T = TypeVar("T", bound=type)


def register(cls: T) -> T:
    """Class decorator: *cls* can be read back from a saved alignment."""
    TRANSFORMS[cls.kind] = cls
    return cls


def transform_from_dict(values: Mapping[str, Any]) -> Transform:
    """The transform that ``to_dict`` wrote, also after a way through JSON or h5ad.

    Raises
    ------
    DataError
        Of a kind that is not known, or with parts missing.
    """
    kind = str(values.get("kind", ""))
    if kind not in TRANSFORMS:
        raise DataError(f"a transform of kind {', '.join(sorted(TRANSFORMS))}", found=kind or "none")
    try:
        return TRANSFORMS[kind].from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"all parts of a transform of kind {kind}", found=f"{type(error).__name__}: {error}") from None


def rotation_matrix(rotation_deg: float) -> np.ndarray:
    """[[cos, -sin], [sin, cos]]: with y down, a positive angle turns clockwise on the screen."""
    angle = np.deg2rad(rotation_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


class _Linear:
    """forward(p) = M p + b with M = ``matrix`` (2, 2) and b = ``offset`` (2,)."""

    matrix: np.ndarray
    offset: np.ndarray

    def forward(self, xy: np.ndarray) -> np.ndarray:
        """*xy* (n, 2) in the ST frame, as (n, 2)."""
        return np.asarray(xy, dtype=np.float64) @ self.matrix.T + self.offset

    def inverse(self, xy: np.ndarray) -> np.ndarray:
        """ST coordinates *xy* (n, 2) in the SM frame, as (n, 2)."""
        return np.linalg.solve(self.matrix, (np.asarray(xy, dtype=np.float64) - self.offset).T).T

    def jacobian_determinant(self, xy: np.ndarray) -> np.ndarray:
        """The same at every point, as (n,); negative where the map mirrors."""
        return np.full(len(xy), np.linalg.det(self.matrix))


@register
@dataclass(frozen=True)
class Affine(_Linear):
    """phi(p) = A p + b.

    Attributes
    ----------
    rows
        ((a, b, t_x), (c, d, t_y)): [x', y'] = rows @ [x, y, 1].
    """

    rows: tuple[tuple[float, float, float], tuple[float, float, float]]
    kind: ClassVar[str] = "affine"

    @classmethod
    def of(cls, matrix: np.ndarray, offset: np.ndarray) -> Affine:
        """From A (2, 2) and b (2,)."""
        return cls(tuple(tuple(float(v) for v in row) for row in np.column_stack([matrix, offset])))

    @property
    def matrix(self) -> np.ndarray:
        return np.array(self.rows)[:, :2]

    @property
    def offset(self) -> np.ndarray:
        return np.array(self.rows)[:, 2]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "rows": [list(row) for row in self.rows]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Affine:
        rows = np.asarray(values["rows"], dtype=np.float64).reshape(2, 3)
        return cls.of(rows[:, :2], rows[:, 2])


@register
@dataclass(frozen=True)
class Similarity(_Linear):
    """phi(p) = R S F (p - source) + target: mirror x, scale, turn, move (paper, eq. 1, without the diffeomorphism).

    Attributes
    ----------
    rotation_deg
        Angle of R.
    flip
        F = diag(-1, 1) where true.
    scale_x, scale_y
        S = diag(scale_x, scale_y), ST pixels per unit of the SM frame; along the SM frame's axes.
    source, target
        Where the SM point *source* comes to lie; units of the SM and of the ST frame.
    """

    rotation_deg: float
    flip: bool
    scale_x: float
    scale_y: float
    source: tuple[float, float]
    target: tuple[float, float]
    kind: ClassVar[str] = "similarity"

    @property
    def matrix(self) -> np.ndarray:
        scale = np.array([-self.scale_x if self.flip else self.scale_x, self.scale_y])
        return rotation_matrix(self.rotation_deg) * scale

    @property
    def offset(self) -> np.ndarray:
        return np.array(self.target) - self.matrix @ np.array(self.source)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "rotation_deg": float(self.rotation_deg),
            "flip": bool(self.flip),
            "scale_x": float(self.scale_x),
            "scale_y": float(self.scale_y),
            "source": [float(v) for v in self.source],
            "target": [float(v) for v in self.target],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Similarity:
        return cls(
            rotation_deg=float(values["rotation_deg"]),
            flip=bool(values["flip"]),
            scale_x=float(values["scale_x"]),
            scale_y=float(values["scale_y"]),
            source=_pair(values["source"]),
            target=_pair(values["target"]),
        )


@register
@dataclass(frozen=True)
class Composition:
    """Several maps, the first applied first."""

    parts: tuple[Transform, ...]
    kind: ClassVar[str] = "composition"

    def forward(self, xy: np.ndarray) -> np.ndarray:
        """*xy* (n, 2) through all parts."""
        return _through([part.forward for part in self.parts], xy)

    def inverse(self, xy: np.ndarray) -> np.ndarray:
        """*xy* (n, 2) back through all parts."""
        return _through([part.inverse for part in reversed(self.parts)], xy)

    def jacobian_determinant(self, xy: np.ndarray) -> np.ndarray:
        """Product of the parts' determinants along the way of each point, as (n,)."""
        determinant = np.ones(len(xy))
        for part in self.parts:
            determinant = determinant * part.jacobian_determinant(xy)
            xy = part.forward(xy)
        return determinant

    def to_dict(self) -> dict[str, Any]:
        # AnnData writes no lists of dictionaries, so the parts are numbered.
        return {"kind": self.kind, "parts": {str(i): part.to_dict() for i, part in enumerate(self.parts)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Composition:
        parts = values["parts"]
        return cls(tuple(transform_from_dict(parts[key]) for key in sorted(parts, key=int)))


def _through(maps: list[Callable[[np.ndarray], np.ndarray]], xy: np.ndarray) -> np.ndarray:
    xy = np.asarray(xy, dtype=np.float64)
    for one in maps:
        xy = one(xy)
    return xy


def _pair(values: Any) -> tuple[float, float]:
    x, y = np.asarray(values, dtype=np.float64)
    return float(x), float(y)
