"""What the readers make of AnnData files as the world writes them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from core.errors import DataError, FormatError, StorageError
from core.io import check_pair, check_st, read_sm, read_st, write_h5ad
from core.io.h5ad import is_counts, mz_of

ROOT = Path(__file__).parents[3]


def save(adata: anndata.AnnData, path: Path) -> Path:
    adata.write_h5ad(path)
    return path


def counts(n: int = 6, m: int = 3) -> anndata.AnnData:
    x = np.random.default_rng(4).integers(0, 5, (n, m)).astype(np.int64)
    x[0, 0] = 3
    adata = anndata.AnnData(x, obsm={"spatial": np.random.default_rng(5).random((n, 2)) * 1000})
    adata.obs_names = [f"s{i}" for i in range(n)]
    adata.var_names = [f"g{i}" for i in range(m)]
    return adata


@pytest.mark.parametrize("name", ["vicari_B1", "vicari_A1", "dlpfc_151673_pair", "dlpfc_151674_pair"])
def test_real_sections_equal_scanpys(data_dir: Path, name: str) -> None:
    import scanpy

    for part, read in (("st", read_st), ("sm", read_sm)):
        path = data_dir / name / f"{part}.h5ad"
        ours, theirs = read(path), scanpy.read_h5ad(path)
        dense = theirs.X.toarray() if sparse.issparse(theirs.X) else theirs.X
        np.testing.assert_array_equal(ours.X.toarray(), dense)
        assert ours.X.format == "csr"
        assert ours.X.dtype == np.float32
        assert list(ours.obs_names) == list(theirs.obs_names)
        assert list(ours.var_names) == list(theirs.var_names)
        for key in theirs.obsm:
            np.testing.assert_array_equal(ours.obsm[key], theirs.obsm[key])
        assert set(ours.var["type"]) == {part.upper()}


def test_spatial_key(data_dir: Path) -> None:
    path = data_dir / "vicari_B1/sm.h5ad"
    plain, raw = read_sm(path), read_sm(path, spatial_key="spatial_grid")
    np.testing.assert_array_equal(raw.obsm["spatial"], plain.obsm["spatial_grid"])
    np.testing.assert_array_equal(raw.obsm["spatial_grid"], plain.obsm["spatial_grid"])
    np.testing.assert_array_equal(raw.obsm["spatial_file"], plain.obsm["spatial"])
    with pytest.raises(DataError, match="'spatial_grid'"):
        read_sm(path, spatial_key="none")


def test_mz_of_the_bladder(data_dir: Path) -> None:
    adata = read_sm(data_dir / "mouse_bladder/sm.h5ad")
    np.testing.assert_array_equal(adata.var["mz"], adata.var["raw_mz"])


@pytest.mark.parametrize(
    ("name", "mz"),
    [
        ("426.9289", 426.9289),
        ("mz-426.93", 426.93),
        ("m/z 426.93", 426.93),
        ("MZ_12", 12.0),
        ("Dopamine", np.nan),
        ("C18:1", np.nan),
        ("426.93 [M+H]+", 426.93),
        ("426.93 ± 0.01 Da", 426.93),
        ("X426.93", 426.93),
        ("m.z.426.93", 426.93),
        ("426,93", 426.93),
        ("15(S)-HETE", np.nan),
        ("1,3(2H)-dione", np.nan),
    ],
)
def test_mz_of_names(name: str, mz: float) -> None:
    np.testing.assert_equal(mz_of(name), mz)


def test_numbered_features_have_no_mz(tmp_path: Path) -> None:
    adata = counts()
    adata.var_names = ["1", "2", "3"]
    assert read_sm(save(adata, tmp_path / "a.h5ad")).var["mz"].isna().all()


def test_dense_integers_become_csr(tmp_path: Path) -> None:
    adata = counts()
    adata.layers["whole"] = adata.X.copy()
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    np.testing.assert_array_equal(ours.X.toarray(), adata.X)
    assert ours.layers["whole"].dtype == np.int64


def test_ensembl_names_give_way_to_symbols(tmp_path: Path) -> None:
    adata = counts()
    ids = [f"ENSG0000000000{i}" for i in range(3)]
    adata.var_names = ids
    adata.var["feature_name"] = pd.Categorical(["A", "A", None])
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    assert list(ours.var_names) == ["A", "A-1", ids[2]]
    assert list(ours.var["gene_ids"]) == ids


def test_symbols_stay(data_dir: Path) -> None:
    adata = read_st(data_dir / "dlpfc_151673_pair/st.h5ad")
    assert adata.var_names[0] == "NPY"
    assert adata.var["gene_ids"].iloc[0] == "ENSG00000122585"


@pytest.mark.parametrize("place", ["layers['counts']", "layers['raw_counts']", "raw"])
def test_counts_are_found_where_x_is_normalised(tmp_path: Path, place: str) -> None:
    adata = counts()
    expected = adata.X.copy()
    if place == "raw":
        adata.raw = adata
    else:
        adata.layers[place.split("'")[1]] = expected
    adata.X = np.log1p(adata.X)
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    np.testing.assert_array_equal(ours.X.toarray(), expected)
    assert "spatial" in ours.obsm
    assert any(place in c.found for c in check_st(ours))


def test_a_file_of_cellxgene(tmp_path: Path) -> None:
    """Counts in raw, which does not have the symbols; every spot of the slide, those without tissue as well."""
    adata = counts()
    expected, ids = adata.X.copy(), [f"ENSG0000000000{i}" for i in range(3)]
    adata.var_names = ids
    adata.raw = adata.copy()
    adata.var["feature_name"] = pd.Categorical(["A", "B", "C"])
    adata.X = np.log1p(adata.X)
    adata.obs["in_tissue"] = np.arange(adata.n_obs) % 3 > 0
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    assert list(ours.var_names) == ["A", "B", "C"]
    np.testing.assert_array_equal(ours.X.toarray(), expected[np.arange(adata.n_obs) % 3 > 0])
    assert any("outside the tissue left out" in c.found for c in check_st(ours))


@pytest.mark.parametrize("place", ["X_spatial", "x", "pxl_col_in_fullres"])
def test_coordinates_in_another_place(tmp_path: Path, place: str) -> None:
    adata = counts()
    xy = adata.obsm.pop("spatial")
    if place == "X_spatial":
        adata.obsm[place] = pd.DataFrame(xy, index=adata.obs_names, columns=["x", "y"])
    else:
        adata.obs[place], adata.obs[{"x": "y"}.get(place, "pxl_row_in_fullres")] = xy.T
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    np.testing.assert_array_equal(ours.obsm["spatial"], xy)
    assert any(place in c.found for c in check_st(ours))


def test_sections_on_each_other_block(data_dir: Path, tmp_path: Path) -> None:
    """Two slides, each in the pixels of its own image, joined as scanpy's tutorial does it."""
    parts = {name: anndata.read_h5ad(data_dir / f"dlpfc_{name}_pair/st.h5ad")[:, :9] for name in ("151673", "151674")}
    joined = anndata.concat(parts, label="library_id", uns_merge="unique", index_unique="-")
    blocking = [c for c in check_st(read_st(save(joined, tmp_path / "a.h5ad"))) if c.level == "blocking"]
    assert ["2 sections lie on each other" in c.found for c in blocking] == [True]
    joined.obs = joined.obs.rename(columns={"library_id": "sample"})  # which features and integrate take apart
    several = read_st(save(joined, tmp_path / "c.h5ad"))
    assert not [c for c in check_st(several) if c.level == "blocking"]
    assert [c.found[:30] for c in check_pair(several, several) if c.level == "blocking"] == [
        "2 sections lie on each other (",
        "2 sections lie on each other (",
    ]
    joined.obs = joined.obs.rename(columns={"sample": "library_id"})
    alone = read_st(save(joined[joined.obs["library_id"] == "151674"].copy(), tmp_path / "b.h5ad"))
    assert not [c for c in check_st(alone) if c.level == "blocking"]
    assert list(alone.uns["spatial"]) == ["151674"]


