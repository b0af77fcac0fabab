"""Each way in which an HDF5 file can lie, built by hand, is refused; real files pass."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from core.errors import FormatError, SpatialMetaError, StorageError, UntrustedFileError
from core.io import read_h5ad, read_st
from core.io.untrusted import Limits, check_hdf5


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A small sound h5ad, to be spoilt."""
    path = tmp_path / "good.h5ad"
    adata = anndata.AnnData(np.arange(12, dtype=np.float32).reshape(4, 3))
    adata.obs["kind"] = ["a", "b", "a", "b"]
    adata.obs_names = ["1", "2", "3", "4"]
    adata.obsm["spatial"] = np.arange(8.0).reshape(4, 2)
    adata.write_h5ad(path)
    return path


def refused(path: Path, word: str) -> None:
    with pytest.raises(UntrustedFileError, match=word):
        check_hdf5(path)
    with pytest.raises(UntrustedFileError, match=word):
        read_h5ad(path)


def test_real_files_pass(data_dir: Path) -> None:
    files = [*data_dir.glob("*/*.h5ad"), data_dir / "visium_folder/filtered_feature_bc_matrix.h5"]
    assert len(files) > 5
    for path in files:
        check_hdf5(path)


def test_good_file_passes_and_equals_anndata(good: Path) -> None:
    ours, theirs = read_h5ad(good), anndata.read_h5ad(good)
    np.testing.assert_array_equal(ours.X, theirs.X)
    assert list(ours.obs["kind"]) == list(theirs.obs["kind"])


