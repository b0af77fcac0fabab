"""What the integration scripts share: `SCRIPT IN.h5ad OUT.npz EPOCHS RECONSTRUCT` in, arrays and one line of JSON out.

The object has counts and intensities in X, `layers['normalized']`, `var['type']`, `obs['sample']`, `obsm['spatial']`.
"""

import json
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np

THREADS = 1  # of a shared machine: a second thread that waits would count as work


def given():
    """The object, the path of the arrays, epochs, and whether to reconstruct."""
    import torch

    torch.set_num_threads(THREADS)
    path, out, epochs, reconstruct = sys.argv[1:5]
    return ad.read_h5ad(path), out, int(epochs), reconstruct == "1"


def parts(joint):
    """Genes and metabolites, as copies."""
    return [joint[:, (joint.var["type"] == kind).to_numpy()].copy() for kind in ("ST", "SM")]


def peak_mb() -> int:
    """Most memory of this process. Not getrusage's, which begins with that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


class Clock:
    """CPU seconds and memory of the training alone."""

    def __init__(self) -> None:
        self._start = time.process_time()

    def stop(self) -> None:
        self.seconds = time.process_time() - self._start
        self.peak = peak_mb()

    def answer(self, out: str, **arrays: np.ndarray) -> None:
        """Write *arrays* (embedding, and where there are: st, sm, contribution) and say what training took."""
        np.savez(out, **arrays)
        print(json.dumps({"train_s": round(self.seconds, 2), "train_mb": self.peak}))
