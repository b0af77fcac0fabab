"""Alignment: known transforms are found again, on simulated and real pairs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from core import keys
from core.context import Context
from core.datasets import SimulateConfig, simulate
from core.errors import DataError
from core.registration import AlignConfig, Pair, RegistrationResult, align, register
from core.registration.features import agreement, components
from core.registration.outline import point_distance
from core.registration.transforms import Similarity

SPOT_PX = 200.0


def simulated(**changes):
    values = {"spots": 800, "genes": 30, "metabolites": 30, "rotation_deg": 130.0, "flip": True, "seed": 2}
    return simulate(SimulateConfig(**(values | changes)))


def error(aligned: ad.AnnData, truth: np.ndarray, spot: float) -> float:
    """Mean distance of the pixels from where they lie, in spot distances."""
    return float(np.linalg.norm(aligned.obsm[keys.SPATIAL] - truth, axis=1).mean() / spot)


def result_of(aligned: ad.AnnData) -> RegistrationResult:
    return RegistrationResult.from_dict(aligned.uns[keys.UNS][keys.ALIGNMENT])


@pytest.fixture(scope="module")
def pair():
    return simulated(warp=0.0)


@pytest.fixture(scope="module")
def aligned(pair) -> ad.AnnData:
    return align(pair.st, pair.sm, AlignConfig(transform="similarity"))


def test_known_similarity_is_found_without_help(pair, aligned: ad.AnnData) -> None:
    assert error(aligned, pair.truth.true_st_xy, SPOT_PX) < 0.25
    result = result_of(aligned)
    turn = result.transform.rotation_deg - pair.truth.rotation_deg
    assert abs((turn + 180) % 360 - 180) < 1.5
    assert result.transform.flip
    np.testing.assert_allclose(
        [result.transform.scale_x, result.transform.scale_y], np.array(pair.truth.pixel_um) / 0.5, rtol=0.02
    )
    assert result.orientation.source == "search"
    assert result.orientation.confidence > 0.5
    assert not result.orientation.ambiguous


def test_result_maps_as_the_coordinates_say(pair, aligned: ad.AnnData) -> None:
    result = result_of(aligned)
    np.testing.assert_array_equal(aligned.obsm[keys.SPATIAL_RAW], pair.sm.obsm[keys.SPATIAL])
    np.testing.assert_allclose(result.forward(aligned.obsm[keys.SPATIAL_RAW]), aligned.obsm[keys.SPATIAL])
    np.testing.assert_allclose(result.inverse(aligned.obsm[keys.SPATIAL]), pair.sm.obsm[keys.SPATIAL], atol=1e-6)


def test_quality_is_measured(aligned: ad.AnnData) -> None:
    quality = result_of(aligned).quality
    assert quality.outline_mean_um < 40
    assert quality.outline_mean_um <= quality.outline_p95_um
    assert 0.95 < quality.dice <= 1
    assert quality.smallest_jacobian == pytest.approx(1)
    assert not quality.folds


def test_inputs_stay_as_they_were(pair) -> None:
    sm = pair.sm.copy()
    align(pair.st, sm, AlignConfig(mode="manual"))
    assert keys.SPATIAL_RAW not in sm.obsm
    assert keys.UNS not in sm.uns
    np.testing.assert_array_equal(sm.obsm[keys.SPATIAL], pair.sm.obsm[keys.SPATIAL])


@pytest.mark.parametrize(("rotation", "flip", "seed"), [(15.0, False, 0), (250.0, True, 1), (310.0, False, 4)])
def test_warped_pairs_end_near_the_best_affine(rotation: float, flip: bool, seed: int) -> None:
    made = simulated(rotation_deg=rotation, flip=flip, seed=seed, warp=0.8, anisotropy=-0.08)
    done = align(made.st, made.sm, AlignConfig(transform="similarity"))
    design = np.column_stack([made.sm.obsm[keys.SPATIAL], np.ones(made.sm.n_obs)])
    best = design @ np.linalg.lstsq(design, made.truth.true_st_xy, rcond=None)[0]
    least = np.linalg.norm(best - made.truth.true_st_xy, axis=1).mean() / SPOT_PX
    assert error(done, made.truth.true_st_xy, SPOT_PX) < least + 0.3
    assert result_of(done).transform.flip == flip


def test_given_orientation_is_kept(pair) -> None:
    done = align(
        pair.st, pair.sm, AlignConfig(transform="similarity", orientation="given", flip=True, rotation_deg=120.0)
    )
    assert error(done, pair.truth.true_st_xy, SPOT_PX) < 0.25
    assert result_of(done).orientation.source == "given"


def test_affine_finds_a_shear(pair) -> None:
    sheared = pair.sm.copy()
    sheared.obsm[keys.SPATIAL] = pair.sm.obsm[keys.SPATIAL] @ np.array([[1.0, 0.0], [0.12, 1.0]])
    given = {"orientation": "given", "flip": True, "rotation_deg": 130.0}
    errors = {
        kind: error(align(pair.st, sheared, AlignConfig(transform=kind, **given)), pair.truth.true_st_xy, SPOT_PX)
        for kind in ("similarity", "affine")
    }
    assert errors["affine"] < 0.25
    assert errors["similarity"] > 2 * errors["affine"]


def test_manual_takes_exactly_the_values(pair) -> None:
    config = AlignConfig(mode="manual", flip=True, rotation_deg=45.0, scale_x=1.2, shift_x_um=50.0)
    result = result_of(align(pair.st, pair.sm, config))
    still = result_of(align(pair.st, pair.sm, AlignConfig(mode="manual", flip=True, rotation_deg=45.0)))
    assert result.stopped == "manual"
    assert result.transform.rotation_deg == 45.0
    assert result.transform.scale_x == pytest.approx(1.2 * still.transform.scale_x)
    assert result.transform.target[0] - still.transform.target[0] == pytest.approx(50.0 / result.um_per_px)


def test_section_cut_by_the_capture_area(pair) -> None:
    """The right part of ST was not captured; the straight edge must not pull SM."""
    xy = pair.st.obsm[keys.SPATIAL]
    kept = xy[xy[:, 0] < np.quantile(xy[:, 0], 0.75)]
    cut = Pair(kept, pair.sm.obsm[keys.SPATIAL], 0.5)
    errors = {}
    for aware in (True, False):
        config = AlignConfig(
            transform="similarity", orientation="given", flip=True, rotation_deg=130.0, cut_edges=aware
        )
        moved = register(cut, config, Context()).forward(cut.sm_xy)
        errors[aware] = np.linalg.norm(moved - pair.truth.true_st_xy, axis=1).mean() / SPOT_PX
    assert errors[True] < 0.7
    assert errors[False] > 2 * errors[True]


class Recorder(Context):
    """Keeps what it is told; asks to stop after some previews."""

    def __init__(self, patience: int | None = None) -> None:
        self.patience, self.fractions, self.previews, self.numbers = patience, [], [], []

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        self.fractions.append(fraction)
        self.numbers.append(numbers)

    def preview(self, name: str, **arrays: np.ndarray) -> None:
        assert name == "alignment"
        self.previews.append(arrays["xy"])

    def cancelled(self) -> bool:
        return self.patience is not None and len(self.previews) >= self.patience


def test_the_overlay_is_shown_on_the_way(pair) -> None:
    recorder = Recorder()
    align(pair.st, pair.sm, AlignConfig(transform="similarity"), recorder)
    assert len(recorder.previews) > 3
    assert all(xy.shape == (pair.sm.n_obs, 2) and xy.dtype == np.float32 for xy in recorder.previews)
    assert recorder.fractions == sorted(recorder.fractions)
    assert recorder.fractions[-1] == 1.0
    assert all(np.isfinite(numbers["outline_um"]) for numbers in recorder.numbers)


@pytest.mark.parametrize("orientation", ["search", "given"])
def test_cancel_keeps_the_best_so_far(pair, orientation: str) -> None:
    config = AlignConfig(transform="similarity", orientation=orientation, flip=True, rotation_deg=130.0)
    done = align(pair.st, pair.sm, config, Recorder(patience=1))
    assert result_of(done).stopped == "cancelled"
    assert np.isfinite(done.obsm[keys.SPATIAL]).all()


def test_square_section_is_turned_by_its_values() -> None:
    """The outline of a square fits eight ways; only the measured values know which."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(40.0), np.arange(40.0))
    xy = np.column_stack([x.ravel(), y.ravel()])
    true = Similarity(90.0, True, 100.0, 100.0, (19.5, 19.5), (1000.0, 2000.0))
    st_xy = true.forward(xy)

    centres = st_xy[rng.choice(len(st_xy), 6)]

    def values(at: np.ndarray, n: int) -> np.ndarray:
        """Poisson counts of n features that mark six round domains."""
        distance = np.linalg.norm(at[:, None] - centres[None], axis=2)
        return rng.poisson(np.exp(1 + np.exp(-((distance / 800) ** 2)) @ rng.uniform(0, 2, (6, n)))).astype(float)

    pair = Pair(st_xy, xy, 1.0, values=(values(st_xy, 8), values(true.forward(xy), 10)))
    result = register(pair, AlignConfig(transform="similarity", max_steps=60), Context())
    assert result.orientation.decided_by == "features"
    assert np.linalg.norm(result.forward(xy) - st_xy, axis=1).mean() < 50
    blind = register(Pair(st_xy, xy, 1.0), AlignConfig(transform="similarity", max_steps=60), Context())
    assert blind.orientation.ambiguous
    assert blind.orientation.confidence < 0.25


