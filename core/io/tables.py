"""Text tables: comma, tab or semicolon between values; looked through line by line before pandas reads them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from core import keys
from core.errors import DataError, FormatError, StorageError, UntrustedFileError
from core.io.h5ad import as_csr, mz_of
from core.io.positions import NAMES, plain, position_columns

GIB = 1 << 30
#: a table of text becomes about as much memory again, dense; larger sections belong into h5ad or imzML
MAX_BYTES = 4 * GIB
MAX_LINE = 64 << 20
MAX_COLUMNS = 200_000

SUFFIXES = (".csv", ".tsv", ".txt")
#: numbers that stand in peak tables and are no peaks, as :func:`core.io.positions.plain` has them
ID_NAMES = frozenset(
    f"{what}{which}" for what in ("spot", "pixel", "scan", "spectrum") for which in ("", "id", "index", "number")
) | {"", "id", "index", "name", "barcode"}
OTHER_NAMES = ID_NAMES | {
    *("z", "r", "run", "roi", "region", "regionid", "regionnumber", "cluster", "sample", "section", "mz", "intensity"),
    *("tic", "rms", "totalintensity", "totalioncurrent", "meanintensity", "intissue", "arrayrow", "arraycol"),
}
EXCELS_HINT = re.compile(rb"(\xef\xbb\xbf)?\"?sep=.\"?\s*")
DECIMAL_COMMA = re.compile(rb'(?:^|[;\t])"?-?\d+,\d+(?:[eE][-+]?\d+)?"?\s*(?:[;\t]|$)')
DECIMAL_POINT = re.compile(rb'(?:^|[;\t])"?-?[\d,]*\.\d+(?:[eE][-+]?\d+)?"?\s*(?:[;\t]|$)')
#: a column for each pixel, as METASPACE exports ion images
PIXEL_COLUMN = re.compile(r"x(\d+)_y(\d+)")


@dataclass(frozen=True)
class Layout:
    """How a text table is written."""

    separator: str
    skipped: int  # comment lines before the header
    columns: int
    encoding: str
    decimal: str


def is_table(path: Path) -> bool:
    """Whether *path* has the name of a text table."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_peak_table(path: Path) -> AnnData:
    """Read an SM peak table: a column x, a column y, then one column for each m/z (or named metabolite).

    A first column with the pixels' ids is used as names. Text columns become obs annotations, unless their name is an
    m/z: then the value that is no number is reported.

    Raises
    ------
    FormatError, UntrustedFileError, DataError
    """
    table = read_text_table(path)
    pixels = [column for column in table.columns if PIXEL_COLUMN.fullmatch(str(column))]
    if pixels:
        return _ion_images(table, pixels, path)
    x, y = _positions(table, path)
    ids = table.columns[0] if _is_id(table.columns[0]) else None
    others, features = [], []
    for column in table.columns:
        if column in (x, y, ids):
            continue
        annotation = plain(column) in OTHER_NAMES | NAMES
        (others if annotation or not _is_feature(table[column], column) else features).append(column)
    if not features:
        raise FormatError(
            "m/z columns beside x and y",
            found=f"{path.name} with {_few(table.columns)}",
            mend="Give a table with one row for each pixel and one column for each m/z.",
        )
    names = table[ids].astype(str) if ids is not None else [f"pixel_{i + 1}" for i in range(len(table))]
    adata = AnnData(
        X=as_csr(table[features].to_numpy(dtype=np.float32)),
        obs=pd.DataFrame({str(c): table[c].to_numpy() for c in others}, index=pd.Index(names, dtype=str)),
        var=pd.DataFrame({keys.MZ: [mz_of(c) for c in features]}, index=pd.Index(map(str, features), dtype=str)),
    )
    adata.obsm[keys.SPATIAL] = np.column_stack([_numbers(table[x]), _numbers(table[y])])
    return adata


def _ion_images(table: pd.DataFrame, pixels: list, path: Path) -> AnnData:
    """METASPACE's pixel intensities: a row for each annotation, a column for each pixel."""
    about = table.drop(columns=pixels)
    if not all(values.dtype.kind in "fiu" for _, values in table[pixels].items()):
        raise DataError(f"numbers in the columns of the pixels of {path.name}", found="text")
    named = [about[c].astype(str) for c in ("mol_formula", "formula", "adduct") if c in about]
    mz = _numbers(about["mz"]) if "mz" in about else np.full(len(about), np.nan)
    names = [".".join(parts) for parts in zip(*named, strict=True)] if named else [f"{value:.4f}" for value in mz]
    adata = AnnData(
        X=as_csr(table[pixels].to_numpy(dtype=np.float32).T),
        obs=pd.DataFrame(index=pd.Index(map(str, pixels), dtype=str)),
        var=pd.DataFrame({str(c): about[c].to_numpy() for c in about}, index=pd.Index(names, dtype=str)),
    )
    adata.var[keys.MZ] = mz
    xy = [PIXEL_COLUMN.fullmatch(str(column)).groups() for column in pixels]
    adata.obsm[keys.SPATIAL] = np.array(xy, dtype=np.float64)
    return adata


