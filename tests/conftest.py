"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine is no fault
hypothesis.settings.load_profile("steady")

VARIABLE = "SPATIALMETA_TEST_DATA"


def real_data() -> Path | None:
    """Folder of the real data sets; None where it is missing."""
    folder = Path(os.environ.get(VARIABLE, Path(__file__).parents[1].parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; tests that need it are skipped where it is missing."""
    folder = real_data()
    if folder is None:
        pytest.skip(f"no real data beside the project: set {VARIABLE} to its folder")
    return folder
