"""Two sections as arrays, and how well what was measured in them agrees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.registration.config import AlignConfig
from core.registration.features import Components, agreement, components
from core.registration.histology import Histology, Source, colour_components
from core.registration.outline import alpha_shape, point_distance
from core.registration.section import Section, make_section
from core.registration.starts import transform_of
from core.registration.transforms import Transform


@dataclass(frozen=True)
class Pair:
    """Two sections as arrays.

    Attributes
    ----------
    st_xy, sm_xy
        (n, 2), (m, 2), each in the frame as measured.
    um_per_px
        µm per unit of the ST frame.
    limit_xy
        (k, 2) the ST spots beyond which there was nothing to measure with; None where that is not known.
    values
        Counts (n, genes) and intensities (m, metabolites), dense or sparse, for orientations that the outline leaves
        open; None: the outline has to do.
    picture
        The histology under the spots; None where there is none.
    latents
        (n, k) and (m, l) for the losses that compare what was measured; None: principal components of *values*.
    """

    st_xy: np.ndarray
    sm_xy: np.ndarray
    um_per_px: float
    limit_xy: np.ndarray | None = None
    values: tuple[Any, Any] | None = None
    picture: Histology | None = None
    latents: tuple[np.ndarray, np.ndarray] | None = None


def sections(
    pair: Pair, config: AlignConfig, source: Source, *, any_direction: bool = False
) -> tuple[Section, Section]:
    """Both outlines in spot distances, ST (around *source*) first; SM at the size at which the areas are equal.

    *any_direction*: see :func:`core.registration.section.make_section`."""
    st_shape, sm_shape = alpha_shape(source.xy), alpha_shape(pair.sm_xy)
    unit = 1 / point_distance(pair.st_xy)
    same_area = float(unit * np.sqrt(st_shape.area / sm_shape.area))
    how = {"spacing": config.spacing, "smoothing": config.smoothing, "cut_edges": config.cut_edges}
    how["any_direction"] = any_direction
    st = make_section(st_shape, unit, limit_xy=source.limit_xy, **how)
    return st, make_section(sm_shape, same_area, **how)


class Agreement:
    """How well the measured values fit each other; their components are made at the first call only."""

    def __init__(self, pair: Pair, st: Section, sm: Section) -> None:
        self.pair, self.st, self.sm = pair, st, sm

    def __call__(self, flip: bool, values: np.ndarray) -> float:
        transform = transform_of(flip, values, self.sm, self.st)
        score = self.of(transform)
        if self._colours is not None:
            score += agreement(transform, self._colours, self._components[1], reach=1 / self.st.unit)
        return score

    def of(self, transform: Transform) -> float:
        if self.pair.values is None:
            return 0.0
        return agreement(transform, *self._components, reach=1 / self.st.unit)

    @property
    def by(self) -> str:
        """What is compared."""
        known = {"features": self.pair.values is not None, "image": self._colours is not None}
        return " and ".join(name for name, there in known.items() if there)

    @cached_property
    def _colours(self) -> Components | None:
        if self.pair.values is None or self.pair.picture is None:
            return None
        return colour_components(self.pair.picture, self.pair.st_xy)

    @cached_property
    def _components(self) -> tuple[Components, Components]:
        counts, intensities = self.pair.values
        return components(counts, self.pair.st_xy), components(intensities, self.pair.sm_xy)
