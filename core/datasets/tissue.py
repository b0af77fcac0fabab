"""The simulated section: an irregular outline, spatial domains, smooth gradients, in units of spot distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: of the domains, which one merges with which in the modality that can not see it: {domain: (parent, visible_in)}
HIDDEN = {5: (1, "ST"), 6: (2, "SM")}
N_DOMAINS = 7


@dataclass(frozen=True)
class SmoothField:
    """A sum of plane waves: smooth, random, and known at any point.

    Parameters
    ----------
    waves
        Array of shape (n_waves, 2): wave vectors in radians per unit length.
    phases
        Array of shape (n_waves,), radians.
    """

    waves: np.ndarray
    phases: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, *, wavelength: float, n_waves: int = 6) -> SmoothField:
        """Waves in random directions, 0.7 to 1.5 times *wavelength* long."""
        angle = rng.uniform(0, 2 * np.pi, n_waves)
        number = 2 * np.pi / (wavelength * rng.uniform(0.7, 1.5, n_waves))
        return cls(
            np.column_stack([np.cos(angle), np.sin(angle)]) * number[:, None], rng.uniform(0, 2 * np.pi, n_waves)
        )

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        """Values at *xy* (n, 2) as (n,), with mean 0 and standard deviation 1 over the plane."""
        return np.cos(xy @ self.waves.T + self.phases).sum(axis=1) * np.sqrt(2 / len(self.phases))


@dataclass(frozen=True)
class Tissue:
    """One section around the origin, with a radius of about 1.

    The outline is the star-shaped, non-convex curve r(angle) = elongated harmonics minus one notch; the seeds of the
    domains are compared after a smooth distortion, so that borders between domains are curved.
    """

    amplitudes: np.ndarray
    phases: np.ndarray
    notch_angle: float
    seeds: np.ndarray
    distortion: tuple[SmoothField, SmoothField]
    gradients: tuple[SmoothField, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tissue:
        """A random section."""
        order = np.arange(1, 6)
        amplitudes = np.array([0.0, 0.20, 0.11, 0.06, 0.035]) * rng.uniform(0.8, 1.2, order.size)
        return cls(
            amplitudes=amplitudes,
            phases=rng.uniform(0, 2 * np.pi, order.size),
            notch_angle=float(rng.uniform(0, 2 * np.pi)),
            seeds=_spread_points(rng, N_DOMAINS),
            distortion=(SmoothField.draw(rng, wavelength=1.2), SmoothField.draw(rng, wavelength=1.2)),
            gradients=tuple(SmoothField.draw(rng, wavelength=3.0, n_waves=3) for _ in range(4)),
        )

    def radius(self, angle: np.ndarray) -> np.ndarray:
        """Distance of the outline from the centre at *angle* (n,), as (n,)."""
        order = np.arange(1, self.amplitudes.size + 1)
        waves = np.cos(np.multiply.outer(angle, order) + self.phases) @ self.amplitudes
        away = np.angle(np.exp(1j * (angle - self.notch_angle)))
        return 1 + waves - 0.35 * np.exp(-((away / 0.22) ** 2))

    def level(self, xy: np.ndarray) -> np.ndarray:
        """How far out *xy* (n, 2) lies, as (n,): 0 in the centre, 1 on the outline, more outside."""
        return np.hypot(xy[:, 0], xy[:, 1]) / self.radius(np.arctan2(xy[:, 1], xy[:, 0]))

    def domain(self, xy: np.ndarray) -> np.ndarray:
        """Index of the domain at *xy* (n, 2), as int (n,)."""
        moved = xy + 0.12 * np.column_stack([field(xy) for field in self.distortion])
        squared = ((moved[:, None, :] - self.seeds[None, :, :]) ** 2).sum(axis=2)
        return squared.argmin(axis=1)

    def gradient(self, xy: np.ndarray) -> np.ndarray:
        """Smooth gradients at *xy* (n, 2), as (n, n_gradients)."""
        return np.column_stack([field(xy) for field in self.gradients])


def visible_domain(domain: np.ndarray, modality: str) -> np.ndarray:
    """*domain* (n,) as *modality* ('ST' or 'SM') can see it: what only the other one sees is merged with its parent."""
    seen = domain.copy()
    for hidden, (parent, visible_in) in HIDDEN.items():
        if visible_in != modality:
            seen[domain == hidden] = parent
    return seen


def _spread_points(rng: np.random.Generator, n: int) -> np.ndarray:
    """*n* points in the disc of radius 0.85, far from each other (farthest-point sampling), as (n, 2)."""
    angle, radius = rng.uniform(0, 2 * np.pi, 400), 0.85 * np.sqrt(rng.uniform(0, 1, 400))
    candidates = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    chosen = [0]
    nearest = np.full(len(candidates), np.inf)
    for _ in range(n - 1):
        nearest = np.minimum(nearest, ((candidates - candidates[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return candidates[chosen]
