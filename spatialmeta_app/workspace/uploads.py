"""Raw files as they came, received in pieces.

The size of the file on disk is the offset, so a half upload survives any restart and needs no bookkeeping.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
import time
import unicodedata
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from core.errors import StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import directories
from spatialmeta_app.workspace.database import Database
from spatialmeta_app.workspace.errors import ConflictError, NotFoundError, WorkspaceError, refused
from spatialmeta_app.workspace.records import DEMO, Upload, from_row, key, new_id

CHUNK = 8 << 20  # what a browser should send in one request
PIECE = 1 << 20  # what the server holds in memory
SLOTS = ("st", "spatial", "image", "sm", "ibd", "negative")
LONGEST_FILENAME = 150


class Uploads:
    """The uploads of all projects. Part of :class:`~spatialmeta_app.workspace.Workspace`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database

    def start(
        self, project: str, sample: str | None, slot: str, filename: str, size: int, *, user: str, source: str = ""
    ) -> Upload:
        """Make room for a file of *size* bytes; its bytes follow by :meth:`append`, or from *source* on the server.

        Raises
        ------
        WorkspaceError
            An unknown slot, an unusable name or size, more than one file may have, or more than the project's quota.
        StorageError
            The disk would be left with less than ``min_free_bytes``.
        """
        if slot not in SLOTS:
            raise WorkspaceError(f"one of the slots {', '.join(SLOTS)}", found=repr(slot))
        state = "copying" if source else "receiving"
        upload = Upload(new_id(), project, sample, slot, safe_name(filename), size, state, user, time.time(), source)
        self._check_room(size, most=None if source else self.settings.max_upload_bytes)
        with self.database.write() as db:
            self._check_owner(db, project, sample)
            self._check_quota(db, project, size)
            db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", dataclasses.astuple(upload))
        self.folder(upload).mkdir(parents=True, exist_ok=True)
        self.path(upload).touch()
        return upload

    def get(self, upload: str | Upload) -> Upload:
        row = self.database.row("SELECT * FROM uploads WHERE id = ?", (key(upload),))
        if row is None:
            raise NotFoundError("an upload", found="none with this id", mend="Start the upload again.")
        return from_row(Upload, row)

    def list(self, project: str, *, sample: str | None = None) -> list[Upload]:
        """The uploads of a project (for one sample), newest first."""
        rows = self.database.rows(
            "SELECT * FROM uploads WHERE project = ? AND (? IS NULL OR sample = ?) ORDER BY created DESC, rowid DESC",
            (key(project), sample, sample),
        )
        return [from_row(Upload, row) for row in rows]

    def offset(self, upload: Upload) -> int:
        """How many bytes have arrived."""
        try:
            return self.path(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, upload: Upload, offset: int, stream: BinaryIO) -> int:
        """Add the bytes of *stream* at *offset*; returns the new offset. Memory stays at one piece.

        A stream that breaks off leaves what came; the sender asks for the offset and goes on.

        Raises
        ------
        ConflictError
            *offset* is not where the file ends, or another request is writing; ``current`` is the right offset.
        WorkspaceError
            More bytes than were announced; those within the size are kept.
        """
        if upload.state != "receiving":
            raise ConflictError("an unfinished upload", found="a finished one", current=upload.size)
        with open(self.path(upload), "ab", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._misplaced(upload, offset) from None
            position = os.fstat(file.fileno()).st_size
            if position != offset:
                raise self._misplaced(upload, offset)
            return self._receive(upload, file, stream, position)

    def _receive(self, upload: Upload, file: RawIOBase, stream: BinaryIO, position: int) -> int:
        while position < upload.size and (piece := stream.read(min(PIECE, upload.size - position))):
            _write(file, piece)
            position += len(piece)
        if position == upload.size and stream.read(1):
            raise WorkspaceError(f"{upload.size} bytes as announced", found="more", mend="Start the upload again.")
        return position

    def _misplaced(self, upload: Upload, offset: int) -> ConflictError:
        right = self.offset(upload)
        return ConflictError(f"the bytes from offset {right} on", found=f"offset {offset}", current=right)

    def finish(self, upload: str | Upload) -> Upload:
        """Sync the file and mark the upload as whole; doing it twice is fine.

        Raises
        ------
        ConflictError
            Bytes are missing; ``current`` is the offset to go on from.
        """
        upload = self.get(upload)
        if upload.state == "done":
            return upload
        arrived = self.offset(upload)
        if arrived != upload.size:
            raise ConflictError(f"{upload.size} bytes", found=f"{arrived}", mend="Send the rest.", current=arrived)
        directories.sync_tree(self.folder(upload))
        return self.mark_done(upload)

    def mark_done(self, upload: Upload) -> Upload:
        """Its bytes are on the disk, all of them."""
        with self.database.write() as db:
            db.execute("UPDATE uploads SET state = 'done' WHERE id = ?", (upload.id,))
        return dataclasses.replace(upload, state="done")

    def delete(self, upload: str | Upload) -> None:
        """Forget an upload and its bytes; results made from it stay."""
        upload = self.get(upload)
        with self.database.write() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))
        shutil.rmtree(self.folder(upload), ignore_errors=True)

    def expire(self, now: float | None = None) -> int:
        """Delete the unfinished uploads that got no byte for ``upload_days``; returns how many."""
        before = (time.time() if now is None else now) - 86_400 * self.settings.upload_days
        rows = self.database.rows("SELECT * FROM uploads WHERE state != 'done' AND created < ?", (before,))
        old = [u for u in (from_row(Upload, row) for row in rows) if self._last_byte(u) < before]
        for upload in old if self.settings.upload_days > 0 else ():
            self.delete(upload)
        return len(old) if self.settings.upload_days > 0 else 0

    def _last_byte(self, upload: Upload) -> float:
        try:
            return self.path(upload).stat().st_mtime
        except FileNotFoundError:
            return upload.created

    # paths

    def folder(self, upload: Upload) -> Path:
        return self.settings.data / "projects" / upload.project / "uploads" / upload.id

    def path(self, upload: Upload) -> Path:
        return self.folder(upload) / upload.filename

    def named(self, project: str, path: str) -> Upload:
        """The upload that a job's input names: 'uploads/<upload>/<filename>' in the project, whole or to be copied."""
        parts = Path(path).parts
        upload = self.get(parts[1]) if len(parts) == 3 and parts[0] == "uploads" else None
        if upload is None or upload.project != project or upload.filename != parts[2] or upload.state == "receiving":
            raise _unfinished(path)
        return upload

    def resolve(self, project: str, path: str) -> Path:
        """The file that a job's input names, on the disk as a whole."""
        upload = self.named(project, path)
        if upload.state != "done":
            raise _unfinished(path)
        return self.path(upload)

    # limits

    def bytes_used(self, project: str) -> int:
        """Uploads at their announced size, and results."""
        with self.database.connect() as db:
            return _used(db, project)

    def _check_owner(self, db, project: str, sample: str | None) -> None:
        row = db.execute("SELECT owner FROM projects WHERE id = ?", (project,)).fetchone()
        if row is None:
            raise NotFoundError("a project", found="none with this id", mend="Reload the page.")
        if row["owner"] == DEMO:
            raise WorkspaceError("a project of your own", found="the demonstration", mend="Make your own copy of it.")
        if (
            sample is not None
            and db.execute("SELECT 1 FROM samples WHERE id = ? AND project = ?", (sample, project)).fetchone() is None
        ):
            raise NotFoundError("a sample of this project", found="none with this id", mend="Reload the page.")

    def _check_room(self, size: int, *, most: int | None) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise WorkspaceError("the size of the file in bytes", found=repr(size))
        if most is not None and size > most:
            raise WorkspaceError(
                f"a file of at most {gib(most)}",
                found=gib(size),
                mend="Import it from a folder of the server, or ask its owner to raise SPATIALMETA_MAX_UPLOAD_BYTES.",
            )
        free = shutil.disk_usage(self.settings.data).free
        if free - size < self.settings.min_free_bytes:
            raise StorageError(f"{gib(size)} free on the server", found=gib(free), mend="Delete what is not needed.")

    def _check_quota(self, db, project: str, size: int) -> None:
        used = _used(db, project)
        if used + size > self.settings.quota_bytes:
            raise WorkspaceError(
                f"at most {gib(self.settings.quota_bytes)} in one project",
                found=f"{gib(used)} and a file of {gib(size)}",
                mend="Delete uploads or results that are not needed.",
            )


