from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from anndata import concat as anndata_concat

from core import keys
from core.errors import DataError
from core.joining import ConcatConfig, concat
from core.pipeline import history, run_concat
from core.preprocessing import FeaturesConfig, select_features
from core.reassignment import reassign
from tests.core.pairs import pair
from tests.core.spatial.test_graph import squidpy


def joints() -> dict[str, AnnData]:
    found = {}
    for i, name in enumerate(("left", "right/2")):
        st, sm = pair(seed=10 * i)
        st = st[:, np.random.default_rng(i).permutation(st.n_vars)[: 20 - i]].copy()
        st.uns["spatial"] = {"library": {"images": {"hires": np.full((4, 4, 3), i / 2)}, "scalefactors": {"x": i}}}
        st.uns[keys.UNS] = {keys.UM_PER_PX: 0.5 * (1 + i), keys.UM_PER_PX_SOURCE: "test"}
        st.obs["only" + str(i)] = "text"
        found[name] = reassign(st, sm)
    return found


def test_rows_and_values_are_those_of_anndata() -> None:
    parts = joints()
    joined = concat(parts)
    expected = anndata_concat(parts, join="inner", index_unique="-")
    assert set(joined.var_names) == set(expected.var_names)
    np.testing.assert_array_equal(joined.X.toarray(), expected[:, joined.var_names].X.toarray())
    assert (joined.layers[keys.COUNTS] != joined.X).nnz == 0
    assert joined.obs[keys.SAMPLE].value_counts().to_dict() == {
        "left": parts["left"].n_obs,
        "right_2": parts["right/2"].n_obs,
    }
    assert joined.obs_names.is_unique
    np.testing.assert_array_equal(joined.obsm[keys.SPATIAL], expected.obsm[keys.SPATIAL])


def test_what_is_lost_is_reported() -> None:
    parts = joints()
    joined = concat(parts)
    report = joined.uns[keys.UNS][keys.JOINED]
    for name, part in zip(report, parts.values(), strict=True):
        assert set(report[name]["lost"]) == set(part.var_names) - set(joined.var_names)
    assert len(report["left"]["lost"]) == 1


def test_images_are_kept_and_the_layout_has_no_overlap(tmp_path) -> None:
    joined = concat(joints())
    joined.write_h5ad(tmp_path / "joined.h5ad")
    joined = read_h5ad(tmp_path / "joined.h5ad")
    assert set(joined.uns["spatial"]) == {"left", "right_2"}
    assert joined.uns["spatial"]["right_2"]["images"]["hires"].max() == 0.5
    right = (joined.obs[keys.SAMPLE] == "right_2").to_numpy()
    layout, xy = joined.obsm[keys.SPATIAL_LAYOUT], joined.obsm[keys.SPATIAL]
    np.testing.assert_array_equal(layout[~right], xy[~right])
    assert layout[right, 0].min() > layout[~right, 0].max()
    entry = joined.uns[keys.UNS][keys.JOINED]["right_2"]
    assert entry["scale"] == 2.0  # µm per px of the second over that of the first
    np.testing.assert_allclose(layout[right], entry["scale"] * xy[right] + (entry["x"], entry["y"]))


def test_pictures_of_neighbours_do_not_overlap() -> None:
    parts = {}
    for name in ("a", "b"):
        parts[name] = reassign(*pair())
        high = parts[name].obsm[keys.SPATIAL].max(axis=0)
        width, height = np.ceil(0.1 * (high + 300)).astype(int)
        factors = {"tissue_hires_scalef": 0.1, "spot_diameter_fullres": 60.0}
        library = {"images": {"hires": np.zeros((height, width, 3))}, "scalefactors": factors}
        parts[name].uns["spatial"] = {"one": library}
    joined = concat(parts).uns[keys.UNS][keys.JOINED]
    assert joined["a"]["x"] + width / 0.1 <= joined["b"]["x"]  # the right edge of the one, the left edge of the other


