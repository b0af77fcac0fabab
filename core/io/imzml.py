"""imzML + ibd -> AnnData: one axis of m/z for all pixels.

Continuous mode has one already. In processed mode each spectrum brings its own m/z; they are put on a common axis by
splitting the sorted m/z of all spectra at their gaps until no group is wider than twice the tolerance (in ppm), as
MALDIquant's relaxed ``binPeaks`` does (Gibb and Strimmer, Bioinformatics 28:2270, 2012); a group's m/z is the mean of
its members, a pixel's intensity the sum of its members. Groups found in fewer than 1 % of the pixels are left out.

Profile spectra are centroided, and the checks say so: with a shared axis, at the maxima of the mean spectrum, summing
each pixel's intensities between the neighbouring minima (Morris et al., Bioinformatics 21:1764, 2005); else at
the maxima of each spectrum. Maxima count above the median + 3 robust standard deviations (1.4826 MAD).
"""

from __future__ import annotations

import itertools
import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from core import keys
from core.errors import DataError, FormatError, UntrustedFileError
from core.io.archives import is_archive, members, unpacked
from core.io.h5ad import as_csr
from core.io.imzml_header import Arrays, Header, read_header
from core.io.notes import CENTROIDED, NO_PROFILE, PIXEL_SIZE_UM, RARE_PEAKS, TOLERANCE_PPM, note

#: features found in a smaller share of the pixels are left out (processed mode)
MIN_SHARE = 0.01
#: bins of the m/z histogram per tolerance; finer ones only cost memory
BINS_PER_TOLERANCE = 4
BATCH_PEAKS = 2_000_000
BATCH_ROWS = 256
NOISE_DEVIATIONS = 3.0
#: share of the m/z between two samples of a profile: 5e-6 to 2e-4 in the real files seen
WIDEST_SAMPLING = 5e-4
LOOKED_AT = 20  # spectra


def is_imzml(path: Path) -> bool:
    """Whether *path* is an imzML, or an archive with one."""
    if is_archive(path):
        return any(name.lower().endswith(".imzml") for name in members(path))
    return path.is_file() and path.suffix.lower() == ".imzml"


def read_imzml(path: Path, ibd: Path | None = None, tolerance_ppm: float = 10.0) -> AnnData:
    """Read imzML with its .ibd (see the module's text for what is done with the m/z).

    Parameters
    ----------
    path
        The .imzML, or a zip or tar with both files.
    ibd
        The .ibd; None: the file of the same name beside *path*.
    tolerance_ppm
        Half width of a feature in processed mode, in parts per million of the m/z.
    """
    if not (np.isfinite(tolerance_ppm) and 0 < tolerance_ppm <= 10_000):
        raise DataError("an m/z tolerance above 0 and up to 10,000 ppm", found=f"{tolerance_ppm}")
    if is_archive(path):
        with unpacked(path, lambda name: name.lower().endswith((".imzml", ".ibd"))) as folder:
            inside = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".imzml")
            if len(inside) > 1:
                raise FormatError(
                    "one imzML",
                    found=f"{len(inside)} in {path.name}: {', '.join(p.name for p in inside[:3])}",
                    mend="Give each section an archive of its own.",
                )
            return read_imzml(inside[0], None, tolerance_ppm)
    ibd = _find_ibd(path) if ibd is None else ibd
    header = read_header(path, ibd)
    with _Spectra.opened(ibd, header) as spectra:
        claimed = header.profile
        header = spectra.header = replace(header, profile=claimed and _is_sampled(spectra))
        if not header.shared_axis:
            adata = _processed(spectra, tolerance_ppm)
        elif header.profile:
            adata = _continuous_profile(spectra)
        else:
            adata = _continuous(spectra)
    if claimed and not header.profile:
        note(adata, **{NO_PROFILE: True})
    return _described(adata, header)


def _is_sampled(spectra: _Spectra) -> bool:
    """Whether the m/z of the first spectra lie as close as the samples of a peak do. Many programs write "profile"
    over lists of peaks, and peaks picked among peaks would leave few of them."""
    axes = [np.sort(spectra.mz(i)) for i in range(min(len(spectra), LOOKED_AT))]
    steps = [np.median(np.diff(np.log(mz))) for mz in axes if len(mz) > 1]
    return bool(steps) and float(np.median(steps)) < WIDEST_SAMPLING