def _is_id(column: object) -> bool:
    return plain(column) in ID_NAMES or str(column).startswith("Unnamed:")


def _positions(table: pd.DataFrame, path: Path) -> tuple:
    found = position_columns(table.columns)
    if found is None:
        raise FormatError(
            "a column x and a column y, the position of the pixel of each row",
            found=f"{path.name} with {_few(table.columns)}",
            mend="Name the columns of the positions x and y; give one row for each pixel, one column for each m/z.",
        )
    return found


def _few(columns: pd.Index) -> str:
    return ", ".join(map(str, columns[:8])) + (", …" if len(columns) > 8 else "")


def _is_feature(values: pd.Series, name: object) -> bool:
    if values.dtype.kind in "fiu":
        return True
    if np.isfinite(mz_of(name)):
        wrong = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
        raise DataError(
            f"numbers in column {name}",
            found=repr(wrong.iloc[0] if len(wrong) else values.iloc[0]),
            mend="Correct that value and import again.",
        )
    return False


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)


def read_text_table(path: Path, *, header: bool = True) -> pd.DataFrame:
    """Read a CSV or TSV whose lines have been looked through; without *header* the columns are numbered.

    Raises
    ------
    UntrustedFileError
        Above 4 GiB, a line above 64 MiB, or binary.
    FormatError
        Rows of different length, or nothing that pandas can read.
    """
    layout = inspect(path)
    try:
        table = pd.read_csv(
            path,
            sep=layout.separator,
            skiprows=layout.skipped,
            header=0 if header else None,
            decimal=layout.decimal,
            encoding=layout.encoding,
            index_col=False,
            low_memory=False,
            skip_blank_lines=True,
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OverflowError) as error:
        raise FormatError(
            "a table of comma- or tab-separated values", found=f"{path.name} ({str(error)[:200]})"
        ) from error
    last = table.columns[-1]  # where every line ends with a separator
    return table.drop(columns=last) if str(last).startswith("Unnamed:") and table[last].isna().all() else table


def inspect(path: Path) -> Layout:
    """Separator and width of the table, after a look at every line: text, not too long, all of the same width."""
    if not path.is_file():
        raise StorageError(f"the file {path}", found="no such file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UntrustedFileError(
            "a text table of at most 4 GiB", found=f"{size / GIB:.1f} GiB", mend="Convert it to h5ad or imzML."
        )
    skipped, separator, columns, encoding = 0, "", 0, "utf-8-sig"
    commas = points = False
    for number, line in enumerate(_lines(path), start=1):
        if not separator:
            if line.startswith(b"#") or not line.strip() or EXCELS_HINT.fullmatch(line):
                skipped += 1
                continue
            separator = max((",", "\t", ";"), key=lambda s: line.count(s.encode()))
            columns = _width(line, separator)
            if not 2 <= columns <= MAX_COLUMNS:
                raise FormatError(
                    "a table of at least 2 columns",
                    found=f"{columns:,} in {path.name}",
                    mend="Separate the values by comma, tab or semicolon.",
                )
        elif line.strip() and (width := _width(line, separator)) != columns:
            raise FormatError(
                f"{columns:,} values in every row",
                found=f"{width:,} in line {number:,} of {path.name}",
                mend="Export the table again.",
            )
        else:
            points = points or (separator != "," and DECIMAL_POINT.search(line) is not None)
            commas = commas or (separator != "," and not points and DECIMAL_COMMA.search(line) is not None)
        encoding = encoding if _is_utf8(line) else "latin-1"
    if not separator:
        raise FormatError("a table", found=f"{path.name}, which is empty")
    return Layout(separator, skipped, columns, encoding, "," if commas and not points else ".")


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise UntrustedFileError("lines of at most 64 MiB", found=f"a longer one in {path.name}")
            if b"\0" in line:
                raise UntrustedFileError(
                    "a text table", found=f"{path.name}, which is binary", mend="Export it as CSV or TSV in UTF-8."
                )
            yield line


def _width(line: bytes, separator: str) -> int:
    if b'"' not in line:
        return line.count(separator.encode()) + 1
    row = next(csv.reader([line.decode("latin-1").rstrip("\r\n")], delimiter=separator), [])
    return len(row)


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