def test_a_column_that_could_not_be_saved(tmp_path: Path) -> None:
    adata = counts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of '/'
        adata.obs["a/b"], adata.obs["a_b"] = 1, 2
        path = save(adata, tmp_path / "a.h5ad")
    ours = read_st(path)
    write_h5ad(ours, tmp_path / "b.h5ad")
    again = anndata.read_h5ad(tmp_path / "b.h5ad")
    assert set(again.obs["a_b"]) == {2}
    assert set(again.obs["a_b_"]) == {1}


def test_half_precision(tmp_path: Path) -> None:
    adata = counts()
    expected, adata.X = adata.X.copy(), adata.X.astype(np.float16)
    np.testing.assert_array_equal(read_st(save(adata, tmp_path / "a.h5ad")).X.toarray(), expected)


def test_normalised_without_counts_blocks(tmp_path: Path) -> None:
    adata = counts()
    adata.X = np.log1p(adata.X)
    assert [c.title for c in check_st(read_st(save(adata, tmp_path / "a.h5ad"))) if c.level == "blocking"] == ["Counts"]


def test_values_beyond_float32_are_reported(tmp_path: Path) -> None:
    adata = counts()
    adata.X = adata.X.astype(float)
    adata.X[0, 0] = 1e300
    blocking = [c.title for c in check_st(read_st(save(adata, tmp_path / "a.h5ad"))) if c.level == "blocking"]
    assert "Missing or infinite values" in blocking


