"""Regions and trajectories of a sample: append-only revisions with unlimited undo.

Every commit, undo and redo adds one row. A row says which commit's document holds (``content``), which commit an undo
leads to (``parent``) and which row a redo would bring back (``redo``); nothing is ever rewritten, so people who undo at
the same time can not lose anything.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from core.errors import DataError
from spatialmeta_app.workspace.database import Database
from spatialmeta_app.workspace.errors import ConflictError, NotFoundError
from spatialmeta_app.workspace.projects import Workspace
from spatialmeta_app.workspace.records import Sample, key

LARGEST_DOCUMENT = 32 << 20  # bytes of JSON
GEOMETRIES = {"region": ("Polygon", "MultiPolygon"), "trajectory": ("LineString",)}


def empty_document() -> dict[str, Any]:
    """The document before anything was drawn."""
    return {"type": "FeatureCollection", "features": []}


def changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """*document* with *changes*: ``features`` (new ones, and those that take the place of one with their id),
    ``removed`` (ids), and where they are not as before ``order`` (ids) and ``members`` (all but type and features).

    Raises DataError where an id of *order* is no feature, or one is missing.
    """
    if not isinstance(changes, dict) or not isinstance(changes.get("features", []), list):
        raise DataError("changes with a list of features", found=repr(changes)[:80])
    removed = set(changes.get("removed", []))
    by_id = {f["id"]: f for f in document["features"] if f["id"] not in removed}
    by_id |= {_check_feature(f): f for f in changes.get("features", [])}
    order = changes.get("order", list(by_id))
    if len(order) != len(by_id) or set(order) != set(by_id):
        raise DataError("every feature once in the order", found=f"{len(order)} of {len(by_id)}")
    members = changes.get("members", {k: v for k, v in document.items() if k not in ("type", "features")})
    return {**members, "type": "FeatureCollection", "features": [by_id[i] for i in order]}


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What makes *after* of *before*, as :func:`changed` takes it: of a thousand regions one travels."""
    was, now = ({f["id"]: f for f in document["features"]} for document in (before, after))
    members, new = ({k: v for k, v in d.items() if k not in ("type", "features")} for d in (before, after))
    kept = [i for i in was if i in now]
    changes: dict[str, Any] = {
        "features": [f for i, f in now.items() if was.get(i) != f],
        "removed": [i for i in was if i not in now],
    }
    if kept + [i for i in now if i not in was] != list(now):
        changes["order"] = list(now)
    return changes | ({"members": new} if new != members else {})


@dataclass(frozen=True)
class Revision:
    """A state of a sample's annotations; number 0 is the empty document that every sample starts with."""

    number: int = 0
    document: dict[str, Any] = field(default_factory=empty_document)
    user: str = ""
    created: float = 0.0
    can_undo: bool = False
    can_redo: bool = False


