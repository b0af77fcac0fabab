"""The non-rigid stage on a warp given by a formula, where there is none, and where outlines do not belong together."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np

from core import io, keys
from core.cli import main
from core.context import Context
from core.registration import AlignConfig, Pair, RegistrationResult
from core.registration.course import register
from core.registration.nonrigid import objection
from core.registration.transforms import Affine
from tests.core.registration.test_diffeomorphism import random_flow, some_points

CONFIG = AlignConfig(transform="nonrigid", orientation="given", rotation_deg=30.0)
SPOT = 100.0  # ST pixels
TURN = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]])


def warp(xy: np.ndarray, size: float) -> np.ndarray:
    """In spot distances: waves about as long as the section."""
    x, y = xy.T / 6
    return xy + size * np.column_stack([np.sin(y + 0.5), np.cos(0.8 * x)])


def values(xy: np.ndarray) -> np.ndarray:
    """12 smooth features of the tissue at *xy* (n, 2), spot distances."""
    rng = np.random.default_rng(7)
    wave, phase = rng.normal(0, 0.35, (2, 12)), rng.uniform(0, 2 * np.pi, 12)
    return np.exp(1 + np.sin(xy @ wave + phase))


@cache
def pair(size: float) -> tuple[Pair, np.ndarray]:
    """ST and a turned, warped SM of an egg-shaped section with a bite, and where the SM points truly lie."""
    x, y = np.meshgrid(np.arange(-20, 20.1, 0.6), np.arange(-20, 20.1, 0.6))
    grid = np.column_stack([x.ravel(), y.ravel()])
    row, column = np.meshgrid(np.arange(-25, 26), np.arange(-40, 41), indexing="ij")
    even = (row + column) % 2 == 0
    spots = np.column_stack([column[even] / 2, row[even] * np.sqrt(3) / 2])

    def on_tissue(xy: np.ndarray) -> np.ndarray:
        egg = np.hypot(xy[:, 0] / (13 + 0.15 * xy[:, 1]), xy[:, 1] / 9) < 1
        return egg & (np.hypot(xy[:, 0] - 12, xy[:, 1] - 5) > 4)

    spots, true = spots[on_tissue(spots)], warp(grid @ TURN.T, size)
    kept = on_tissue(true)
    measured = (values(spots), values(true[kept]) @ np.random.default_rng(8).uniform(0, 1, (12, 9)))
    return Pair(spots * SPOT, grid[kept] * 3.0, um_per_px=1.0, values=measured), true[kept] * SPOT


def error(result: RegistrationResult, of: Pair, truth: np.ndarray) -> float:
    """TRE in spot distances."""
    return float(np.linalg.norm(result.forward(of.sm_xy) - truth, axis=1).mean() / SPOT)


@cache
def registered(size: float, transform: str = "nonrigid") -> RegistrationResult:
    return register(pair(size)[0], replace(CONFIG, transform=transform), Context())


def test_a_warp_is_found() -> None:
    here, truth = pair(0.9)
    linear, deformed = registered(0.9, "affine"), registered(0.9)
    assert error(deformed, here, truth) < 0.85 * error(linear, here, truth)
    assert error(deformed, here, truth) < 0.3
    assert deformed.note == ""
    assert 0.4 < deformed.quality.smallest_jacobian <= 1.01


def test_where_there_is_no_warp_none_is_made() -> None:
    here, truth = pair(0.0)
    assert error(registered(0.0), here, truth) < error(registered(0.0, "affine"), here, truth) + 0.05
    assert registered(0.0).quality.smallest_jacobian > 0.85


def test_inverse_of_the_whole_map() -> None:
    """To far below the 0.05 spot distances that are asked for."""
    here, _ = pair(0.9)
    result = registered(0.9)
    apart = np.linalg.norm(result.forward(result.inverse(here.st_xy)) - here.st_xy, axis=1)
    assert apart.max() < 1e-3 * SPOT


def test_a_piece_that_one_section_lacks_does_not_pull() -> None:
    """A quarter of SM is cut away: its new rim belongs to nothing in ST."""
    here, truth = pair(0.9)
    left = ~((truth[:, 0] < -300) & (truth[:, 1] > 0))
    torn = replace(here, sm_xy=here.sm_xy[left], values=(here.values[0], here.values[1][left]))
    config = replace(CONFIG, transform="affine", features_weight=0.0)  # by the outlines
    linear = error(register(torn, config, Context()), torn, truth[left])
    deformed = error(register(torn, replace(CONFIG, transform="nonrigid"), Context()), torn, truth[left])
    assert deformed < 0.3 * linear
    assert deformed < 0.5


def test_what_folds_or_disagrees_is_not_used() -> None:
    same, xy = Affine(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))), some_points(0)
    flow = random_flow(1, 1.0)
    least = flow.jacobian_determinant(xy).min() / np.median(flow.jacobian_determinant(xy))
    assert objection(same, flow, xy, None) == ("" if least >= 0.2 else "no")
    mirrored = Affine(((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    assert objection(same, mirrored, xy, None) == ""  # everywhere alike: no fold
    agreement = {id(same): 0.5, id(flow): 0.3}
    assert "0.50 before, 0.30 after" in objection(same, flow, xy, lambda t: agreement[id(t)])


class Stopped(Context):
    """Asks to stop at the first sign of the deformation."""

    deforming = False

    def progress(self, fraction: float, message: str = "", **numbers: float) -> None:
        self.deforming = self.deforming or message == "deforming"

    def cancelled(self) -> bool:
        return self.deforming


def test_cancelled_keeps_the_best() -> None:
    here, truth = pair(0.9)
    result = register(here, CONFIG, Stopped())
    assert result.stopped == "cancelled"
    assert error(result, here, truth) < error(registered(0.9, "affine"), here, truth) + 0.02


def test_command_line_writes_the_deformation_beside(tmp_path: Path) -> None:
    here, truth = pair(0.9)
    st = ad.AnnData(here.values[0], obsm={keys.SPATIAL: here.st_xy})
    sm = ad.AnnData(here.values[1], obsm={keys.SPATIAL: here.sm_xy})
    for adata, kind in ((st, keys.ST), (sm, keys.SM)):
        adata.var[keys.TYPE] = kind
        adata.obs_names = [f"{kind}{i}" for i in range(adata.n_obs)]
        adata.var_names = [f"{kind}-{i}" for i in range(adata.n_vars)]
    st.X, st.uns[keys.UNS] = np.round(st.X * 10), {keys.UM_PER_PX: 1.0, keys.UM_PER_PX_SOURCE: "test"}
    st.write_h5ad(tmp_path / "st.h5ad")
    sm.write_h5ad(tmp_path / "sm.h5ad")
    args = ["align", "--st", "st.h5ad", "--sm", "sm.h5ad", "--out", "out.h5ad", "--transform", "nonrigid"]
    args = [str(tmp_path / a) if a.endswith("h5ad") else a for a in args]
    assert main([*args, "--rotation-deg", "30", "--json"]) == 0
    result = RegistrationResult.from_dict(io.read_alignment(tmp_path / "out.transform.json"))
    aligned = io.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_allclose(result.forward(here.sm_xy), aligned.obsm[keys.SPATIAL], atol=1e-6)
    assert error(result, here, truth) < 0.3
    kept = RegistrationResult.from_dict(aligned.uns[keys.UNS][keys.ALIGNMENT])
    assert kept.transform == result.transform
    assert (
        json.loads((tmp_path / "out.transform.json").read_text())["transform"]["parts"]["0"]["kind"] == "diffeomorphism"
    )
