"""Pairs whose true alignment is known, and how far an alignment is from it. Used by the alignment benchmark."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np

from core import keys
from core.datasets import SimulateConfig, simulate
from core.registration import RegistrationResult
from core.registration.outline import point_distance

#: folder -> obsm slot of SM as measured, obsm slot of the truth
REAL = {
    "vicari_B1": ("spatial_grid", "spatial"),
    "vicari_A1": ("spatial_grid", "spatial"),
    "dlpfc_151673_pair": (keys.SPATIAL, "true_st_xy"),
    "dlpfc_151674_pair": (keys.SPATIAL, "true_st_xy"),
}


@dataclass(frozen=True)
class KnownPair:
    """Two sections and where each SM pixel truly lies, (m, 2) in the ST frame; the experts' alignment on real pairs."""

    name: str
    st: ad.AnnData
    sm: ad.AnnData
    spatial_key: str
    truth: np.ndarray

    @property
    def spot(self) -> float:
        """Spot distance in units of the ST frame."""
        return point_distance(np.asarray(self.st.obsm[keys.SPATIAL], dtype=float))

    def error(self, xy: np.ndarray) -> float:
        """TRE: mean distance of *xy* (m, 2) from the truth, in spot distances."""
        return float(np.linalg.norm(xy - self.truth, axis=1).mean() / self.spot)

    def least_affine(self) -> float:
        """TRE of the best of all affine maps: what no linear alignment can go below."""
        raw = np.asarray(self.sm.obsm[self.spatial_key], dtype=float)
        design = np.column_stack([raw, np.ones(len(raw))])
        return self.error(design @ np.linalg.lstsq(design, self.truth, rcond=None)[0])

    def orientation_right(self, result: RegistrationResult) -> bool:
        """Whether the turn is within 20° of the truth, and mirrored as the truth is."""
        raw = np.asarray(self.sm.obsm[self.spatial_key], dtype=float)
        design = np.column_stack([raw, np.ones(len(raw))])
        true, found = (np.linalg.lstsq(design, xy, rcond=None)[0][:2] for xy in (self.truth, result.forward(raw)))
        turn = np.linalg.svd(true)[0] @ np.linalg.svd(true)[2]
        other = np.linalg.svd(found)[0] @ np.linalg.svd(found)[2]
        between = turn.T @ other
        return bool(np.linalg.det(between) > 0 and between[0, 0] > np.cos(np.deg2rad(20)))


def data_folder() -> Path:
    """Folder of the real pairs."""
    return Path(os.environ.get("SPATIALMETA_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real_pair(name: str) -> KnownPair:
    """One of REAL."""
    raw, truth = REAL[name]
    st, sm = (ad.read_h5ad(data_folder() / name / f"{part}.h5ad") for part in ("st", "sm"))
    true_xy = np.asarray(sm.obsm[truth], dtype=float)
    del sm.obsm[truth]  # the method must not see it
    return KnownPair(name, st, sm, raw, true_xy)


def simulated_pair(number: int, *, spots: int = 2000, density: float = 5.0, deformed: bool = True) -> KnownPair:
    """Pair *number*: any turn, mirrored or not, anisotropy ±10 %; a warp of 0.6 to 1 spot distance where *deformed*."""
    rng = np.random.default_rng([2026, number])
    config = SimulateConfig(
        spots=spots,
        pixel_density=density,
        rotation_deg=float(rng.uniform(0, 360)),
        flip=bool(rng.integers(2)),
        anisotropy=float(rng.uniform(-0.1, 0.1)),
        shift=float(rng.uniform(0, 20)),
        warp=float(rng.uniform(0.6, 1.0)) if deformed else 0.0,
        seed=1000 + number,
    )
    made = simulate(config)
    sm = made.sm
    del sm.obsm["true_st_xy"]
    return KnownPair(f"simulated {number}", made.st, sm, keys.SPATIAL, made.truth.true_st_xy)
