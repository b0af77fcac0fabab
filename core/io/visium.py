"""Space Ranger's output: a folder, an archive of it, or the matrix alone with ``spatial/`` beside it."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from core import keys
from core.errors import DataError, FormatError, UntrustedFileError
from core.io.archives import is_archive, members, ungzipped, unpacked
from core.io.images import read_image
from core.io.notes import OTHER_FEATURES, OUTSIDE_TISSUE, note
from core.io.tables import read_text_table
from core.io.untrusted import check_hdf5, is_hdf5

# GEO puts an accession and a name before every file of a sample, and packs each: "GSM5_A1_matrix.mtx.gz"
POSITIONS = re.compile(r"tissue_positions(_list)?\.csv(\.gz)?$", re.IGNORECASE)
MTX = re.compile(r"matrix\.mtx(\.gz)?$", re.IGNORECASE)
WANTED = re.compile(
    r"(\.h5|tissue_positions\.parquet|(tissue_positions(_list)?\.csv|scalefactors_json\.json"
    r"|tissue_(hires|lowres)_image\.png|matrix\.mtx|barcodes\.tsv|features\.tsv|genes\.tsv)(\.gz)?)$",
    re.IGNORECASE,
)
MATRIX_NAME = re.compile(
    r"((filtered|raw)_)?(feature_bc_)?matrix(\.h5|\.mtx|\.zip|\.tar|\.tgz)?(\.gz)?$", re.IGNORECASE
)
#: what a genome's group holds in a .h5 before Cell Ranger 3
CELL_RANGER_2 = {"barcodes", "data", "gene_names", "genes", "indices", "indptr", "shape"}
#: of the spatial folder; what is in gzip has to be unpacked to be looked at, so its name says what it is
ARCHIVE = re.compile(r"(\.zip|\.tar|spatial.*\.(tar\.gz|tgz))$", re.IGNORECASE)
POSITION_COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
MAX_JSON = 1 << 20
#: bytes of the shortest line of a matrix.mtx, "1 1 1\n"
SHORTEST_ENTRY = 6
MAX_SIDE = 20_000_000


@dataclass(frozen=True)
class Files:
    """What was found of a Space Ranger output."""

    matrix: Path  # .h5 or matrix.mtx
    positions: Path | None


def is_visium(path: Path) -> bool:
    """Whether *path* is a Space Ranger folder, an archive of one, or a 10x .h5 (walked here, before it is opened)."""
    if path.is_dir():
        return any(WANTED.search(p.name) for p in _files(path))
    if is_archive(path):
        return any(_is_wanted(name) for name in members(path))
    if not is_hdf5(path):
        return False
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        return "matrix" in file or bool(_genomes(file))


def read_visium(path: Path, spatial: Path | None = None, *, origin: Path | None = None) -> AnnData:
    """Read Space Ranger's output; spots outside the tissue are left out.

    Parameters
    ----------
    path
        Folder (``outs/``), zip or tar of it (also with one folder around it), or ``*_feature_bc_matrix.h5``.
    spatial
        ``spatial/`` as a folder or an archive (also in gzip); None: looked for inside, for a matrix alone beside it.
    origin
        Where *path* came from, if it was unpacked from something: that is what the matrix alone lies beside.

    Returns
    -------
    AnnData
        X counts, ``var['gene_ids']``, ``obs`` in_tissue, array_row, array_col, ``obsm['spatial']`` [x, y] full-res
        pixels, ``uns['spatial'][library]`` with images and scalefactors.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(unpacked(path, _is_wanted)) if is_archive(path) else path
        files = _find(folder, path.name) if folder.is_dir() else Files(path, None)
        positions = files.positions
        if spatial is not None or (positions is None and not path.is_dir()):
            place = _beside(origin or path) if spatial is None else spatial
            if place is not None and place.is_file():
                place = stack.enter_context(_opened(place))
            positions = None if place is None else _positions_in(place, path)
        adata, library = _read_matrix(files.matrix)
        if positions is None:
            return adata
        adata = _with_positions(adata, positions)
        adata.uns[keys.UNS_SPATIAL] = {_library(library, path): _images_and_factors(positions)}
        return adata


def _is_wanted(name: str) -> bool:
    return bool(WANTED.search(name)) and "raw_feature" not in name and "analysis/" not in name