def _find_ibd(path: Path) -> Path:
    found = [p for p in path.parent.iterdir() if p.stem == path.stem and p.suffix.lower() == ".ibd"]
    if not found:
        raise FormatError(f"{path.stem}.ibd beside {path.name}", found="none", mend="Give both files.")
    return found[0]


def _described(adata: AnnData, header: Header) -> AnnData:
    x, y, z = header.xyz.T
    several = len(np.unique(z)) > 1
    names = [f"{a}_{b}_{c}" if several else f"{a}_{b}" for a, b, c in header.xyz]
    adata.obs_names = pd.Index(names, dtype=str)
    if several:
        adata.obs["z"] = z
    adata.obsm[keys.SPATIAL] = np.column_stack([x, y]).astype(np.float64)
    if header.polarity:
        adata.var[keys.POLARITY] = header.polarity
    if header.pixel_size_um is not None:
        note(adata, **{PIXEL_SIZE_UM: np.array(header.pixel_size_um)})
    if header.profile:
        note(adata, **{CENTROIDED: True})
    return adata


def _assemble(matrix: sparse.csr_matrix, mz: np.ndarray) -> AnnData:
    obs = pd.DataFrame(index=pd.RangeIndex(matrix.shape[0]).astype(str))
    return AnnData(
        X=as_csr(matrix),
        obs=obs,
        var=pd.DataFrame({keys.MZ: mz.astype(np.float64)}, index=pd.Index([f"{v:.4f}" for v in mz])),
    )


