"""What the workspace hands out: frozen records, and the chain of the steps."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Any

DEMO = "demo"  # id and owner of the demonstration project

IMPORTS = ("st", "sm")

#: step -> {input name of the step: step whose chosen result it takes}
CHAIN: dict[str, dict[str, str]] = {
    "st": {},
    "sm": {},
    "align": {"st": "st", "sm": "sm"},
    "reassign": {"st": "st", "sm": "align"},
    "features": {"joint": "reassign"},
    "integrate": {"joint": "features"},
    "cluster": {"joint": "integrate"},
}

#: results whose data.h5ad is the joint object, the most complete first
JOINT = ("cluster", "integrate", "features", "reassign")


def new_id() -> str:
    """96 random bits as hex: unguessable, and safe in URLs, paths and component ids."""
    return secrets.token_hex(12)


def key(record: Any) -> str:
    """The id of a record, or the id itself: methods take either."""
    return getattr(record, "id", record)


@dataclass(frozen=True)
class Project:
    id: str
    name: str
    owner: str
    created: float

    @property
    def demo(self) -> bool:
        """Whether this is the shared demonstration project, which nobody may change (people work in a copy)."""
        return self.owner == DEMO


@dataclass(frozen=True)
class Sample:
    """A pair of sections, or several samples joined: ``parts`` are their ids then, and there are no imports."""

    id: str
    project: str
    name: str
    created: float
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upload:
    """A file as it came. ``path`` is relative to the project's folder, which is what a job's inputs hold."""

    id: str
    project: str
    sample: str | None
    slot: str
    filename: str
    size: int
    state: str  # receiving, copying (from the server's own folders, by the job that reads it), done
    user: str
    created: float
    source: str = ""  # where it lay on the server

    @property
    def usable(self) -> bool:
        """Whether an import may be started with it."""
        return self.state != "receiving"

    @property
    def path(self) -> str:
        return f"uploads/{self.id}/{self.filename}"


@dataclass(frozen=True)
class Result:
    """An immutable result directory; ``result.json`` holds the same.

    ``summary`` is what pages show without opening the data: ``n_obs``, ``n_vars``, ``features`` (by modality), and for
    imports ``checks``, a list of ``{level, title, found, mend}``.
    """

    id: str
    project: str
    sample: str
    step: str
    created: float
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)  # input name -> result id, or upload path for imports
    seed: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)  # file name -> sha256
    versions: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    duration_s: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    job: str | None = None

    @property
    def blocked(self) -> bool:
        """Whether a check found something that has to be mended before later steps can use this."""
        return any(check.get("level") == "blocking" for check in self.summary.get("checks", ()))


def from_row(record: type, row: sqlite3.Row) -> Any:
    """A record from a row whose columns are its fields."""
    return record(**dict(row))


def sample_from_row(row: sqlite3.Row) -> Sample:
    """A Sample from a row of ``samples``."""
    return Sample(**{**dict(row), "parts": tuple(json.loads(row["parts"]))})


def result_from_row(row: sqlite3.Row) -> Result:
    """A Result from a row of ``results``: the columns that are searched plus the JSON record."""
    columns = {name: row[name] for name in ("id", "project", "sample", "step", "job", "bytes", "created")}
    return Result(**json.loads(row["record"]), **columns)
