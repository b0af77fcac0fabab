"""The XML part of imzML, read as a stream and believed only after it was held against the .ibd.

The parser is expat with every door closed: no DOCTYPE, no entities, four encodings. What comes out is one row of
numbers per spectrum; :func:`read_header` checks UUID, checksum, and each offset and length against the .ibd.
"""

from __future__ import annotations

import hashlib
import uuid
from array import array
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

import numpy as np

from core.errors import FormatError, UntrustedFileError

BLOCK = 1 << 20
ENCODINGS = frozenset({"utf-8", "iso-8859-1", "us-ascii", "windows-1252"})
#: bytes of XML that the shortest spectrum element takes
SHORTEST_SPECTRUM = 64
MAX_COORDINATE = 1_000_000
MAX_GROUPS = 10_000
#: deflate cannot pack better
MAX_DEFLATE = 1032

DTYPES = {
    "MS:1000521": "<f4", "MS:1000523": "<f8", "MS:1000519": "<i4", "MS:1000522": "<i8",
    "IMS:1000141": "<i4", "IMS:1000142": "<i8", "IMS:1100000": "<i1", "IMS:1100001": "<i2",
}  # fmt: skip
#: weakest first
CHECKSUMS = {"IMS:1000090": "md5", "IMS:1000091": "sha1", "IMS:1000092": "sha256"}
UUID, CONTINUOUS, PROCESSED = "IMS:1000080", "IMS:1000030", "IMS:1000031"
MZ_ARRAY, INTENSITY_ARRAY = "MS:1000514", "MS:1000515"
OFFSET, LENGTH, ENCODED = "IMS:1000102", "IMS:1000103", "IMS:1000104"
X, Y, Z = "IMS:1000050", "IMS:1000051", "IMS:1000052"
ZLIB, OTHER_COMPRESSIONS = "MS:1000574", frozenset({"MS:1002312", "MS:1002313", "MS:1002314", "MS:1002746"})
NEGATIVE, POSITIVE, CENTROID, PROFILE = "MS:1000129", "MS:1000130", "MS:1000127", "MS:1000128"
PIXEL_X, PIXEL_Y, MICROMETRE = "IMS:1000046", "IMS:1000047", "UO:0000017"

#: columns of one array's record: offset, values, stored bytes, index into DTYPES, zlib
FIELDS = 5


@dataclass(frozen=True)
class Arrays:
    """Where the m/z or intensity arrays of all spectra lie in the .ibd; each field (n,) int64."""

    offset: np.ndarray
    length: np.ndarray
    stored: np.ndarray
    dtype: np.ndarray
    zlib: np.ndarray

    def kind(self, i: int) -> np.dtype:
        """Number type of array *i*."""
        return np.dtype(list(DTYPES.values())[self.dtype[i]])


@dataclass(frozen=True)
class Header:
    """What the XML says, checked."""

    xyz: np.ndarray  # (n, 3) int64, as measured
    mz: Arrays
    intensity: Arrays
    polarity: str  # 'positive', 'negative', or '' where the file says none or both
    profile: bool
    pixel_size_um: tuple[float, float] | None

    @property
    def shared_axis(self) -> bool:
        """Whether all spectra use one m/z array (continuous mode)."""
        return bool(np.all(self.mz.offset == self.mz.offset[0]) and np.all(self.mz.length == self.mz.length[0]))


def read_header(path: Path, ibd: Path) -> Header:
    """Read and check the XML *path* against *ibd*.

    Raises
    ------
    UntrustedFileError
        DOCTYPE or entities, a foreign encoding, wrong UUID or checksum, arrays outside the .ibd, too many spectra.
    FormatError
        Not imzML, or a part that is needed is missing.
    """
    parser = _Parser(path)
    parser.run()
    _check_uuid(parser.meta.get(UUID, ""), ibd)
    _check_sum(parser.meta, ibd)
    n = len(parser.xyz) // 3
    if n == 0:
        raise FormatError("spectra", found=f"{path.name} without any")
    mz, intensity = _arrays(parser.mz, n), _arrays(parser.intensity, n)
    size = ibd.stat().st_size
    _check_arrays(mz, size, ibd.name)
    _check_arrays(intensity, size, ibd.name)
    _check_together(mz, intensity, size, ibd.name)
    seen = parser.seen
    polarity = {(True, False): "positive", (False, True): "negative"}.get((POSITIVE in seen, NEGATIVE in seen), "")
    return Header(
        np.array(parser.xyz, dtype=np.int64).reshape(n, 3),
        mz,
        intensity,
        polarity,
        PROFILE in seen and CENTROID not in seen,
        _pixel_size(parser),
    )


