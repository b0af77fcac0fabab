"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "SPATIALMETA_TEST_DATA"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get(VARIABLE, Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist; set {VARIABLE}")
    return folder
