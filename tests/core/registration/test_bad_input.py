"""Pairs that are hard or wrong: the right answer on a known transform, or one clear message."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from core import io, keys
from core.cli import main
from core.context import Context
from core.errors import DataError
from core.registration import AlignConfig, Pair, RegistrationResult, align, register
from core.registration.outline import point_distance
from core.registration.transforms import Similarity

CENTRE = np.array([3000.0, 2500.0])
TRUE = Similarity(75.0, True, 90.0, 110.0, (20.0, 15.0), (3000.0, 2500.0))
SPOT = 120.0  # ST units
CONFIG = AlignConfig(transform="similarity", max_steps=120)


def bean(xy: np.ndarray) -> np.ndarray:
    """Which points (n, 2), ST units, lie on a section without symmetry."""
    x, y = ((xy - [3000, 2500]) / 1000).T
    return (np.hypot(x / (1.9 + 0.3 * y), y / 1.3) < 1) & (np.hypot(x - 1.6, y - 0.9) > 0.7)


def sampled(on_tissue, *, half: float = 4200.0) -> tuple[np.ndarray, np.ndarray]:
    """ST spots and SM pixels as measured, of one tissue."""
    spots, fine = (np.arange(-half, half, step) for step in (SPOT, SPOT / 2.3))
    st, sm = (np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2) + CENTRE for at in (spots, fine))
    return st[on_tissue(st)], TRUE.inverse(sm[on_tissue(sm)])


def error(result: RegistrationResult, sm_xy: np.ndarray) -> float:
    """Mean distance from the truth, spot distances."""
    return float(np.linalg.norm(result.forward(sm_xy) - TRUE.forward(sm_xy), axis=1).mean() / SPOT)


def with_hole(xy: np.ndarray) -> np.ndarray:
    return bean(xy) & (np.hypot(*(xy - [2500, 2300]).T) > 450)


def in_pieces(xy: np.ndarray) -> np.ndarray:
    gap = np.abs(xy[:, 0] - 2600 - 0.3 * (xy[:, 1] - 2500)) < 300
    return bean(xy) & ~gap


@pytest.mark.parametrize("on_tissue", [with_hole, in_pieces])
def test_holes_and_pieces_do_no_harm(on_tissue) -> None:
    st, sm = sampled(on_tissue)
    result = register(Pair(st, sm, 1.0), CONFIG, Context())
    assert error(result, sm) < 0.4
    assert not result.orientation.ambiguous
    assert result.note == ""


def test_a_hole_in_one_section_only() -> None:
    result = register(Pair(sampled(with_hole)[0], sampled(bean)[1], 1.0), CONFIG, Context())
    assert error(result, sampled(bean)[1]) < 0.4


def values_at(xy: np.ndarray) -> np.ndarray:
    """Nine smooth, positive features of the tissue at *xy* (n, 2), ST units."""
    rng = np.random.default_rng(5)
    wave, phase = rng.normal(0, 1 / 500, (2, 9)), rng.uniform(0, 6, 9)
    return np.exp(1 + np.sin(xy @ wave + phase))


def test_a_small_part_in_the_middle_of_the_other_section_is_called_open() -> None:
    """SM was measured in a rectangle inside of what ST has: its outline says nothing, and that is said."""
    st, sm = sampled(bean)
    middle = sm[(np.abs(sm - [20, 15]) < [8, 5]).all(axis=1)]
    pair = Pair(st, middle, 1.0, values=(values_at(st), values_at(TRUE.forward(middle))))
    result = register(pair, CONFIG, Context())
    assert error(result, middle) < 0.5 or (result.note and result.orientation.ambiguous)
    marked = TRUE.forward(middle)[[0, 30, -1, -30]]
    marks = str(np.column_stack([middle[[0, 30, -1, -30]], marked]).tolist())
    helped = register(pair, AlignConfig(mode="landmarks", landmarks=marks), Context())
    assert error(helped, middle) < 0.01  # the way out that the message names


def test_no_overlap_is_said() -> None:
    st, sm = sampled(bean)
    away = AlignConfig(mode="manual", flip=True, rotation_deg=75.0, shift_x_um=20_000.0)
    result = register(Pair(st, sm, 1.0), away, Context())
    assert result.quality.dice == 0
    assert "nothing overlaps" in result.note
    back = AlignConfig(
        transform="similarity", orientation="given", flip=True, rotation_deg=75.0, shift_x_um=20_000.0, max_steps=120
    )
    assert error(register(Pair(st, sm, 1.0), back, Context()), sm) < 0.4  # a fit from there comes back


@pytest.mark.parametrize("angle", [35.0, 160.0])
def test_a_part_cut_at_an_angle_to_its_raster_finds_its_place(angle: float) -> None:
    """No picture, no values: the cut has to be seen in the outline, or it is laid on ST's border."""
    st, sm = sampled(bean)
    along = sm @ [np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]
    part = sm[along < np.quantile(along, 0.7)]
    result = register(Pair(st, part, 1.0), CONFIG, Context())
    assert error(result, part) < 0.6
    blind = register(Pair(st, part, 1.0), replace(CONFIG, cut_edges=False), Context())
    assert error(blind, part) > 2