def _files(folder: Path) -> list[Path]:
    """Files of *folder* down to four levels, nearest first."""
    found, level = [], [folder]
    for _ in range(4):
        entries = sorted(entry for f in level for entry in f.iterdir() if not entry.name.startswith((".", "__MACOSX")))
        found += [e for e in entries if e.is_file()]
        level = [e for e in entries if e.is_dir() and not e.is_symlink()]
    return found


def _find(folder: Path, name: str) -> Files:
    files = _files(folder)
    positions = [p for p in files if POSITIONS.search(p.name)]
    if not positions and any(p.name.startswith("tissue_positions") for p in files):
        raise FormatError(
            "spot positions as CSV (Visium v1 or v2)",
            found=f"Parquet positions in {name} (Visium HD)",
            mend="Convert the bins you want to h5ad first.",
        )
    kinds = (  # the most wanted first
        lambda p: p.suffix == ".h5" and "filtered" in p.name,
        lambda p: MTX.search(p.name) and "filtered" in p.parent.name + p.name,
        lambda p: p.name.endswith("feature_bc_matrix.h5"),
        lambda p: MTX.search(p.name),
        lambda p: p.suffix == ".h5",
    )
    matrices = next((found for kind in kinds if (found := [p for p in files if kind(p)])), [])
    if not matrices:
        raise FormatError(
            "a Space Ranger output with filtered_feature_bc_matrix.h5 or its folder",
            found=f"{name} without a matrix",
            mend="Give the whole outs folder.",
        )
    if len({str(p).removesuffix(".gz") for p in matrices}) > 1:
        few = ", ".join(str(p.relative_to(folder)) for p in matrices[:3])
        raise FormatError(
            "the files of one section",
            found=f"{len(matrices)} matrices in {name}: {few}{', …' if len(matrices) > 3 else ''}",
            mend="Give one section alone; the others become samples of their own.",
        )
    return Files(matrices[0], _belonging(matrices[0], positions) if len(positions) > 1 else next(iter(positions), None))


def _belonging(matrix: Path, found: list[Path]) -> Path | None:
    """The file among *found* that belongs to *matrix*: the samples of a study may lie in one folder, with the same
    barcodes, told apart by what stands before their names."""
    own = MATRIX_NAME.sub("", matrix.name).rstrip("_-.")
    fitting: dict[Path, tuple[int, int]] = {}
    for path in found:
        other = re.sub(r"(tissue_positions|spatial).*$", "", path.name, flags=re.IGNORECASE).rstrip("_-.")
        if path.parent != matrix.parent or own.startswith(other) or (own and other.startswith(own)):
            fitting[path] = (len(os.path.commonpath([matrix, path])), len(other))
    return max(fitting, key=lambda path: fitting[path], default=None)


def _beside(matrix: Path) -> Path | None:
    """What lies beside *matrix* with positions: a folder, a file or an archive."""
    for entry in (matrix.parent / "spatial", matrix.parent):
        found = [p for p in sorted(entry.iterdir()) if POSITIONS.search(p.name)] if entry.is_dir() else []
        if found:
            return _belonging(matrix, found)
    archives = [p for p in sorted(matrix.parent.iterdir()) if ARCHIVE.search(p.name) and _has_positions(p)]
    return archives[0] if len(archives) == 1 else _belonging(matrix, archives)


