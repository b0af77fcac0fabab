"""The one SQLite database: everything that changes. Workspace, annotations and the job store share it.

A connection lives for one call, so threads, forks and several processes need no care; a writer takes the lock at its
first statement (``BEGIN IMMEDIATE``), so it never fails half-way because somebody else wrote in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import StorageError

BUSY_TIMEOUT_S = 30.0

SCHEMA = (
    "CREATE TABLE users (id TEXT PRIMARY KEY, created REAL NOT NULL, seen REAL NOT NULL)",
    """CREATE TABLE projects (id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL)""",
    """CREATE TABLE samples (
        id TEXT PRIMARY KEY, project TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
        name TEXT NOT NULL, created REAL NOT NULL)""",
    """CREATE TABLE uploads (
        id TEXT PRIMARY KEY, project TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
        sample TEXT REFERENCES samples(id) ON DELETE CASCADE,
        slot TEXT NOT NULL, filename TEXT NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL,
        user TEXT NOT NULL, created REAL NOT NULL)""",
    """CREATE TABLE results (
        id TEXT PRIMARY KEY, project TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
        sample TEXT NOT NULL REFERENCES samples(id) ON DELETE CASCADE,
        step TEXT NOT NULL, job TEXT, bytes INTEGER NOT NULL, created REAL NOT NULL, record TEXT NOT NULL)""",
    """CREATE TABLE choices (
        sample TEXT NOT NULL REFERENCES samples(id) ON DELETE CASCADE, step TEXT NOT NULL,
        result TEXT NOT NULL REFERENCES results(id) ON DELETE CASCADE, PRIMARY KEY (sample, step))""",
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL,
        project TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE, sample TEXT, user TEXT NOT NULL,
        config TEXT NOT NULL, inputs TEXT NOT NULL, after TEXT, priority INTEGER NOT NULL, resources TEXT NOT NULL,
        state TEXT NOT NULL, fraction REAL NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
        numbers TEXT NOT NULL DEFAULT '{}', result TEXT, error TEXT, created REAL NOT NULL, started REAL,
        finished REAL, attempt INTEGER NOT NULL DEFAULT 0, runner TEXT, lease REAL, seq INTEGER NOT NULL)""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
        attempt INTEGER NOT NULL, time REAL NOT NULL, fraction REAL NOT NULL, message TEXT NOT NULL,
        numbers TEXT NOT NULL)""",
    """CREATE TABLE annotations (
        sample TEXT NOT NULL REFERENCES samples(id) ON DELETE CASCADE, number INTEGER NOT NULL,
        content INTEGER NOT NULL, parent INTEGER NOT NULL, redo INTEGER, document TEXT, user TEXT NOT NULL,
        created REAL NOT NULL, PRIMARY KEY (sample, number))""",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "INSERT INTO counters VALUES ('seq', 0)",
    "CREATE INDEX samples_project ON samples(project)",
    "CREATE INDEX uploads_project ON uploads(project)",
    "CREATE INDEX results_sample ON results(sample, step)",
    "CREATE INDEX jobs_state ON jobs(state)",
    "CREATE INDEX jobs_project ON jobs(project, seq)",
    "CREATE INDEX events_job ON events(job)",
)

#: one entry a schema version, applied in order to a database that is older; append, never edit
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    SCHEMA,
    ("ALTER TABLE samples ADD COLUMN parts TEXT NOT NULL DEFAULT '[]'",),  # JSON: ids of the samples that it joins
    ("ALTER TABLE uploads ADD COLUMN source TEXT NOT NULL DEFAULT ''",),  # a file of the server, which a job copies
)


class Database:
    """A handle on the database file; cheap, holds no connection."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._migrate()

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call: autocommit, rows by name, foreign keys kept."""
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")  # a revision that was answered for survives a power cut
            yield connection
        finally:
            connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A short transaction that holds the write lock from its start; rolled back on any exception.

        Raises
        ------
        StorageError
            The disk is full or refuses, or another writer did not finish in time; nothing was changed.
        """
        try:
            with self.connect() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            mend = "Try again." if "locked" in str(error) else "Free disk space, then try again."
            raise StorageError("the database to take a change", found=str(error), mend=mend) from error

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of one query."""
        with self.connect() as connection:
            return connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """The first row of one query."""
        with self.connect() as connection:
            return connection.execute(sql, parameters).fetchone()

    def _migrate(self) -> None:
        with self.connect() as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
                return
            connection.execute("PRAGMA journal_mode = WAL")
        with self.write() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise StorageError(
                    f"a database of version {len(MIGRATIONS)} or older",
                    found=f"version {version}",
                    mend="Start the newer SpatialMETA that wrote it.",
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def next_seq(connection: sqlite3.Connection) -> int:
    """The next number of the store-wide change counter, inside a write transaction."""
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'seq'")
    return connection.execute("SELECT value FROM counters WHERE name = 'seq'").fetchone()[0]


Writer = Callable[[Path], dict[str, Any] | None]
