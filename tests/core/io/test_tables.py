"""Peak tables against pandas, with all that goes wrong in them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import DataError, FormatError, UntrustedFileError
from core.io import check_sm, read_sm, tables


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


TABLE = "x,y,426.9289,mz-431.0381,Dopamine\n1,5,0,2.5,3\n2,5,1.5,0,0\n"


def test_a_table_in_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    packed, theirs = read_sm(tmp_path / "a.csv.gz"), pd.read_csv(tmp_path / "a.csv.gz")
    np.testing.assert_array_equal(packed.X.toarray(), theirs.iloc[:, 2:].to_numpy(np.float32))
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"1," * (32 << 20)))
    with pytest.raises(UntrustedFileError, match="unpacks to more"):
        read_sm(tmp_path / "bomb.csv.gz")


def test_plain_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TABLE)
    adata = read_sm(path)
    theirs = pd.read_csv(path)
    np.testing.assert_array_equal(adata.X.toarray(), theirs.iloc[:, 2:].to_numpy(np.float32))
    np.testing.assert_array_equal(adata.obsm["spatial"], theirs[["x", "y"]])
    np.testing.assert_allclose(adata.var["mz"], [426.9289, 431.0381, np.nan])
    assert list(adata.var_names) == ["426.9289", "mz-431.0381", "Dopamine"]


@pytest.mark.parametrize("name", ["spot_id", "Pixel", "", "id"])
def test_ids_first(tmp_path: Path, name: str) -> None:
    adata = read_sm(write(tmp_path / "a.csv", f"{name},x,y,100.5\npixel_14,-14,67,3\npixel_15,-15,67,4\n"))
    assert list(adata.obs_names) == ["pixel_14", "pixel_15"]
    assert adata.obsm["spatial"].tolist() == [[-14, 67], [-15, 67]]


@pytest.mark.parametrize(("suffix", "separator", "point"), [("tsv", "\t", "."), ("txt", ";", ","), ("csv", ";", ".")])
def test_separators(tmp_path: Path, suffix: str, separator: str, point: str) -> None:
    text = "# exported\nx,y,100.5,200.5\n1,1,0.5,2\n2,1,3,4.5\n".replace(",", separator)
    if point == ",":
        head, body = text.split("\n1", 1)
        text = head + "\n1" + body.replace(".", ",")
    adata = read_sm(write(tmp_path / f"a.{suffix}", text))
    np.testing.assert_array_equal(adata.X.toarray(), [[0.5, 2], [3, 4.5]])


def test_quotes_order_and_text_columns(tmp_path: Path) -> None:
    text = '"region, part","Y","X","100.5"\n"CP, left",1,10,2\n"CP",2,20,3\n'
    adata = read_sm(write(tmp_path / "a.csv", text))
    assert adata.obsm["spatial"].tolist() == [[10, 1], [20, 2]]
    assert list(adata.obs["region, part"]) == ["CP, left", "CP"]
    assert list(adata.var_names) == ["100.5"]


def test_latin_1(tmp_path: Path) -> None:
    adata = read_sm(write(tmp_path / "a.csv", "x,y,µ-1\n1,1,1\n2,2,2\n", "latin-1"))
    assert list(adata.var_names) == ["µ-1"]


def test_real_bladder_as_a_table(data_dir: Path, tmp_path: Path) -> None:
    section = read_sm(data_dir / "mouse_bladder/sm.h5ad")[:500]
    table = pd.DataFrame(section.X.toarray(), columns=section.var["mz"].map("{:.6f}".format))
    table.insert(0, "x", section.obsm["spatial"][:, 0])
    table.insert(1, "y", section.obsm["spatial"][:, 1])
    table.to_csv(tmp_path / "a.csv", index=False)
    adata = read_sm(tmp_path / "a.csv")
    np.testing.assert_array_equal(adata.X.toarray(), section.X.toarray())
    np.testing.assert_allclose(adata.var["mz"], section.var["mz"], atol=1e-6)


def test_empty_cells_block(tmp_path: Path) -> None:
    adata = read_sm(write(tmp_path / "a.csv", "x,y,100.5\n1,1,\n2,2,2\n"))
    assert "Missing or infinite values" in [c.title for c in check_sm(adata) if c.level == "blocking"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x,y,100.5\n1,1,2\n2,2\n", "line 3"),
        ("x,y,100.5\n1,1,2,9\n", "line 2"),
        ("a,b,100.5\n1,1,2\n", "column x"),
        ("x,y\n1,1\n", "m/z columns"),
        ("", "empty"),
        ("hello\n", "columns"),
    ],
)
def test_layout_errors(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_sm(write(tmp_path / "a.csv", text))


def test_text_among_intensities(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'abc'"):
        read_sm(write(tmp_path / "a.csv", "x,y,100.5\n1,1,abc\n2,2,2\n"))


def test_no_peaks_in_the_magpie_positions(data_dir: Path) -> None:
    with pytest.raises(FormatError, match="m/z columns"):
        read_sm(data_dir / "magpie_landmarks/msi/MSI_metadata.csv")


def test_binary(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x,y,1\n\0\0\0\n")
    with pytest.raises(UntrustedFileError, match="binary"):
        read_sm(tmp_path / "a.csv")


def test_huge_file_and_huge_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(5 << 30)  # sparse: takes no disk
    with pytest.raises(UntrustedFileError, match="4 GiB"):
        read_sm(path)
    monkeypatch.setattr(tables, "MAX_LINE", 100)
    with pytest.raises(UntrustedFileError, match="lines"):
        read_sm(write(tmp_path / "b.csv", "x,y," + "1" * 200))


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="imzML"):
        read_sm(write(tmp_path / "a.docx", TABLE))


@pytest.mark.parametrize(
    ("x", "y"),
    [("X", "Y"), ("X position [µm]", "Y position [µm]"), ("x_um", "y_um"), ("col", "row"), ("coord.x", "coord.y")],
)
def test_names_of_positions(tmp_path: Path, x: str, y: str) -> None:
    adata = read_sm(write(tmp_path / "a.csv", f"{y},{x},X500.1\n3,1,7\n4,2,8\n"))
    np.testing.assert_array_equal(adata.obsm["spatial"], [[1, 3], [2, 4]])
    assert list(adata.var["mz"]) == [500.1]


def test_numbers_that_are_no_metabolites(tmp_path: Path) -> None:
    text = "Spot index,x,y,TIC,ROI/Region,scan number,500.1,Dopamine\n7,1,3,9,a,5,7,2\n8,2,4,9,b,6,8,3\n"
    adata = read_sm(write(tmp_path / "a.csv", text))
    assert list(adata.var_names) == ["500.1", "Dopamine"]
    assert list(adata.obs_names) == ["7", "8"]
    assert list(adata.obs) == ["TIC", "ROI_Region", "scan number"]
    assert any("1 of 2 features" in c.found and "not Dopamine" in c.found for c in check_sm(adata))


@pytest.mark.parametrize("text", ["x,y,mz,intensity\n1,1,500.1,3\n1,1,500.2,4\n", "Spot index;x;y\n1;1;2\n2;2;3\n"])
def test_lists_of_peaks_or_positions_are_no_peak_tables(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError, match="one row for each pixel"):
        read_sm(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("hint", ["", "sep=?\n", "\ufeffsep=?\n"])
def test_decimal_commas_below_whole_numbers(tmp_path: Path, separator: str, hint: str) -> None:
    """As Excel writes them in half of Europe; the first row says nothing about the decimals."""
    text = f"{hint}x?y?500,1?600.2?\n1?1?0?0?\n1?2?3,5?4,25?\n".replace("?", separator)
    adata = read_sm(write(tmp_path / "a.txt", text))
    np.testing.assert_array_equal(adata.X.toarray(), [[0, 0], [3.5, 4.25]])
    np.testing.assert_array_equal(adata.var["mz"], [500.1, 600.2])


def test_ion_images_of_metaspace(tmp_path: Path) -> None:
    text = (
        "# Generated at 1/2/2024 for https://metaspace2020.eu/annotations?ds=1\n"
        "mol_formula,adduct,mz,moleculeNames,x0_y0,x1_y0,x0_y1\n"
        'C8H11NO2,M+H,154.0863,"Dopamine, 5-hydroxy…",1,0,2.5\nC7H8,M+K,131.0258,Toluene,0,3,0\n'
    )
    adata = read_sm(write(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(adata.X.toarray(), [[1, 0], [0, 3], [2.5, 0]])
    assert adata.obsm["spatial"].tolist() == [[0, 0], [1, 0], [0, 1]]
    assert list(adata.var_names) == ["C8H11NO2.M+H", "C7H8.M+K"]
    np.testing.assert_array_equal(adata.var["mz"], [154.0863, 131.0258])
