"""Alignment of pairs with known truth: orientation, error of each stage, time and memory, beside the authors' package.

``python -m benchmarks alignment [--pairs N] [--first N] [--peers N] [--no-real] [--no-latents] [--no-scaling]
[--stages …]``: N simulated pairs (40 if not said) from the first on; the first N (3; 0 leaves it out) through the
authors' package too. TRE: mean distance of the SM pixels from where they truly lie, in spot distances. Seconds are CPU
seconds of all threads, which other load does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.pairs import REAL, KnownPair, real_pair, simulated_pair
from core import keys
from core.registration.transforms import rotation_matrix

STAGES = ("similarity", "affine", "nonrigid")
SIZES = ((2000, 5.0), (2000, 15.0), (5000, 20.0))  # spots, pixels a spot: 10,000, 30,000 and 100,000 pixels
LATENTS = ("pca", "vae")
ITERATIONS = 300  # of the authors' alignment
CHILD = """
import json, resource, sys, time
from benchmarks.alignment import measured
print(json.dumps(measured(*json.loads(sys.argv[1]))))
"""


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks alignment")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--peers", type=int, default=3)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--real", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--latents", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--scaling", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args(words or [])
    costs = ("CPU s", "MB", "authors", "CPU s", "MB")
    print(_line("pair", *given.stages, "best affine", "right", "confidence", "by", *costs))
    numbers = range(given.first, given.first + given.pairs)
    rows = [_compared(number, given.stages, with_peer=number < given.peers) for number in numbers]
    if rows:
        _summary(rows)
    for name in REAL if given.real else ():
        _show(name, {stage: _in_child(name, stage) for stage in given.stages}, None)
    for name in (*REAL, "0", "1", "0 undeformed", "1 undeformed") if given.latents else ():
        found = {kind: _in_child(name, STAGES[-1], latents=kind) for kind in LATENTS}
        told = ", ".join(f"{kind} {one['error']:.2f} ({one['cpu_s']:.1f} CPU s)" for kind, one in found.items())
        print(f"latents, {name}: {told}", flush=True)
    for size in SIZES if given.scaling else ():
        cost = _in_child("0", STAGES[-1], size)
        print(f"{cost['pixels']:>7,} pixels: {cost['cpu_s']:5.1f} CPU s, {cost['mb']:,.0f} MB, TRE {cost['error']:.2f}")


def measured(name: str, stage: str, size: tuple[int, float] = SIZES[0], latents: str = "") -> dict[str, Any]:
    """One alignment of the pair *name*, in this process: its error, its orientation, and what it cost, the training of
    *latents* ('pca' or 'vae') included."""
    import resource
    import time

    from core.pipeline import run_step
    from core.registration import AlignConfig, RegistrationResult

    pair = _pair(name, size)
    values = {"latents": latents} if latents else {}
    config = AlignConfig(spatial_key=pair.spatial_key, transform=stage, **values)
    start = time.process_time()
    done = run_step("align", {"st": pair.st, "sm": pair.sm}, config)
    seconds = time.process_time() - start
    result = RegistrationResult.from_dict(done.uns[keys.UNS][keys.ALIGNMENT])
    return {
        "error": pair.error(done.obsm[keys.SPATIAL]),
        "best_affine": pair.least_affine(),
        "right": pair.orientation_right(result),
        "confidence": result.orientation.confidence,
        "by": result.orientation.decided_by,
        "jacobian": result.quality.smallest_jacobian,
        "note": result.note,
        "pixels": pair.sm.n_obs,
        "cpu_s": seconds,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _pair(name: str, size: tuple[int, float] = SIZES[0]) -> KnownPair:
    if name in REAL:
        return real_pair(name)
    number, _, undeformed = name.partition(" ")
    return simulated_pair(int(number), spots=size[0], density=size[1], deformed=not undeformed)


def _in_child(name: str, stage: str, size: tuple[int, float] = SIZES[0], latents: str = "") -> dict[str, Any]:
    """:func:`measured` in a process of its own, so that its peak memory is its own."""
    words = [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps([name, stage, size, latents])]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **one})
    if done.returncode:
        raise RuntimeError(f"{stage} of {name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _compared(number: int, wanted: list[str], *, with_peer: bool) -> dict[str, Any]:
    stages = {stage: _in_child(str(number), stage) for stage in wanted}
    theirs = _authors(_pair(str(number))) if with_peer else None
    _show(f"simulated {number}", stages, theirs)
    return stages


def _authors(pair: KnownPair, to: str = "histology") -> dict[str, Any] | str:
    """The authors' package on *pair*, mirrored and turned as the truth is: it searches no orientation.

    *to*: what SM's outline is laid on, 'histology' (the package's default) or 'ST'."""
    if peers.python() is None:
        return "no environment: make peers"
    truth = pair.sm.uns["truth"]
    xy = np.asarray(pair.sm.obsm[pair.spatial_key], dtype=float) * np.asarray(truth["pixel_um"])
    xy *= [-1.0 if truth["flip"] else 1.0, 1.0]
    turned = replace(pair, sm=pair.sm.copy())
    turned.sm.obsm[keys.SPATIAL] = xy @ rotation_matrix(truth["rotation_deg"]).T
    with tempfile.TemporaryDirectory() as folder:
        st, sm, out = (Path(folder) / name for name in ("st.h5ad", "sm.h5ad", "out.npy"))
        turned.st.write_h5ad(st)
        turned.sm.write_h5ad(sm)
        try:
            cost = peers.run("authors_align.py", st, sm, str(ITERATIONS), to, out)
        except RuntimeError as error:
            return str(error).splitlines()[-1][:60]
        return cost | {"error": pair.error(np.load(out))}


def _show(name: str, stages: dict[str, dict[str, Any]], theirs: dict[str, Any] | str | None) -> None:
    last = list(stages.values())[-1]
    cells = [f"{one['error']:.2f}" for one in stages.values()] + [f"{last['best_affine']:.2f}"]
    cells += ["yes" if last["right"] else "NO", f"{last['confidence']:.2f}", last["by"]]
    cells += [f"{last['cpu_s']:.1f}", f"{last['mb']:.0f}"]
    if isinstance(theirs, dict):
        cells += [f"{theirs['error']:.2f}", f"{theirs['cpu_s']:.0f}", f"{theirs['peak_mb']}"]
    elif theirs:
        cells.append(theirs)
    print(_line(name, *cells), flush=True)
    if last["note"]:
        print(f"    {last['note']}")


def _summary(rows: list[dict[str, Any]]) -> None:
    for what, of in (("median", np.median), ("worst", np.max)):
        errors = [f"{of([row[stage]['error'] for row in rows]):.2f}" for stage in rows[0]]
        last = [list(row.values())[-1] for row in rows]
        best, cpu, mb = (of([one[name] for one in last]) for name in ("best_affine", "cpu_s", "mb"))
        right = f"{sum(one['right'] for one in last)}/{len(last)}"
        print(_line(what, *errors, f"{best:.2f}", right, "", "", f"{cpu:.1f}", f"{mb:.0f}"))


def _line(name: str, *cells: str) -> str:
    return f"{name:18}" + "".join(f"{cell:>11}" for cell in cells)


if __name__ == "__main__":
    main(sys.argv[1:])
