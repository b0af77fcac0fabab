"""How much an alignment is worth, in nats: outlines and measured values as likelihoods, which need no weights. Torch.

L_point and L_features are on different scales, and which weight brings them together depends on the pair. As
log-likelihoods they add up: each counts as much as it has independent witnesses, and as little as they scatter.
Both are estimated from the pair itself, from what the map so far leaves unexplained, before each round of a fit.

The outlines: n / sigma² L_point, with n the independent stretches of outline, sigma the scatter of their distances. The
values: a Gaussian of ST's latent at its spots given SM's latent at the place they come from,
n / 2 log det(1 - R²), R the canonical correlations; n the number of spots over the area within which what SM does not
explain is alike. Only canonical variates that chance does not make take part; none, and the outlines stay alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from core.registration.latents import Latents, depth, filled
from core.registration.losses import RIDGE, Map, Objective, Term, read, ridged
from core.registration.objective import as_target, make_objective, tensor
from core.registration.rasters import Raster
from core.registration.section import Section

MOST_OUTLINE = 400  # points of an outline
#: outline points nearer to each other than this are off alike, spot distances: the border is known from spot to spot,
#: and smoothed by one
GRAIN = 3.0
LEAST_SIGMA = 1 / np.sqrt(12)  # of a border that is known to one spot distance
FAR = 3.0  # of sigma: outlines so far apart count a quarter (Geman-McClure)
MARGIN = 0.5  # spots nearer than this to SM's rim do not count, spot distances
FARTHEST = 8  # up to this distance what is left unexplained may be alike, spot distances
#: above this blur all variates take part, spot distances: those that agree already are those a shift changes least
SURVEY = 1.2


@dataclass(frozen=True)
class Evidence:
    """All that a pair says about its alignment.

    Attributes
    ----------
    sm, st
        The outlines.
    latents
        What was measured; None: the outlines alone.
    weights
        'features': 1 takes the likelihood as it is, 0 leaves it out. 'histology', 'landmarks': beside L_point's 1.
    histology
        The colours of the tissue blurred to so many spot distances, for 'histology'; it needs *latents* too.
    landmarks
        See :func:`core.registration.objective.make_objective`.
    """

    sm: Section
    st: Section
    latents: Latents | None
    weights: Mapping[str, float]
    histology: Callable[[float], Raster] | None = None
    landmarks: tuple[np.ndarray, np.ndarray] | None = None

    def objective(self, map: Map, blur: float) -> Objective:
        """What maps near *map* are judged by, at a resolution of *blur* spot distances; in nats."""
        sm, st, weight, scale = weighed(map, self.sm.thinned(MOST_OUTLINE), self.st.thinned(MOST_OUTLINE))
        others = {name: self.weights.get(name, 0.0) for name in ("histology", "landmarks")}
        pictures = None
        if self.histology is not None and self.latents is not None:
            pictures = self.histology(blur), self.latents.sm_raster(blur)
        plain = make_objective(
            sm, st, {"outline": 1.0, **others}, scale=scale, pictures=pictures, landmarks=self.landmarks
        )
        terms: dict[str, Term] = dict(plain.terms)
        weights = {name: weight * value for name, value in plain.weights.items()}
        if self.latents is not None and self.weights.get("features", 0.0) > 0:
            features = feature_term(self.latents, map, blur)
            if features is not None:
                terms["features"] = features
                weights["features"] = self.weights["features"] * features.independent / 2
        return Objective(terms, weights)


@torch.no_grad()
def weighed(map: Map, sm: Section, st: Section) -> tuple[Section, Section, float, float]:
    """*sm* and *st* with outline points that lie far from the other's outline trusted less; the factor that makes nats
    of their L_point, and the distance from which on that grows linearly."""
    moved, back = map.forward(tensor(sm.xy)), map.back(tensor(st.xy))
    sm_there = sm.weight * as_target(st).counts(moved)[0].numpy()
    st_there = st.weight * as_target(sm).counts(back)[0].numpy()
    moved = moved[0].numpy()
    to_st, to_sm = cKDTree(st.xy).query(moved)[0], cKDTree(moved).query(st.xy)[0]
    apart, there = np.concatenate([to_st, to_sm]), np.concatenate([sm_there, st_there])
    # The scatter from the median first, which pieces that one section lacks do not reach.
    sigma = max(1.4826 * float(np.median(apart[there > 0.5])) if (there > 0.5).any() else 0.0, LEAST_SIGMA)
    trust = [(1 + (distance / (FAR * sigma)) ** 2) ** -2 for distance in (to_st, to_sm)]
    weight = np.concatenate([sm_there * trust[0], st_there * trust[1]])
    sigma = max(float(np.sqrt((weight @ apart**2) / max(weight.sum(), 1e-9))), LEAST_SIGMA)
    spacing = float(np.median(np.linalg.norm(np.diff(moved, axis=0), axis=1)))
    independent = weight.sum() / 2 * spacing / GRAIN
    sections = (replace(one, weight=one.weight * by) for one, by in zip((sm, st), trust, strict=True))
    return *sections, float(independent / sigma**2), FAR * sigma


@dataclass(frozen=True)
class FeatureTerm:
    """log det(1 - R²) of ST's latent and of SM's where it comes from, R their canonical correlations; 0 where nothing
    agrees. Half of it is minus the mutual information of two Gaussians.

    The spots that take part stay the same, so nothing is gained by moving what fits badly off the section.

    Attributes
    ----------
    xy, latent, weight
        Spots (n, 2) in ST working units, their values (n, c) with mean 0 and covariance 1, and (n, 1) adding up to 1.
    picture
        (1, k, height, width) SM's values, around the section those of its rim.
    origin, pitch
        (2,) [x, y] of the centre of its first cell, and the distance of its cells; SM working units.
    independent
        Number of independent spots.
    """

    xy: torch.Tensor
    latent: torch.Tensor
    weight: torch.Tensor
    picture: torch.Tensor
    origin: torch.Tensor
    pitch: float
    independent: float = 1.0

    def __call__(self, map: Map) -> torch.Tensor:
        _, cross, gram = self._seen(map)
        left = torch.eye(self.latent.shape[1]) - cross.transpose(1, 2) @ torch.linalg.solve(gram, cross)
        return torch.logdet(left + RIDGE * torch.eye(left.shape[1]))

    @torch.no_grad()
    def canonical(self, map: Map) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Canonical correlations (r,), and the variates' directions in ST's latent (c, r) and in SM's (k, r)."""
        _, (cross,), (gram,) = self._seen(map)
        variance, axes = torch.linalg.eigh(gram)
        kept = variance > 1e-5 * variance.max()
        whiten = axes[:, kept] / variance[kept].sqrt()
        st, r, sm = torch.linalg.svd(cross.T @ whiten, full_matrices=False)
        return r, st, whiten @ sm.T

    @torch.no_grad()
    def left(self, map: Map) -> np.ndarray:
        """What SM does not explain of ST's latent, (n, c), with covariance 1."""
        (seen,), (cross,), (gram,) = self._seen(map)
        left = self.latent - seen @ torch.linalg.solve(gram, cross)
        factor = torch.linalg.cholesky(ridged(left.T @ (self.weight * left)))
        return torch.linalg.solve_triangular(factor, left.T, upper=False).T.numpy()

    def _seen(self, map: Map) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """SM at the spots (b, n, k), its covariance with the latent (b, k, c), and its own (b, k, k)."""
        seen = read(self.picture, self.origin, self.pitch, map.back(self.xy))
        seen = seen - (self.weight * seen).sum(dim=1, keepdim=True)
        weighted = (self.weight * seen).transpose(1, 2)
        return seen, weighted @ self.latent, ridged(weighted @ seen)


