"""What an alignment found, applicable to any point, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.registration.images import LINEAR, PixelGrid, resample
from core.registration.transforms import Transform, transform_from_dict


@dataclass(frozen=True)
class Quality:
    """How well the sections lie on each other.

    Attributes
    ----------
    outline_mean_um, outline_p95_um
        Distance of the outlines, both ways, where both were measured: mean and 95th percentile.
    dice
        Overlap of the tissue masks where both were measured: 2 |A and B| / (|A| + |B|).
    smallest_jacobian
        Of the map's determinant over the SM points relative to its median: below 0 the map folds.
    landmark_um
        Mean distance of the landmark pairs under the map; NaN without landmarks.
    left_out_um
        The same where each pair is left out of the fit in turn; NaN where the landmarks were not fitted alone.
    """

    outline_mean_um: float
    outline_p95_um: float
    dice: float
    smallest_jacobian: float
    landmark_um: float = float("nan")
    left_out_um: float = float("nan")

    @property
    def folds(self) -> bool:
        return self.smallest_jacobian <= 0


@dataclass(frozen=True)
class Orientation:
    """How the turn and the mirror image were found.

    Attributes
    ----------
    source
        'given' by the person, or found by 'search'.
    confidence
        In [0, 1]; 1 where it was given. 1 - loss of the best / loss of the runner-up where the outline decided, 1 -
        agreement of the runner-up / agreement of the best where the measured values did.
    runner_up_rotation_deg, runner_up_flip
        The best of the clearly different ones; NaN and False where it was given.
    ambiguous
        The runner-up is nearly as good: look at both.
    decided_by
        'outline', 'features' or 'features and image'; 'person' where it was given.
    """

    source: str = "given"
    confidence: float = 1.0
    runner_up_rotation_deg: float = float("nan")
    runner_up_flip: bool = False
    ambiguous: bool = False
    decided_by: str = "person"


@dataclass(frozen=True)
class RegistrationResult:
    """A map from the SM frame (as measured) into the ST frame (full-resolution image pixels).

    Attributes
    ----------
    transform
        The map.
    um_per_px
        µm per unit of the ST frame.
    quality, orientation
        How good it is, and how its orientation was found.
    history
        The loss after every step of the last descent, (n,), in squared spot distances; empty where nothing was fitted.
    stopped
        Why the fit ended: 'manual', 'landmarks', 'converged', 'steps' or 'cancelled'.
    note
        What else there is to know, as a sentence: that a deformation was dropped, and why.
    st_outline
        What ST's outline was taken from: 'spots' or 'image', the tissue in the histology.
    """

    transform: Transform
    um_per_px: float
    quality: Quality
    orientation: Orientation = field(default_factory=Orientation)
    history: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stopped: str = "manual"
    note: str = ""
    st_outline: str = "spots"

    def forward(self, xy: np.ndarray) -> np.ndarray:
        """SM points *xy* (n, 2) as measured, in the ST frame, (n, 2)."""
        return self.transform.forward(xy)

    def inverse(self, xy: np.ndarray) -> np.ndarray:
        """ST points *xy* (n, 2) in the frame in which SM was measured, (n, 2)."""
        return self.transform.inverse(xy)

    def forward_image(
        self, image: np.ndarray, sm: PixelGrid, st: PixelGrid, *, order: int = LINEAR, fill: float = np.nan
    ) -> np.ndarray:
        """*image* on the grid *sm* of the SM frame as it looks on the grid *st* of the ST frame, see `resample`."""
        return resample(image, sm, st, self.inverse, order=order, fill=fill)

    def inverse_image(
        self, image: np.ndarray, st: PixelGrid, sm: PixelGrid, *, order: int = LINEAR, fill: float = np.nan
    ) -> np.ndarray:
        """*image* on the grid *st* of the ST frame (the histology) as it looks on the grid *sm* of the SM frame."""
        return resample(image, st, sm, self.forward, order=order, fill=fill)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, texts, lists, dictionaries, and the arrays of a deformation: goes as it is into ``uns`` of an h5ad,
        and by :func:`core.io.write_alignment` into JSON."""
        return {
            "transform": self.transform.to_dict(),
            "um_per_px": float(self.um_per_px),
            "quality": _plain(self.quality),
            "orientation": _plain(self.orientation),
            "history": [float(v) for v in self.history],
            "stopped": self.stopped,
            "note": self.note,
            "st_outline": self.st_outline,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RegistrationResult:
        """The result that :meth:`to_dict` wrote. Raises DataError for a transform that is not known."""
        orientation = values["orientation"]
        return cls(
            transform=transform_from_dict(values["transform"]),
            um_per_px=float(values["um_per_px"]),
            quality=Quality(**{name: float(value) for name, value in values["quality"].items()}),
            orientation=Orientation(
                source=str(orientation["source"]),
                confidence=float(orientation["confidence"]),
                runner_up_rotation_deg=float(orientation["runner_up_rotation_deg"]),
                runner_up_flip=bool(orientation["runner_up_flip"]),
                ambiguous=bool(orientation["ambiguous"]),
                decided_by=str(orientation["decided_by"]),
            ),
            history=np.asarray(values["history"], dtype=np.float64),
            stopped=str(values["stopped"]),
            note=str(values.get("note", "")),
            st_outline=str(values.get("st_outline", "spots")),
        )


def _plain(values: Quality | Orientation) -> dict[str, Any]:
    """Fields as Python values; what is not a number as text, because JSON has no NaN."""
    plain = {}
    for name, value in vars(values).items():
        number = isinstance(value, float | np.floating)
        plain[name] = ("nan" if np.isnan(value) else float(value)) if number else value
    return plain
