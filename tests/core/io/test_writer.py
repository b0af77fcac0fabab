"""A file is written whole, or the one before it stays readable: by monkeypatch, file-size limit, full disk and kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from core.errors import DataError, StorageError
from core.io import read_h5ad, read_st, write_h5ad, writer

ROOT = Path(__file__).parents[3]


def section(n: int = 50, m: int = 20) -> anndata.AnnData:
    rng = np.random.default_rng(3)
    adata = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(1.0, (n, m)).astype(np.float32)),
        obs=pd.DataFrame({"kind": ["a", "b"] * (n // 2), "value": rng.random(n)}, index=[f"s{i}" for i in range(n)]),
        var=pd.DataFrame({"mz": rng.random(m)}, index=[f"g/{i}" for i in range(m)]),
    )
    adata.obsm["spatial"] = rng.random((n, 2))
    adata.layers["counts"] = adata.X.copy()
    adata.uns["spatialmeta"] = {"um_per_px": 0.5, "nested": {"text": "µm", "list": np.arange(3)}}
    return adata


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A good file that must survive."""
    write_h5ad(section(), tmp_path / "a.h5ad")
    return tmp_path / "a.h5ad"


def survived(path: Path) -> None:
    adata = anndata.read_h5ad(path)
    np.testing.assert_array_equal(adata.X.toarray(), section().X.toarray())
    assert os.listdir(path.parent) == [path.name]


def test_round_trip_in_scanpy(tmp_path: Path) -> None:
    import scanpy

    adata = section()
    before = adata.copy()
    write_h5ad(adata, tmp_path / "a.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = scanpy.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(theirs.X.toarray(), before.X.toarray())
    np.testing.assert_array_equal(theirs.layers["counts"].toarray(), before.X.toarray())
    np.testing.assert_array_equal(theirs.obsm["spatial"], before.obsm["spatial"])
    assert list(theirs.obs["kind"]) == list(before.obs["kind"])
    assert theirs.uns["spatialmeta"]["nested"]["text"] == "µm"
    assert list(read_h5ad(tmp_path / "a.h5ad").var_names) == list(before.var_names)


def test_the_object_is_not_changed(tmp_path: Path) -> None:
    adata = section()
    write_h5ad(adata, tmp_path / "a.h5ad")
    assert adata.obs["kind"].dtype == object
    assert adata.X.dtype == np.float32


def test_real_section_and_raw(data_dir: Path, tmp_path: Path) -> None:
    adata = read_st(data_dir / "vicari_B1/st.h5ad")
    adata.raw = adata
    write_h5ad(adata, tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.raw.X.toarray(), adata.X.toarray())
    image = "V11L12-109_B1"
    np.testing.assert_array_equal(
        again.uns["spatial"][image]["images"]["lowres"], adata.uns["spatial"][image]["images"]["lowres"]
    )


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_h5ad(section(), tmp_path / "a.h5ad")
    finally:
        os.umask(before)
    assert (tmp_path / "a.h5ad").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_midway(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: anndata.AnnData, path: Path, **_: object) -> None:
        with h5py.File(path, "w") as file:
            file["X"] = np.arange(10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anndata.AnnData, "write_h5ad", half)
    with pytest.raises(StorageError, match="No space left"):
        write_h5ad(section(), old)
    survived(old)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_write(old: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(anndata.AnnData, "write_h5ad", stop)
    with pytest.raises(error):
        write_h5ad(section(), old)
    survived(old)


def test_a_rename_that_fails(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError):
        write_h5ad(section(), old)
    monkeypatch.undo()
    survived(old)


def test_values_that_cannot_be_written(old: Path) -> None:
    adata = section()
    adata.uns["thing"] = object()
    with pytest.raises(StorageError, match=r"thing|object"):
        write_h5ad(adata, old)
    survived(old)


def test_too_little_space_is_seen_before(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(writer, "_write", lambda *_: pytest.fail("wrote"))
    with pytest.raises(StorageError, match="free space"):
        write_h5ad(section(), old)
    survived(old)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_h5ad(section(), tmp_path / "none" / "a.h5ad")


@pytest.mark.parametrize("place", ["obs", "layers", "uns"])
def test_slashes_in_keys(old: Path, place: str) -> None:
    adata = section()
    if place == "obs":
        adata.obs["a/b"] = 1
    elif place == "layers":
        adata.layers["a/b"] = adata.X.copy()
    else:
        adata.uns["x"] = {"a/b": 1}
    with pytest.raises(DataError, match="a/b"):
        write_h5ad(adata, old)
    survived(old)


def in_child(code: str, old: Path) -> subprocess.CompletedProcess:
    """Run *code* with ``big`` (an AnnData of 8 MB that does not pack) and ``path`` in another process."""
    head = f"""
        import os, resource, signal, shutil, sys
        import numpy as np, anndata
        sys.path.insert(0, {str(ROOT)!r})
        from core.io import write_h5ad, writer
        from core.errors import StorageError
        path = {str(old)!r}
        big = anndata.AnnData(np.random.default_rng(0).random((1000, 1000)))
    """
    source = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False)


def test_a_file_size_limit(old: Path) -> None:
    """The system refuses bytes beyond 1 MB, as a full disk does; HDF5 may raise or end the process."""
    done = in_child(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        write_h5ad(big, path)
        """,
        old,
    )
    assert done.returncode != 0
    for left in old.parent.glob(".*.tmp"):  # only where the process died in HDF5
        assert done.returncode < 0
        left.unlink()
    survived(old)


def test_a_full_disk(old: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same on a 4 MB tmpfs, where one may be mounted, with the check of free space blinded."""
    mount = tmp_path_factory.mktemp("small")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], check=False, capture_output=True
    ).returncode:
        pytest.skip("no tmpfs may be mounted here; the file-size limit above tests the same")
    try:
        path = mount / "a.h5ad"
        path.write_bytes(old.read_bytes())
        done = in_child("writer._check_space = lambda *_: None\nwrite_h5ad(big, path)", path)
        assert done.returncode != 0
        for left in mount.glob(".*.tmp"):
            assert done.returncode < 0
            left.unlink()
        survived(path)
    finally:
        subprocess.run(["umount", mount], check=True)


def test_killed_while_writing(old: Path) -> None:
    done = in_child(
        """
        whole = anndata.AnnData.write_h5ad
        def write(self, *args, **kwargs):
            whole(self, *args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        anndata.AnnData.write_h5ad = write
        write_h5ad(big, path)
        """,
        old,
    )
    assert done.returncode == -signal.SIGKILL
    for left in old.parent.glob(".*.tmp"):
        left.unlink()
    survived(old)


def test_what_a_killed_process_left_is_removed_at_the_next_write(tmp_path: Path) -> None:
    """Its own name, and old: a file that is being written, and those of other targets, stay."""
    names = (".result.h5ad.abc.tmp", ".result.h5ad.new.tmp", ".other.h5ad.abc.tmp", "result.h5ad.tmp")
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        if "new" not in name:
            os.utime(tmp_path / name, (0, 0))
    write_h5ad(section(), tmp_path / "result.h5ad")
    assert {p.name for p in tmp_path.iterdir()} == {"result.h5ad", *names[1:]}
