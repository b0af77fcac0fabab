"""Integration beside its peers: domains found, batches mixed, values denoised, contributions, cost.

``python -m benchmarks integration [--seeds N] [--quick] [--only PART ...] [--methods NAME ...] [--cache FOLDER]``; the
peers (the authors' model, totalVI, SpatialGlue) run where `make peers` was run, else only PCA stands beside ours. Every
method gets the same reassigned spots and features, epochs and one thread, in a process of its own. The paper's form is
among the rows. What the peers gave is kept in FOLDER and read there the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import limit, peers
from benchmarks.joint_samples import MILD, Pair, dlpfc, ideals, simulated, vicari
from benchmarks.scores import Score, score

SCRIPTS = {"authors": "authors_integrate.py", "totalVI": "totalvi.py", "SpatialGlue": "spatialglue.py"}
SEVERAL = {"single": "multi", "paper-single": "paper-multi"}
MIXING = ("iLISI", "CiLISI", "batch ASW", "shuffled")
COLUMNS = ("k-means", "mixture", *MIXING, "genes", "metabolites", "AUC", "CPU s", "MB")


def main(arguments: list[str] | None = None) -> None:
    given = _parse(arguments or [])
    print(__doc__.splitlines()[0])
    print(
        f"spots {given.spots}, {given.epochs} epochs, simulation seeds {given.first_seed} to "
        f"{given.first_seed + given.seeds - 1}, one thread each"
    )
    for name in given.only:
        PARTS[name](given)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks integration")
    parser.add_argument("--seeds", type=int, default=5, help="how many simulated samples")
    parser.add_argument("--first-seed", type=int, default=0, help="settings were chosen on seeds 10 to 14")
    parser.add_argument("--spots", type=int, default=1000, help="of one sample; each of three has 40 %% of them")
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="600 spots, 16 epochs, one seed: does it run?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--methods", nargs="+", choices=_methods(None), default=list(_methods(None)))
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps what the peers gave")
    given = parser.parse_args(arguments)
    if given.quick:
        given.spots, given.epochs, given.seeds = 600, 16, 1
    return given


def one_sample(given: argparse.Namespace) -> None:
    _simulated(given, "one", samples=1, spots=given.spots)


def three_samples(given: argparse.Namespace) -> None:
    _simulated(given, "three", samples=3, spots=given.spots * 2 // 5)


def milder(given: argparse.Namespace) -> None:
    _simulated(given, "mild", samples=1, spots=given.spots, thinned=MILD[0], noise=MILD[1])


def real(given: argparse.Namespace) -> None:
    for name, make in (("dlpfc", dlpfc), ("vicari", vicari)):
        pair = make()
        if pair is not None:
            _table(name, {method: [row(name, pair)] for method, row in _methods(given).items()})


def speed(given: argparse.Namespace) -> None:
    """CPU seconds on one thread at the same epochs, batch size and features, of the training call (ours with all that
    it prepares and its embeddings) and of the whole process (imports and reading too); wall seconds on two threads
    (the least of three trainings) beside the limit in float32 (the median of those measured before, between and after),
    and in bfloat16 where ours trains so. Ours runs before and after theirs: the machine may change."""
    for samples, spots, full in ((1, 2003, 64), (3, 2000, 32)):
        epochs = 2 if given.quick else min(given.epochs, full)
        pair = simulated(0, spots=spots, samples=samples, genes=2000, metabolites=400, thinned=1, noise=0)
        print(f"\n{samples} x {spots} spots, 2,000 genes + 400 metabolites, {epochs} epochs")
        costs = {preset: [_cost(pair, preset, epochs)] for preset in SEVERAL}
        theirs = _peer("authors", pair, epochs, reconstruct=False)[1] if peers.python() is not None else None
        for preset, found in costs.items():
            found.append(_cost(pair, preset, epochs))
            print(f"  {_name(pair, preset)}: {_cpu(found)}, {max(said['train_mb'] for said in found)} MB", flush=True)
        if costs["single"][0]["mixed_precision"]:
            in_full = [_cost(pair, "single", epochs, mixed_precision="off")]
            print(f"  {_name(pair, 'single')} in float32: {_cpu(in_full)}", flush=True)
        if theirs is not None:
            print(f"  the authors' model: {_cpu([theirs])}, {theirs['train_mb']} MB", flush=True)
        for preset, found in costs.items() if theirs is not None else ():
            times = [theirs[key] / np.mean([said[key] for said in found]) for key in ("train_s", "cpu_s")]
            print(
                f"    {times[0]:.2f} times {_name(pair, preset)} (whole process {times[1]:.2f}); the aim is 6",
                flush=True,
            )
        for preset in costs:
            about = {"batch": 128, "by_spot": preset != "single", "threads": 2}
            found, limits = [], [limit.seconds(pair.joint, epochs, **about)]
            for _ in range(1 if given.quick else 3):
                found.append(_cost(pair, preset, epochs, threads=2))
                limits.append(limit.seconds(pair.joint, epochs, **about))
            walls = [said["train_wall_s"] for said in found]
            wall, parts = min(walls), np.median(limits, axis=0)
            print(
                f"  {_name(pair, preset)} on two threads: {wall:.1f} s (of {', '.join(f'{w:.1f}' for w in walls)}), "
                f"{wall / sum(parts):.2f} times the limit of {sum(parts):.1f} s (products {parts[0]:.1f}, gamma "
                f"{parts[1]:.1f}; least {min(map(sum, limits)):.1f}, most {max(map(sum, limits)):.1f}); the aim is 1.5",
                flush=True,
            )
            if found[0]["mixed_precision"]:
                shortest = sum(limit.seconds(pair.joint, epochs, **about, kind=torch.bfloat16))
                print(f"    {wall / shortest:.2f} times the limit in bfloat16, {shortest:.1f} s", flush=True)


def _cost(pair: Pair, preset: str, epochs: int, *, threads: int = 1, **others: object) -> dict:
    """What a training to the last epoch on all spots takes."""
    return _ours(pair, preset, epochs, threads=threads, reconstruct=False, validation=0.0, **others)[1]


def _cpu(found: Sequence[dict]) -> str:
    training, whole = (" and ".join(f"{said[key]:.1f}" for said in found) for key in ("train_s", "cpu_s"))
    return f"{training} CPU s (whole process {whole})"


def _name(pair: Pair, preset: str) -> str:
    return SEVERAL[preset] if pair.joint.obs["sample"].nunique() > 1 else preset


def large(given: argparse.Namespace) -> None:
    """Cost of a spot at 10,000 and 100,000 spots with 2,800 features."""
    costs = []
    for n in (1_000, 4_000) if given.quick else (10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            said = _child("large", folder, n)
        costs.append(said["train_s"] / n / said["epochs"])
        print(
            f"{n:,} spots x 2,800 features: {1e3 * costs[-1]:.3f} CPU ms a spot and epoch, {said['train_mb']} MB",
            flush=True,
        )
    print(f"  a spot costs {costs[1] / costs[0]:.2f} times as much; the aim is 1.3, and 4,096 MB")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "one": one_sample,
    "three": three_samples,
    "mild": milder,
    "real": real,
    "speed": speed,
    "large": large,
}


def _simulated(given: argparse.Namespace, part: str, **size: float) -> None:
    rows: dict[str, list[Score]] = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        pair = simulated(seed, **size)
        for name, row in _methods(given).items():
            rows.setdefault(name, []).append(row(f"{part}-{given.spots}-{seed}", pair))
            print(f"  {part}, seed {seed}, {name}: {_cells(rows[name][-1].values)}", file=sys.stderr, flush=True)
        for name, z in ideals(pair).items() if size["samples"] > 1 else ():
            rows.setdefault(name, []).append(_judge(pair, {"embedding": z}, {}))
    _table(part, rows)
    if size["samples"] > 1:
        print("  shuffled: batch ASW where the samples are at random within each true domain of the same embedding")


def _methods(given: argparse.Namespace | None) -> dict[str, Callable[[str, Pair], Score]]:
    """Name -> what scores it on a pair, which has a name for the cache; those of ``given.methods``."""
    methods: dict[str, Callable[[str, Pair], Score]] = {
        "ours": lambda _, pair: _judge(pair, *_ours(pair, "single", given.epochs)),
        "paper's form": lambda _, pair: _judge(pair, *_ours(pair, "paper-single", given.epochs)),
        "PCA of both": lambda _, pair: _judge(pair, {"embedding": _pca(pair)}, {}),
    }
    for name in SCRIPTS if peers.python() is not None else ():
        methods[name] = lambda of, pair, name=name: _judge(pair, *_kept_peer(name, of, pair, given))
    return methods if given is None else {name: methods[name] for name in given.methods}


def _judge(pair: Pair, arrays: dict[str, np.ndarray], said: dict) -> Score:
    return score(pair, arrays, cpu_s=said.get("train_s", np.nan), mb=said.get("train_mb", np.nan))


def _table(title: str, rows: dict[str, list[Score]]) -> None:
    print(f"\n{title} (medians; in brackets the number of seeds)\n{'':>18}" + "".join(f"{c:>13}" for c in COLUMNS))
    for name, found in rows.items():
        values = np.nanmedian([s.values for s in found], axis=0) if len(found) > 1 else found[0].values
        print(f"{name:>14} ({len(found)})" + _cells(values), flush=True)


def _cells(values: Sequence[float]) -> str:
    return "".join(f"{'-':>13}" if np.isnan(v) else f"{v:>13.3g}" for v in values)


def _ours(
    pair: Pair, preset: str, epochs: int, *, threads: int = 1, **others: object
) -> tuple[dict[str, np.ndarray], dict]:
    settings = {"preset": _name(pair, preset), "epochs": epochs, **others}
    with tempfile.TemporaryDirectory() as folder:
        pair.joint.write_h5ad(Path(folder) / "in.h5ad")
        said = _child("integrate", folder, json.dumps(settings), threads=threads)
        return _arrays(folder), said


def _kept_peer(name: str, of: str, pair: Pair, given: argparse.Namespace) -> tuple[dict[str, np.ndarray], dict]:
    """What a peer gives, from the cache where it is there."""
    if given.cache is None:
        return _peer(name, pair, given.epochs)
    path = given.cache / f"{of}-{given.epochs}-{name}.npz"
    if not path.exists():
        arrays, said = _peer(name, pair, given.epochs)
        given.cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, said=json.dumps(said), **arrays)
    with np.load(path) as found:
        arrays = dict(found)
    return arrays, json.loads(str(arrays.pop("said")))


def _peer(name: str, pair: Pair, epochs: int, *, reconstruct: bool = True) -> tuple[dict[str, np.ndarray], dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.h5ad"
        pair.joint.write_h5ad(path)
        said = peers.run(SCRIPTS[name], path, Path(folder) / "out.npz", str(epochs), str(int(reconstruct)))
        return _arrays(folder), said


def _arrays(folder: str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "out.npz") as found:
        return dict(found)


def _child(what: str, *words: object, threads: int = 1) -> dict:
    """Run :mod:`benchmarks.integration_child` alone in a process, so that its memory is its own."""
    several = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.integration_child", what, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | several, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def _pca(pair: Pair) -> np.ndarray:
    """20 components of each modality (genes log-normalised, log metabolites, standardised), scaled to equal spread."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import scale

    parts = []
    for kind in ("ST", "SM"):
        values = pair.joint.layers["normalized"][:, (pair.joint.var["type"] == kind).to_numpy()].toarray()
        found = PCA(min(20, values.shape[1] - 1), random_state=0).fit_transform(
            scale(np.log1p(values) if kind == "SM" else values)
        )
        parts.append(found / np.sqrt(found.var(axis=0).sum()))
    return np.hstack(parts)