def _unfinished(path: str) -> NotFoundError:
    return NotFoundError("a finished upload of this project", found=path, mend="Upload the file again.")


def _write(file: RawIOBase, piece: bytes) -> None:
    """All of *piece*: an unbuffered write may take only a part of it."""
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise refused("room for the upload", error) from error


def _used(db, project: str) -> int:
    sql = """SELECT (SELECT COALESCE(SUM(size), 0) FROM uploads WHERE project = :p)
                  + (SELECT COALESCE(SUM(bytes), 0) FROM results WHERE project = :p)"""
    return db.execute(sql, {"p": project}).fetchone()[0]


def safe_name(filename: str) -> str:
    """*filename* as it may lie on disk: its last part, letters, digits and ``._-+() ``, never hidden, its ending kept.

    Raises
    ------
    WorkspaceError
        Nothing usable is left.
    """
    last = unicodedata.normalize("NFC", str(filename)).replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c if c.isalnum() or c in "._-+() " else "_" for c in last).strip(" ").lstrip(". ")
    if not kept.strip("_ "):
        raise WorkspaceError("a file name", found=repr(filename[:80]), mend="Rename the file.")
    if len(kept.encode()) > LONGEST_FILENAME:
        stem, dot, ending = kept.rpartition(".")
        ending = (dot + ending)[-20:] if stem else ""
        kept = (stem or kept).encode()[: LONGEST_FILENAME - len(ending.encode())].decode(errors="ignore") + ending
    return kept


def gib(size: int) -> str:
    """Bytes for people: '1.5 GiB', '20 MiB'."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
