"""Settings of the server: a frozen value, read from the environment here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

PREFIX = "SPATIALMETA_"
GIB = 1 << 30


def _setting(default, help: str):  # its calls below give dataclass fields, as field() itself does
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """One field a setting; ``SPATIALMETA_<NAME>`` sets it."""

    data: Path = _setting(Path("data"), "folder of all projects, jobs and the database; on a local disk")
    host: str = _setting("127.0.0.1", "address to listen on (python app.py)")
    port: int = _setting(8050, "port to listen on (python app.py)")
    threads: int = _setting(8, "request threads of python app.py")
    max_upload_bytes: int = _setting(64 * GIB, "largest single file that may be uploaded")
    upload_days: int = _setting(7, "days after its last byte when an unfinished upload is removed; 0: never")
    quota_bytes: int = _setting(256 * GIB, "most that one project may hold on disk")
    min_free_bytes: int = _setting(1 * GIB, "an upload or job is refused when less than this would stay free")
    import_roots: str = _setting("", "folders on the server people may import from, separated by ':'")
    user_header: str = _setting("", "request header with the user's name, set by a proxy that logs people in")
    workers: int = _setting(1, "jobs that run at the same time")
    jobs_per_user: int = _setting(2, "running jobs one person may have")
    cache_bytes: int = _setting(2 * GIB, "most that the cache on disk may hold")
    demo: bool = _setting(True, "offer the demonstration project, made at the first start")
    runner: bool = _setting(True, "python app.py starts the runner itself")

    @property
    def database(self) -> Path:
        return self.data / "spatialmeta.sqlite"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``SPATIALMETA_*``; a value of the wrong type raises ValueError naming the variable."""
        environ = os.environ if environ is None else environ
        values = {}
        for f in fields(cls):
            text = environ.get(PREFIX + f.name.upper())
            if text is not None:
                values[f.name] = _parse(f.name, type(f.default), text)
        return cls(**values)


def _parse(name: str, kind: type, text: str):
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        if kind is int:
            return int(text)
        return Path(text).expanduser().resolve() if kind not in (str,) else text
    except (KeyError, ValueError):
        raise ValueError(f"{PREFIX}{name.upper()}: expected {kind.__name__}, found {text!r}") from None
