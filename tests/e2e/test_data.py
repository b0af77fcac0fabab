"""The Data page: files of any size arrive whole, are looked at and checked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from core.io import read_st
from spatialmeta_app.config import Settings
from spatialmeta_app.ids import Data
from spatialmeta_app.workspace import Workspace
from tests.core.io.test_visium import to_mtx
from tests.e2e.conftest import Watch
from tests.e2e.serving import Server, running
from tests.e2e.test_shell import new_project

CHUNK = 8 << 20
IMPORT_MS = 90_000
CUT = ("ERR_FAILED", "ERR_ABORTED")


@pytest.fixture(scope="module")
def app_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a folder of the server that people may import from."""
    folder = tmp_path_factory.mktemp("served")
    roots = folder / "shared"
    (roots / "run 7").mkdir(parents=True)
    _section(roots / "run 7" / "st.h5ad")
    with running(folder / "data", demo="0", min_free_bytes="0", import_roots=str(roots)) as server:
        yield server


def _section(path: Path, counts: np.ndarray | None = None) -> Path:
    """A small h5ad of 6 x 6 spots and four genes."""
    if counts is None:
        counts = np.random.default_rng(0).poisson(4.0, (36, 4)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2)
    adata = anndata.AnnData(
        counts,
        obs=pd.DataFrame(index=[f"spot{i}" for i in range(36)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(4)]),
        obsm={"spatial": 100 * grid},
    )
    adata.write_h5ad(path)
    return path


def _bytes(path: Path, size: int) -> Path:
    """A file of random bytes, so that a piece in the wrong place shows."""
    path.write_bytes(np.random.default_rng(size).bytes(size))
    return path


def slot(page: Page, name: str):
    return page.locator(f".sm-slot[data-slot={name}]")


def choose(page: Page, name: str, *files: Path) -> None:
    slot(page, name).locator("input[type=file]").set_input_files([str(f) for f in files])


def arrived(server: Server, name: str) -> str:
    """sha256 of the newest upload called *name* on the server's disk."""
    found = sorted(server.data.glob(f"projects/*/uploads/*/{name}"), key=lambda p: p.stat().st_mtime)
    return hashlib.sha256(found[-1].read_bytes()).hexdigest()


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_real_pair_is_shown_and_checked(page: Page, axe, data_dir: Path) -> None:
    new_project(page)
    expect(page.get_by_role("button", name="Next: Align")).to_be_disabled()
    choose(page, "st", data_dir / "vicari_B1" / "st.h5ad")
    choose(page, "sm", data_dir / "vicari_B1" / "sm.h5ad")
    for about in ("3,120 spots × 13 genes", "3,005 pixels × 15 metabolites"):
        expect(page.locator(".sm-tile-head", has_text=about)).to_be_visible(timeout=IMPORT_MS)
    expect(page.locator("canvas[data-drawn='1']")).to_have_count(2)
    expect(page.get_by_role("img", name="Histology")).to_be_visible()
    expect(page.get_by_role("link", name="Next: Align")).to_be_visible(timeout=IMPORT_MS)
    expect(page.locator(".sm-check", has_text="All counts are whole numbers.")).to_be_visible()
    axe(page)

    grid = anndata.read_h5ad(data_dir / "vicari_B1" / "sm.h5ad").obsm["spatial_grid"]
    page.get_by_label("Coordinates").select_option("spatial_grid")
    measured = f"x {grid[:, 0].min():g} to {grid[:, 0].max():g}, y {grid[:, 1].min():g} to {grid[:, 1].max():g}."
    expect(page.locator(".sm-check", has_text=measured)).to_be_visible(timeout=IMPORT_MS)
    page.reload()
    expect(page.get_by_label("Coordinates")).to_have_value("spatial_grid")
    expect(page.locator(".sm-stepper li", has_text="Data").locator(".bi-check2")).to_be_visible()
    page.get_by_role("link", name="Next: Align").click()
    page.wait_for_url("**/align")


