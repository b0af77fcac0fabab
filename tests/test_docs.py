"""The documentation is held to the code: its commands run, and every setting, step and page appears in it."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.pipeline import STEPS
from spatialmeta_app.config import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)


def commands(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks: a later block of the README uses the files that an earlier one wrote."""
    return tmp_path_factory.mktemp("readme")


def run(command: list[str], cwd: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, shell=isinstance(command, str)
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_readme_blocks_run(workdir: Path) -> None:
    assert commands("sh")
    assert commands("python")
    for kind, text in BLOCKS:
        if kind == "sh":
            # make would install and start things that this very test is part of: a dry run shows the targets exist
            shell = re.sub(r"^make ", f"make -n -C {ROOT} ", text, flags=re.M)
            # a server does not end by itself: have gunicorn check that it could start
            shell = re.sub(r"^gunicorn (.*?)(\s*&)?$", rf"gunicorn --chdir {ROOT} --check-config \1", shell, flags=re.M)
            run(["bash", "-ec", shell], workdir)
        elif kind == "python":
            run([sys.executable, "-W", "ignore", "-c", text], workdir)


@pytest.mark.parametrize("setting", [f.name for f in dataclasses.fields(Settings)])
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"`{PREFIX}{setting.upper()}`" in README


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_in_the_readme(step: str) -> None:
    assert re.search(rf"python -m core {step}\b", README)


@pytest.mark.parametrize("image", re.findall(r"\((docs/images/[^)]+)\)", README))
def test_every_picture_is_there(image: str) -> None:
    assert (ROOT / image).stat().st_size > 10_000


def test_slots_are_documented() -> None:
    from core import keys

    text = (ROOT / "docs/anndata.md").read_text()
    for slot in (
        keys.COUNTS,
        keys.NORMALIZED,
        keys.RECONSTRUCTION,
        keys.X_EMB,
        keys.SPATIAL_RAW,
        keys.HISTORY,
        keys.MZ,
    ):
        assert slot in text
