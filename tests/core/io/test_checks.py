"""Each finding, from an object that has exactly that fault."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from core.io import Check, check_pair, check_sm, check_st, read_sm, read_st


def st(n: int = 100, m: int = 5) -> anndata.AnnData:
    rng = np.random.default_rng(1)
    side = int(np.ceil(np.sqrt(n)))
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:n] * 100.0
    adata = anndata.AnnData(
        sparse.csr_matrix(rng.integers(1, 9, (n, m)).astype(np.float32)),
        obs=pd.DataFrame(index=[f"s{i}" for i in range(n)]),
        var=pd.DataFrame({"mz": np.linspace(100, 200, m)}, index=[f"g{i}" for i in range(m)]),
    )
    adata.obsm["spatial"] = xy
    return adata


def blocking(checks: list[Check]) -> list[str]:
    return [c.title for c in checks if c.level == "blocking"]


def warned(checks: list[Check]) -> list[str]:
    return [c.title for c in checks if c.level == "warning"]


def test_sound_sections_are_ok() -> None:
    assert blocking(check_st(st())) == []
    assert warned(check_st(st())) == ["Histology"]
    assert warned(check_sm(st())) == blocking(check_sm(st())) == []
    assert check_st(st())[0] == Check("ok", "Size", "100 spots × 5 genes.")


def test_real_pairs_do_not_block(data_dir: Path) -> None:
    for name in ("vicari_B1", "vicari_A1", "dlpfc_151673_pair", "dlpfc_151674_pair"):
        a, b = read_st(data_dir / name / "st.h5ad"), read_sm(data_dir / name / "sm.h5ad")
        assert blocking(check_st(a) + check_sm(b) + check_pair(a, b)) == []
    found = " ".join(c.found for c in check_st(read_st(data_dir / "vicari_B1/st.h5ad")))
    assert "3,120 spots × 13 genes" in found
    assert "whole numbers" in found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values(value: float) -> None:
    adata = st()
    adata.X.data[3] = value
    for check in (check_st, check_sm):
        found = next(c for c in check(adata) if c.title == "Missing or infinite values")
        assert found.level == "blocking"
        assert found.found.startswith("1 ")
        assert found.mend


def test_negative_values() -> None:
    adata = st()
    adata.X.data[:2] = -1
    assert "Negative values" in blocking(check_st(adata))
    assert "Negative values" in blocking(check_sm(adata))


def test_normalised_counts_block_for_st_only() -> None:
    adata = st()
    adata.X.data = np.log1p(adata.X.data)
    assert blocking(check_st(adata)) == ["Counts"]
    assert blocking(check_sm(adata)) == []


def test_a_few_broken_counts_warn() -> None:
    adata = st()
    adata.X.data[:2] += 0.5
    assert blocking(check_st(adata)) == []
    assert "Counts" in warned(check_st(adata))


def test_repeated_names() -> None:
    adata = st()
    adata.var_names = ["a", "a", "a", "b", "c"]
    found = next(c for c in check_st(adata) if c.title == "Repeated names")
    assert found.level == "warning"
    assert found.found.startswith("2 genes")


def test_repeated_names_are_said_after_they_were_mended(tmp_path: Path) -> None:
    adata = st()
    adata.var_names = ["a", "a", "a", "b", "c"]
    adata.obs_names = ["s", *adata.obs_names[1:-1], "s"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    for read, check in ((read_st, check_st), (read_sm, check_sm)):
        mended = read(tmp_path / "a.h5ad")
        assert mended.var_names.is_unique
        assert mended.obs_names.is_unique
        assert [c.found.split()[0] for c in check(mended) if c.title == "Repeated names"] == ["2", "1"]


def test_coordinates() -> None:
    adata = st()
    del adata.obsm["spatial"]
    assert blocking(check_st(adata)) == ["Coordinates"]
    for change in ("nan", "constant", "shape", "text"):
        adata = st()
        xy = adata.obsm["spatial"]
        if change == "nan":
            xy[4, 1] = np.nan
        elif change == "constant":
            xy[:, 0] = 7
        else:
            adata.obsm["spatial"] = xy[:, :1] if change == "shape" else xy.astype(str)
        assert blocking(check_st(adata)) == ["Coordinates"], change
        assert blocking(check_sm(adata)) == ["Coordinates"], change


def test_sections_side_by_side(data_dir: Path) -> None:
    """Both sections of a slide measured in one run, as many imzML have them; no real section is taken for two."""
    for path in sorted(data_dir.glob("*/s[tm].h5ad")):
        section = read_st(path) if path.stem == "st" else read_sm(path)
        assert not any("far apart" in c.found for c in (check_st if path.stem == "st" else check_sm)(section))
    other = section.copy()
    other.obs_names = other.obs_names + "-2"
    other.obsm["spatial"] = other.obsm["spatial"] + [2 * np.ptp(other.obsm["spatial"][:, 0]), 0]
    both = anndata.concat([section, other], merge="same")
    assert any(f"{section.n_obs:,} and {section.n_obs:,} pixels lie far apart (x" in c.found for c in check_sm(both))


def test_two_pixels_at_one_place() -> None:
    adata = st()
    adata.obsm["spatial"][1] = adata.obsm["spatial"][0]
    found = next(c for c in check_sm(adata) if c.title == "Coordinates")
    assert found.level == "warning"
    assert found.found.startswith("1 pixel ")


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (1, 5)])
def test_one_spot_and_empty_matrices(shape: tuple[int, int]) -> None:
    adata = anndata.AnnData(sparse.csr_matrix(shape, dtype=np.float32), obsm={"spatial": np.zeros((shape[0], 2))})
    assert "Size" in blocking(check_st(adata))
    assert "Size" in blocking(check_sm(adata))


def test_only_zeros_block() -> None:
    adata = st()
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    assert "Size" in blocking(check_st(adata))
    adata.X = np.zeros(adata.shape, dtype=np.float32)
    assert "Size" in blocking(check_st(adata))


def test_one_spot_with_a_value() -> None:
    assert "Size" in blocking(check_st(st(1)))


def test_empty_rows_and_columns_are_counted() -> None:
    adata = st()
    dense = adata.X.toarray()
    dense[:3], dense[:, 0] = 0, 0
    adata.X = sparse.csr_matrix(dense)
    adata.X[5, 1] = 37_057_800
    found = {c.title: c for c in check_st(adata)}
    assert found["Empty spots"].found == "3 spots without any value."
    assert "outside the tissue" in found["Empty spots"].mend
    assert found["Empty genes"].found == "1 gene without any value."
    assert "tissue" not in found["Empty genes"].mend
    assert "(largest 37,057,800)" in found["Values"].found


def test_mz() -> None:
    adata = st()
    adata.var["mz"] = np.nan
    assert "m/z" in warned(check_sm(adata))
    adata.var["mz"] = -1.0
    assert "m/z" in blocking(check_sm(adata))
    del adata.var["mz"]
    assert "m/z" in warned(check_sm(adata))


def test_pairs() -> None:
    a, b = st(), st()
    b.obsm["spatial"] += 100_000
    assert blocking(check_pair(a, b)) == []
    assert blocking(check_pair(a, b, aligned=True)) == ["Overlap"]
    assert blocking(check_pair(a, st(), aligned=True)) == []
    b.obsm["spatial"] = a.obsm["spatial"] + [700, 0]
    assert warned(check_pair(a, b, aligned=True)) == ["Overlap"]
    b.obsm["spatial"] = a.obsm["spatial"] * [10, 1]
    assert "Extent" in warned(check_pair(a, b))
    del b.obsm["spatial"]
    assert blocking(check_pair(a, b)) == ["Coordinates"]
    assert "Density" in warned(check_pair(st(10_000), st(100)))


def test_lengths_in_um() -> None:
    a, b = st(), st()
    a.uns["spatialmeta"] = {"um_per_px": 1.0}
    b.uns["spatialmeta"] = {"import": {"pixel_size_um": np.array([1.0, 1.0])}}
    assert "Length" not in warned(check_pair(a, b))
    b.uns["spatialmeta"] = {"import": {"pixel_size_um": np.array([10.0, 10.0])}}
    assert "Length" in warned(check_pair(a, b))


def test_checks_change_nothing() -> None:
    adata = st()
    before = adata.copy()
    check_st(adata)
    check_sm(adata)
    check_pair(adata, adata)
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    assert list(adata.obs) == list(before.obs)
    assert not adata.uns
