"""A data directory and the handles on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialmeta_app.config import Settings
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.workspace import Annotations, Workspace


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", min_free_bytes=0, demo=False)


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    return Workspace(settings)


@pytest.fixture
def annotations(workspace: Workspace) -> Annotations:
    return Annotations(workspace)


@pytest.fixture
def store(settings: Settings) -> JobStore:
    return JobStore(settings)


@pytest.fixture
def project(workspace: Workspace):
    return workspace.create_project("brain", "ada")


@pytest.fixture
def sample(workspace: Workspace, project):
    return workspace.create_sample(project, "section 1")