class _Parser:
    """A small state machine over expat's events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.meta: dict[str, str] = {}
        self.units: dict[str, str] = {}
        self.seen: set[str] = set()
        self.groups: dict[str, dict[str, str]] = {}
        self.group: dict[str, str] | None = None
        self.spectrum: dict[str, str] | None = None
        self.data: dict[str, str] | None = None
        self.arrays: dict[str, list[int]] = {}
        self.xyz, self.mz, self.intensity = array("q"), array("q"), array("q")
        self.root = ""

    def run(self) -> None:
        parser = expat.ParserCreate()
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self.declaration
        for name in (
            "StartDoctypeDeclHandler",
            "EntityDeclHandler",
            "ExternalEntityRefHandler",
            "UnparsedEntityDeclHandler",
            "SkippedEntityHandler",
        ):
            setattr(parser, name, self.refuse_doctype)
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        tail = b""
        try:
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    self.look(tail + block, first=not tail)
                    parser.Parse(block, False)
                    tail = block[-16:]
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise FormatError(
                "an imzML file", found=f"{self.path.name} that is no sound XML ({error})", mend="Export it again."
            ) from error
        if self.root != "mzML":
            raise FormatError("an imzML file", found=f"{self.path.name} with the root {self.root[:40]!r}")

    def look(self, block: bytes, *, first: bool) -> None:
        """The bytes before the parser sees them. UTF-16 and UTF-32 show by their NULs or byte order mark."""
        if first and (block[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in block[:8]):
            raise self.refusal("XML in UTF-8 or Latin-1", "another encoding")
        upper = block.upper()
        if b"<!DOCTYPE" in upper or b"<!ENTITY" in upper:
            self.refuse_doctype()

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ENCODINGS:
            raise self.refusal("XML in UTF-8 or Latin-1", f"the encoding {encoding[:40]!r}")

    def refuse_doctype(self, *_: object) -> None:
        raise self.refusal("imzML without DOCTYPE and entities", "one")

    def refusal(self, expected: str, found: str) -> UntrustedFileError:
        return UntrustedFileError(
            expected,
            found=f"{found} in {self.path.name}",
            mend="Export the file again; if it came from someone else, do not trust it.",
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self.root = self.root or ("mzML" if name == "indexedmzML" else name)
        if name == "cvParam":
            self.parameter(attributes)
        elif name == "referenceableParamGroupRef":
            self.refer(attributes.get("ref", ""))
        elif name == "binaryDataArray" and self.spectrum is not None:
            self.data = {}
        elif name == "spectrum":
            self.spectrum, self.arrays = {}, {}
        elif name == "spectrumList":
            self.check_count(attributes.get("count", "0"))
        elif name == "referenceableParamGroup":
            if len(self.groups) >= MAX_GROUPS:
                raise self.refusal(f"at most {MAX_GROUPS:,} groups of parameters", "more")
            self.group = self.groups.setdefault(attributes.get("id", ""), {})

    def end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if name == "referenceableParamGroup":
            self.group = None
        elif name == "binaryDataArray" and self.data is not None:
            self.end_array(self.data)
            self.data = None
        elif name == "spectrum" and self.spectrum is not None:
            self.end_spectrum(self.spectrum)
            self.spectrum = None

    def target(self) -> dict[str, str]:
        for place in (self.group, self.data, self.spectrum):
            if place is not None:
                return place
        return self.meta

    def parameter(self, attributes: dict[str, str]) -> None:
        code = attributes.get("accession", "")
        self.target()[code] = attributes.get("value", "")
        if code in (POSITIVE, NEGATIVE, CENTROID, PROFILE):
            self.seen.add(code)
        if "unitAccession" in attributes and code in (PIXEL_X, PIXEL_Y):
            self.units[code] = attributes["unitAccession"]

    def refer(self, name: str) -> None:
        if name not in self.groups:
            raise FormatError("groups of parameters that exist", found=f"{name[:40]!r} in {self.path.name}")
        self.target().update(self.groups[name])

    def check_count(self, text: str) -> None:
        count = self.number(text, "a number of spectra")
        if not 0 <= count <= self.size // SHORTEST_SPECTRUM:
            raise self.refusal("as many spectra as the file can hold", f"a declared {count:,}")

    def number(self, text: str | None, what: str) -> int:
        try:
            value = float(text) if text is not None and len(text) < 40 else float("nan")
            if not value.is_integer() or abs(value) > 2**62:
                raise ValueError
            return int(text) if str(text).lstrip("+-").isdigit() else int(value)
        except (TypeError, ValueError, OverflowError):
            raise FormatError(what, found=f"{str(text)[:40]!r} in {self.path.name}") from None

    def end_array(self, data: dict[str, str]) -> None:
        kind = "mz" if MZ_ARRAY in data else "intensity" if INTENSITY_ARRAY in data else ""
        if not kind:
            return
        codes = [i for i, code in enumerate(DTYPES) if code in data]
        if len(codes) != 1 or OTHER_COMPRESSIONS & data.keys():
            raise FormatError(
                "arrays of 32- or 64-bit numbers, plain or packed with zlib",
                found=f"another type in {self.path.name}",
                mend="Export without MS-Numpress.",
            )
        length = self.number(data.get(LENGTH), "an array length")
        stored = self.number(data[ENCODED], "an encoded length") if data.get(ENCODED) else -1
        if stored < 0 or (stored == 0 and ZLIB not in data):
            stored = length * np.dtype(list(DTYPES.values())[codes[0]]).itemsize
        offset = self.number(data.get(OFFSET), "an array offset")
        self.arrays[kind] = [offset, length, stored, codes[0], int(ZLIB in data)]

    def end_spectrum(self, spectrum: dict[str, str]) -> None:
        missing = {"mz", "intensity"} - self.arrays.keys()
        if missing:
            raise FormatError("m/z and intensities in every spectrum", found=f"one without in {self.path.name}")
        position = [self.number(spectrum.get(code), "a position (x, y) of every spectrum") for code in (X, Y)]
        position.append(self.number(spectrum[Z], "a position z") if spectrum.get(Z) else 1)
        if any(abs(p) > MAX_COORDINATE for p in position):
            raise self.refusal(f"positions up to {MAX_COORDINATE:,}", f"{position}")
        self.xyz.extend(position)
        self.mz.extend(self.arrays["mz"])
        self.intensity.extend(self.arrays["intensity"])


def _arrays(values: array, n: int) -> Arrays:
    return Arrays(*np.array(values, dtype=np.int64).reshape(n, FIELDS).T.copy())


def _pixel_size(parser: _Parser) -> tuple[float, float] | None:
    """Pixel size where the file gives its unit (many writers put 1 without one, which means nothing)."""
    if any(parser.units.get(code) != MICROMETRE for code in (PIXEL_X, PIXEL_Y)):
        return None
    try:
        x, y = float(parser.meta[PIXEL_X]), float(parser.meta[PIXEL_Y])
    except (KeyError, ValueError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


def _check_uuid(text: str, ibd: Path) -> None:
    try:
        declared = uuid.UUID(text.strip())
    except ValueError:
        raise FormatError("a UUID in the imzML", found=repr(text[:60])) from None
    with ibd.open("rb") as file:
        first = file.read(16)
    if first not in (declared.bytes, declared.bytes_le):
        raise UntrustedFileError(
            "the .ibd that belongs to the imzML (same UUID)",
            found=f"another one, {ibd.name}",
            mend="Give the two files that were exported together.",
        )


def _check_sum(meta: dict[str, str], ibd: Path) -> None:
    """The strongest checksum that is given; tools that cut a file often renew one and leave an older one behind."""
    declared = {kind: meta[code].strip().lower() for code, kind in CHECKSUMS.items() if meta.get(code, "").strip()}
    if not declared:
        return
    kind = list(declared)[-1]
    one = hashlib.new(kind, usedforsecurity=False)
    with ibd.open("rb") as file:
        while block := file.read(BLOCK):
            one.update(block)
    if one.hexdigest() != declared[kind]:
        raise UntrustedFileError(
            f"an .ibd with the {kind.upper()} that the imzML gives, {declared[kind][:12]}…",
            found=f"{one.hexdigest()[:12]}… for {ibd.name}",
            mend="The .ibd was changed or cut; copy or export it again.",
        )


def _check_arrays(arrays: Arrays, size: int, name: str) -> None:
    item = np.array([np.dtype(d).itemsize for d in DTYPES.values()])[arrays.dtype]
    packed = arrays.zlib.astype(bool)
    sane = (arrays.length >= 0) & (arrays.stored >= 0) & ((arrays.offset >= 16) | (arrays.stored == 0))
    sane &= arrays.offset >= 0
    sane &= (arrays.length <= size * MAX_DEFLATE) & (arrays.stored <= size) & (arrays.offset <= size - arrays.stored)
    sane &= np.where(packed, arrays.length <= arrays.stored * MAX_DEFLATE, arrays.length <= arrays.stored)
    sane &= packed | (np.where(sane, arrays.length, 0) * item == arrays.stored)
    if not sane.all():
        i = int(np.argmin(sane))
        length, stored = arrays.length[i], arrays.stored[i]
        raise UntrustedFileError(
            f"all arrays inside {name} ({size:,} bytes)",
            found=f"spectrum {i + 1} at {arrays.offset[i]:,} with {length:,} values, {stored:,} bytes",
            mend="The .ibd is cut or belongs to another file; copy or export both again.",
        )


def _check_together(mz: Arrays, intensity: Arrays, size: int, name: str) -> None:
    if not np.array_equal(mz.length, intensity.length):
        raise UntrustedFileError("as many intensities as m/z in every spectrum", found=f"different ones in {name}")
    shared = np.unique(np.stack([mz.offset, mz.stored]), axis=1)[1]  # many spectra may share one m/z array
    if max(int(intensity.stored.sum()), int(shared.sum())) > size:
        raise UntrustedFileError("arrays that do not overlap", found=f"more declared than {name} holds")