class _Spectra:
    """The arrays in the .ibd, one spectrum at a time."""

    def __init__(self, buffer: mmap.mmap, header: Header) -> None:
        self.buffer = buffer
        self.header = header

    @classmethod
    @contextmanager
    def opened(cls, ibd: Path, header: Header) -> Iterator[_Spectra]:
        with ibd.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield cls(buffer, header)

    def __len__(self) -> int:
        return len(self.header.xyz)

    def intensity(self, i: int) -> np.ndarray:
        return self._read(self.header.intensity, i)

    def mz(self, i: int) -> np.ndarray:
        values = self._read(self.header.mz, i)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise DataError("m/z above zero", found=f"others in spectrum {i + 1}", mend="Export the file again.")
        return values

    def _read(self, arrays: Arrays, i: int) -> np.ndarray:
        start, stored, kind = int(arrays.offset[i]), int(arrays.stored[i]), arrays.kind(i)
        raw = self.buffer[start : start + stored]
        if arrays.zlib[i]:
            raw = _inflate(raw, int(arrays.length[i]) * kind.itemsize)
        return np.frombuffer(raw, dtype=kind).astype(np.float64)

    def peaks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Index, m/z and intensity of each spectrum, centroided."""
        for i in range(len(self)):
            mz, intensity = self.mz(i), self.intensity(i)
            if self.header.profile:
                order = np.argsort(mz, kind="stable")
                mz, intensity = mz[order], intensity[order]
                top = maxima(intensity)
                mz, intensity = mz[top], intensity[top]
            yield i, mz, intensity


def _inflate(raw: bytes, size: int) -> bytes:
    try:
        plain = zlib.decompressobj().decompress(raw, size + 1)
    except zlib.error as error:
        raise UntrustedFileError("arrays packed with zlib", found=f"damage ({error})") from error
    if len(plain) != size:
        raise UntrustedFileError(f"a packed array of {size:,} bytes", found=f"another length, {len(plain):,}")
    return plain


def _continuous(spectra: _Spectra) -> AnnData:
    mz = spectra.mz(0)
    order = np.argsort(mz, kind="stable")
    return _assemble(_stacked(spectra.intensity(i)[order] for i in range(len(spectra))), mz[order])


def _stacked(rows: Iterator[np.ndarray]) -> sparse.csr_matrix:
    """Dense *rows* as one CSR matrix, a batch at a time."""
    parts = []
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        parts.append(sparse.csr_matrix(np.stack(batch).astype(np.float32)))
    return sparse.vstack(parts, format="csr")


def _continuous_profile(spectra: _Spectra) -> AnnData:
    mz = spectra.mz(0)
    order = np.argsort(mz, kind="stable")
    mean = np.zeros(len(mz))
    for i in range(len(spectra)):
        mean += spectra.intensity(i)[order] / len(spectra)
    top = maxima(mean)
    if top.size == 0:
        raise DataError("peaks in the mean spectrum", found="none", mend="Export centroided spectra.")
    # one window a peak, from the minimum left of it to the one right of it
    low = np.flatnonzero(np.r_[True, (mean[1:-1] <= mean[:-2]) & (mean[1:-1] < mean[2:]), True])
    left, right = low[np.searchsorted(low, top) - 1], low[np.minimum(np.searchsorted(low, top), len(low) - 1)]
    totals = (np.r_[0.0, np.cumsum(spectra.intensity(i)[order])] for i in range(len(spectra)))
    return _assemble(_stacked(total[right] - total[left] for total in totals), mz[order][top])


def maxima(intensity: np.ndarray) -> np.ndarray:
    """Indices of the local maxima of *intensity* (n,) above its noise: median + 3 × 1.4826 × MAD, and above zero."""
    if intensity.size < 3:
        return np.flatnonzero(intensity > 0)
    median = np.median(intensity)
    floor = max(0.0, median + NOISE_DEVIATIONS * 1.4826 * np.median(np.abs(intensity - median)))
    middle = intensity[1:-1]
    return 1 + np.flatnonzero((middle > intensity[:-2]) & (middle >= intensity[2:]) & (middle > floor))


def _processed(spectra: _Spectra, tolerance_ppm: float) -> AnnData:
    width = tolerance_ppm * 1e-6 / BINS_PER_TOLERANCE
    bins, counts, sums = _histogram(spectra, width)
    if bins.size == 0:
        raise DataError("peaks", found="empty spectra only", mend="Check the export.")
    group = split_at_gaps(bins, 2 * BINS_PER_TOLERANCE)
    mz = np.bincount(group, weights=sums) / np.bincount(group, weights=counts)
    matrix = _matrix(spectra, width, bins, group)
    present = np.bincount(matrix.indices, minlength=len(mz))
    kept = present >= MIN_SHARE * len(spectra)
    adata = _assemble(matrix[:, kept], mz[kept])
    note(adata, **{TOLERANCE_PPM: float(tolerance_ppm), RARE_PEAKS: int((~kept).sum())})
    return adata


def _bins(mz: np.ndarray, width: float) -> np.ndarray:
    return np.floor(np.log(mz) / width).astype(np.int64)


def _histogram(spectra: _Spectra, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occupied bins of log(m/z), sorted; peaks in each; sum of their m/z. Memory: the bins, not the peaks."""
    total = (np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    waiting: list[np.ndarray] = []
    for i, mz, intensity in spectra.peaks():
        waiting.append(mz[intensity != 0])
        if sum(map(len, waiting)) > BATCH_PEAKS or i == len(spectra) - 1:
            values = np.concatenate(waiting)
            parts = (_bins(values, width), np.ones(len(values)), values)
            total = _merged(*(np.concatenate(pair) for pair in zip(total, parts, strict=True)))
            waiting = []
    return total


def _merged(bins: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unique, where = np.unique(bins, return_inverse=True)
    n = len(unique)
    return unique, np.bincount(where, weights=counts, minlength=n), np.bincount(where, weights=sums, minlength=n)


def split_at_gaps(bins: np.ndarray, widest: int) -> np.ndarray:
    """Group number (n,) of each of the sorted *bins* (n,), such that no group spans more than *widest* bins.

    Groups wider than that are cut at their largest gap (the most central of equal ones), again and again.
    """
    starts = [0]
    stack = [(0, len(bins))]
    gaps = np.diff(bins)
    while stack:
        first, last = stack.pop()  # bins[first:last]
        if bins[last - 1] - bins[first] < widest:
            continue
        inner = gaps[first : last - 1]
        largest = np.flatnonzero(inner == inner.max())
        cut = first + 1 + int(largest[np.argmin(np.abs(largest - (len(inner) - 1) / 2))])
        starts.append(cut)
        stack += [(first, cut), (cut, last)]
    marks = np.zeros(len(bins), dtype=np.int64)
    marks[starts] = 1
    return np.cumsum(marks) - 1


def _matrix(spectra: _Spectra, width: float, bins: np.ndarray, group: np.ndarray) -> sparse.csr_matrix:
    indices, data, ends = [], [], [0]
    for _, mz, intensity in spectra.peaks():
        real = intensity != 0
        column = group[np.searchsorted(bins, _bins(mz[real], width))]
        columns, where = np.unique(column, return_inverse=True)
        indices.append(columns)
        data.append(np.bincount(where, weights=intensity[real], minlength=len(columns)).astype(np.float32))
        ends.append(ends[-1] + len(columns))
    shape = (len(spectra), int(group[-1]) + 1)
    return sparse.csr_matrix((np.concatenate(data), np.concatenate(indices), ends), shape=shape)
