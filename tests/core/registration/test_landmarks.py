"""Landmarks: the fits against closed forms and scipy, residuals, files, and the alignment that uses them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from scipy.spatial import procrustes

from core.context import Context
from core.datasets import SimulateConfig, simulate
from core.errors import DataError
from core.io.visium import read_positions
from core.registration import AlignConfig, Pair, Similarity, register, transform_from_dict
from core.registration.landmarks import (
    COLUMNS,
    Landmarks,
    fit_landmarks,
    from_csv,
    from_rows,
    from_text,
    leave_one_out,
    picture_scales,
    residuals,
)
from core.registration.spline import ThinPlateSpline

SM = np.random.default_rng(3).uniform([0, 0], [80, 60], (12, 2))
KNOWN = Similarity(rotation_deg=130.0, flip=True, scale_x=40.0, scale_y=40.0, source=(40.0, 30.0), target=(5e3, 4e3))


def noisy(size: float) -> Landmarks:
    noise = np.random.default_rng(4).normal(0, size, SM.shape)
    return Landmarks(SM, KNOWN.forward(SM) + noise)


def warped() -> Landmarks:
    bent = KNOWN.forward(SM) + 60 * np.column_stack([np.sin(SM[:, 1] / 20), np.cos(SM[:, 0] / 25)])
    return Landmarks(SM, bent)


def test_a_similarity_is_recovered_and_is_procrustes() -> None:
    exact = fit_landmarks(Landmarks(SM, KNOWN.forward(SM)), "similarity")
    np.testing.assert_allclose([exact.rotation_deg, exact.scale_x, exact.scale_y], [130, 40, 40], rtol=1e-9)
    assert exact.flip
    pairs = noisy(80.0)
    fitted = fit_landmarks(pairs, "similarity")
    spread = ((pairs.st_xy - pairs.st_xy.mean(axis=0)) ** 2).sum()
    _, _, disparity = procrustes(pairs.st_xy, pairs.sm_xy)  # least squares over turn, mirror and scale, relative
    assert (residuals(fitted, pairs) ** 2).sum() / spread == pytest.approx(disparity, rel=1e-9)


def test_two_pairs_determine_a_similarity_without_mirror_image() -> None:
    fitted = fit_landmarks(Landmarks(SM[:2], KNOWN.forward(SM[:2])), "similarity")
    assert not fitted.flip
    assert fitted.scale_x == pytest.approx(40)
    np.testing.assert_allclose(fitted.forward(SM[:2]), KNOWN.forward(SM[:2]), atol=1e-9)


def test_the_affine_is_least_squares() -> None:
    pairs = noisy(80.0)
    fitted = fit_landmarks(pairs, "affine")
    fits = [np.polynomial.polynomial.polyvander2d(*SM.T, [1, 1])[:, [0, 2, 1]]]  # 1, x, y
    expected = np.linalg.pinv(fits[0]) @ pairs.st_xy
    np.testing.assert_allclose(np.column_stack([fitted.offset, fitted.matrix]).T, expected, rtol=1e-8)


def test_the_spline_is_scipys() -> None:
    pairs, anywhere = warped(), np.random.default_rng(5).uniform([-20, -20], [100, 80], (400, 2))
    spline = fit_landmarks(pairs, "spline")
    theirs = RBFInterpolator(pairs.sm_xy, pairs.st_xy, kernel="thin_plate_spline", degree=1)
    np.testing.assert_allclose(spline.forward(anywhere), theirs(anywhere), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(spline.forward(pairs.sm_xy), pairs.st_xy, atol=1e-6)


def test_the_spline_has_an_inverse_and_a_derivative() -> None:
    spline, step = fit_landmarks(warped(), "spline"), 1e-4
    anywhere = np.random.default_rng(6).uniform([0, 0], [80, 60], (300, 2))
    np.testing.assert_allclose(spline.inverse(spline.forward(anywhere)), anywhere, atol=1e-5)
    for axis in range(2):
        move = step * np.eye(2)[axis]
        slope = (spline.forward(anywhere + move) - spline.forward(anywhere - move)) / (2 * step)
        np.testing.assert_allclose(spline.jacobian(anywhere)[:, :, axis], slope, rtol=1e-5, atol=1e-5)
    assert (spline.jacobian_determinant(anywhere) < 0).all()  # mirrored everywhere, folded nowhere
    again = transform_from_dict(json.loads(json.dumps(spline.to_dict())))
    assert again == spline


def test_a_folding_spline_shows_it() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.4, 0.5], [0.6, 0.5]], dtype=float)
    crossed = square.copy()
    crossed[4, 0], crossed[5, 0] = 0.6, 0.4
    x = np.stack(np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40)), axis=-1).reshape(-1, 2)
    assert ThinPlateSpline.through(square, crossed).jacobian_determinant(x).min() < 0
    assert ThinPlateSpline.through(square, square).jacobian_determinant(x).min() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["similarity", "affine", "spline"])
def test_leaving_one_out_finds_the_false_pair(kind: str) -> None:
    pairs = Landmarks(SM, KNOWN.forward(SM))
    np.testing.assert_allclose(leave_one_out(pairs, kind), 0, atol=1e-6)
    pairs.st_xy[3] += 900
    found = leave_one_out(pairs, kind)
    assert found.argmax() == 3
    assert found[3] == pytest.approx(900 * np.sqrt(2), rel=1e-6)  # the others know nothing of it
    assert np.isnan(leave_one_out(Landmarks(SM[:2], SM[:2]), "similarity")).all()


def test_too_few_pairs_and_pairs_on_a_line_are_refused() -> None:
    with pytest.raises(DataError, match=r"3 landmark pairs for an affine map.*Found 2"):
        fit_landmarks(Landmarks(SM[:2], SM[:2]), "affine")
    line = np.column_stack([np.arange(5.0), 2 * np.arange(5.0)])
    with pytest.raises(DataError, match="all SM points on one line"):
        fit_landmarks(Landmarks(line, SM[:5]), "affine")


def test_text_and_csv_bring_the_pairs_back() -> None:
    pairs = noisy(3.0)
    np.testing.assert_array_equal(from_text(pairs.to_text()).rows, pairs.rows)
    np.testing.assert_array_equal(from_csv(pairs.to_csv(), st_xy=pairs.st_xy).rows, pairs.rows)
    assert len(from_text("")) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a header and a pair a line"),
        ("a,b,c,d\n1,2,3,4\n", "columns sm_x, sm_y, st_x, st_y.*Found a, b, c, d"),
        ("sm_x,sm_y,st_x,st_y\n1,2,3,4\n1,2,x,4\n", "four numbers in line 3"),
        ("sm_x,sm_y,st_x,st_y\n1,2,3\n", "four numbers in line 2"),
        ("sm_x,sm_y,st_x,st_y\n1,2,3,inf\n", "a gap or infinity"),
        ("sm_x,sm_y,st_x,st_y\n1,2,3,4\n1,2,7,8\n", "an SM point twice"),
        ("X_left,Y_left,X_right,Y_right\n1,2,9000,4\n", "at the scale of one of its pictures"),
    ],
)
def test_bad_files_get_one_clear_message(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        from_csv(text, st_xy=np.array([[0.0, 0.0], [100.0, 100.0]]))


@pytest.mark.parametrize("text", ["nonsense", "[[1,2,3]]", "[[1,2,3,4],[1]]", '[["a",2,3,4]]'])
def test_bad_settings_too(text: str) -> None:
    with pytest.raises(DataError):
        from_text(text)


def test_magpie_landmarks_lie_on_the_section(data_dir: Path) -> None:
    folder = data_dir / "magpie_landmarks"
    positions = read_positions(folder / "visium/spatial/tissue_positions_list.csv")
    on_tissue = positions[positions.iloc[:, 0] == 1]
    st_xy = on_tissue.iloc[:, [4, 3]].to_numpy(dtype=float)
    factors = json.loads((folder / "visium/spatial/scalefactors_json.json").read_text())
    scales = picture_scales({"library": {"scalefactors": factors}})
    pairs = from_csv((folder / "landmarks_noHE.csv").read_text(), st_xy=st_xy, scales=scales)
    assert len(pairs) == 10
    given = np.genfromtxt(folder / "landmarks_noHE.csv", delimiter=",", skip_header=1)
    np.testing.assert_allclose(pairs.st_xy, given[:, 2:] / factors["tissue_hires_scalef"])
    del factors["tissue_hires_scalef"]  # the file's picture is the hires one also where that is missing
    again = from_csv(
        (folder / "landmarks_noHE.csv").read_text(),
        st_xy=st_xy,
        scales=picture_scales({"l": {"scalefactors": factors}}),
    )
    np.testing.assert_allclose(again.st_xy, pairs.st_xy, rtol=1e-5)
    # set by hand on pixels of about 570 px: good to about one of them, and the map stays near a similarity
    affine = fit_landmarks(pairs, "affine")
    pixel = np.sqrt(abs(np.linalg.det(affine.matrix)))
    assert np.median(residuals(affine, pairs)) < pixel
    assert np.ptp(np.linalg.svd(affine.matrix, compute_uv=False)) < 0.1 * pixel


@pytest.fixture(scope="module")
def pair():
    made = simulate(
        SimulateConfig(spots=500, genes=20, metabolites=10, rotation_deg=130.0, flip=True, warp=0.0, seed=5)
    )
    return made


def landmarks_of(made, n: int = 6) -> Landmarks:
    sm_xy = np.asarray(made.sm.obsm["spatial"])
    chosen = np.random.default_rng(0).choice(len(sm_xy), n, replace=False)
    return Landmarks(sm_xy[chosen], np.asarray(made.truth.true_st_xy)[chosen])


def as_pair(made) -> Pair:
    return Pair(np.asarray(made.st.obsm["spatial"]), np.asarray(made.sm.obsm["spatial"]), um_per_px=0.5)


@pytest.mark.parametrize("kind", ["similarity", "affine", "spline"])
def test_landmarks_alone_align(pair, kind: str) -> None:
    marks = landmarks_of(pair)
    result = register(
        as_pair(pair), AlignConfig(mode="landmarks", landmarks=marks.to_text(), landmark_fit=kind), Context()
    )
    miss = np.linalg.norm(result.forward(pair.sm.obsm["spatial"]) - pair.truth.true_st_xy, axis=1)
    anisotropy = 60.0 if kind == "similarity" else 1e-3  # the simulated pixels are not square
    assert miss.mean() < anisotropy
    assert result.stopped == "landmarks"
    assert result.quality.landmark_um == pytest.approx(residuals(result.transform, marks).mean() * 0.5, abs=1e-9)
    assert result.quality.left_out_um >= result.quality.landmark_um
    assert type(result).from_dict(json.loads(json.dumps(result.to_dict()))).transform == result.transform


def test_landmarks_mend_a_bad_start(pair) -> None:
    """The fit starts where the landmarks say, however false the turn that is searched from."""
    wrong = AlignConfig(transform="similarity", orientation="given", rotation_deg=310.0, flip=False, max_steps=60)
    truth = pair.truth.true_st_xy

    def miss(config: AlignConfig) -> float:
        found = register(as_pair(pair), config, Context())
        return float(np.linalg.norm(found.forward(pair.sm.obsm["spatial"]) - truth, axis=1).mean() / 200)

    helped = AlignConfig(transform="similarity", landmarks=landmarks_of(pair, 3).to_text(), max_steps=60)
    assert miss(wrong) > 3
    assert miss(helped) < 0.3


def test_columns_of_the_export_are_named() -> None:
    assert noisy(1.0).to_csv().splitlines()[0] == ",".join(COLUMNS)
    with pytest.raises(DataError, match="at most 1000"):
        from_rows(np.arange(4004.0).reshape(1001, 4))
