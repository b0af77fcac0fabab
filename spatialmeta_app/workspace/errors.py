"""What can go wrong with projects, each with its own HTTP answer (``api/errors.py``)."""

from __future__ import annotations

import errno
from typing import Any

from core.errors import SpatialMetaError, StorageError


class WorkspaceError(SpatialMetaError):
    """Something about projects, samples, results, uploads or jobs that a person can act on (422)."""


class NotFoundError(WorkspaceError):
    """No such project, sample, result, upload, job or file (404)."""


class ForbiddenError(WorkspaceError):
    """The person may not change this, e.g. the shared demonstration project (403)."""


class ConflictError(WorkspaceError):
    """Somebody else was faster, or the request starts from the wrong place (409).

    Parameters
    ----------
    current
        What holds now, for the JSON answer: the head revision, or the right offset.
    """

    def __init__(self, expected: str, *, found: str = "", mend: str = "", current: Any = None) -> None:
        self.current = current
        super().__init__(expected, found=found, mend=mend)


def refused(expected: str, error: OSError) -> StorageError:
    """What the disk's refusal means, with the advice that fits it."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            mend = "Free disk space, then try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            mend = "Ask the owner of the server to let it write there, then try again."
        case _:
            mend = "Try again. Should it come back, ask the owner of the server to look at its disk."
    return StorageError(expected, found=str(error), mend=mend)


# The names that the contract uses.
NotFound = NotFoundError
Conflict = ConflictError