def _has_positions(path: Path) -> bool:
    with ungzipped(path) as archive:
        return is_archive(archive) and any(POSITIONS.search(name) for name in members(archive))


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The folder in an archive, also in gzip; any other file itself."""
    with ungzipped(path) as archive:
        if is_archive(archive):
            with unpacked(archive, _is_wanted) as folder:
                yield folder
        else:
            yield path


def _positions_in(place: Path, matrix: Path) -> Path:
    if place.is_file():
        return place
    found = [p for p in _files(place) if POSITIONS.search(p.name)]
    belonging = found[0] if len(found) == 1 else _belonging(matrix, found)
    if belonging is None:
        raise FormatError(
            "tissue_positions.csv or tissue_positions_list.csv",
            found=f"none in {place.name}",
            mend="Give Space Ranger's spatial folder.",
        )
    return belonging


def _library(library: str, path: Path) -> str:
    name = library or re.sub(r"(_?(filtered|raw)_feature_bc_matrix)?(\.h5|\.zip|\.tar)?$", "", path.name)
    return name.replace("/", "_") or "section"


def _read_matrix(path: Path) -> tuple[AnnData, str]:
    counts, features, barcodes, library = _read_mtx(path) if MTX.search(path.name) else _read_10x_h5(path)
    if counts.shape != (len(barcodes), len(features)):
        raise FormatError(
            f"{counts.shape[0]:,} barcodes and {counts.shape[1]:,} features",
            found=f"{len(barcodes):,} and {len(features):,} in {path.name}",
        )
    adata = AnnData(
        X=counts,
        obs=pd.DataFrame(index=pd.Index(barcodes, dtype=str)),
        var=features.set_index(pd.Index(features.pop("name"), dtype=str, name=None)),
    )
    genes = adata.var["feature_types"].astype(str) == "Gene Expression"
    if not genes.all() and genes.any():
        dropped = int((~genes).sum())
        adata = adata[:, genes.to_numpy()].copy()
        note(adata, **{OTHER_FEATURES: dropped})
    return adata, library


def _read_10x_h5(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, list[str], str]:
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            group = file[_group_of(file)]
            n_features, n_barcodes = (int(n) for n in group["shape"][:2])
            parts = (group["data"][:], group["indices"][:], group["indptr"][:])
            matrix = sparse.csc_matrix(parts, shape=(n_features, n_barcodes))
            matrix.check_format(full_check=True)
            features = _features_of(group)
            libraries = np.ravel(file.attrs.get("library_ids", []))
            library = _text(libraries[0]) if len(libraries) else ""
            return matrix.T.tocsr().astype(np.float32), features, _texts(group["barcodes"]), library
    except (KeyError, ValueError, TypeError, IndexError, OSError, AttributeError) as error:
        raise FormatError(
            "a 10x matrix .h5, of Space Ranger or Cell Ranger",
            found=f"{path.name} ({str(error)[:200]})",
            mend="Give filtered_feature_bc_matrix.h5.",
        ) from error


def _group_of(file: h5py.File) -> str:
    """Where the counts are: "matrix" or, before Cell Ranger 3, the name of the genome."""
    genomes = [] if "matrix" in file else _genomes(file)
    if len(genomes) > 1:
        raise FormatError(
            "the matrix of one genome",
            found=f"{len(genomes)} in {Path(file.filename).name}: {', '.join(genomes)}",
            mend="Write the one you want as h5ad: scanpy.read_10x_h5(path, genome=…).write_h5ad(…).",
        )
    return genomes[0] if genomes else "matrix"


def _genomes(file: h5py.File) -> list[str]:
    return [name for name, group in file.items() if isinstance(group, h5py.Group) and group.keys() >= CELL_RANGER_2]


def _features_of(group: h5py.Group) -> pd.DataFrame:
    if "features" in group:
        fields = {"name": "name", keys.GENE_IDS: "id", "feature_types": "feature_type"}
        return pd.DataFrame({ours: _texts(group["features"][theirs]) for ours, theirs in fields.items()})
    names = {"name": _texts(group["gene_names"]), keys.GENE_IDS: _texts(group["genes"])}
    return pd.DataFrame(names | {"feature_types": "Gene Expression"})


def _texts(dataset: h5py.Dataset) -> list[str]:
    return [_text(value) for value in dataset[:]]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_mtx(matrix: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, list[str], str]:
    from scipy.io import mmread

    with ExitStack() as stack:
        files = matrix, _sibling(matrix, "barcodes.tsv"), _sibling(matrix, "features.tsv", "genes.tsv")
        entries, barcodes_tsv, listing = (stack.enter_context(ungzipped(file)) for file in files)
        _check_mtx(entries)
        try:
            counts = sparse.csr_matrix(mmread(entries).T, dtype=np.float32)
        except (ValueError, OverflowError, OSError) as error:
            raise FormatError("a Matrix Market file", found=f"matrix.mtx ({str(error)[:200]})") from error
        rows = [line.split("\t") for line in listing.read_text("utf-8", "replace").splitlines() if line]
        barcodes = barcodes_tsv.read_text("utf-8", "replace").split()
    if any(len(row) < 2 for row in rows):
        raise FormatError("id, name and type in features.tsv", found="a line with one value")
    features = pd.DataFrame(
        {
            "name": [r[1] for r in rows],
            keys.GENE_IDS: [r[0] for r in rows],
            "feature_types": [r[2] if len(r) > 2 else "Gene Expression" for r in rows],
        }
    )
    return counts, features, barcodes, ""


def _sibling(matrix: Path, *names: str) -> Path:
    """The file beside *matrix* that has one of the *names* instead of "matrix.mtx", plain or gzipped."""
    before = MTX.sub("", matrix.name)
    found = [p for name in names for end in ("", ".gz") if (p := matrix.parent / f"{before}{name}{end}").is_file()]
    if not found:
        expected = " or ".join(before + name for name in names)
        raise FormatError(f"{expected}, plain or .gz", found=f"none beside {matrix.name}", mend="Give all three files.")
    return found[0]


def _check_mtx(path: Path) -> None:
    """The header's sizes against the file's: every entry takes a line, every declared row and column a name."""
    with path.open("rb") as file:
        first, line = file.readline(1024), b"%"
        while line.startswith(b"%"):
            line = file.readline(1024)
    try:
        rows, columns, entries = (int(n) for n in line.split())
    except ValueError:
        raise FormatError("a Matrix Market file", found=f"{path.name} without a size") from None
    if b"coordinate" not in first.lower():
        raise FormatError("a sparse Matrix Market file (coordinate)", found=path.name)
    size = path.stat().st_size
    if entries * SHORTEST_ENTRY > size + SHORTEST_ENTRY or max(rows, columns) > MAX_SIDE or min(rows, columns) < 0:
        raise UntrustedFileError(
            "a matrix that holds what it declares",
            found=f"{rows:,} × {columns:,} with {entries:,} entries in {size:,} bytes",
        )


def read_positions(path: Path) -> pd.DataFrame:
    """Spot positions by barcode: in_tissue, array_row, array_col, pxl_row_in_fullres, pxl_col_in_fullres.

    Version 1 (``tissue_positions_list.csv``) has no header, version 2 (``tissue_positions.csv``) has one; the first
    line decides, not the name.
    """
    with ungzipped(path) as plain:
        with plain.open("rb") as file:
            headed = b"barcode" in file.readline(1024).lower()
        table = read_text_table(plain, header=headed)
    if not headed:
        table = table.set_axis(POSITION_COLUMNS[: table.shape[1]], axis=1)
    missing = [c for c in POSITION_COLUMNS if c not in table]
    if missing:
        raise FormatError("the columns " + ", ".join(POSITION_COLUMNS), found=f"{path.name} without {missing[0]}")
    table = table.set_index(table["barcode"].astype(str))[list(POSITION_COLUMNS[1:])]
    if table.index.has_duplicates:
        raise DataError("every barcode once", found=f"repeated ones in {path.name}")
    return table.apply(pd.to_numeric, errors="coerce")


def _with_positions(adata: AnnData, path: Path) -> AnnData:
    table = read_positions(path)
    known = adata.obs_names.isin(table.index)
    if not known.any():
        raise DataError(
            "positions for the spots of the matrix",
            found=f"other barcodes in {path.name}",
            mend="Matrix and spatial folder must come from the same run.",
        )
    table = table.reindex(adata.obs_names)
    inside = (table["in_tissue"] != 0).to_numpy()  # spots without a position stay, for the checks to report
    adata, table = adata[inside].copy(), table[inside]
    for column in POSITION_COLUMNS[1:4]:
        values = table[column]
        adata.obs[column] = values.astype(np.int64) if values.notna().all() else values
    adata.obsm[keys.SPATIAL] = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(dtype=np.float64)
    note(adata, **{OUTSIDE_TISSUE: int((~inside).sum())})
    return adata


def _images_and_factors(positions: Path) -> dict:
    """The images and scale factors beside *positions*, whose names begin as its name does."""
    before, entry = POSITIONS.sub("", positions.name), {"images": {}, "scalefactors": {}}
    for path in sorted(positions.parent.glob(f"{glob.escape(before)}*")):
        what = path.name[len(before) :].lower().removesuffix(".gz")
        if what == "scalefactors_json.json":
            with ungzipped(path) as file:
                entry["scalefactors"] = _scalefactors(file)
        elif found := re.fullmatch(r"tissue_(hires|lowres)_image\.png", what):
            with ungzipped(path) as file:
                entry["images"][found[1]] = read_image(file)
    return entry


def _scalefactors(path: Path) -> dict[str, float]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("more than 1 MiB")
        content = json.loads(path.read_text("utf-8"))
        return {str(k): float(v) for k, v in content.items() if isinstance(v, int | float) and "/" not in k}
    except (ValueError, AttributeError, RecursionError) as error:
        raise FormatError("scale factors as Space Ranger writes them", found=f"{path.name} ({error})") from error