def test_a_section_that_collapses_is_no_candidate() -> None:
    # cut along one side, this one can shrink onto a straight piece of the other's outline at hardly any loss
    pair = simulated(spots=420, genes=40, metabolites=12, warp=0.0, seed=0)
    aligned = align(pair.st, pair.sm, AlignConfig(transform="similarity"))
    assert error(aligned, pair.truth.true_st_xy, SPOT_PX) < 0.5


def test_agreement_is_the_explained_variance() -> None:
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(1)
    xy = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2)
    hidden = rng.normal(size=(400, 2))
    st = components(rng.poisson(np.exp(2 + hidden @ rng.normal(size=(2, 12)))), xy)
    sm = components(rng.poisson(np.exp(2 + hidden @ rng.normal(size=(2, 12)))), xy * 4)
    identity = Similarity(0.0, False, 0.25, 0.25, (0.0, 0.0), (0.0, 0.0))
    score = agreement(identity, st, sm, reach=0.5)
    from scipy.spatial import cKDTree

    predictors = sm.scores[cKDTree(xy).query(xy, k=4)[1]].mean(axis=1)
    model = LinearRegression().fit(predictors, st.scores)
    explained = 1 - ((st.scores - model.predict(predictors)) ** 2).sum(axis=0) / (st.scores**2).sum(axis=0)
    adjusted = 1 - (1 - explained) * (400 - 1) / (400 - predictors.shape[1] - 1)
    assert score == pytest.approx(adjusted @ st.share, abs=0.001)
    far = Similarity(0.0, False, 0.25, 0.25, (0.0, 0.0), (1e6, 0.0))
    assert agreement(far, st, sm, reach=0.5) == 0


