"""Integration beside its peers: domains found, batches mixed, values denoised, contributions, cost.

``python -m benchmarks integration [--seeds N] [--peer-seeds N] [--quick] [--only PART ...]``; the peers (the authors'
model, totalVI, SpatialGlue) run where `make peers` was run, else only PCA stands beside ours. Every method gets the
same reassigned spots and features and one thread, in a process of its own. The paper's form is among the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import limit, peers
from benchmarks.joint_samples import Pair, dlpfc, simulated, vicari
from benchmarks.scores import Score, score

EPOCHS = {"totalVI": 30}  # others: --epochs; SpatialGlue has its own number
SCRIPTS = {"authors": "authors_integrate.py", "totalVI": "totalvi.py", "SpatialGlue": "spatialglue.py"}
SEVERAL = {"single": "multi", "paper-single": "paper-multi"}
COLUMNS = ("ARI", "iLISI", "batch ASW", "genes", "metabolites", "AUC", "CPU s", "MB")


def main(arguments: list[str] | None = None) -> None:
    given = _parse(arguments or [])
    print(__doc__.splitlines()[0])
    print(
        f"spots {given.spots}, {given.epochs} epochs, seeds {given.seeds} (peers {given.peer_seeds}), one thread each"
    )
    for name in given.only:
        PARTS[name](given)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks integration")
    parser.add_argument("--seeds", type=int, default=5, help="simulated samples for ours and PCA")
    parser.add_argument("--peer-seeds", type=int, default=None, help="simulated samples for the peers; default: all")
    parser.add_argument("--spots", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="600 spots, 16 epochs, one seed: does it run?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args(arguments)
    if given.quick:
        given.spots, given.epochs, given.seeds = 600, 16, 1
    given.peer_seeds = given.seeds if given.peer_seeds is None else min(given.peer_seeds, given.seeds)
    return given


def one_sample(given: argparse.Namespace) -> None:
    _simulated(given, "one sample", samples=1, spots=given.spots)


def three_samples(given: argparse.Namespace) -> None:
    _simulated(given, "three samples with batch effects", samples=3, spots=given.spots // 2)


def real(given: argparse.Namespace) -> None:
    for title, make in (("dlpfc_151673_pair, manual layers", dlpfc), ("vicari_B1 + vicari_A1, regions", vicari)):
        pair = make()
        if pair is not None:
            _table(title, {name: [row(pair, given.epochs)] for name, row in _methods().items()})


def speed(given: argparse.Namespace) -> None:
    """CPU seconds on one thread at the same epochs, batch size and features, and wall seconds on two beside the limit.
    Both are of the whole call: preparing, training, embeddings."""
    for samples, spots, full in ((1, 2003, 64), (3, 2000, 32)):
        epochs = 2 if given.quick else min(given.epochs, full)
        pair = simulated(0, spots=spots, samples=samples, genes=2000, metabolites=400, thinned=1, noise=0)
        print(f"\n{samples} x {spots} spots, 2,000 genes + 400 metabolites, {epochs} epochs")
        ours = {}
        for preset in ("single", "paper-single"):
            said = ours[preset] = _ours(pair, preset, epochs, reconstruct=False, to_the_end=True)[1]
            wall = _ours(pair, preset, epochs, reconstruct=False, to_the_end=True, threads=2)[1]["train_wall_s"]
            parts = limit.seconds(pair.joint, epochs, batch=128, by_spot=preset != "single", threads=2)
            name = SEVERAL[preset] if samples > 1 else preset
            print(
                f"  {name}: {said['train_s']:.1f} CPU s, {said['train_mb']} MB; on "
                f"two threads {wall:.1f} s, {wall / sum(parts):.2f} times the limit of {sum(parts):.1f} s "
                f"(products {parts[0]:.1f}, gamma {parts[1]:.1f})",
                flush=True,
            )
        if peers.python() is not None:
            theirs = _peer("authors", pair, epochs, reconstruct=False)[1]
            ratios = ", ".join(f"{theirs['train_s'] / said['train_s']:.1f} times {name}" for name, said in ours.items())
            print(f"  authors {theirs['train_s']:.1f} CPU s, {theirs['train_mb']} MB: {ratios}", flush=True)


def large(given: argparse.Namespace) -> None:
    """Cost of a spot at 10,000 and 100,000 spots with 2,800 features."""
    costs = []
    for n in (1_000, 4_000) if given.quick else (10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            said = _child("large", folder, n)
        costs.append(said["train_s"] / n / said["epochs"])
        print(f"{n:,} spots x 2,800 features: {1e3 * costs[-1]:.3f} CPU ms a spot and epoch, {said['train_mb']} MB")
    print(f"  a spot costs {costs[1] / costs[0]:.2f} times as much")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "one": one_sample,
    "three": three_samples,
    "real": real,
    "speed": speed,
    "large": large,
}


def _simulated(given: argparse.Namespace, title: str, **size: int) -> None:
    rows: dict[str, list[Score]] = {}
    for seed in range(given.seeds):
        pair = simulated(seed, **size)
        for name, row in _methods().items():
            if name not in SCRIPTS or seed < given.peer_seeds:
                rows.setdefault(name, []).append(row(pair, given.epochs))
                print(f"  {title}, seed {seed}, {name}: ARI {rows[name][-1].ari:.2f}", file=sys.stderr, flush=True)
    _table(title, rows)


def _methods() -> dict[str, Callable[[Pair, int], Score]]:
    """Name -> what scores it on a pair."""
    methods: dict[str, Callable[[Pair, int], Score]] = {
        "ours": lambda pair, epochs: _judge(pair, *_ours(pair, "single", epochs)),
        "paper's form": lambda pair, epochs: _judge(pair, *_ours(pair, "paper-single", epochs)),
        "PCA of both": lambda pair, _: _judge(pair, {"embedding": _pca(pair)}, {}),
    }
    for name in SCRIPTS if peers.python() is not None else ():
        methods[name] = lambda pair, epochs, name=name: _judge(pair, *_peer(name, pair, epochs))
    return methods


def _judge(pair: Pair, arrays: dict[str, np.ndarray], said: dict) -> Score:
    return score(pair, arrays, cpu_s=said.get("train_s", np.nan), mb=said.get("train_mb", np.nan))


def _table(title: str, rows: dict[str, list[Score]]) -> None:
    print(f"\n{title} (medians; in brackets the number of seeds)\n{'':>18}" + "".join(f"{c:>13}" for c in COLUMNS))
    for name, found in rows.items():
        values = np.nanmedian([s.values for s in found], axis=0) if len(found) > 1 else found[0].values
        cells = "".join(f"{'-':>13}" if np.isnan(v) else f"{v:>13.3g}" for v in values)
        print(f"{name:>14} ({len(found)})" + cells, flush=True)


def _ours(
    pair: Pair, preset: str, epochs: int, *, reconstruct: bool = True, to_the_end: bool = False, threads: int = 1
) -> tuple[dict[str, np.ndarray], dict]:
    several = pair.joint.obs["sample"].nunique() > 1
    settings = {"preset": SEVERAL[preset] if several else preset, "epochs": epochs, "reconstruct": reconstruct}
    if to_the_end:
        settings |= {"validation": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        pair.joint.write_h5ad(Path(folder) / "in.h5ad")
        said = _child("integrate", folder, json.dumps(settings), threads=threads)
        return _arrays(folder), said


def _peer(name: str, pair: Pair, epochs: int, *, reconstruct: bool = True) -> tuple[dict[str, np.ndarray], dict]:
    epochs = min(epochs, EPOCHS.get(name, epochs))
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
