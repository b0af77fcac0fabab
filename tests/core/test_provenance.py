from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from core import keys
from core.provenance import content_hash, history, merge_histories, versions, write_history


def example() -> AnnData:
    obs = pd.DataFrame({"a": ["x", "y", "x"], "b": pd.Categorical(["u", "v", "v"])}, index=["s1", "s2", "s3"])
    adata = AnnData(sparse.csr_matrix([[1.0, 0], [0, 2], [3, 0]], dtype=np.float32), obs=obs)
    adata.obsm[keys.SPATIAL] = np.arange(6.0).reshape(3, 2)
    adata.layers["dense"] = np.ones((3, 2))
    return adata


def test_history_survives_a_file_and_keeps_its_order(tmp_path) -> None:
    adata = example()
    records = [
        {"name": f"step {i}", "config": {"x": [1, None, "ü"]}, "start": f"2026-01-{i + 1:02d}"} for i in range(12)
    ]
    write_history(adata, records)
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert history(read_h5ad(tmp_path / "a.h5ad")) == records
    assert history(example()) == []


def test_histories_are_merged_once_each_in_the_order_of_the_work() -> None:
    a, b, c = example(), example(), example()
    first, second, third = ({"name": n, "start": s} for n, s in (("st", "1"), ("sm", "2"), ("align", "3")))
    write_history(a, [first])
    write_history(b, [first, second, third])
    merge_histories(c, [b, a])
    assert history(c) == [first, second, third]
    assert history(a) == [first]


def test_equal_objects_have_equal_hashes_in_every_process() -> None:
    assert content_hash(example()) == content_hash(example())
    code = "from tests.core.test_provenance import *; print(content_hash(example()))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == content_hash(example())


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.X.data.__setitem__(0, 9),
        lambda a: a.obs.__setitem__("a", ["x", "y", "z"]),
        lambda a: a.obs.__setitem__("c", 1),
        lambda a: a.obsm.__setitem__(keys.SPATIAL, a.obsm[keys.SPATIAL] + 1),
        lambda a: a.layers.__setitem__("dense", np.zeros((3, 2))),
        lambda a: setattr(a, "obs_names", ["s1", "s2", "s4"]),
        lambda a: setattr(a, "var_names", ["0", "2"]),
        lambda a: a.obs.__setitem__("b", pd.Categorical(["u", "u", "v"])),
    ],
)
def test_any_change_of_values_changes_the_hash(change) -> None:
    adata = example()
    change(adata)
    assert content_hash(adata) != content_hash(example())


def test_history_and_images_do_not_change_the_hash() -> None:
    adata = example()
    write_history(adata, [{"name": "st"}])
    assert content_hash(adata) == content_hash(example())


def test_hash_is_the_same_before_and_after_a_file(tmp_path) -> None:
    adata = example()
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert content_hash(read_h5ad(tmp_path / "a.h5ad")) == content_hash(adata)


def test_versions_name_what_numbers_depend_on() -> None:
    assert {"core", "python", "numpy", "anndata", "torch"} <= set(versions())