def test_coordinates_shown_while_others_are_imported_are_no_choice(
    page: Page, app_server: Server, tmp_path: Path
) -> None:
    """The old ones come back into the field until the import has ended; what the page says of that is heard late."""
    section = anndata.read_h5ad(_section(tmp_path / "sm.h5ad"))
    section.var["mz"] = [100.0, 200.0, 300.0, 400.0]
    section.obsm["spatial_grid"] = section.obsm["spatial"] / 100
    section.write_h5ad(tmp_path / "sm.h5ad")
    address = new_project(page)
    choose(page, "sm", tmp_path / "sm.h5ad")
    field = page.get_by_label("Coordinates")
    expect(field).to_have_value("spatial", timeout=IMPORT_MS)
    late: list[Route] = []

    def hold(route: Route) -> None:
        asked = json.loads(route.request.post_data)
        old = {"id": Data.KEY, "property": "value", "value": "spatial"}
        is_echo = f"{Data.KEY}.value" in asked["changedPropIds"] and old in asked["inputs"]
        late.append(route) if is_echo else route.continue_()

    page.route(re.compile("/_dash-update-component"), hold)
    with app_server.held():
        field.select_option("spatial_grid")
        expect(page.get_by_role("progressbar", name="Import of the SM section")).to_be_visible()
        expect(field).to_have_value("spatial")
    expect(field).to_have_value("spatial_grid", timeout=IMPORT_MS)
    assert late
    for route in late:
        route.continue_()
        assert route.request.response().ok
    jobs = page.request.get(f"/api/jobs?project={address.split('/')[-3]}&since=0").json()["jobs"]
    assert [job["state"] for job in jobs] == ["done", "done"]
    expect(page.locator(".sm-check", has_text="x 0 to 5, y 0 to 5.")).to_be_visible()


