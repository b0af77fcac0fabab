from __future__ import annotations

import sqlite3
import threading

import pytest

from core.errors import StorageError
from spatialmeta_app.workspace import database
from spatialmeta_app.workspace.database import Database, next_seq


def test_write_ahead_log_and_version(tmp_path):
    db = Database(tmp_path / "x.sqlite")
    assert db.row("PRAGMA journal_mode")[0] == "wal"
    assert db.row("PRAGMA user_version")[0] == len(database.MIGRATIONS)


def test_an_older_database_is_brought_up_and_keeps_its_rows(tmp_path, monkeypatch):
    old = Database(tmp_path / "x.sqlite")
    with old.write() as db:
        db.execute("INSERT INTO projects VALUES ('p', 'name', 'ada', 0)")
    more = ("ALTER TABLE projects ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, more))
    new = Database(tmp_path / "x.sqlite")
    assert new.row("SELECT name, note FROM projects")["note"] == "none"
    assert new.row("PRAGMA user_version")[0] == len(database.MIGRATIONS)


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    Database(tmp_path / "x.sqlite")
    bad = ("ALTER TABLE projects ADD COLUMN note TEXT", "SELECT * FROM nothing")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, bad))
    with pytest.raises(StorageError):
        Database(tmp_path / "x.sqlite")
    with sqlite3.connect(tmp_path / "x.sqlite") as raw:
        columns = [row[1] for row in raw.execute("PRAGMA table_info(projects)")]
    raw.close()
    assert "note" not in columns


def test_a_database_of_a_newer_program_is_refused(tmp_path):
    db = Database(tmp_path / "x.sqlite")
    with db.connect() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="version 99"):
        Database(tmp_path / "x.sqlite")


def test_an_exception_rolls_back(tmp_path):
    db = Database(tmp_path / "x.sqlite")

    def fail():
        with db.write() as connection:
            connection.execute("INSERT INTO projects VALUES ('p', 'name', 'ada', 0)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert db.rows("SELECT * FROM projects") == []


def test_the_counter_gives_each_number_once_to_concurrent_writers(tmp_path):
    db = Database(tmp_path / "x.sqlite")
    numbers = []

    def count():
        for _ in range(30):
            with db.write() as connection:
                numbers.append(next_seq(connection))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 121))
