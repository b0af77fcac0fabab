"""Text tables: comma, tab or semicolon between values; looked through line by line before pandas reads them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from core import keys
from core.errors import DataError, FormatError, StorageError, UntrustedFileError
from core.io.h5ad import as_csr, mz_of

GIB = 1 << 30
#: a table of text becomes about as much memory again, dense; larger sections belong into h5ad or imzML
MAX_BYTES = 4 * GIB
MAX_LINE = 64 << 20
MAX_COLUMNS = 200_000

SUFFIXES = (".csv", ".tsv", ".txt")
X_NAMES = ("x", "x_coord", "x_coord_original", "coord_x", "pos_x", "pixel_x", "xcoord")
Y_NAMES = ("y", "y_coord", "y_coord_original", "coord_y", "pos_y", "pixel_y", "ycoord")
ID_NAMES = (
    "",
    "id",
    "spot",
    "spot_id",
    "spotid",
    "spot id",
    "pixel",
    "pixel_id",
    "pixelid",
    "pixel id",
    "barcode",
    "index",
    "name",
)
#: numbers that stand in peak tables and are no peaks
OTHER_NAMES = ("z", "total_intensity", "mean_intensity", "tic", "in_tissue")


@dataclass(frozen=True)
class Layout:
    """How a text table is written."""

    separator: str
    skipped: int  # comment lines before the header
    columns: int
    encoding: str


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
    lower = {str(c).strip().lower(): c for c in reversed(table.columns)}
    x, y = _one_of(lower, X_NAMES, path), _one_of(lower, Y_NAMES, path)
    ids = table.columns[0] if _is_id(table.columns[0]) else None
    others, features = [], []
    for column in table.columns:
        if column in (x, y, ids):
            continue
        annotation = str(column).strip().lower() in (*OTHER_NAMES, *X_NAMES, *Y_NAMES)
        (others if annotation or not _is_feature(table[column], column) else features).append(column)
    if not features:
        raise FormatError(
            "m/z columns beside x and y",
            found=f"{path.name} with " + ", ".join(map(str, table.columns)),
            mend="Give a table with one column for each m/z.",
        )
    names = table[ids].astype(str) if ids is not None else [f"pixel_{i + 1}" for i in range(len(table))]
    adata = AnnData(
        X=as_csr(table[features].to_numpy(dtype=np.float32)),
        obs=pd.DataFrame({str(c): table[c].to_numpy() for c in others}, index=pd.Index(names, dtype=str)),
        var=pd.DataFrame({keys.MZ: [mz_of(c) for c in features]}, index=pd.Index(map(str, features), dtype=str)),
    )
    adata.obsm[keys.SPATIAL] = np.column_stack([_numbers(table[x]), _numbers(table[y])])
    return adata


def _is_id(column: object) -> bool:
    name = str(column).strip().lower()
    return name in ID_NAMES or name.startswith("unnamed:")


def _one_of(lower: dict[str, object], names: tuple[str, ...], path: Path) -> object:
    for name in names:
        if name in lower:
            return lower[name]
    raise FormatError(
        f"a column {names[0]}",
        found=f"{path.name} with {', '.join(list(lower)[:8]) or 'no columns'}",
        mend="Name the columns of the positions x and y.",
    )


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
    decimal = "," if layout.separator == ";" and _decimal_commas(path, layout) else "."
    try:
        table = pd.read_csv(
            path,
            sep=layout.separator,
            skiprows=layout.skipped,
            header=0 if header else None,
            decimal=decimal,
            encoding=layout.encoding,
            index_col=False,
            low_memory=False,
            skip_blank_lines=True,
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OverflowError) as error:
        raise FormatError(
            "a table of comma- or tab-separated values", found=f"{path.name} ({str(error)[:200]})"
        ) from error
    return table


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
    for number, line in enumerate(_lines(path), start=1):
        if not separator:
            if line.startswith(b"#") or not line.strip():
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
        encoding = encoding if _is_utf8(line) else "latin-1"
    if not separator:
        raise FormatError("a table", found=f"{path.name}, which is empty")
    return Layout(separator, skipped, columns, encoding)


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


def _decimal_commas(path: Path, layout: Layout) -> bool:
    for number, line in enumerate(_lines(path)):
        if number > layout.skipped:
            return b"," in line
    return False
