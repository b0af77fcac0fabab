"""The runner's sign of life, without loading the runner."""

from __future__ import annotations

import time
from pathlib import Path

from spatialmeta_app.config import Settings

FRESH_S = 10.0


def lock_path(settings: Settings) -> Path:
    """The file that the runner locks, and touches every second."""
    return settings.data / "runner.lock"


def alive(settings: Settings) -> bool:
    """Whether a runner gave a sign of life in the last seconds."""
    try:
        return time.time() - lock_path(settings).stat().st_mtime < FRESH_S
    except FileNotFoundError:
        return False