@torch.no_grad()
def feature_term(latents: Latents, map: Map, blur: float) -> FeatureTerm | None:
    """The term of maps near *map*, of the canonical variates that chance does not make; None where there are none."""
    raster, values = latents.sm_raster(blur), tensor(latents.at_spots(blur))
    origin = tensor(raster.origin)
    xy = tensor(latents.spots)
    inside = read(tensor(depth(raster)[None, None]), origin, raster.pitch, map.back(xy))[0]
    weight = (inside - MARGIN + 0.5).clamp(0, 1)
    there = weight[:, 0] > 0.01
    xy, values, weight = xy[there], values[there], weight[there]
    spots = float(weight.sum())
    if 0 in values.shape or raster.values.shape[2] == 0 or spots <= 4 * values.shape[1]:
        return None
    weight = weight / spots
    values = values - (weight * values).sum(dim=0)
    variance, axes = torch.linalg.eigh(values.T @ (weight * values))
    kept = variance > 1e-5 * variance.max()
    picture = tensor(filled(raster).transpose(2, 0, 1)[None])
    whole = FeatureTerm(xy, values @ axes[:, kept] / variance[kept].sqrt(), weight, picture, origin, raster.pitch)
    correlation, st, sm = whole.canonical(map)
    independent, term = independent_spots(whole, map, spots), None
    if blur > SURVEY and (correlation > chance(len(st), sm.shape[1], independent)).any():
        return replace(whole, independent=independent)
    for _ in range(3):  # which are no chance depends on how many spots are independent, and the other way round
        real = correlation > chance(st.shape[0], sm.shape[1], independent)
        if not real.any():
            return None
        picture = torch.einsum("bchw,ck->bkhw", whole.picture, sm[:, real])
        term = replace(whole, latent=whole.latent @ st[:, real], picture=picture)
        independent = independent_spots(term, map, spots)
    return replace(term, independent=independent)