class Annotations:
    """The annotations of all samples."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.database: Database = workspace.database

    def head(self, sample: str | Sample) -> Revision:
        """The newest revision."""
        self.workspace.sample(sample)
        with self.database.connect() as db:
            db.execute("BEGIN")
            return _revision(db, _head(db, key(sample)))

    def document(self, sample: str | Sample, number: int) -> dict[str, Any] | None:
        """The document as it was at revision *number*; None where there was no such revision."""
        with self.database.connect() as db:
            row = _row(db, key(sample), number)
            return _revision(db, row).document if row or number == 0 else None

    def number(self, sample: str | Sample) -> int:
        """Number of the newest revision, without its document: what a page that waits for others asks each second."""
        self.workspace.sample(sample)
        rows = self.database.rows("SELECT MAX(number) AS number FROM annotations WHERE sample = ?", (key(sample),))
        return rows[0]["number"] or 0

    def history(self, sample: str | Sample) -> list[dict[str, Any]]:
        """``{number, user, created, kind}`` of every revision, newest first; kind is commit, undo or redo."""
        rows = self.database.rows(
            "SELECT number, user, created, document IS NOT NULL AS fresh, redo FROM annotations WHERE sample = ?"
            " ORDER BY number DESC",
            (key(sample),),
        )
        kinds = [("commit" if r["fresh"] else "undo" if r["redo"] == r["number"] - 1 else "redo") for r in rows]
        return [
            {"number": r["number"], "user": r["user"], "created": r["created"], "kind": kind}
            for r, kind in zip(rows, kinds, strict=True)
        ]

    def commit(
        self,
        sample: str | Sample,
        document: dict[str, Any] | None = None,
        *,
        base: int,
        user: str,
        changes: dict[str, Any] | None = None,
    ) -> Revision:
        """Save *document*, which was made from revision *base*, or what :func:`changed` makes of that revision's; on
        disk when this returns.

        Raises
        ------
        ConflictError
            Somebody saved since; ``current`` is the head Revision.
        DataError
            The document is not a FeatureCollection of regions and trajectories.
        """
        self._check_writable(sample)
        return self._commit(sample, document, base=base, user=user, changes=changes)

    def seed(self, sample: str | Sample, document: dict[str, Any], *, user: str) -> Revision:
        """The first revision of a sample that has none, also where people may not draw: in the demonstration."""
        return self._commit(sample, document, base=0, user=user)

    def _commit(self, sample: str | Sample, document: Any, *, base: int, user: str, changes: Any = None) -> Revision:
        text = None if changes is not None else _checked(document)
        with self.database.write() as db:
            head = _head(db, key(sample))
            _check_base(db, head, base)
            text = text or _checked(changed(_revision(db, head).document, changes))
            number = head["number"] if head else 0
            row = (number + 1, number + 1, head["content"] if head else 0, None, text)
            return _revision(db, _append(db, key(sample), row, user))

    def undo(self, sample: str | Sample, user: str, *, base: int | None = None) -> Revision:
        """Go back to the document before the last commit; nothing happens where there is none.

        Raises ConflictError where *base*, the revision that the person looks at, is not the newest.
        """
        self._check_writable(sample)
        with self.database.write() as db:
            head = _head(db, key(sample))
            _check_base(db, head, base)
            if head is None or head["content"] == 0:
                return _revision(db, head)
            back = _row(db, key(sample), head["parent"])
            parent = back["parent"] if back else 0
            row = (head["number"] + 1, head["parent"], parent, head["number"], None)
            return _revision(db, _append(db, key(sample), row, user))

    def redo(self, sample: str | Sample, user: str, *, base: int | None = None) -> Revision:
        """Take the last undo back; nothing happens where there is none.

        Raises ConflictError where *base*, the revision that the person looks at, is not the newest.
        """
        self._check_writable(sample)
        with self.database.write() as db:
            head = _head(db, key(sample))
            _check_base(db, head, base)
            if head is None or head["redo"] is None:
                return _revision(db, head)
            undone = _row(db, key(sample), head["redo"])
            row = (head["number"] + 1, undone["content"], undone["parent"], undone["redo"], None)
            return _revision(db, _append(db, key(sample), row, user))

    def _check_writable(self, sample: str | Sample) -> None:
        self.workspace.require_writable(self.workspace.sample(sample).project)


def _head(db: sqlite3.Connection, sample: str) -> sqlite3.Row | None:
    return db.execute("SELECT * FROM annotations WHERE sample = ? ORDER BY number DESC LIMIT 1", (sample,)).fetchone()


def _check_base(db: sqlite3.Connection, head: sqlite3.Row | None, base: int | None) -> None:
    number = head["number"] if head else 0
    if base is not None and base != number:
        raise ConflictError(
            f"annotations made from revision {number}",
            found=f"revision {base}",
            mend="Somebody saved since; look at the newest revision and draw again.",
            current=_revision(db, head),
        )


def _row(db: sqlite3.Connection, sample: str, number: int) -> sqlite3.Row | None:
    return db.execute("SELECT * FROM annotations WHERE sample = ? AND number = ?", (sample, number)).fetchone()


def _append(db: sqlite3.Connection, sample: str, row: tuple, user: str) -> sqlite3.Row:
    if db.execute("SELECT 1 FROM samples WHERE id = ?", (sample,)).fetchone() is None:
        raise NotFoundError("a sample", found="none with this address", mend="It was deleted.")
    db.execute("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (sample, *row, user, time.time()))
    return _row(db, sample, row[0])


def _revision(db: sqlite3.Connection, row: sqlite3.Row | None) -> Revision:
    if row is None:
        return Revision()
    content = _row(db, row["sample"], row["content"])
    document = json.loads(content["document"]) if content else empty_document()
    return Revision(row["number"], document, row["user"], row["created"], row["content"] != 0, row["redo"] is not None)


def _checked(document: dict[str, Any]) -> str:
    """The document as JSON text; DataError where it is not what ``docs/architecture.md`` describes."""
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise DataError("a GeoJSON FeatureCollection", found=type(document).__name__)
    features = document.get("features")
    if not isinstance(features, list):
        raise DataError("a list of features", found=type(features).__name__)
    ids = [_check_feature(feature) for feature in features]
    if len(set(ids)) != len(ids):
        raise DataError("features with different ids", found="the same id twice")
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError("plain JSON values in the annotations", found=str(error)) from None
    if len(text) > LARGEST_DOCUMENT:
        raise DataError("annotations of at most 32 MiB", found=f"{len(text)} bytes", mend="Draw with fewer points.")
    return text


def _check_feature(feature: Any) -> str:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict) or not isinstance(feature.get("id"), str):
        raise DataError("features with an id and properties", found=repr(feature)[:80])
    kind, name, geometry = properties.get("kind"), properties.get("name"), feature.get("geometry")
    if kind not in GEOMETRIES:
        raise DataError("features of kind region or trajectory", found=repr(kind))
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"a name for every {kind}", found=repr(name))
    if not isinstance(geometry, dict) or geometry.get("type") not in GEOMETRIES[kind]:
        raise DataError(f"a {' or '.join(GEOMETRIES[kind])} for the {kind} '{name}'", found=repr(geometry)[:80])
    if kind == "trajectory" and not _is_positive(properties.get("width_um")):
        raise DataError(f"a corridor width above zero for '{name}'", found=repr(properties.get("width_um"))[:80])
    for word in ("group", "class", "color"):
        if word in properties and not isinstance(properties[word], str):
            raise DataError(f"a text as {word} of '{name}'", found=repr(properties[word])[:80])
    least = 4 if kind == "region" else 2
    lines = _lines(geometry)
    if not lines or not all(_is_line(line, least) for line in lines):
        raise DataError(f"at least {least} points [x, y] in '{name}'", found="fewer, or no numbers")
    return feature["id"]


def _lines(geometry: dict[str, Any]) -> list[Any] | None:
    """All rings, or the line, of a geometry; None where the lists are not nested as its type says."""
    lines = [geometry.get("coordinates")]
    for _ in range({"LineString": 0, "Polygon": 1, "MultiPolygon": 2}[geometry["type"]]):
        if not all(isinstance(part, list) and part for part in lines):
            return None
        lines = [inner for part in lines for inner in part]
    return lines


def _is_line(points: Any, least: int) -> bool:
    return isinstance(points, list) and len(points) >= least and all(_is_point(p) for p in points)


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(_is_number(v) for v in point)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0
