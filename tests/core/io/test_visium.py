"""Space Ranger's layouts against scanpy, in every wrapping in which they come."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import mmwrite

from core.errors import DataError, FormatError, UntrustedFileError
from core.io import check_st, read_st
from core.io.visium import POSITION_COLUMNS, read_positions

MATRIX = "filtered_feature_bc_matrix.h5"


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path) -> Path:
    """A copy of the real folder that may be changed."""
    target = tmp_path / "run"
    shutil.copytree(data_dir / "visium_folder", target, copy_function=shutil.copyfile)
    target.chmod(0o755)
    (target / "spatial").chmod(0o755)
    return target


@pytest.fixture(scope="module")
def reference(data_dir: Path) -> object:
    import scanpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scanpy.read_visium(data_dir / "visium_folder", library_id="section")


def same(adata: object, reference: object) -> None:
    kept = reference[reference.obs["in_tissue"] == 1]
    assert list(adata.obs_names) == list(kept.obs_names)
    assert list(adata.var_names) == list(kept.var_names)
    assert list(adata.var["gene_ids"]) == list(kept.var["gene_ids"])
    np.testing.assert_array_equal(adata.X.toarray(), kept.X.toarray())
    np.testing.assert_array_equal(adata.obsm["spatial"], kept.obsm["spatial"])
    for column in ("in_tissue", "array_row", "array_col"):
        np.testing.assert_array_equal(adata.obs[column], kept.obs[column])


def zipped(folder: Path, path: Path, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


def tarred(folder: Path, path: Path, top: str) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        archive.add(folder, top)
    return path


def test_folder(data_dir: Path, reference: object) -> None:
    adata = read_st(data_dir / "visium_folder")
    same(adata, reference)
    entry = adata.uns["spatial"]["visium_folder"]
    assert entry["images"]["hires"].shape == (1998, 2000, 3)
    assert entry["images"]["hires"].dtype == np.uint8
    theirs = next(iter(reference.uns["spatial"].values()))
    assert entry["scalefactors"] == theirs["scalefactors"]
    opaque = theirs["images"]["lowres"][..., 3] == 1
    np.testing.assert_allclose(
        entry["images"]["lowres"][opaque] / 255, theirs["images"]["lowres"][opaque][:, :3], atol=1e-6
    )
    assert adata.uns["spatialmeta"]["um_per_px"] == pytest.approx(100 / 137)
    assert not [c for c in check_st(adata) if c.level == "blocking"]


@pytest.mark.parametrize("top", ["", "outs/", "my run/"])
def test_zip(folder: Path, tmp_path: Path, reference: object, top: str) -> None:
    same(read_st(zipped(folder, tmp_path / "run.zip", top)), reference)


@pytest.mark.parametrize("name", ["run.tar.gz", "run.tgz", "run.tar"])
def test_tar(folder: Path, tmp_path: Path, reference: object, name: str) -> None:
    same(read_st(tarred(folder, tmp_path / name, "./outs")), reference)


def test_version_2_header(folder: Path, reference: object) -> None:
    old = folder / "spatial/tissue_positions_list.csv"
    pd.read_csv(old, header=None, names=POSITION_COLUMNS).to_csv(folder / "spatial/tissue_positions.csv", index=False)
    old.unlink()
    same(read_st(folder), reference)


def test_h5_finds_spatial_beside_it(folder: Path, reference: object) -> None:
    same(read_st(folder / MATRIX), reference)


def test_h5_finds_a_zip_beside_it(folder: Path, reference: object) -> None:
    zipped(folder / "spatial", folder / "spatial.zip", "spatial/")
    shutil.rmtree(folder / "spatial")
    same(read_st(folder / MATRIX), reference)


def test_h5_with_the_tar_that_10x_offers(folder: Path, tmp_path: Path, reference: object) -> None:
    packed = tarred(folder / "spatial", folder / "V1_Mouse_spatial.tar.gz", "spatial")
    shutil.rmtree(folder / "spatial")
    same(read_st(folder / MATRIX), reference)
    packed.rename(tmp_path / "elsewhere.tar.gz")
    same(read_st(folder / MATRIX, spatial=tmp_path / "elsewhere.tar.gz"), reference)


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".zip"])
def test_the_two_archives_that_10x_offers(folder: Path, tmp_path: Path, reference: object, ending: str) -> None:
    to_mtx(folder, reference)
    target, names = tmp_path / "offered", ("filtered_feature_bc_matrix", "spatial")
    target.mkdir()
    matrix, spatial = (
        zipped(folder / n, target / f"V1_{n}.zip", f"{n}/")
        if ending == ".zip"
        else tarred(folder / n, target / f"V1_{n}{ending}", n)
        for n in names
    )
    same(read_st(matrix), reference)  # it lies beside it
    spatial = spatial.rename(tmp_path / f"elsewhere{ending}")
    adata = read_st(matrix, spatial=spatial)
    same(adata, reference)
    assert set(adata.uns["spatial"]) == {"V1"}
    assert [c.title for c in check_st(read_st(matrix)) if c.level == "blocking"] == ["Coordinates"]


def as_cell_ranger_2(path: Path, reference: object, genomes: tuple[str, ...]) -> None:
    """The layout that 10x describes for versions before 3: a group a genome, with ids, names, barcodes and CSC."""
    counts = reference.X.T.tocsc()
    with h5py.File(path, "w") as file:
        for genome in genomes:
            group = file.create_group(genome)
            texts = {"genes": reference.var["gene_ids"], "gene_names": reference.var_names}
            for name, values in (texts | {"barcodes": reference.obs_names}).items():
                group[name] = np.array(values, dtype="S")
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(counts, name).astype(np.int32 if name == "data" else np.int64)
            group["shape"] = np.array(counts.shape, dtype=np.int32)


def test_a_matrix_of_cell_ranger_2(folder: Path, reference: object) -> None:
    import scanpy

    as_cell_ranger_2(folder / MATRIX, reference, ("mm10",))
    same(read_st(folder / MATRIX), reference)
    same(read_st(folder), reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = scanpy.read_10x_h5(folder / MATRIX)
    shutil.rmtree(folder / "spatial")
    adata = read_st(folder / MATRIX)
    np.testing.assert_array_equal(adata.X.toarray(), theirs.X.toarray())
    assert list(adata.var_names) == list(theirs.var_names)
    assert list(adata.var["gene_ids"]) == list(theirs.var["gene_ids"])


def test_a_matrix_of_two_genomes_is_refused_by_name(folder: Path, reference: object) -> None:
    as_cell_ranger_2(folder / MATRIX, reference, ("hg19", "mm10"))
    with pytest.raises(FormatError, match=r"one genome\. Found 2 in .*_matrix\.h5: hg19, mm10\. Write"):
        read_st(folder / MATRIX)


def test_h5_with_spatial_elsewhere(folder: Path, tmp_path: Path, reference: object) -> None:
    (folder / "spatial").rename(tmp_path / "elsewhere")
    same(read_st(folder / MATRIX, spatial=tmp_path / "elsewhere"), reference)


def test_h5_alone_blocks(folder: Path) -> None:
    import scanpy

    shutil.rmtree(folder / "spatial")
    adata = read_st(folder / MATRIX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(adata.X.toarray(), scanpy.read_10x_h5(folder / MATRIX).X.toarray())
    assert [c.title for c in check_st(adata) if c.level == "blocking"] == ["Coordinates"]


def to_mtx(folder: Path, reference: object) -> Path:
    target = folder / "filtered_feature_bc_matrix"
    target.mkdir()
    mmwrite(target / "matrix.mtx", reference.X.T.tocoo(), field="integer")
    with (target / "matrix.mtx").open("rb") as plain, gzip.open(target / "matrix.mtx.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    (target / "matrix.mtx").unlink()
    features = zip(reference.var["gene_ids"], reference.var_names, strict=True)
    rows = "".join(f"{i}\t{n}\tGene Expression\n" for i, n in features)
    (target / "features.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (target / "barcodes.tsv.gz").write_bytes(gzip.compress("\n".join(reference.obs_names).encode()))
    (folder / MATRIX).unlink()
    return target


def test_mtx_folder(folder: Path, tmp_path: Path, reference: object) -> None:
    to_mtx(folder, reference)
    same(read_st(folder), reference)
    same(read_st(zipped(folder, tmp_path / "mtx.zip", "outs/")), reference)


def as_on_geo(folder: Path, target: Path, before: str) -> None:
    """The files of *folder* as GEO gives them: in one folder, the sample before every name, each but HDF5 packed."""
    target.mkdir(exist_ok=True)
    for file in [p for p in folder.rglob("*") if p.is_file()]:
        packed = file.suffix in (".gz", ".h5")
        content = file.read_bytes()
        (target / f"{before}{file.name}{'' if packed else '.gz'}").write_bytes(
            content if packed else gzip.compress(content)
        )


@pytest.mark.parametrize("matrix", ["h5", "mtx"])
def test_geo_names_in_packed_files(folder: Path, tmp_path: Path, reference: object, matrix: str) -> None:
    if matrix == "mtx":
        to_mtx(folder, reference)
    as_on_geo(folder, tmp_path / "GSE1", "GSM5494475_A1_")
    adata = read_st(tmp_path / "GSE1")
    same(adata, reference)
    assert set(next(iter(adata.uns["spatial"].values()))["images"]) == {"hires", "lowres"}


def test_samples_of_a_study_in_one_folder(folder: Path, tmp_path: Path, reference: object) -> None:
    """Every Visium slide has the same barcodes: positions of another sample would fit without an error."""
    as_on_geo(folder, tmp_path / "GSE1", "GSM5494476_B1_")
    path = folder / "spatial/tissue_positions_list.csv"
    table = pd.read_csv(path, header=None)
    table[[4, 5]] = table[[5, 4]]
    table.to_csv(path, header=False, index=False)
    as_on_geo(folder, tmp_path / "GSE1", "GSM5494475_A1_")
    same(read_st(tmp_path / f"GSE1/GSM5494476_B1_{MATRIX}"), reference)
    np.testing.assert_array_equal(
        read_st(tmp_path / f"GSE1/GSM5494475_A1_{MATRIX}").obsm["spatial"], reference.obsm["spatial"][:, ::-1]
    )
    with pytest.raises(FormatError, match=r"2 matrices in GSE1: GSM5494475_A1_filtered.*one section alone"):
        read_st(tmp_path / "GSE1")


def test_positions_of_another_sample_are_not_taken(folder: Path, tmp_path: Path) -> None:
    as_on_geo(folder, tmp_path / "GSE1", "GSM5494475_A1_")
    matrix = shutil.copyfile(folder / MATRIX, tmp_path / f"GSE1/GSM5494476_B1_{MATRIX}")
    assert [c.title for c in check_st(read_st(matrix)) if c.level == "blocking"] == ["Coordinates"]


def test_mtx_that_declares_too_much(folder: Path, reference: object) -> None:
    target = to_mtx(folder, reference)
    (target / "matrix.mtx.gz").unlink()
    (target / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n100 100 99999999999\n1 1 1\n")
    with pytest.raises(UntrustedFileError, match="declares"):
        read_st(folder)


def test_gzip_bomb(folder: Path, reference: object) -> None:
    target = to_mtx(folder, reference)
    (target / "barcodes.tsv.gz").write_bytes(gzip.compress(b"\n" * (64 << 20)))
    with pytest.raises(UntrustedFileError, match="unpacks"):
        read_st(folder)


def test_only_spots_in_tissue(folder: Path, reference: object) -> None:
    path = folder / "spatial/tissue_positions_list.csv"
    table = pd.read_csv(path, header=None)
    chosen = set(reference.obs_names[:100])
    table.loc[table[0].isin(chosen), 1] = 0
    table.to_csv(path, header=False, index=False)
    adata = read_st(folder)
    assert adata.n_obs == reference.n_obs - 100
    assert not chosen & set(adata.obs_names)
    assert any("100 spots outside the tissue" in c.found for c in check_st(adata))


def test_spots_without_a_position_block(folder: Path) -> None:
    path = folder / "spatial/tissue_positions_list.csv"
    table = pd.read_csv(path, header=None)
    inside = table[table[1] == 1].index[:3]
    table.drop(inside).to_csv(path, header=False, index=False)
    blocking = [c for c in check_st(read_st(folder)) if c.level == "blocking"]
    assert [c.found for c in blocking] == ["3 spots have no coordinates."]


def test_positions_of_another_run(folder: Path) -> None:
    path = folder / "spatial/tissue_positions_list.csv"
    path.write_text(path.read_text().replace("-1,", "-9,"))
    with pytest.raises(DataError, match="barcodes"):
        read_st(folder)


def test_other_magpie_positions(data_dir: Path) -> None:
    path = data_dir / "magpie_landmarks/visium/spatial/tissue_positions_list.csv"
    theirs = pd.read_csv(path, header=None, index_col=0)
    np.testing.assert_array_equal(read_positions(path).to_numpy(), theirs.to_numpy())
    with pytest.raises(FormatError, match="matrix"):
        read_st(data_dir / "magpie_landmarks/visium")


def test_image_beside(folder: Path, data_dir: Path) -> None:
    image = data_dir / "visium_folder/spatial/tissue_hires_image.png"
    adata = read_st(folder, image=image)
    factors = json.loads((folder / "spatial/scalefactors_json.json").read_text())
    assert adata.uns["spatial"]["run"]["scalefactors"]["tissue_hires_scalef"] == factors["tissue_hires_scalef"]
    assert (
        read_st(folder, image=image, image_scale=0.25).uns["spatial"]["run"]["scalefactors"]["tissue_hires_scalef"]
        == 0.25
    )


def test_bad_scalefactors_and_no_zip(folder: Path, tmp_path: Path) -> None:
    (folder / "spatial/scalefactors_json.json").write_text("[1, 2")
    with pytest.raises(FormatError, match="scale factors"):
        read_st(folder)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError):
        read_st(tmp_path / "none.zip")


def test_hd_positions_are_named(folder: Path) -> None:
    (folder / "spatial/tissue_positions_list.csv").rename(folder / "spatial/tissue_positions.parquet")
    with pytest.raises(FormatError, match="Visium HD"):
        read_st(folder)