def test_a_real_part_cut_at_an_angle_is_never_wrong_without_a_word(data_dir: Path) -> None:
    st, sm = (ad.read_h5ad(data_dir / "vicari_B1" / f"{name}.h5ad") for name in ("st", "sm"))
    along = np.asarray(sm.obsm["spatial_grid"], dtype=float) @ [0.8, 0.6]
    part = sm[along < np.quantile(along, 0.6)].copy()
    true = part.obsm.pop("spatial")
    done = align(st, part, AlignConfig(spatial_key="spatial_grid", transform="affine", features_weight=0.0))
    found = RegistrationResult.from_dict(done.uns[keys.UNS][keys.ALIGNMENT])
    away = np.linalg.norm(done.obsm[keys.SPATIAL] - true, axis=1).mean() / point_distance(st.obsm[keys.SPATIAL])
    assert away < 1 or found.orientation.ambiguous


@pytest.mark.parametrize("exchanged", [False, True])
def test_folding_of_a_mirrored_map_is_reported(exchanged: bool) -> None:
    """Two pairs in the middle that are exchanged fold a thin-plate spline; a mirrored map alone does not fold."""
    st, sm = sampled(bean)
    rim = [int((sm @ np.array(d)).argmax()) for d in ((1, 0.2), (-1, 0.3), (0.1, 1), (-0.2, -1))]
    inner = np.argsort(np.linalg.norm(sm - sm.mean(axis=0), axis=1))[[0, 60]]
    partners = [*rim, *(inner[::-1] if exchanged else inner)]
    marks = str(np.column_stack([sm[[*rim, *inner]], TRUE.forward(sm[partners])]).tolist())
    config = AlignConfig(mode="landmarks", landmark_fit="spline", landmarks=marks)
    assert register(Pair(st, sm, 1.0), config, Context()).quality.folds == exchanged


@pytest.mark.parametrize(("columns", "rows"), [(4, 3), (100, 1)])
def test_an_outline_of_too_few_points_is_refused(columns: int, rows: int) -> None:
    st, _ = sampled(bean)
    few = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(float)
    with pytest.raises(DataError, match=r"outline of at least 12|cover an area"):
        register(Pair(st, few, 1.0), CONFIG, Context())


@pytest.fixture
def written(tmp_path: Path):
    """Writes sections as files and aligns them from the command line: exit status, what it said, the output."""

    def align(st_xy: np.ndarray, sm_xy: np.ndarray, *words: str) -> tuple[int, Path]:
        rng = np.random.default_rng(0)
        for name, xy in (("st", st_xy), ("sm", sm_xy)):
            adata = ad.AnnData(rng.poisson(3.0, (len(xy), 6)).astype(np.float32), obsm={keys.SPATIAL: xy})
            adata.var_names = [f"{name}{k}" if name == "st" else f"{100 + k}.5" for k in range(6)]
            io.write_h5ad(adata, tmp_path / f"{name}.h5ad")
        files = [f"--{name}={tmp_path / name}.h5ad" for name in ("st", "sm")]
        return main(["align", *files, f"--out={tmp_path / 'out.h5ad'}", *words]), tmp_path / "out.h5ad"

    return align


def test_the_command_line_refuses_too_few_points_in_one_message(written, capsys: pytest.CaptureFixture) -> None:
    few = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), axis=-1).reshape(-1, 2)
    status, out = written(sampled(bean)[0], few)
    said = capsys.readouterr().err
    assert status != 0
    assert "outline of at least 12 points" in said
    assert "Traceback" not in said
    assert not out.exists()


def test_the_command_line_says_what_is_doubtful(written, capsys: pytest.CaptureFixture) -> None:
    st, sm = sampled(bean)
    status, out = written(st, sm, "--mode=manual", "--shift-x-um=90000")
    assert status == 0
    assert out.exists()
    assert "nothing overlaps" in capsys.readouterr().err


def test_the_command_line_offers_the_other_orientation(written, capsys: pytest.CaptureFixture) -> None:
    """A rectangle fits four ways."""
    box = lambda xy: (np.abs(xy - [3000, 2500]) < [1800, 1100]).all(axis=1)  # noqa: E731
    status, _ = written(*sampled(box), "--max-steps=40")
    assert status == 0
    assert "--rotation-deg" in capsys.readouterr().err