def chance(p: int, q: int, n: float) -> float:
    """The largest canonical correlation of p and of q variables that have nothing to do with each other, in *n*
    observations: the edge of Wachter's distribution (Ann. Stat. 1980)."""
    a, b = min(p / n, 0.5), min(q / n, 0.5)
    return min(float(np.sqrt(a * (1 - b)) + np.sqrt(b * (1 - a))), 0.95)


def independent_spots(term: FeatureTerm, map: Map, spots: float) -> float:
    """How many of the *spots* of *term* are independent, by the autocorrelation rho of what is left unexplained.

    For smooth fields the variance of a mean is that of spots / (1 + sum of rho); the sum is taken as twice that of
    rho², which is the same for a Gaussian rho, and which noise in rho does not swamp once its own share is taken off.
    """
    left = term.left(map) * np.sqrt((term.weight / term.weight.max()).numpy())
    cell = np.floor(term.xy.numpy() - term.xy.numpy().min(axis=0)).astype(int)
    columns, rows = cell.max(axis=0) + 1
    flat, size = cell[:, 1] * columns + cell[:, 0], (2 * rows, 2 * columns)

    def correlated(values: np.ndarray | None) -> np.ndarray:
        picture = np.bincount(flat, values, rows * columns).reshape(rows, columns)
        return np.fft.irfft2(np.abs(np.fft.rfft2(picture, size)) ** 2, size)

    products, pairs = sum(correlated(channel) for channel in left.T), correlated(None)
    alone = float((left**2).sum())
    products[0, 0] -= alone  # a spot with itself
    pairs[0, 0] -= len(left)
    lag = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in size), indexing="ij"))
    near = (lag <= FARTHEST) & (pairs > 0.5)
    rho = products[near] / pairs[near] / (alone / len(left))
    noise = 2 / (pairs[near] * left.shape[1])
    alike = 1 + 2 * float((pairs[near] / len(left) * np.maximum(rho**2 - noise, 0)).sum())
    return spots / alike