def test_a_cut_connection_is_mended_by_itself(page: Page, app_server: Server, watch: Watch, tmp_path: Path) -> None:
    watch.allow(*CUT)
    new_project(page)
    file = _bytes(tmp_path / "cut.zip", 3 * CHUNK + 12_345)
    cuts: list[str] = []

    def cut(route: Route) -> None:
        if route.request.headers.get("upload-offset") == str(CHUNK) and len(cuts) < 2:
            cuts.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/api/uploads/*", cut)
    choose(page, "st", file)
    expect(slot(page, "st").locator(".sm-file")).to_contain_text("cut.zip", timeout=IMPORT_MS)
    assert len(cuts) == 2
    assert arrived(app_server, "cut.zip") == sha(file)


def test_a_reload_goes_on_where_it_was(page: Page, app_server: Server, watch: Watch, tmp_path: Path) -> None:
    watch.allow(*CUT)
    new_project(page)
    file = _bytes(tmp_path / "reload.zip", 3 * CHUNK)
    page.on("dialog", lambda d: d.accept())
    page.route("**/api/uploads/*", lambda r: r.abort() if _offset(r) > 0 else r.continue_())
    choose(page, "st", file)
    row = slot(page, "st").locator(".sm-transfer")
    expect(row).to_contain_text("33% of 24.0 MiB · connection cut")
    page.reload()
    expect(row).to_contain_text("33% of 24.0 MiB arrived. Choose the same file again to go on.")

    offsets: list[int] = []
    page.unroute("**/api/uploads/*")
    page.route("**/api/uploads/*", lambda r: (offsets.append(_offset(r)), r.continue_()))
    choose(page, "st", file)
    expect(slot(page, "st").locator(".sm-file")).to_contain_text("reload.zip", timeout=IMPORT_MS)
    assert [o for o in offsets if o >= 0] == [CHUNK, 2 * CHUNK]  # the first piece was not sent again
    assert arrived(app_server, "reload.zip") == sha(file)


def _offset(route: Route) -> int:
    return int(route.request.headers.get("upload-offset", "-1"))


def test_pause_resume_cancel(page: Page, app_server: Server, watch: Watch, tmp_path: Path) -> None:
    watch.allow(*CUT)
    new_project(page)
    file = _bytes(tmp_path / "pause.zip", 2 * CHUNK)
    held: list[Route] = []
    page.route("**/api/uploads/*", lambda r: held.append(r) if _offset(r) == CHUNK else r.continue_())
    choose(page, "st", file)
    row = slot(page, "st").locator(".sm-transfer")
    expect(row).to_contain_text("50% of 16.0 MiB")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    page.unroute("**/api/uploads/*")
    row.get_by_role("button", name="Resume").click()
    expect(slot(page, "st").locator(".sm-file")).to_contain_text("pause.zip", timeout=IMPORT_MS)
    assert arrived(app_server, "pause.zip") == sha(file)

    page.route("**/api/uploads/*", lambda r: held.append(r) if _offset(r) == 0 else r.continue_())
    choose(page, "image", _bytes(tmp_path / "never.png", CHUNK))
    row = slot(page, "image").locator(".sm-transfer")
    with page.expect_response(lambda r: r.request.method == "DELETE") as answer:
        row.get_by_role("button", name="Cancel").click()
    assert answer.value.status == 204
    expect(row).to_have_count(0)
    assert not list(app_server.data.glob("projects/*/uploads/*/never.png"))


def test_files_that_are_whole_at_the_same_moment_are_all_imported(page: Page, tmp_path: Path) -> None:
    """On another page too: what a page hears of two files at once may be one."""
    new_project(page)
    ends: list[Route] = []

    def hold(route: Route) -> None:
        ends.append(route)

    page.route("**/api/uploads/*/finish", hold)
    choose(page, "st", _section(tmp_path / "st.h5ad"))
    choose(page, "sm", _table(tmp_path / "peaks.csv"))
    expect(page.locator(".sm-transfer", has_text="100%")).to_have_count(2)
    for route in ends:
        route.continue_()
    for about in ("36 spots × 4 genes", "36 pixels × 3 metabolites"):
        expect(page.locator(".sm-tile-head", has_text=about)).to_be_visible(timeout=IMPORT_MS)

    ends.clear()
    choose(page, "sm", _table(tmp_path / "fewer.csv", pixels=30))
    expect(page.locator(".sm-transfer", has_text="100%")).to_be_visible()
    page.get_by_role("link", name="Align").first.click()
    page.wait_for_url("**/align")
    (route,) = ends
    route.continue_()
    expect(page.locator("#tray")).to_contain_text("SM import")
    page.get_by_role("link", name="Data").first.click()
    expect(page.locator(".sm-tile-head", has_text="30 pixels × 3 metabolites")).to_be_visible(timeout=IMPORT_MS)


@pytest.mark.parametrize(("typed", "taken"), [("0.5", 0.5), ("2", 2.0), ("-1", None)])
def test_the_image_scale_on_the_page_goes_with_the_image(
    page: Page, app_server: Server, tmp_path: Path, typed: str, taken: float | None
) -> None:
    sample = new_project(page).split("/")[-2]
    workspace = Workspace(Settings(data=app_server.data, min_free_bytes=0, demo=False))
    image = Image.fromarray(np.random.default_rng(5).integers(0, 255, (600, 600, 3), dtype=np.uint8))
    image.save(tmp_path / "he.png")
    choose(page, "st", _section(tmp_path / "st.h5ad"))
    expect(page.locator(".sm-tile-head", has_text="36 spots × 4 genes")).to_be_visible(timeout=IMPORT_MS)
    page.get_by_label("Image scale").fill(typed)
    choose(page, "image", tmp_path / "he.png")
    expect(page.get_by_role("img", name="Histology")).to_be_visible(timeout=IMPORT_MS)
    assert workspace.chosen(sample, "st").inputs.get("image_scale") == taken
    # twice the 500 px of the spots is beyond the 600 of the image: all but the four columns and rows to 300
    warning = page.locator(".sm-check", has_text="20 spots lie outside the image")
    expect(warning).to_have_count(int(typed == "2"))