def test_external_link(good: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["values"] = np.arange(3)
    with h5py.File(good, "a") as file:
        file["uns/stolen"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/values")
    refused(good, "external link")


def test_external_link_is_not_followed(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns/stolen"] = h5py.ExternalLink("/no/such/file.h5", "/")
    refused(good, "external link")


def test_soft_link(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["obsm/other"] = h5py.SoftLink("/obsm/spatial")
    refused(good, "soft link")


def test_external_storage(good: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(b"\1" * 64)
    with h5py.File(good, "a") as file:
        file.create_dataset("uns/outside", (8,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 64)])
    refused(good, "external storage")


def test_virtual_dataset(good: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    with h5py.File(good, "a") as file:
        file["uns"].create_virtual_dataset("mapped", layout)
    refused(good, "virtual")


def test_hard_link_cycle(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns/loop"] = file["/"]
    refused(good, "second way")


def test_hard_link_to_sibling(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns/again"] = file["obs"]
    refused(good, "second way")


def test_absurd_contiguous_size(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("huge", (1 << 40,), "f8")  # never written: nothing stored
    refused(good, "declared as 8 TiB")


def test_absurd_chunked_size(good: Path) -> None:
    with h5py.File(good, "a") as file:
        huge = file["uns"].create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=(64, 64), compression="gzip")
        huge[:64, :64] = 1
    refused(good, "declared as 8 TiB")


def test_compressed_zeros(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("bomb", data=np.zeros(10_000_000), compression="gzip", chunks=(1_000_000,))
    refused(good, "declared as")


def test_huge_chunk(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("chunky", (10,), "u1", maxshape=(None,), chunks=(1 << 31,))
    refused(good, "chunks")


def test_total_size(good: Path) -> None:
    with pytest.raises(UntrustedFileError, match="declares at most"):
        check_hdf5(good, Limits(total_bytes=100))


def test_too_many_objects_and_levels(good: Path) -> None:
    with pytest.raises(UntrustedFileError, match="objects"):
        check_hdf5(good, Limits(objects=3))
    with h5py.File(good, "a") as file:
        file.create_group("uns/" + "/".join("a" * 60))
    refused(good, "nests")


def test_repeated_long_text(good: Path) -> None:
    """Variable-length strings that all point at one long text: 16 bytes each on disk, megabytes each in memory."""
    with h5py.File(good, "a") as file:
        texts = file["uns"].create_dataset("texts", (2000,), h5py.string_dtype())
        texts[0] = "a" * 50_000
    raw = bytearray(good.read_bytes())
    with h5py.File(good, "r") as file:
        start = file["uns/texts"].id.get_offset()
    for i in range(1, 2000):
        raw[start + 16 * i : start + 16 * (i + 1)] = raw[start : start + 16]
    good.write_bytes(raw)
    refused(good, "longer than the file")


def test_repeated_long_text_in_records(good: Path) -> None:
    kind = np.dtype([("name", h5py.string_dtype()), ("score", "f8")])
    with h5py.File(good, "a") as file:
        records = file["uns"].create_dataset("records", (2000,), kind)
        records[0] = ("a" * 50_000, 1.0)
    with h5py.File(good, "r") as file:
        records = file["uns/records"]
        size, start = records.id.get_storage_size() // len(records), records.id.get_offset()
    raw = bytearray(good.read_bytes())
    for i in range(1, 2000):
        raw[start + size * i : start + size * (i + 1)] = raw[start : start + size]
    good.write_bytes(raw)
    refused(good, "longer than the file")


def test_ranked_genes_of_scanpy_pass(tmp_path: Path) -> None:
    """Records with text, as ``sc.tl.rank_genes_groups`` leaves them, are no lie."""
    path = tmp_path / "ranked.h5ad"
    adata = anndata.AnnData(np.ones((3, 2), np.float32))
    adata.uns["names"] = np.array([("g1", "g2"), ("g3", "g4")], dtype=[("a", "O"), ("b", "O")])
    adata.write_h5ad(path)
    assert read_h5ad(path).uns["names"]["b"].tolist() == ["g2", "g4"]


def test_references(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("refs", data=[file["obs"].ref], dtype=h5py.ref_dtype)
    refused(good, "references")


def test_region_references(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("refs", data=[file["X"].regionref[:2]], dtype=h5py.regionref_dtype)
    refused(good, "references")


def test_ragged_arrays(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].create_dataset("ragged", (2,), h5py.vlen_dtype("f8"))
    refused(good, "type")


def test_foreign_filter(good: Path) -> None:
    with h5py.File(good, "a") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd: a plugin from outside
        space, kind = h5py.h5s.create_simple((4,)), h5py.h5t.NATIVE_DOUBLE
        h5py.h5d.create(file["uns"].id, b"odd", kind, space, properties)
    refused(good, "filter 32015")


def test_large_attribute(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file["uns"].attrs["note"] = np.zeros(5_000)
    check_hdf5(good)
    with pytest.raises(UntrustedFileError, match="attribute"):
        check_hdf5(good, Limits(attribute_bytes=10_000))


def test_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "text.h5ad"
    path.write_text("hello")
    with pytest.raises(FormatError, match="HDF5"):
        read_h5ad(path)
    with pytest.raises(FormatError, match="HDF5"):
        read_st(path)
    with pytest.raises(StorageError):
        check_hdf5(tmp_path / "missing.h5ad")


def test_not_anndata(tmp_path: Path) -> None:
    path = tmp_path / "other.h5ad"
    with h5py.File(path, "w") as file:
        file["values"] = np.arange(4)
    with pytest.raises(FormatError):
        read_st(path)


def test_cut_file(good: Path) -> None:
    good.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    refused(good, "damage")


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_end_in_our_errors(good: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = bytearray(good.read_bytes())
    for place in rng.integers(0, 6000, 8):
        raw[place] = rng.integers(256)
    good.write_bytes(raw)
    with contextlib.suppress(SpatialMetaError):  # anything else fails the test
        check_hdf5(good)


def test_sparse_indices_that_point_outside(tmp_path: Path) -> None:
    import scipy.sparse

    path = tmp_path / "wrong.h5ad"
    anndata.AnnData(scipy.sparse.csr_matrix(np.eye(4, dtype=np.float32))).write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["X/indices"][1] = 1_000_000
    with pytest.raises(FormatError):
        read_h5ad(path)