def test_missing_coordinates_and_gaps_are_named(pair) -> None:
    with pytest.raises(DataError, match="spatial_grid"):
        align(pair.st, pair.sm, AlignConfig(spatial_key="spatial_grid"))
    broken = pair.sm.copy()
    broken.obsm[keys.SPATIAL][3, 0] = np.nan
    with pytest.raises(DataError, match="finite"):
        align(pair.st, broken)
    with pytest.raises(DataError, match="at least 12"):
        align(pair.st, pair.sm[:10])


def test_the_package_loads_no_torch() -> None:
    code = "import sys, core.registration; assert not {'torch', 'scanpy', 'sklearn', 'anndata'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("folder", "slots", "limit"),
    [
        ("vicari_B1", ("spatial_grid", "spatial"), 1.0),
        ("dlpfc_151673_pair", ("spatial", "true_st_xy"), 0.6),
        ("dlpfc_151674_pair", ("spatial", "true_st_xy"), 0.6),
    ],
)
def test_real_sections_come_to_lie_where_they_belong(
    data_dir: Path, folder: str, slots: tuple[str, str], limit: float
) -> None:
    st, sm = (ad.read_h5ad(data_dir / folder / f"{name}.h5ad") for name in ("st", "sm"))
    done = align(st, sm, AlignConfig(spatial_key=slots[0]))
    assert error(done, sm.obsm[slots[1]], point_distance(st.obsm[keys.SPATIAL])) < limit


def test_measured_values_bring_a_real_pair_nearer(data_dir: Path) -> None:
    """The outlines of this pair pull away from the experts' alignment; the measured values know better."""
    st, sm = (ad.read_h5ad(data_dir / "vicari_B1" / f"{name}.h5ad") for name in ("st", "sm"))
    done = align(st, sm, AlignConfig(spatial_key="spatial_grid", transform="similarity"))
    assert error(done, sm.obsm["spatial"], point_distance(st.obsm[keys.SPATIAL])) < 1.0