def test_a_file_can_be_dropped(page: Page, app_server: Server, tmp_path: Path) -> None:
    new_project(page)
    file = _section(tmp_path / "dropped.h5ad")
    transfer = page.evaluate_handle(
        """data => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], 'dropped.h5ad', {lastModified: 1}));
            return transfer;
        }""",
        base64.b64encode(file.read_bytes()).decode(),
    )
    slot(page, "st").dispatch_event("drop", {"dataTransfer": transfer})
    expect(slot(page, "st").locator(".sm-file")).to_contain_text("dropped.h5ad", timeout=IMPORT_MS)
    assert arrived(app_server, "dropped.h5ad") == sha(file)


def test_a_blocking_check_locks_the_way_on(page: Page, tmp_path: Path) -> None:
    new_project(page)
    fractions = np.random.default_rng(1).random((36, 4)).astype(np.float32)
    choose(page, "st", _section(tmp_path / "normalised.h5ad", fractions))
    choose(page, "sm", _table(tmp_path / "peaks.csv"))
    expect(page.locator(".sm-check", has_text="Blocking: Counts")).to_be_visible(timeout=IMPORT_MS)
    expect(page.locator(".sm-tile-head", has_text="36 pixels × 3 metabolites")).to_be_visible(timeout=IMPORT_MS)
    way = page.locator(".sm-next")
    expect(way).to_contain_text("ST has a blocking check.")
    expect(way.get_by_role("button", name="Next: Align")).to_be_disabled()
    choose(page, "st", _section(tmp_path / "counts.h5ad"))
    expect(page.get_by_role("link", name="Next: Align")).to_be_visible(timeout=IMPORT_MS)


