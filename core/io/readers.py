"""The registry of formats: which reader takes a file, by its content first and its name second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData

from core import keys
from core.errors import FormatError, StorageError
from core.io import h5ad, imzml, tables, visium
from core.io.archives import ungzipped
from core.io.images import as_rgb, attach_image
from core.io.notes import FORMAT, note
from core.io.untrusted import check_hdf5, is_hdf5

#: what to do with formats in which people hold sections and that are not read
MENDS = {
    (".7z", ".rar", ".bz2", ".xz"): "Unpack it first; give a folder as zip.",
    (".zarr",): "Write its table as h5ad, e.g. sdata.tables['table'].write_h5ad(…).",
    (".rds", ".rdata", ".h5seurat", ".loom"): "Convert it to h5ad first.",
    (".mzml", ".raw", ".slx", ".d"): "Export imzML or a peak table from the instrument's software.",
    (".xlsx", ".xls"): "Save the sheet as CSV.",
}


@dataclass(frozen=True)
class Source:
    """A file or folder to import, with what may come beside it."""

    path: Path
    origin: Path | None = None  # what *path* was unpacked from, or itself
    ibd: Path | None = None
    spatial: Path | None = None
    spatial_key: str | None = None
    mz_tolerance_ppm: float = 10.0


@dataclass(frozen=True)
class Reader:
    """One format: its name for people, whether it takes a path, and how it reads a source."""

    name: str
    takes: Callable[[Path], bool]
    read: Callable[[Source], AnnData]


def read_st(
    path: str | Path,
    *,
    image: str | Path | None = None,
    image_scale: float | None = None,
    spatial: str | Path | None = None,
) -> AnnData:
    """Read an ST section: h5ad, Space Ranger folder or archive, 10x .h5; also in gzip.

    Parameters
    ----------
    image
        Histology (PNG, JPEG, TIFF) uploaded beside it; it becomes ``images['hires']``.
    image_scale
        Pixels of *image* per full-resolution pixel; None: found from the spots (see
        :func:`core.io.images.attach_image`).
    spatial
        Folder or archive with Space Ranger's ``spatial/`` for a matrix alone (10x .h5, or an archive of its folder);
        None: looked for beside the file.

    Returns
    -------
    AnnData
        X raw counts (CSR float32), unique names, ``obsm['spatial']`` full-res pixels [x, y] where known,
        ``uns['spatial']`` as scanpy has it, ``uns['spatialmeta']`` with ``um_per_px``, ``um_per_px_source``
        and ``import`` (what the reader changed or assumed).

    Raises
    ------
    FormatError, UntrustedFileError, DataError, StorageError
    """
    source = Source(_existing(path), spatial=None if spatial is None else _existing(spatial))
    adata = h5ad.adopt_st(_read(source, st_readers()))
    _plain_coordinates(adata)
    _plain_images(adata)
    if image is not None:
        attach_image(adata, image, image_scale)
    _drawable(adata)
    _write_scale(adata)
    return adata


def read_sm(
    path: str | Path, *, ibd: str | Path | None = None, spatial_key: str | None = None, mz_tolerance_ppm: float = 10.0
) -> AnnData:
    """Read an SM section: h5ad, imzML + ibd, CSV or TSV peak table; also in gzip.

    Parameters
    ----------
    ibd
        Binary part of an imzML; None: the file of the same name beside it.
    spatial_key
        The obsm entry of an h5ad to use as ``obsm['spatial']``, e.g. ``'spatial_grid'``.
    mz_tolerance_ppm
        Half width within which peaks of different spectra count as one (imzML in processed mode).

    Returns
    -------
    AnnData
        X raw intensities (CSR float32), unique names, ``var['mz']`` (NaN where unknown), ``obsm['spatial']`` as
        measured.

    Raises
    ------
    FormatError, UntrustedFileError, DataError, StorageError
    """
    source = Source(
        _existing(path),
        ibd=None if ibd is None else _existing(ibd),
        spatial_key=spatial_key,
        mz_tolerance_ppm=mz_tolerance_ppm,
    )
    adata = h5ad.adopt_sm(_read(source, sm_readers()), spatial_key)
    _plain_coordinates(adata)
    return adata


def _read(source: Source, readers: tuple[Reader, ...]) -> AnnData:
    with ungzipped(source.path) as path:
        return _read_plain(replace(source, path=path, origin=source.path), readers)


def _read_plain(source: Source, readers: tuple[Reader, ...]) -> AnnData:
    for reader in readers:
        if reader.takes(source.path):
            adata = reader.read(source)
            if not isinstance(adata.uns.get(keys.UNS, {}), dict):
                del adata.uns[keys.UNS]
            note(adata, **{FORMAT: reader.name})
            return adata
    mend = next((text for endings, text in MENDS.items() if source.path.name.lower().endswith(endings)), "")
    raise FormatError("one of: " + ", ".join(r.name for r in readers), found=source.path.name, mend=mend)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise StorageError(f"the file {path}", found="no such file")
    return path


def _plain_coordinates(adata: AnnData) -> None:
    """``obsm['spatial']`` as float64 (n, 2); what is not of that shape is left for the checks to report."""
    if keys.SPATIAL in adata.obsm:
        xy = np.asarray(adata.obsm[keys.SPATIAL])
        if xy.ndim == 2 and xy.shape[1] >= 2 and xy.dtype.kind in "fiu":
            adata.obsm[keys.SPATIAL] = xy[:, :2].astype(np.float64)


def _plain_images(adata: AnnData) -> None:
    """``uns['spatial']`` as ``{sample: {images: {name: (H, W, 3) uint8}, scalefactors: {name: float}}}``; what is not
    of that layout is left out."""
    samples = adata.uns.pop(keys.UNS_SPATIAL, {})
    plain = {}
    for name, sample in samples.items() if isinstance(samples, Mapping) else ():
        if not isinstance(sample, Mapping):
            continue
        images, factors = sample.get("images", {}), sample.get("scalefactors", {})
        images = {k: as_rgb(v) for k, v in images.items()} if isinstance(images, Mapping) else {}
        factors = factors if isinstance(factors, Mapping) else {}
        plain[name] = {
            **sample,
            "images": {k: v for k, v in images.items() if v is not None},
            "scalefactors": {k: float(v) for k, v in factors.items() if np.ndim(v) == 0 and _is_number(v)},
        }
    if plain:
        adata.uns[keys.UNS_SPATIAL] = plain


def _drawable(adata: AnnData) -> None:
    """A section with a lowres image alone gets it as hires too: scanpy and squidpy draw that one unless told."""
    for sample in adata.uns.get(keys.UNS_SPATIAL, {}).values():
        images, factors = sample["images"], sample["scalefactors"]
        if "hires" not in images and "lowres" in images and "tissue_lowres_scalef" in factors:
            images["hires"] = images["lowres"]
            factors["tissue_hires_scalef"] = factors["tissue_lowres_scalef"]


def _is_number(value: object) -> bool:
    try:
        return bool(np.isfinite(float(value)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _write_scale(adata: AnnData) -> None:
    from core.spatial.scale import smallest_distance, write_scale

    xy = np.asarray(adata.obsm.get(keys.SPATIAL, np.empty((0, 2))))
    if xy.ndim == 2 and xy.shape[1] == 2 and xy.dtype.kind == "f" and smallest_distance(xy) is not None:
        write_scale(adata)


def _has(path: Path, member: str) -> bool:
    """Whether an HDF5 file, walked first, has *member* at its top."""
    if not is_hdf5(path):
        return False
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        return member in file


def _is_h5ad(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() == ".h5ad" or (_has(path, "X") and _has(path, "obs")))


def st_readers() -> tuple[Reader, ...]:
    """Formats of ST sections, in the order in which they are tried."""
    return (H5AD, SPACE_RANGER)


def sm_readers() -> tuple[Reader, ...]:
    """Formats of SM sections, in the order in which they are tried."""
    return (H5AD, IMZML, PEAK_TABLE)


H5AD = Reader("AnnData (.h5ad)", _is_h5ad, lambda source: h5ad.read_h5ad(source.path))
SPACE_RANGER = Reader(
    "Space Ranger output (folder, zip, tar or .h5)",
    visium.is_visium,
    lambda s: visium.read_visium(s.path, s.spatial, origin=s.origin),
)
IMZML = Reader(
    "imzML with .ibd", imzml.is_imzml, lambda s: imzml.read_imzml(s.path, s.ibd, tolerance_ppm=s.mz_tolerance_ppm)
)
PEAK_TABLE = Reader("peak table (.csv, .tsv, .txt)", tables.is_table, lambda s: tables.read_peak_table(s.path))
