"""What an alignment minimises: L = l1 L_point + l2 L_histo + l3 L_features + l4 L_landmarks (paper, eq. 3-7). Torch.

L_features is a likelihood and stands in :mod:`core.registration.likelihood`, the others here.

The seam between losses and stages
----------------------------------
A *stage* (similarity, affine, non-rigid) owns parameters and makes a :class:`Map` of them; an :class:`Objective` turns
any Map into a loss, differentiable in those parameters. A stage knows no term, a term knows no parameters::

    total = objective(my_map)              # (b,), one loss for each of b maps that are fitted at once; b = 1 is usual
    total.sum().backward()
    objective.terms_of(my_map)             # {'outline': (b,), 'features': (b,), ...}, unweighted, to be shown

All coordinates are *working units*, spot distances around the section's own centre (:class:`core.registration.section.
Section`; ``section.work(points)`` goes there, ``points / section.unit + section.centre`` back). A Map takes SM working
points to ST working points, and back; both are differentiable.

Once the sections lie about right, that module also weighs the others.

Regularisation of a map (smoothness of a velocity field) is not a term here: it belongs to the stage that owns the
field. Coarse to fine is a matter of objectives, not of stages: a stage takes one from each round and goes on.

Units: L_point and L_landmarks in squared spot distances (halved, L_point robust); L_histo has none, 1 where SM explains
nothing and less the more it does (:class:`ImageTerm`); L_features is a log determinant, 0 where nothing agrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

#: Share of the cells that must lie on the other section; below it, leaving it does not lower the loss any more.
LEAST_OVERLAP = 0.5
#: Share of the outline points that must count; below it, leaving the measured area does not lower the loss any more.
LEAST_WEIGHT = 0.3
RIDGE = 1e-4  # of the mean variance of the predictors: keeps a projection defined


class Map(Protocol):
    """b maps at once from SM to ST, in working units."""

    def forward(self, xy: torch.Tensor) -> torch.Tensor:
        """SM points (n, 2) in ST, (b, n, 2); differentiable in the parameters of the map."""
        ...

    def back(self, xy: torch.Tensor) -> torch.Tensor:
        """ST points (m, 2) in SM, (b, m, 2); differentiable too."""
        ...


class Term(Protocol):
    """One of the losses: a number for each map, (b,)."""

    def __call__(self, map: Map) -> torch.Tensor: ...


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms.

    Attributes
    ----------
    terms
        By name: 'outline', 'features', 'histology', 'landmarks'.
    weights
        By the same names; a term without a weight, or of weight 0, is not calculated.
    """

    terms: Mapping[str, Term]
    weights: Mapping[str, float]

    def terms_of(self, map: Map) -> dict[str, torch.Tensor]:
        """Every term that counts, unweighted, each (b,)."""
        return {name: term(map) for name, term in self.terms.items() if self.weights.get(name, 0.0) > 0}

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum, (b,), of what :meth:`terms_of` gave."""
        return sum(self.weights[name] * value for name, value in terms.items())

    def __call__(self, map: Map) -> torch.Tensor:
        return self.total(self.terms_of(map))


@dataclass(frozen=True)
class Target:
    """One outline to come close to, in working units.

    Attributes
    ----------
    xy
        (m, 2).
    weight
        (m,): 0 on cut edges, else 1.
    normals, offsets
        (k, 2), (k,): beyond these half-planes nothing was measured (:class:`core.registration.frame.Frame`).
    """

    xy: torch.Tensor
    weight: torch.Tensor
    normals: torch.Tensor
    offsets: torch.Tensor

    def counts(self, xy: torch.Tensor) -> torch.Tensor:
        """1 for points *xy* (b, n, 2) where something was measured, falling to 0 within one unit beyond, as (b, n)."""
        if len(self.offsets) == 0:
            return torch.ones(xy.shape[:2], dtype=xy.dtype)
        beyond = (xy @ self.normals.T - self.offsets).amax(dim=2)
        return (0.5 - beyond).clamp(0, 1)


@dataclass(frozen=True)
class OutlineTerm:
    """L_point: two-way nearest-point distance of the outlines (paper, eq. 4-5).

    Attributes
    ----------
    sm, st
        The outlines.
    scale
        Distance from which on the loss grows linearly, spot distances.
    """

    sm: Target
    st: Target
    scale: float

    def __call__(self, map: Map) -> torch.Tensor:
        with torch.no_grad():
            back = map.back(self.st.xy)
        return point_loss(map.forward(self.sm.xy), back, self.sm, self.st, scale=self.scale)


@dataclass(frozen=True)
class ImageTerm:
    """L_histo: how much of ST's picture SM does not explain (paper, eq. 6), in [0, 1].

    The picture, the histology's colours, is read where the cells of SM's raster come to lie, and SM's latent is
    projected onto it linearly. The projection is the least-squares one at every step (variable projection:
    by the envelope theorem it may be held fixed when the gradient is taken), so nothing has to be trained along.

    Attributes
    ----------
    picture
        (1, c, height, width) ST's values; 0 off the section.
    inside
        (1, 1, height, width) 1 on the section, else 0.
    origin, pitch
        (2,) [x, y] of the centre of the first cell of *picture*, and the distance of its cells; ST working units.
    xy, latent
        (n, 2) SM's cells in SM working units, and their values (n, k).
    """

    picture: torch.Tensor
    inside: torch.Tensor
    origin: torch.Tensor
    pitch: float
    xy: torch.Tensor
    latent: torch.Tensor

    def __call__(self, map: Map) -> torch.Tensor:
        moved = map.forward(self.xy)
        seen = read(self.picture, self.origin, self.pitch, moved)
        with torch.no_grad():
            weight = read(self.inside, self.origin, self.pitch, moved.detach())[:, :, 0].clamp(0, 1) ** 2
            overlap = weight.mean(dim=1)
            weight = (weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)).unsqueeze(2)
        seen = seen - (weight * seen).sum(dim=1, keepdim=True)
        latent = self.latent - (weight * self.latent).sum(dim=1, keepdim=True)
        with torch.no_grad():
            weighted = (weight * latent).transpose(1, 2)
            projection = torch.linalg.solve(ridged(weighted @ latent), weighted @ seen)
        left = (weight * (seen - latent @ projection) ** 2).sum(dim=(1, 2))
        variance = (weight * seen**2).sum(dim=(1, 2)).clamp(min=1e-6)
        enough = (overlap / LEAST_OVERLAP).clamp(max=1.0)
        return 1 - enough * (1 - left / variance)


def read(picture: torch.Tensor, origin: torch.Tensor, pitch: float, xy: torch.Tensor) -> torch.Tensor:
    """*picture* (1, c, h, w), whose first cell lies at *origin* (2,) and whose cells are *pitch* apart, at points *xy*
    (b, n, 2), bilinear, as (b, n, c); 0 beyond it."""
    cell = (xy - origin) / pitch
    size = torch.tensor([picture.shape[3], picture.shape[2]], dtype=xy.dtype)
    grid = (2 * cell + 1) / size - 1
    values = torch.nn.functional.grid_sample(picture, grid.reshape(1, 1, -1, 2), mode="bilinear", align_corners=False)
    return values[0, :, 0].T.reshape(*xy.shape[:2], -1)


def ridged(matrix: torch.Tensor) -> torch.Tensor:
    """*matrix* (…, k, k) with RIDGE of its mean diagonal added to it; invertible also where nothing varies."""
    mean = matrix.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None].clamp(min=0.01)
    return matrix + RIDGE * mean * torch.eye(matrix.shape[-1], dtype=matrix.dtype)


@dataclass(frozen=True)
class LandmarkTerm:
    """Mean squared distance (halved) of moved landmarks (n, 2) from their partners (n, 2); working units of each."""

    sm_xy: torch.Tensor
    st_xy: torch.Tensor

    def __call__(self, map: Map) -> torch.Tensor:
        return ((map.forward(self.sm_xy) - self.st_xy) ** 2).sum(dim=2).mean(dim=1) / 2


def robust(squared: torch.Tensor, scale: float) -> torch.Tensor:
    """Pseudo-Huber: half the square for distances below *scale*, growing linearly above."""
    return scale**2 * (torch.sqrt(1 + squared / scale**2) - 1)


def one_way(points: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, scale: float) -> torch.Tensor:
    """Weighted mean robust distance of *points* (b, n, 2) from the nearest of *target* (b, m, 2), as (b,)."""
    with torch.no_grad():
        nearest = torch.cdist(points, target, compute_mode="use_mm_for_euclid_dist").argmin(dim=2)
    matched = torch.gather(target, 1, nearest.unsqueeze(2).expand(-1, -1, 2))
    loss = robust(((points - matched) ** 2).sum(dim=2), scale)
    least = LEAST_WEIGHT * weight.shape[1]
    return (loss * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=least)


def point_loss(moved: torch.Tensor, back: torch.Tensor, sm: Target, st: Target, *, scale: float) -> torch.Tensor:
    """Two-way L_point of each start, as (b,).

    Parameters
    ----------
    moved
        (b, n, 2) the SM outline, moved into the ST frame.
    back
        (b, m, 2) the ST outline, moved into the SM frame: only to see what lies where SM measured nothing.
    scale
        Distance from which on the loss grows linearly, spot distances.
    """
    st_xy = st.xy.expand(len(moved), -1, -1)
    with torch.no_grad():
        sm_weight = sm.weight * st.counts(moved)
        st_weight = st.weight * sm.counts(back)
    return (one_way(moved, sm_weight, st_xy, scale) + one_way(st_xy, st_weight, moved, scale)) / 2
