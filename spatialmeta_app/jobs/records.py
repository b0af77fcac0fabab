"""A job as pages and the API see it."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from dataclasses import dataclass
from typing import Any, NamedTuple

from spatialmeta_app.workspace.records import CHAIN

#: kinds that write a file to fetch and change nothing in their project
FILES = ("export", "spots", "markers")
KINDS = (*CHAIN, "demo", *FILES)

QUEUED, RUNNING, CANCELLING = "queued", "running", "cancelling"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
ACTIVE = (QUEUED, RUNNING, CANCELLING)
ENDED = (DONE, FAILED, CANCELLED)


@dataclass(frozen=True)
class Job:
    """One row of the table ``jobs``.

    ``numbers`` are the newest the step reported (losses by term); :meth:`JobStore.events` has all of them.
    ``result`` is the id of the result it wrote; for a kind of FILES its file's name.
    ``error`` is one plain message.
    """

    id: str
    kind: str
    project: str
    sample: str | None
    user: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    after: str | None
    priority: int
    resources: tuple[str, ...]
    state: str
    fraction: float
    message: str
    numbers: dict[str, float]
    result: str | None
    error: str | None
    created: float
    started: float | None
    finished: float | None
    attempt: int
    seq: int

    @property
    def active(self) -> bool:
        """Whether it waits, runs or is being stopped."""
        return self.state in ACTIVE

    def to_dict(self) -> dict[str, Any]:
        """As JSON for the browser."""
        return dataclasses.asdict(self) | {"resources": list(self.resources), "active": self.active}


class Waiting(NamedTuple):
    """What a queued job waits for: jobs that have to end *before* it, or that one of the person's *own* ends."""

    before: int
    own: bool


_FIELDS = tuple(f.name for f in dataclasses.fields(Job))
_JSON = ("config", "inputs", "numbers")


def job_from_row(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in _FIELDS}
    values |= {name: json.loads(values[name]) for name in _JSON}
    return Job(**values | {"resources": tuple(json.loads(values["resources"]))})