def _table(path: Path, masses: tuple[str, ...] = ("154.0499", "288.1186", "421.1910"), pixels: int = 36) -> Path:
    """The first *pixels* of a raster of 6 x 6, in an order of their own."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2)[rng.permutation(36)]
    values = rng.random((36, len(masses))) * 100
    frame = pd.DataFrame(np.hstack([grid, values]), columns=["x", "y", *masses])
    frame[:pixels].to_csv(path, index=False)
    return path


@pytest.mark.parametrize("first", ["positive", "negative"])
def test_both_ion_modes_become_one_section(page: Page, app_server: Server, tmp_path: Path, first: str) -> None:
    positive = _table(tmp_path / "positive.csv")
    negative = _table(tmp_path / "negative.csv", ("145.0619", "154.0499"), pixels=30)
    new_project(page)
    if first == "positive":
        choose(page, "sm", positive)
        expect(page.locator(".sm-tile-head", has_text="36 pixels × 3 metabolites")).to_be_visible(timeout=IMPORT_MS)
        choose(page, "negative", negative)
    else:
        choose(page, "negative", negative)
        expect(page.locator(".sm-tile", has_text="Waits for the file of the positive mode.")).to_be_visible()
        expect(slot(page, "negative").locator(".sm-file")).to_contain_text("negative.csv")
        choose(page, "sm", positive)
    expect(page.locator(".sm-tile-head", has_text="30 pixels × 5 metabolites")).to_be_visible(timeout=IMPORT_MS)
    expect(slot(page, "negative").locator(".sm-file")).to_contain_text("negative.csv")
    check = page.locator(".sm-check", has_text="Ion modes")
    expect(check).to_contain_text("3 features of the positive mode and 2 features of the negative mode")
    expect(check).to_contain_text("30 pixels are in both, of 36 positive and 30 negative.")

    made = max(app_server.data.glob("projects/*/samples/*/results/*/data.h5ad"), key=lambda p: p.stat().st_mtime)
    merged = anndata.read_h5ad(made)
    both = pd.read_csv(positive).merge(pd.read_csv(negative), on=["x", "y"])
    order = np.lexsort(merged.obsm["spatial"].T)
    values = np.asarray(merged.X.todense())[order]
    np.testing.assert_allclose(values, both.sort_values(["y", "x"]).to_numpy()[:, 2:], rtol=1e-6)
    assert merged.var["polarity"].tolist() == ["positive"] * 3 + ["negative"] * 2


def test_imzml_waits_for_its_ibd(page: Page, data_dir: Path) -> None:
    spectra = sorted((data_dir / "imzml").glob("*.ibd"), key=lambda p: p.stat().st_size)[0]
    header = next(p for p in (data_dir / "imzml").iterdir() if p.stem == spectra.stem and p != spectra)
    new_project(page)
    choose(page, "sm", header)
    expect(page.locator(".sm-tile", has_text="Waits for the .ibd file")).to_be_visible()
    choose(page, "sm", spectra)
    expect(page.locator(".sm-tile-head", has_text=re.compile(r"\d+ pixels × \d+ metabolites"))).to_be_visible(
        timeout=IMPORT_MS
    )


def test_a_matrix_and_the_packed_folder_as_10x_offers_them(page: Page, data_dir: Path, tmp_path: Path) -> None:
    packed = tmp_path / "V1_spatial.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(data_dir / "visium_folder/spatial", "spatial")
    new_project(page)
    choose(page, "st", packed)
    tile = page.locator(".sm-tile").first
    expect(tile).to_contain_text("The file could not be imported.", timeout=IMPORT_MS)  # no matrix yet
    choose(page, "st", data_dir / "visium_folder/filtered_feature_bc_matrix.h5")
    expect(tile).to_contain_text("2,695 spots × 100 genes", timeout=IMPORT_MS)
    expect(page.locator("body")).to_contain_text("hires 2,000 × 1,998 px")


def test_the_matrix_folder_and_the_spatial_folder_both_packed(page: Page, data_dir: Path, tmp_path: Path) -> None:
    offered = data_dir / "visium_folder"
    matrix = shutil.copyfile(offered / "filtered_feature_bc_matrix.h5", tmp_path / "filtered_feature_bc_matrix.h5")
    packed = []
    for folder in (to_mtx(tmp_path, read_st(matrix)), offered / "spatial"):
        packed.append(tmp_path / f"V1_{folder.name}.tar.gz")
        with tarfile.open(packed[-1], "w:gz") as archive:
            archive.add(folder, folder.name)
    new_project(page)
    choose(page, "st", packed[0])
    tile = page.locator(".sm-tile").first
    expect(tile).to_contain_text("Waits for the spatial folder")
    choose(page, "st", packed[1])
    expect(tile).to_contain_text("2,695 spots × 100 genes", timeout=IMPORT_MS)
    expect(page.locator("body")).to_contain_text("hires 2,000 × 1,998 px")


def test_files_of_the_server_are_imported(page: Page) -> None:
    new_project(page)
    page.get_by_text("Import from a folder of the server").click()
    entries = page.locator("#data-browser")
    entries.get_by_role("button", name="shared").click()
    entries.get_by_role("button", name="run 7").click()
    entries.get_by_role("button", name="st.h5ad").click()
    expect(page.locator(".sm-toast")).to_contain_text("Found st.h5ad")  # an h5ad may be either section
    page.get_by_label("Take the file as").select_option("st")
    entries.get_by_role("button", name="st.h5ad").click()
    expect(page.locator(".sm-tile-head", has_text="36 spots × 4 genes")).to_be_visible(timeout=IMPORT_MS)


def test_a_file_that_lies_is_refused_in_one_sentence(page: Page, tmp_path: Path) -> None:
    new_project(page)
    choose(page, "st", _bytes(tmp_path / "noise.h5ad", 5000))
    tile = page.locator(".sm-tile").first
    expect(tile).to_contain_text("The file could not be imported.", timeout=IMPORT_MS)
    expect(tile).to_contain_text("Expected")
    expect(slot(page, "st").get_by_title("Not imported")).to_be_visible()
    expect(page.locator(".sm-toast")).to_have_count(0)  # told once, where the file is

    choose(page, "st", _bytes(tmp_path / "matrix.h5", 5000))  # what is missing now, not what was wrong with another
    expect(tile).to_contain_text("Waits for the spatial folder")
    expect(tile).not_to_contain_text("could not be imported")
    expect(slot(page, "st").get_by_title("Not imported yet")).to_be_visible()
    choose(page, "st", _section(tmp_path / "right.h5ad"))
    expect(tile).to_contain_text("36 spots × 4 genes", timeout=IMPORT_MS)
    expect(page.locator(".sm-toast")).to_have_count(0)
