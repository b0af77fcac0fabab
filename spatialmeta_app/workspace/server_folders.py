"""Folders of the server that people may import from: what lies in them, and copies of it as uploads.

The request only makes room and notes where the file lies; a job copies the bytes, for as long as that takes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.context import Context, Share
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import directories
from spatialmeta_app.workspace.errors import NotFoundError, WorkspaceError, refused
from spatialmeta_app.workspace.records import Upload, key
from spatialmeta_app.workspace.uploads import Uploads, gib

PIECE = 8 << 20  # copied between two looks at whether the person has cancelled


class ServerFolders:
    """Part of :class:`~spatialmeta_app.workspace.Workspace`. No link leads out of the folders of the settings."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        self.settings = settings
        self.uploads = uploads

    def roots(self) -> list[Path]:
        """The folders people may import from."""
        return [Path(root).resolve() for root in self.settings.import_roots.split(":") if root]

    def browse(self, folder: str | Path | None = None) -> list[Path]:
        """What lies in an allowed folder (folders first), or the allowed folders themselves; nothing hidden."""
        if folder is None:
            return self.roots()
        entries = [e for e in self.allowed(folder).iterdir() if not e.name.startswith(".")]
        inside = [e for e in entries if any(e.resolve().is_relative_to(root) for root in self.roots())]
        return sorted(inside, key=lambda e: (not e.is_dir(), e.name.lower()))

    def allowed(self, path: str | Path) -> Path:
        """*path* with its links resolved; NotFoundError where it is outside the allowed folders or does not exist."""
        resolved = Path(path).resolve()
        if not any(resolved.is_relative_to(root) for root in self.roots()) or not resolved.exists():
            raise NotFoundError(
                "a file in the folders this server allows", found=str(path), mend="Choose one of the listed files."
            )
        return resolved

    def take(
        self, project: str, path: str | Path, *, sample: str | None = None, slot: str = "st", user: str = ""
    ) -> Upload:
        """Make room for a file or folder (Space Ranger) of an allowed folder; :meth:`fetch` copies it.

        Raises
        ------
        NotFoundError
            It is outside the allowed folders.
        WorkspaceError, StorageError
            As :meth:`Uploads.start`; or a link of the folder leads out of it.
        """
        source = self.allowed(path)
        size = sum(file.stat().st_size for file, _ in _files(source))
        place = (key(project), sample and key(sample), slot, source.name, size)
        return self.uploads.start(*place, user=user, source=str(source))

    def fetch(self, project: str, paths: Sequence[str], context: Context) -> int:
        """Copy those of *paths* (inputs of a job) that were taken from the server and are not here yet; how many.

        A copy that was broken off is begun again by the next call.

        Raises
        ------
        NotFoundError, WorkspaceError
            The file is not where it was, or not as it was.
        StorageError
            The disk is full.
        """
        named = [self.uploads.named(project, path) for path in paths]
        waiting = [upload for upload in named if upload.state == "copying"]
        total = max(1, sum(upload.size for upload in waiting))
        done = 0
        for upload in waiting:
            self._copy(upload, Share(context, done / total, (done + upload.size) / total))
            done += upload.size
        return len(waiting)

    def _copy(self, upload: Upload, context: Context) -> None:
        source, target = self.allowed(upload.source), self.uploads.path(upload)
        _remove(target)
        copied = 0
        try:
            for file, relative in _files(source):
                place = target / relative if source.is_dir() else target
                place.parent.mkdir(parents=True, exist_ok=True)
                for piece in _pieces(file, place):
                    copied += piece
                    said = f"copying {upload.filename}, {gib(copied)} of {gib(upload.size)}"
                    context.progress(min(1.0, copied / max(1, upload.size)), said)
                    context.stop_if_cancelled()
            directories.sync_tree(target.parent)
            if copied != upload.size:
                raise WorkspaceError(
                    f"{upload.filename} as it was chosen, {upload.size:,} bytes",
                    found=f"{copied:,}",
                    mend="Choose it again.",
                )
        except BaseException as error:
            _remove(target)
            if isinstance(error, OSError):
                raise refused("to copy the file", error) from error
            raise
        self.uploads.mark_done(upload)


def _files(source: Path) -> list[tuple[Path, Path]]:
    """The files below *source* (or itself) with their places in it.

    Raises
    ------
    WorkspaceError
        A link leads out of the folder.
    """
    if not source.is_dir():
        return [(source, Path(source.name))]
    files = [Path(folder) / name for folder, _, names in os.walk(source) for name in names]
    links = [path for path in source.rglob("*") if path.is_symlink()]
    if not all(path.resolve().is_relative_to(source) for path in links):
        raise WorkspaceError("a folder without links out of it", found=source.name, mend="Copy the files.")
    return [(path, path.relative_to(source)) for path in files]


def _pieces(source: Path, target: Path) -> Iterator[int]:
    """Copy a file; gives the number of bytes of each piece."""
    with open(source, "rb") as read, open(target, "wb") as write:
        while piece := read.read(PIECE):
            write.write(piece)
            yield len(piece)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
