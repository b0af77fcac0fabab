"""The walk over an HDF5 file before anything of it is read.

An uploaded HDF5 file can name other files of the server (external links, external storage, virtual datasets), send a
reader in circles (soft links, hard links to a parent), or declare far more than it holds (a kilobyte that unpacks to
terabytes). :func:`check_hdf5` follows hard links only and reads no values except strings, whose true size stands
nowhere else. Each refusal is an :class:`~core.errors.UntrustedFileError` with one plain message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5t

from core.errors import FormatError, StorageError, UntrustedFileError

MIB = 1 << 20
GIB = 1 << 30

#: deflate, shuffle, fletcher32, szip, n-bit, scale-offset: built into HDF5; 32000: lzf, built into h5py
FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})


@dataclass(frozen=True)
class Limits:
    """What a file may declare. The defaults let every real section pass (deflate packs real counts 5 to 50 times)."""

    #: a dataset up to this size is let through whatever its packing
    small_bytes: int = 64 * MIB
    #: declared bytes per stored byte, for datasets above *small_bytes*
    ratio: int = 200
    #: declared bytes of all datasets together
    total_bytes: int = 128 * GIB
    chunk_bytes: int = 512 * MIB
    attribute_bytes: int = 16 * MIB
    objects: int = 100_000
    depth: int = 32


def check_hdf5(path: str | Path, limits: Limits = Limits()) -> None:
    """Refuse *path* if it is no HDF5 file, reaches outside itself, runs in circles, or lies about its size.

    Raises
    ------
    FormatError
        Not HDF5 at all.
    UntrustedFileError
        Soft, external or user-defined links; an object under two names (cycles included); external storage; virtual
        datasets; reference-valued datasets; filters that are not part of HDF5; sizes beyond *limits*; damage.
    """
    path = Path(path)
    if not is_hdf5(path):
        raise FormatError(
            "an HDF5 file (.h5ad or .h5)",
            found=f"{path.name}, which is something else",
            mend="Choose the file that Space Ranger, scanpy or your converter wrote.",
        )
    try:
        file = h5f.open(str(path).encode(), h5f.ACC_RDONLY)
        try:
            _Walk(path, limits).run(file)
        finally:
            file.close()
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise UntrustedFileError(
            "a sound HDF5 file",
            found=f"damage in {path.name} ({_first_line(error)})",
            mend="Write or upload the file again.",
        ) from error


def is_hdf5(path: Path) -> bool:
    """Whether *path* is a regular file with the HDF5 signature."""
    if not path.exists():
        raise StorageError(f"the file {path}", found="no such file")
    return path.is_file() and bool(h5f.is_hdf5(str(path).encode()))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class _Walk:
    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self.file_bytes = path.stat().st_size
        self.seen: set[tuple[int, int]] = set()
        self.total = 0

    def refuse(self, expected: str, found: str) -> UntrustedFileError:
        return UntrustedFileError(
            f"a file that {expected}",
            found=f"{found} in {self.path.name}",
            mend="Save it again with anndata or Space Ranger; if it came from someone else, do not trust it.",
        )

    def run(self, file: h5f.FileID) -> None:
        stack = [("/", h5o.open(file, b"/"), 0)]
        self.visit("/", stack[0][1])
        while stack:
            name, group, depth = stack.pop()
            if depth > self.limits.depth:
                raise self.refuse(f"nests at most {self.limits.depth} groups", name[:80])
            for child_name, child in self.children(name, group):
                self.visit(child_name, child)
                if isinstance(child, h5g.GroupID):
                    stack.append((child_name, child, depth + 1))

    def children(self, parent: str, group: h5g.GroupID) -> Iterator[tuple[str, h5py.h5.ObjectID]]:
        for raw in group:
            name = f"{parent.rstrip('/')}/{raw.decode('utf-8', 'replace')}"
            kind = group.links.get_info(raw).type
            if kind == h5l.TYPE_EXTERNAL:
                raise self.refuse("holds all its data itself", f"an external link, {name},")
            if kind == h5l.TYPE_SOFT:
                raise self.refuse("has no soft links", f"the soft link {name}")
            if kind != h5l.TYPE_HARD:
                raise self.refuse("has ordinary links only", f"a link of unknown kind, {name},")
            yield name, h5o.open(group, raw)

    def visit(self, name: str, node: h5py.h5.ObjectID) -> None:
        info = h5o.get_info(node)
        if (info.fileno, info.addr) in self.seen:
            raise self.refuse("has every object once, without circles", f"a second way to one object, {name},")
        self.seen.add((info.fileno, info.addr))
        if len(self.seen) > self.limits.objects:
            raise self.refuse(f"has at most {self.limits.objects:,} objects", "more")
        self.check_attributes(name, node)
        if isinstance(node, h5d.DatasetID):
            self.check_storage(name, node)
            self.check_type(name, node.get_type())
            self.check_size(name, node)
            self.check_strings(name, node)

    def check_attributes(self, name: str, node: h5py.h5.ObjectID) -> None:
        for i in range(h5a.get_num_attrs(node)):
            attribute = h5a.open(node, index=i)
            size = int(np.prod(attribute.shape, dtype=object)) * attribute.get_type().get_size()
            if size > self.limits.attribute_bytes:
                raise self.refuse("keeps attributes small", f"an attribute of {_bytes(size)} at {name}")

    def check_storage(self, name: str, dataset: h5d.DatasetID) -> None:
        properties = dataset.get_create_plist()
        if properties.get_layout() == h5d.VIRTUAL:
            raise self.refuse("holds all its data itself", f"a virtual dataset, {name},")
        if properties.get_external_count():
            raise self.refuse("holds all its data itself", f"external storage at {name}")
        for i in range(properties.get_nfilters()):
            code = properties.get_filter(i)[0]
            if code not in FILTERS:
                raise self.refuse("is packed with HDF5's own filters (gzip)", f"filter {code} at {name}")
        if properties.get_layout() == h5d.CHUNKED:
            size = int(np.prod(properties.get_chunk(), dtype=object)) * dataset.get_type().get_size()
            if size > self.limits.chunk_bytes:
                raise self.refuse(
                    f"has chunks of at most {_bytes(self.limits.chunk_bytes)}", f"one of {_bytes(size)} at {name}"
                )

    def check_type(self, name: str, kind: h5t.TypeID, depth: int = 0) -> None:
        """Numbers, enums, strings and records of them; no references, no variable-length arrays."""
        code = kind.get_class()
        if code == h5t.COMPOUND and depth < 4:
            for i in range(kind.get_nmembers()):
                self.check_type(name, kind.get_member_type(i), depth + 1)
        elif code == h5t.ARRAY and depth < 4:
            self.check_type(name, kind.get_super(), depth + 1)
        elif code not in (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM, h5t.BITFIELD):
            what = "references" if code == h5t.REFERENCE else "values of a type that AnnData does not use"
            raise self.refuse("holds numbers and text", f"{what} at {name}")

    def check_size(self, name: str, dataset: h5d.DatasetID) -> None:
        """Declared against stored bytes: deflate cannot pack better than 1,032 to 1, real data far less."""
        declared = int(np.prod(dataset.shape or (1,), dtype=object)) * dataset.get_type().get_size()
        stored = dataset.get_storage_size()
        self.total += declared
        if declared > self.limits.small_bytes and declared > self.limits.ratio * stored:
            raise self.refuse(
                "holds what it declares", f"{name} declared as {_bytes(declared)} but stored in {_bytes(stored)}"
            )
        if self.total > self.limits.total_bytes:
            raise self.refuse(f"declares at most {_bytes(self.limits.total_bytes)}", "more")

    def check_strings(self, name: str, dataset: h5d.DatasetID) -> None:
        """Text of variable length lies unpacked in the file, so all of it is at most as long as the file: if it comes
        out longer, many values point at one long text. Read in growing slices, so that little is in memory."""
        values = h5py.Dataset(dataset)
        if not values.dtype.hasobject or dataset.rank == 0:
            return
        length, start, step = 0, 0, 16
        while start < dataset.shape[0]:
            length += _text_bytes(values[start : start + step])
            if length > self.file_bytes:
                raise self.refuse("holds what it declares", f"text at {name} that is longer than the file")
            start, step = start + step, min(step * 2, 65_536)


def _text_bytes(block: np.ndarray) -> int:
    if block.dtype.names:
        return sum(_text_bytes(block[field]) for field in block.dtype.names)
    if block.dtype.kind != "O":
        return 0
    return sum(len(text) for text in block.ravel() if isinstance(text, bytes | str))


def _bytes(size: int) -> str:
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.3g} {units[0]}"
