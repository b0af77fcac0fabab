"""Other people's packages, run in an environment of their own beside ours (`make peers` builds it).

A peer script is a plain file that gets paths on its command line and prints one line of JSON last; it is run by the
peers' interpreter and never imports this project. `run` adds what it cost.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def python() -> Path | None:
    """Return the peers' interpreter: `SPATIALMETA_PEERS`, else `.venv-peers/bin/python`; None where there is none."""
    path = Path(os.environ.get("SPATIALMETA_PEERS", ROOT / ".venv-peers/bin/python"))
    return path if path.exists() else None


def run(script: str, *args: str | Path, timeout_s: float = 3600) -> dict[str, Any]:
    """Run `benchmarks/peers/<script>` with `args` and return the JSON object of its last line.

    `cpu_s` (user and system seconds of the process and its children) and `peak_mb` (largest resident set) are added.
    Raises RuntimeError, with the end of what it printed, when it fails or prints no JSON.
    """
    interpreter = python()
    if interpreter is None:
        raise RuntimeError("Expected an environment with the peers' packages; found none. Run `make peers`.")
    child = subprocess.Popen(
        [interpreter, "-W", "ignore", HERE / "measured.py", HERE / script, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise RuntimeError(f"{script} was not done after {timeout_s:.0f} s") from None
    lines = out.strip().splitlines()
    if child.returncode != 0 or len(lines) < 2:
        raise RuntimeError(f"{script} failed ({child.returncode}):\n{err[-2000:]}")
    return {**json.loads(lines[-2]), **json.loads(lines[-1])}
