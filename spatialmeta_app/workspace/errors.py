"""What can go wrong with projects, each with its own HTTP answer (``api/errors.py``)."""

from __future__ import annotations

from typing import Any

from core.errors import SpatialMetaError


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


# The names that the contract uses.
NotFound = NotFoundError
Conflict = ConflictError
