"""A view gives what the AnnData has; checked against the AnnData itself, read by a process without h5py."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from core import io, keys
from spatialmeta_app.workspace import NotFound
from spatialmeta_app.workspace.overview import write_histology
from spatialmeta_app.workspace.viewing import as_json, write_view
from spatialmeta_app.workspace.views import MISSING, View, counts

N, GENES, METABOLITES = 40, 12, 5


@pytest.fixture(scope="module")
def adata() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    values = sparse.random(N, GENES + METABOLITES, 0.3, format="csr", dtype=np.float32, random_state=rng)
    var = pd.DataFrame(
        {
            keys.TYPE: [keys.ST] * GENES + [keys.SM] * METABOLITES,
            keys.MZ: [np.nan] * GENES + [100.0312, 798.5411, 798.5499, 799.2, 1200.9],
            keys.SYMBOL: [f"Gene{i}" for i in range(GENES)] + [None] * METABOLITES,
            keys.ANNOTATION: [None] * (GENES + 1) + ["PC(36:4)", None, None, "Heme"],
            keys.SELECTED: [True, False] * 8 + [True],
        },
        index=[f"ENSG{i:03d}" for i in range(GENES)] + [f"mz-{i}" for i in range(METABOLITES)],
    )
    adata = anndata.AnnData(values, var=var, obs=pd.DataFrame(index=[f"s{i}" for i in range(N)]))
    adata.layers[keys.COUNTS] = values.copy()
    adata.layers[keys.NORMALIZED] = rng.random(values.shape).astype(np.float32)
    adata.obs["leiden"] = pd.Categorical([None, *(str(i % 3) for i in range(N - 1))])
    adata.obs["flag"] = [i % 2 == 0 for i in range(N)]
    adata.obs["region"] = ["left" if i < 9 else "right" for i in range(N)]
    adata.obs["depth"] = np.where(np.arange(N) == 3, np.nan, np.arange(N, dtype=float))
    adata.obs["number"] = pd.array([1, None] * (N // 2), dtype="Int64")
    adata.uns["leiden_colors"] = ["#ff0000", "#00ff00", "#0000ff"]
    adata.obsm[keys.SPATIAL] = rng.random((N, 2)) * 1000
    adata.obsm["../evil"] = rng.random((N, 2))
    image = rng.integers(0, 255, (300, 200, 3), dtype=np.uint8)
    adata.uns["spatial"] = {
        "s": {
            "images": {"hires": image, "lowres": image[::3, ::3]},
            "scalefactors": {"tissue_hires_scalef": 0.1, "tissue_lowres_scalef": 0.0333, "spot_diameter_fullres": 89.0},
        }
    }
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 0.62, keys.ALIGNMENT: {"dice": np.float64(0.9), "nan": np.nan}}
    return adata


@pytest.fixture(scope="module")
def view(adata, tmp_path_factory) -> View:
    folder = tmp_path_factory.mktemp("result") / "view"
    write_view(adata, folder)
    return View(folder)


@pytest.mark.parametrize("layer", [keys.COUNTS, keys.NORMALIZED])
def test_every_feature_of_every_layer(view, adata, layer):
    expected = adata.layers[layer]
    expected = expected.toarray() if sparse.issparse(expected) else expected
    for index in range(adata.n_vars):
        values = view.feature(index, layer)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected[:, index])


def test_a_place_without_values_has_none(adata, tmp_path):
    """Zeros that the reassignment kept are no measurement; what a model predicts there is."""
    kept = adata.copy()
    kept.var[keys.TYPE] = np.where(np.arange(adata.n_vars) % 2, keys.SM, keys.ST)
    kept.obs[keys.N_PIXELS] = np.arange(adata.n_obs) % 3
    kept.layers[keys.RECONSTRUCTION] = kept.layers[keys.NORMALIZED].copy()
    write_view(kept, tmp_path / "view")
    view, empty = View(tmp_path / "view"), np.arange(adata.n_obs) % 3 == 0
    assert list(view.sources()) == [keys.N_PIXELS]
    assert not view.sources(keys.RECONSTRUCTION)
    for layer in (keys.COUNTS, keys.NORMALIZED, keys.RECONSTRUCTION):
        expected = kept.layers[layer]
        expected = (expected.toarray() if sparse.issparse(expected) else expected).astype(np.float32)
        if layer != keys.RECONSTRUCTION:
            expected[np.ix_(empty, kept.var[keys.TYPE] == keys.SM)] = np.nan
        found = np.stack([view.feature(index, layer) for index in range(adata.n_vars)], axis=1)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_the_default_layer_is_normalised(view):
    assert view.meta["default_layer"] == keys.NORMALIZED
    np.testing.assert_array_equal(view.feature(2), view.feature(2, keys.NORMALIZED))


def test_x_are_the_counts_where_there_is_no_such_layer(adata, tmp_path):
    plain = anndata.AnnData(adata.X.copy(), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    write_view(plain, tmp_path / "view")
    view = View(tmp_path / "view")
    assert view.meta["layers"] == [keys.COUNTS]
    np.testing.assert_array_equal(view.feature(0), plain.X.toarray()[:, 0])
    assert list(view.features) == ["name", "mean"]
    assert view.search("ENSG001")[0]["index"] == 1


def test_coordinates(view, adata):
    np.testing.assert_array_equal(view.obsm(keys.SPATIAL), adata.obsm[keys.SPATIAL].astype(np.float32))
    assert view.meta["obsm"] == {keys.SPATIAL: 2}
    assert view.names.tolist() == adata.obs_names.tolist()


def test_categories_have_codes_and_colours(view, adata):
    column = view.obs("leiden")
    assert column.values.dtype == np.uint16
    assert column.values[0] == MISSING
    assert [column.categories[code] for code in column.values[1:]] == adata.obs["leiden"].iloc[1:].tolist()
    assert column.colors == ("#ff0000", "#00ff00", "#0000ff")
    region = view.obs("region")
    assert [region.categories[code] for code in region.values] == adata.obs["region"].tolist()
    assert view.obs("flag").categories == ("False", "True")


def test_numbers_and_totals(view, adata):
    np.testing.assert_array_equal(view.obs("depth").values, adata.obs["depth"].to_numpy(dtype=np.float32))
    assert view.meta["obs"]["depth"]["max"] == 39
    assert np.isnan(view.obs("number").values[1])
    expected = adata[:, adata.var[keys.TYPE] == keys.SM].X.sum(axis=1)
    np.testing.assert_allclose(view.obs("total_sm").values, np.asarray(expected).ravel(), rtol=1e-6)


def test_meta(view):
    meta = view.meta
    assert (meta["n_obs"], meta["n_vars"]) == (N, GENES + METABOLITES)
    assert meta["features"] == {keys.ST: GENES, keys.SM: METABOLITES}
    assert (meta["um_per_px"], meta["spot_diameter_px"]) == (0.62, 89.0)
    assert meta["pictures"] == 1
    assert meta["spatialmeta"]["alignment"] == {"dice": 0.9, "nan": None}
    assert meta["spatialmeta"]["history"] == []


@pytest.mark.parametrize("name", ["nothing", "../evil", "../../meta", "", "/etc/passwd"])
def test_unknown_names_say_what_there_is(view, name):
    for call in (view.obs, view.obsm, lambda n: view.feature(0, n or "x")):
        with pytest.raises(NotFound, match="There are"):
            call(name)
    with pytest.raises(NotFound):
        View("/nowhere").obsm(name)


@pytest.mark.parametrize("index", [-1, GENES + METABOLITES])
def test_features_outside_the_table(view, index):
    with pytest.raises(NotFound):
        view.feature(index)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("ensg003", ["ENSG003"]),
        ("gene1", ["ENSG001", "ENSG010", "ENSG011"]),
        ("798.5411", ["mz-1"]),
        ("798.5", ["mz-1", "mz-2"]),
        ("m/z 799", ["mz-3", "mz-2", "mz-1"]),
        ("heme", ["mz-4"]),
        ("pc(", ["mz-1"]),
        ("nothing like it", []),
    ],
)
def test_search(view, query, names):
    assert [found["name"] for found in view.search(query)] == names


def test_search_by_kind_and_limit(view):
    assert len(view.search("", 3)) == 3
    assert {found["type"] for found in view.search("", 50, kind=keys.SM)} == {keys.SM}
    assert view.search("heme") == [{"index": 16, "name": "mz-4", "type": "SM", "mz": 1200.9, "annotation": "Heme"}]
    assert view.index_of("mz-4") == 16


def test_reading_needs_numpy_alone(view):
    code = (
        "import sys; from spatialmeta_app.workspace.views import View; v = View(sys.argv[1]);"
        "v.meta; v.feature(0); v.obsm('spatial'); v.obs('leiden'); v.search('gene');"
        "print([m for m in ('h5py', 'anndata', 'pandas', 'scipy', 'torch') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(view.directory)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_counts(adata):
    assert counts(adata)["features"] == {keys.ST: GENES, keys.SM: METABOLITES}


def test_the_overview_has_the_sharpest_image_and_its_place(adata, tmp_path):
    place = write_histology(adata, tmp_path / "image")
    assert place == json.loads((tmp_path / "image" / "overview.json").read_text())
    assert (place["width_px"], place["height_px"], place["width"], place["height"]) == (2000.0, 3000.0, 200, 300)
    with Image.open(tmp_path / "image" / "overview.jpg") as picture:
        assert picture.size == (200, 300)


def test_large_and_odd_images_become_small_and_rgb(tmp_path):
    adata = anndata.AnnData(np.ones((2, 2), dtype=np.float32))
    assert write_histology(adata, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    image = np.linspace(0, 1, 3000 * 100).reshape(3000, 100)
    adata.uns["spatial"] = {"s": {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 1.0}}}
    place = write_histology(adata, tmp_path / "image")
    assert (place["height"], place["height_px"]) == (2048, 3000.0)
    with Image.open(tmp_path / "image" / "overview.jpg") as picture:
        assert picture.mode == "RGB"
        low, high = np.asarray(picture)[[0, -1], 0, 0]
        assert low < 10
        assert high > 245


def test_a_large_image_file_becomes_tiles_of_itself_and_of_its_halves(tmp_path):
    """Where each tile lies, compared with crops of the image and of its 2 x 2 means; JPEG costs a few grey levels."""
    y, x = np.mgrid[0:1300, 0:4300]
    pixels = np.stack([x // 17 % 256, y // 6 % 256, (x + y) // 23 % 256], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "he.tif", tiled=True)
    adata = anndata.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.obsm["spatial"] = np.array([[10.0, 10.0], [8000.0, 2000.0]])
    io.write_h5ad(adata, tmp_path / "st.h5ad")
    adata = io.read_st(tmp_path / "st.h5ad", image=tmp_path / "he.tif", image_scale=0.5)
    place = write_histology(adata, tmp_path / "image", tmp_path / "he.tif")
    assert (place["width_px"], place["height_px"], place["width"]) == (8600.0, 2600.0, 2048)
    about = json.loads((tmp_path / "image" / "pyramid.json").read_text())
    assert [(v["scale"], v["columns"], v["rows"]) for v in about["levels"]] == [(0.5, 9, 3), (0.25, 5, 2)]
    half = pixels.reshape(650, 2, 2150, 2, 3).mean(axis=(1, 3))
    size = about["size"]
    for level, whole in enumerate((pixels, half)):
        files = list((tmp_path / "image" / "tiles" / str(level)).iterdir())
        assert len(files) == about["levels"][level]["columns"] * about["levels"][level]["rows"]
        for file in files:
            column, row = map(int, file.stem.split("_"))
            part = whole[row * size : (row + 1) * size, column * size : (column + 1) * size]
            with Image.open(file) as tile:
                found = np.asarray(tile, dtype=float)
            assert found.shape == part.shape
            assert np.abs(found - part).mean() < 6


def test_notes_become_json():
    frame = pd.DataFrame({"a": [1.0, np.inf]})
    notes = {"array": np.arange(3), "text": '{"x": [1]}', "no json": "[x", "frame": frame, "none": None, "t": np.True_}
    assert as_json(notes) == {
        "array": [0, 1, 2], "text": {"x": [1]}, "no json": "[x", "frame": {"a": [1.0, None]}, "none": None, "t": True,
    }  # fmt: skip
    assert as_json(np.zeros(300_000)) is None
