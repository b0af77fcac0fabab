"""A project copied for another person: new ids, the same bytes on disk."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from pathlib import Path

from spatialmeta_app.workspace import directories
from spatialmeta_app.workspace.database import Database
from spatialmeta_app.workspace.records import Project, new_id

UPLOAD_COLUMNS = "id, project, sample, slot, filename, size, state, user, created"


def copy_project(database: Database, root: Path, source: Project, user: str) -> Project:
    """Copy *source* for *user*: samples, finished uploads, results (hard links), choices and the annotations' history.

    The directories are linked first and the rows written in one transaction, so a copy is seen whole or not at all.
    """
    target = Project(new_id(), source.name, user, time.time())
    with database.connect() as db:
        db.execute("BEGIN")  # one consistent view of all tables
        tables = _read(db, source.id)
    ids = {row["id"]: new_id() for name in ("samples", "uploads", "results") for row in tables[name]}
    try:
        _link(tables, ids, root / source.id, root / target.id)
        with database.write() as db:
            db.execute("INSERT INTO projects VALUES (?, ?, ?, ?)", (target.id, target.name, user, target.created))
            _insert(db, tables, ids, target)
    except BaseException:
        shutil.rmtree(root / target.id, ignore_errors=True)
        raise
    return target


def _read(db: sqlite3.Connection, project: str) -> dict[str, list[sqlite3.Row]]:
    of_samples = "WHERE sample IN (SELECT id FROM samples WHERE project = ?)"
    queries = {
        "samples": "SELECT * FROM samples WHERE project = ? ORDER BY created, rowid",
        "uploads": "SELECT * FROM uploads WHERE project = ? AND state = 'done'",
        "results": "SELECT * FROM results WHERE project = ? ORDER BY created, rowid",
        "choices": f"SELECT * FROM choices {of_samples}",
        "annotations": f"SELECT * FROM annotations {of_samples} ORDER BY number",
    }
    return {name: db.execute(sql, (project,)).fetchall() for name, sql in queries.items()}


def _link(tables: dict[str, list[sqlite3.Row]], ids: dict[str, str], source: Path, target: Path) -> None:
    for row in tables["uploads"]:
        directories.link_tree(source / "uploads" / row["id"], target / "uploads" / ids[row["id"]])
    for row in tables["results"]:
        old = source / "samples" / row["sample"] / "results" / row["id"]
        new = target / "samples" / ids[row["sample"]] / "results" / ids[row["id"]]
        new.parent.mkdir(parents=True, exist_ok=True)
        directories.link_tree(old, new)
        head = {"id": ids[row["id"]], "project": target.name, "sample": ids[row["sample"]], "step": row["step"]}
        text = json.dumps(head | {"job": None} | _record(row, ids), indent=1)
        directories.write_file(new / "result.json", text.encode())  # replaced, so the linked original stays as it is


def _insert(db: sqlite3.Connection, tables: dict[str, list[sqlite3.Row]], ids: dict[str, str], target: Project) -> None:
    for row in tables["samples"]:
        parts = json.dumps([ids[part] for part in json.loads(row["parts"]) if part in ids])
        values = (ids[row["id"]], target.id, row["name"], row["created"], parts)
        db.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", values)
    for row in tables["uploads"]:
        values = (ids[row["id"]], target.id, ids.get(row["sample"]), row["slot"], row["filename"], row["size"], "done")
        db.execute(
            f"INSERT INTO uploads ({UPLOAD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, target.owner, row["created"]),
        )
    for row in tables["results"]:
        values = (ids[row["id"]], target.id, ids[row["sample"]], row["step"], None, row["bytes"], row["created"])
        db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*values, json.dumps(_record(row, ids))))
    for row in tables["choices"]:
        db.execute("INSERT INTO choices VALUES (?, ?, ?)", (ids[row["sample"]], row["step"], ids[row["result"]]))
    for row in tables["annotations"]:
        db.execute("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (ids[row["sample"]], *tuple(row)[1:]))


def _record(row: sqlite3.Row, ids: dict[str, str]) -> dict:
    """The result's record with the ids of its inputs translated."""
    record = json.loads(row["record"])
    # the inputs of a sample that joins others are named by the ids of its parts
    record["inputs"] = {ids.get(name, name): _translate(value, ids) for name, value in record["inputs"].items()}
    return record


def _translate(value: object, ids: dict[str, str]) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith("uploads/"):  # uploads/<id>/<filename>
        _, upload, name = value.split("/", 2)
        return f"uploads/{ids.get(upload, upload)}/{name}"
    return ids.get(value, value)