def test_strange_uns_is_left_out(tmp_path: Path) -> None:
    adata = counts()
    adata.uns["spatial"] = {
        "a": {"images": {"hires": np.zeros(3)}, "scalefactors": {"tissue_hires_scalef": "x"}},
        "b": np.arange(3),
    }
    adata.uns["spatialmeta"] = np.arange(4)
    ours = read_st(save(adata, tmp_path / "a.h5ad"))
    assert ours.uns["spatial"] == {"a": {"images": {}, "scalefactors": {}}}
    assert ours.uns["spatialmeta"]["um_per_px"] > 0
    check_st(ours)
    adata.uns["spatial"] = np.arange(3)
    assert "spatial" not in read_st(save(adata, tmp_path / "a.h5ad")).uns


def test_float_images_become_bytes(tmp_path: Path) -> None:
    adata = counts()
    adata.uns["spatial"] = {"a": {"images": {"hires": np.full((4, 5, 4), 0.5, np.float32)}, "scalefactors": {}}}
    image = read_st(save(adata, tmp_path / "a.h5ad")).uns["spatial"]["a"]["images"]["hires"]
    assert image.dtype == np.uint8
    assert image.shape == (4, 5, 3)
    assert set(np.unique(image)) == {128}


def test_squidpy_draws_a_section_with_a_lowres_image_alone(data_dir: Path, tmp_path: Path) -> None:
    adata = read_st(data_dir / "vicari_B1/st.h5ad")
    entry = adata.uns["spatial"]["V11L12-109_B1"]
    assert entry["scalefactors"]["tissue_hires_scalef"] == entry["scalefactors"]["tissue_lowres_scalef"]
    write_h5ad(adata, tmp_path / "a.h5ad")
    code = """if True:
        import sys, matplotlib
        matplotlib.use("Agg")
        import anndata, squidpy
        adata = anndata.read_h5ad(sys.argv[1])
        squidpy.pl.spatial_scatter(adata, color=adata.var_names[0])
        matplotlib.pyplot.savefig(sys.argv[2])
    """
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "a.h5ad", tmp_path / "a.png"],
        check=True,
        capture_output=True,
        timeout=200,
    )
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_strange_notes_are_replaced(tmp_path: Path) -> None:
    adata = counts()
    adata.uns["spatialmeta"] = {"import": np.arange(3)}
    check_st(adata)
    assert "format" in read_st(save(adata, tmp_path / "a.h5ad")).uns["spatialmeta"]["import"]


def test_no_x(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without X"):
        read_st(save(anndata.AnnData(obs=counts().obs), tmp_path / "a.h5ad"))


def test_in_gzip(tmp_path: Path) -> None:
    path = save(counts(), tmp_path / "a.h5ad")
    (tmp_path / "a.h5ad.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_st(tmp_path / "a.h5ad.gz").X.toarray(), anndata.read_h5ad(path).to_df())


@pytest.mark.parametrize(("name", "mend"), [("spatial.7z", "Unpack it"), ("brain.rds", "Convert it to h5ad")])
def test_other_formats_are_told_the_way(tmp_path: Path, name: str, mend: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(FormatError, match=mend):
        read_st(tmp_path / name)


def test_missing_file(tmp_path: Path) -> None:
    for read in (read_st, read_sm):
        with pytest.raises(StorageError, match="no such file"):
            read(tmp_path / "none.h5ad")


def test_what_is_read_can_be_written_and_read_again(data_dir: Path, tmp_path: Path) -> None:
    sources = [
        ("st", "vicari_B1/st.h5ad"),
        ("st", "visium_folder"),
        ("sm", "vicari_B1/sm.h5ad"),
        ("sm", "mouse_bladder/sm.h5ad"),
        ("sm", "imzml/picked.imzML"),
        ("sm", "imzml/Example_Processed.imzML"),
    ]
    for part, source in sources:
        read = read_st if part == "st" else read_sm
        adata = read(data_dir / source)
        write_h5ad(adata, tmp_path / "a.h5ad")
        again = read(tmp_path / "a.h5ad")
        np.testing.assert_array_equal(again.X.toarray(), adata.X.toarray())
        np.testing.assert_array_equal(again.obsm["spatial"], adata.obsm["spatial"])
        assert list(again.var_names) == list(adata.var_names)


def test_is_counts() -> None:
    assert is_counts(np.array([[1.0, 2.0], [np.nan, np.inf]]))
    assert is_counts(sparse.csr_matrix(np.eye(3)))
    assert not is_counts(np.array([0.5]))


def test_import_is_light() -> None:
    code = "import sys, core.io; print([m for m in ('torch','scanpy','umap','numba','sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