def test_joining_twice_keeps_the_names() -> None:
    parts = joints()
    twice = concat({"both": concat(parts), "third": reassign(*pair(seed=5))})
    assert list(twice.obs[keys.SAMPLE].cat.categories) == ["left", "right_2", "third"]
    assert set(twice.uns[keys.UNS][keys.JOINED]) == {"left", "right_2", "third"}
    with pytest.raises(DataError, match="name of its own"):
        concat({"a": concat(parts), "left": reassign(*pair(seed=5))})


def test_metabolites_by_mass() -> None:
    a, b = reassign(*pair()), reassign(*pair(seed=3))
    sm = (b.var[keys.TYPE] == keys.SM).to_numpy()
    b.var.loc[sm, keys.MZ] *= 1 + 3e-6
    b.var_names = [f"peak {name}" if is_sm else name for name, is_sm in zip(b.var_names, sm, strict=True)]
    with pytest.raises(DataError, match="tolerance"):
        concat({"a": a, "b": b})
    joined = concat({"a": a, "b": b}, ConcatConfig(mz_tolerance_ppm=5))
    assert joined.var_names.tolist() == a.var_names.tolist()
    np.testing.assert_array_equal(joined[joined.obs[keys.SAMPLE] == "b"].X.toarray(), b.X.toarray())


def test_history_and_what_later_steps_need() -> None:
    parts = {name.replace("/2", ""): joint for name, joint in joints().items()}
    before = select_features(parts["left"], FeaturesConfig(n_genes=3))
    joined = run_concat({"left": before, "right": parts["right"]})
    assert [record["name"] for record in history(joined)] == ["concat"]
    assert set(history(joined)[0]["inputs"]) == {"left", "right"}
    assert keys.SELECTED not in joined.var
    assert pd.api.types.is_float_dtype(joined.var[keys.MZ])
    assert select_features(joined).var[keys.SELECTED].any()


def test_refusals() -> None:
    joint = reassign(*pair())
    with pytest.raises(DataError, match="two samples"):
        concat({"a": joint})
    with pytest.raises(DataError, match="Reassign"):
        concat({"a": joint, "b": pair()[0]})


def test_a_sample_without_an_image_is_drawn_with_the_others() -> None:
    """squidpy leaves out, without a word, a sample that has no library where others have."""
    parts = joints()
    for part in parts.values():
        part.obs["kind"] = pd.Categorical(["a", "b"] * (part.n_obs // 2) + ["a"] * (part.n_obs % 2))
        factors = {"tissue_hires_scalef": 0.02, "spot_diameter_fullres": 60.0}
        part.uns["spatial"] = {"one": {"images": {"hires": np.zeros((40, 40, 3))}, "scalefactors": factors}}
    del parts["right/2"].uns["spatial"]
    joined = concat(parts)
    blank = joined.uns["spatial"]["right_2"]
    assert blank["scalefactors"]["spot_diameter_fullres"] == 30.0  # twice the µm for each pixel
    own = joined.obsm[keys.SPATIAL][(joined.obs[keys.SAMPLE] == "right_2").to_numpy()]
    on_image = own * blank["scalefactors"]["tissue_hires_scalef"]
    assert (on_image.max(axis=0) < blank["images"]["hires"].shape[1::-1]).all()
    mpl.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # squidpy uses what matplotlib deprecates
        drawn = squidpy().pl.spatial_scatter(joined, color="kind", library_key=keys.SAMPLE, return_ax=True)
    assert len(drawn) == 2
    counts = [max(len(c.get_paths()) for c in ax.collections) for ax in drawn]
    assert sorted(counts) == sorted(part.n_obs for part in parts.values())


def test_vicari_sections_are_joined(data_dir) -> None:
    found = {}
    for name in ("vicari_B1", "vicari_A1"):
        found[name] = reassign(*(read_h5ad(data_dir / name / f"{part}.h5ad") for part in ("st", "sm")))
    joined = concat(found)
    selected = select_features(joined)
    assert joined.n_obs == sum(part.n_obs for part in found.values())
    assert "Dopamine" in joined.var_names
    assert selected.var.loc["Dopamine", keys.SELECTED]
    assert selected.var.loc["Dopamine", keys.N_VARIABLE] == 2
