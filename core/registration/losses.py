"""L_point: the two-way distance between the outlines of SM and ST (paper, eq. 4-5). Torch; batched over starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: Share of the outline points that must count; below it, leaving the measured area does not lower the loss any more.
LEAST_WEIGHT = 0.3


@dataclass(frozen=True)
class Target:
    """One outline to come close to, in units of spot distances.

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
