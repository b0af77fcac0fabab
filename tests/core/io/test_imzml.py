"""imzML against pyimzml, and every lie between the XML and the .ibd."""

from __future__ import annotations

import hashlib
import uuid
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError, FormatError, UntrustedFileError
from core.io import check_sm, read_sm
from core.io.imzml import maxima, split_at_gaps

PAIRS = [
    "123_combined",
    "Combat_40pixel",
    "Example_Continuous",
    "Example_Processed",
    "Untreated_3_434_tiny",
    "out8",
    "picked",
    "spatial_DGMM_input",
]
CENTROIDED_CONTINUOUS = ["Combat_40pixel", "spatial_DGMM_input"]
CENTROIDED_PROCESSED = ["Untreated_3_434_tiny", "picked"]


def reference(path: Path) -> tuple[list[tuple[int, int, int]], list[tuple[np.ndarray, np.ndarray]]]:
    """Coordinates and spectra as pyimzml reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyimzml.ImzMLParser import ImzMLParser

        with ImzMLParser(str(path)) as parser:
            return list(parser.coordinates), [parser.getspectrum(i) for i in range(len(parser.coordinates))]


@pytest.mark.parametrize("name", PAIRS)
def test_real_pairs_have_pyimzmls_pixels(data_dir: Path, name: str) -> None:
    path = data_dir / "imzml" / f"{name}.imzML"
    coordinates, _ = reference(path)
    adata = read_sm(path)
    np.testing.assert_array_equal(adata.obsm["spatial"], np.array(coordinates)[:, :2])
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert np.all(np.diff(adata.var["mz"]) > 0)
    assert not [c for c in check_sm(adata) if c.level == "blocking"]


@pytest.mark.parametrize("name", CENTROIDED_CONTINUOUS)
def test_continuous_centroids_equal_pyimzml(data_dir: Path, name: str) -> None:
    path = data_dir / "imzml" / f"{name}.imzML"
    _, spectra = reference(path)
    adata = read_sm(path)
    np.testing.assert_allclose(adata.var["mz"], np.sort(spectra[0][0]), rtol=1e-7)
    expected = np.array([intensity[np.argsort(mz)] for mz, intensity in spectra], dtype=np.float32)
    np.testing.assert_array_equal(adata.X.toarray(), expected)


@pytest.mark.parametrize("name", CENTROIDED_PROCESSED)
def test_processed_centroids_keep_all_intensity(data_dir: Path, name: str) -> None:
    path = data_dir / "imzml" / f"{name}.imzML"
    _, spectra = reference(path)
    adata = read_sm(path, mz_tolerance_ppm=10)
    axis = adata.var["mz"].to_numpy()
    for row, (mz, intensity) in zip(adata.X.toarray(), spectra, strict=True):
        np.testing.assert_allclose(row.sum(), intensity.sum(), rtol=1e-5)
        nearest = np.abs(axis[None, :] - mz[:, None]).min(axis=1)
        assert np.all((nearest <= 20e-6 * mz)[intensity != 0])


def test_profile_centroids_are_maxima(data_dir: Path) -> None:
    adata = read_sm(data_dir / "imzml" / "Example_Processed.imzML")
    _, spectra = reference(data_dir / "imzml" / "Example_Processed.imzML")
    from scipy.signal import find_peaks

    mz, intensity = spectra[0]
    strong = find_peaks(intensity, height=np.quantile(intensity, 0.98))[0]
    assert len(strong) > 10
    row = adata.X[0].toarray().ravel()
    for i in strong:
        assert row[np.argmin(np.abs(adata.var["mz"].to_numpy() - mz[i]))] == pytest.approx(intensity[i], rel=1e-5)
    assert any("profile" in c.found for c in check_sm(adata))


def test_polarity_and_pixel_size(data_dir: Path) -> None:
    adata = read_sm(data_dir / "imzml" / "Example_Processed.imzML")
    assert set(adata.var["polarity"]) == {"negative"}
    assert list(adata.uns["spatialmeta"]["import"]["pixel_size_um"]) == [100.0, 100.0]


class Pair:
    """A small processed imzML whose parts can be spoilt one by one."""

    def __init__(self, folder: Path, spectra: list[tuple[list[float], list[float]]] | None = None) -> None:
        self.folder = folder
        self.spectra = spectra or [([100.0, 200.0], [1.0, 2.0]), ([100.0005, 300.0], [3.0, 4.0])]
        self.prolog = '<?xml version="1.0" encoding="utf-8"?>'
        self.uuid = uuid.UUID("12345678-1234-5678-1234-567812345678")
        self.declared_uuid = str(self.uuid)
        self.sums = ""
        self.count: int | None = None
        self.positions = [(i + 1, 1) for i in range(len(self.spectra))]
        self.compressed = False
        self.change = lambda spectrum, kind, offset, length, stored: (offset, length, stored)
        self.blob = b""

    def write(self) -> Path:
        blob, rows = bytearray(self.uuid.bytes), []
        for i, (mz, intensity) in enumerate(self.spectra):
            arrays = []
            for kind, values in (("mz", mz), ("intensity", intensity)):
                raw = np.array(values, "<f8").tobytes()
                raw = zlib.compress(raw) if self.compressed else raw
                where = self.change(i, kind, len(blob), len(values), len(raw))
                arrays.append((kind, *where))
                blob += raw
            rows.append((self.positions[i], arrays))
        self.blob = bytes(blob)
        (self.folder / "a.ibd").write_bytes(self.blob)
        (self.folder / "a.imzML").write_text(self.xml(rows), encoding="utf-8")
        return self.folder / "a.imzML"

    def xml(self, rows: list) -> str:
        def parameter(code: str, value: object = "") -> str:
            return f'<cvParam cvRef="X" accession="{code}" name="n" value="{value}"/>'

        packing = parameter("MS:1000574" if self.compressed else "MS:1000576")
        kinds = {"mz": "MS:1000514", "intensity": "MS:1000515"}
        groups = "".join(
            f'<referenceableParamGroup id="{kind}">{parameter(code)}{parameter("MS:1000523")}{packing}'
            "</referenceableParamGroup>"
            for kind, code in kinds.items()
        )
        spectra = ""
        for (x, y), arrays in rows:
            data = "".join(
                f'<binaryDataArray><referenceableParamGroupRef ref="{kind}"/>{parameter("IMS:1000102", offset)}'
                f"{parameter('IMS:1000103', length)}{parameter('IMS:1000104', stored)}<binary/></binaryDataArray>"
                for kind, offset, length, stored in arrays
            )
            spectra += (
                f"<spectrum>{parameter('MS:1000127')}{parameter('MS:1000130')}<scanList><scan>"
                f"{parameter('IMS:1000050', x)}{parameter('IMS:1000051', y)}</scan></scanList>"
                f"<binaryDataArrayList>{data}</binaryDataArrayList></spectrum>"
            )
        count = len(rows) if self.count is None else self.count
        return (
            f'{self.prolog}<mzML xmlns="http://psi.hupo.org/ms/mzml"><fileDescription><fileContent>'
            f"{parameter('IMS:1000080', self.declared_uuid)}{parameter('IMS:1000031')}{self.sums}</fileContent>"
            f"</fileDescription><referenceableParamGroupList>{groups}</referenceableParamGroupList>"
            f'<run><spectrumList count="{count}">{spectra}</spectrumList></run></mzML>'
        )


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def refused(pair: Pair, word: str, error: type[Exception] = UntrustedFileError) -> None:
    with pytest.raises(error, match=word):
        read_sm(pair.write())


def test_sound_pair(pair: Pair) -> None:
    adata = read_sm(pair.write(), mz_tolerance_ppm=10)
    np.testing.assert_allclose(adata.var["mz"], [100.00025, 200, 300])
    np.testing.assert_array_equal(adata.X.toarray(), [[1, 2, 0], [3, 0, 4]])
    assert list(adata.obs_names) == ["1_1", "2_1"]
    assert set(adata.var["polarity"]) == {"positive"}


def test_tolerance_decides_what_is_one_feature(pair: Pair) -> None:
    assert read_sm(pair.write(), mz_tolerance_ppm=1).n_vars == 4
    with pytest.raises(DataError, match="tolerance"):
        read_sm(pair.write(), mz_tolerance_ppm=0)


def test_zlib_pair(pair: Pair) -> None:
    pair.compressed = True
    np.testing.assert_array_equal(read_sm(pair.write()).X.toarray(), [[1, 2, 0], [3, 0, 4]])


def test_ibd_elsewhere_and_missing(pair: Pair, tmp_path: Path) -> None:
    path = pair.write()
    (tmp_path / "b").mkdir()
    other = (tmp_path / "a.ibd").rename(tmp_path / "b/other.ibd")
    with pytest.raises(FormatError, match=r"a\.ibd"):
        read_sm(path)
    assert read_sm(path, ibd=other).shape == (2, 3)


def test_pair_in_a_zip(pair: Pair, tmp_path: Path) -> None:
    path = pair.write()
    with zipfile.ZipFile(tmp_path / "pair.zip", "w") as archive:
        archive.write(path, "top/a.imzML")
        archive.write(tmp_path / "a.ibd", "top/a.ibd")
        archive.writestr("__MACOSX/top/._a.imzML", b"\0\5\x16\7")  # as macOS packs it
        archive.writestr("__MACOSX/top/._a.ibd", b"\0\5\x16\7")
    assert read_sm(tmp_path / "pair.zip").shape == (2, 3)
    with zipfile.ZipFile(tmp_path / "pair.zip", "a") as archive:
        archive.write(path, "other/b.imzML")
    with pytest.raises(FormatError, match=r"2 in pair\.zip"):
        read_sm(tmp_path / "pair.zip")


def test_peaks_that_call_themselves_profiles(tmp_path: Path) -> None:
    """pyimzML's writer takes "profile" for whatever it is given; the peaks are its reader's."""
    from pyimzml.ImzMLWriter import ImzMLWriter

    spectra = np.random.default_rng(1).uniform(1, 9, (30, 6)).astype(np.float32)
    mz = [426.9, 431.0, 465.0, 501.1, 534.3, 713.5]
    with ImzMLWriter(str(tmp_path / "a.imzML"), mode="continuous", spec_type="profile") as writer:
        for i, intensity in enumerate(spectra):
            writer.addSpectrum(mz, intensity, (i % 6 + 1, i // 6 + 1))
    adata = read_sm(tmp_path / "a.imzML")
    np.testing.assert_array_equal(adata.X.toarray(), spectra)
    assert any("taken as peaks" in c.mend for c in check_sm(adata))


def test_a_pixel_without_peaks(tmp_path: Path) -> None:
    spectra = [([100.0, 200.0], [1.0, 2.0]), ([], []), ([100.0], [3.0])]
    pair = Pair(tmp_path, spectra)
    pair.change = lambda i, kind, offset, length, stored: (offset if length else 0, length, stored)
    np.testing.assert_array_equal(read_sm(pair.write()).X.toarray(), [[1, 2], [0, 0], [3, 0]])


def test_rare_peaks_are_left_out_and_said(tmp_path: Path) -> None:
    spectra = [([100.0], [1.0])] * 149 + [([100.0, 555.0], [1.0, 1.0])]
    adata = read_sm(Pair(tmp_path, spectra).write())
    assert adata.n_vars == 1
    assert any("1 m/z found" in c.found for c in check_sm(adata))


@pytest.mark.parametrize(
    "prolog",
    [
        '<?xml version="1.0"?><!DOCTYPE mzML [<!ENTITY a "aaaa">]>',
        '<?xml version="1.0"?><!DOCTYPE mzML SYSTEM "file:///etc/passwd">',
        "<!doctype mzML>",
    ],
)
def test_doctype(pair: Pair, prolog: str) -> None:
    pair.prolog = prolog
    refused(pair, "DOCTYPE")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_doctype_hidden_by_an_encoding(pair: Pair, encoding: str) -> None:
    path = pair.write()
    text = path.read_text().replace("utf-8", encoding, 1)
    path.write_bytes(text.replace("?>", '?><!DOCTYPE mzML [<!ENTITY a "b">]>', 1).encode(encoding))
    with pytest.raises((UntrustedFileError, FormatError)):
        read_sm(path)


def test_foreign_encoding_declared(pair: Pair) -> None:
    pair.prolog = '<?xml version="1.0" encoding="utf-7"?>'
    refused(pair, "encoding")


def test_doctype_over_a_block_border(pair: Pair) -> None:
    pair.prolog = '<?xml version="1.0"?>' + " " * ((1 << 20) - 26) + "<!DOCTYPE mzML>"
    refused(pair, "DOCTYPE")


def test_wrong_uuid(pair: Pair) -> None:
    pair.declared_uuid = str(uuid.UUID(int=7))
    refused(pair, "UUID")


def test_uuid_in_braces_without_hyphens(pair: Pair) -> None:
    pair.declared_uuid = "{" + pair.uuid.hex.upper() + "}"
    assert read_sm(pair.write()).n_obs == 2


@pytest.mark.parametrize(("code", "kind"), [("90", "md5"), ("91", "sha1"), ("92", "sha256")])
def test_checksum(pair: Pair, code: str, kind: str) -> None:
    pair.write()
    right = hashlib.new(kind, pair.blob).hexdigest()
    pair.sums = f'<cvParam accession="IMS:10000{code}" value="{right.upper()}"/>'
    assert read_sm(pair.write()).n_obs == 2
    pair.sums = f'<cvParam accession="IMS:10000{code}" value="{"0" * len(right)}"/>'
    refused(pair, kind.upper())


def test_cut_ibd(pair: Pair, tmp_path: Path) -> None:
    path = pair.write()
    (tmp_path / "a.ibd").write_bytes(pair.blob[:-8])
    with pytest.raises(UntrustedFileError, match="inside"):
        read_sm(path)


@pytest.mark.parametrize(
    "lie",
    [
        lambda i, k, offset, length, stored: (10**9, length, stored),
        lambda i, k, offset, length, stored: (-8, length, stored),
        lambda i, k, offset, length, stored: (0, length, stored),
        lambda i, k, offset, length, stored: (2**61, length, stored),
        lambda i, k, offset, length, stored: (offset, 10**12, stored),
        lambda i, k, offset, length, stored: (offset, 10**12, 8 * 10**12),
        lambda i, k, offset, length, stored: (offset, -1, -8),
        lambda i, k, offset, length, stored: (offset, 2**61, 16),
    ],
)
def test_arrays_outside_the_ibd(pair: Pair, lie: object) -> None:
    pair.change = lie
    refused(pair, "inside")


def test_more_mz_than_intensities(pair: Pair) -> None:
    pair.change = lambda i, k, offset, length, stored: (offset, 1, 8) if k == "mz" else (offset, length, stored)
    refused(pair, "as many")


def test_many_spectra_over_one_array(tmp_path: Path) -> None:
    pair = Pair(tmp_path, [([100.0] * 50, [1.0] * 50)] * 20)
    pair.change = lambda i, k, offset, length, stored: (16, 1500, 12_000)
    refused(pair, "overlap")


def test_zlib_bomb(pair: Pair) -> None:
    pair.compressed = True
    pair.spectra = [([100.0] * 100_000, [0.0] * 100_000)]
    pair.change = lambda i, k, offset, length, stored: (offset, 10, stored)
    refused(pair, "another length")


@pytest.mark.parametrize("count", [10**12, -1])
def test_absurd_number_of_spectra(pair: Pair, count: int) -> None:
    pair.count = count
    refused(pair, "spectra")


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (10**9, UntrustedFileError),
        ("1.5", FormatError),
        ("abc", FormatError),
        ("nan", FormatError),
        ("9" * 60, FormatError),
    ],
)
def test_absurd_positions(pair: Pair, x: object, error: type[Exception]) -> None:
    pair.positions = [(x, 1), (2, 1)]
    refused(pair, "position", error)


def test_mz_that_are_none(tmp_path: Path) -> None:
    refused(Pair(tmp_path, [([float("nan"), 5.0], [1.0, 1.0]), ([5.0], [1.0])]), "m/z above zero", DataError)


def test_other_xml(tmp_path: Path) -> None:
    (tmp_path / "a.ibd").write_bytes(b"0" * 32)
    for text in ("<html></html>", "<mzML>", "no xml", ""):
        (tmp_path / "a.imzML").write_text(text)
        with pytest.raises(FormatError):
            read_sm(tmp_path / "a.imzML")


def test_groups_are_never_wider_than_asked() -> None:
    bins = np.unique(np.random.default_rng(1).integers(0, 5000, 1500))
    group = split_at_gaps(bins, 8)
    assert group[0] == 0
    assert set(np.diff(group)) <= {0, 1}
    for g in range(group[-1] + 1):
        members = bins[group == g]
        assert members[-1] - members[0] < 8


def test_maxima_equal_scipys() -> None:
    from scipy.signal import find_peaks

    y = np.random.default_rng(2).gamma(2.0, size=400)
    median = np.median(y)
    floor = median + 3 * 1.4826 * np.median(np.abs(y - median))
    np.testing.assert_array_equal(maxima(y), find_peaks(y, height=floor)[0])
