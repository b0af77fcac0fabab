"""Training: a loop that gives the same weights for the same seed, and goes on from where it was stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.context import Context
from core.errors import Cancelled, ConfigError, NotConvergedError
from core.vae import checkpoint
from core.vae.adam import Adam
from core.vae.config import AUTO, IntegrateConfig, as_plain
from core.vae.data import Dataset, batches
from core.vae.module import Module
from core.vae.step import make_step

CHECKPOINT = "training.pt"
FORMAT = 2  # of the checkpoint


@dataclass(frozen=True)
class TrainingHistory:
    """Mean loss per spot by term and epoch.

    Attributes
    ----------
    terms
        Each float64 of shape (epochs,): ``loss`` (weighted sum), the modalities in lower case, ``kl``, ``mmd`` where
        there are batches, ``validation`` where a share is kept aside.
    best_epoch
        The epoch (from 0) whose weights were kept.
    stopped
        'epochs' or 'patience'.
    mixed_precision
        Whether the products of wide layers were in bfloat16.
    """

    terms: dict[str, np.ndarray]
    best_epoch: int
    stopped: str
    mixed_precision: bool


@dataclass
class _State:
    """All of a run that changes, apart from module, optimiser and random numbers."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch under way
    terms: dict[str, list[float]] = field(default_factory=dict)
    best: float = math.inf
    best_epoch: int = -1
    best_weights: dict[str, torch.Tensor] | None = None


def choose_device(name: str) -> torch.device:
    """'auto' takes CUDA, else MPS, else CPU; a device that is not there raises ConfigError."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == AUTO:
        name = "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if not there[name]:
        raise ConfigError(f"device {name} to be there", found="none", mend="Choose auto or cpu.")
    return torch.device(name)


def choose_mixed(name: str, device: torch.device) -> bool:
    """'on', 'off', or by 'auto' on CUDA and on processors that multiply bfloat16 (AVX512-BF16)."""
    from llvmlite.binding import get_host_cpu_features  # with numba, where it is first needed

    if name != AUTO:
        return name == "on"
    fast = {"cuda": True, "cpu": get_host_cpu_features().get("avx512bf16", False)}
    return fast.get(device.type, False)


def fit(module: Module, dataset: Dataset, config: IntegrateConfig, context: Context) -> TrainingHistory:
    """Train *module* in place; it ends with the weights of the best epoch.

    Raises
    ------
    NotConvergedError
        The loss is not a number. *module* has the best weights so far.
    Cancelled
        After a checkpoint was written.
    """
    return _Trainer(module, dataset, config, context).run()


class _Trainer:
    def __init__(self, module: Module, dataset: Dataset, config: IntegrateConfig, context: Context) -> None:
        self.device = choose_device(config.device)
        self.module = module.to(self.device)
        self.dataset, self.config, self.context = dataset, config, context
        self.optimizer = Adam(list(module.parameters()), config.learning_rate)
        self.mixed = choose_mixed(config.mixed_precision, self.device)
        self.step = make_step(module, dataset, self.optimizer, mixed=self.mixed)
        self.train_spots, self.validation_spots = self._split()
        self.state = _State()

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng(self.config.seed).permutation(len(self.dataset))
        n_validation = round(self.config.validation * len(order))
        return np.sort(order[n_validation:]), np.sort(order[:n_validation])

    def run(self) -> TrainingHistory:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self.step:
            torch.manual_seed(self.config.seed)
            self._resume()
            stopped = "epochs"
            while self.state.epoch < self.config.epochs:
                self._epoch()
                if self.state.epoch - 1 - self.state.best_epoch >= self.config.patience:
                    stopped = "patience"
                    break
        self.module.load_state_dict(self.state.best_weights)
        terms = {name: np.array(values) for name, values in self.state.terms.items()}
        return TrainingHistory(terms, self.state.best_epoch, stopped, self.mixed)

    def _epoch(self) -> None:
        state = self.state
        order = np.random.default_rng([self.config.seed, state.epoch]).permutation(self.train_spots)
        pieces = batches(order, self.config.batch_size)
        while state.step < len(pieces):
            if self.context.cancelled():
                self._write_checkpoint()
                raise Cancelled
            self._move(pieces[state.step])
            state.step += 1
        self._finish_epoch()

    def _move(self, spots: np.ndarray) -> None:
        numbers = self.step.differentiate(spots, kl_share=self._kl_share())
        if not math.isfinite(numbers["loss"]):
            self._not_converged()
        self.optimizer.step(self.step.gradients, self.step.share)
        for name, value in numbers.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value * len(spots)

    def _kl_share(self) -> float:
        warmup = self.config.kl_warmup_epochs
        return min(1.0, (self.state.epoch + 1) / warmup) if warmup else 1.0

    def _finish_epoch(self) -> None:
        state = self.state
        means = {name: value / len(self.train_spots) for name, value in state.sums.items()}
        judged = means["loss"]
        if len(self.validation_spots):
            judged = means["validation"] = self._validate()
        for name, value in means.items():
            state.terms.setdefault(name, []).append(value)
        if not math.isfinite(judged):
            self._not_converged()
        # without a validation share the last epoch counts: the training loss grows with the KL warm-up
        if judged < state.best or not len(self.validation_spots):
            state.best, state.best_epoch = judged, state.epoch
            state.best_weights = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
        if state.epoch % self.config.checkpoint_epochs == 0 and state.epoch < self.config.epochs:
            self._write_checkpoint()
        message = f"epoch {state.epoch} of {self.config.epochs}"
        self.context.progress(state.epoch / self.config.epochs, message, **means)

    def _validate(self) -> float:
        """Loss of the spots kept aside, with the full KL weight and the same noise each time."""
        total = 0.0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.config.seed)
            for spots in batches(self.validation_spots, self.config.batch_size):
                total += self.step.evaluate(spots)["loss"] * len(spots)
        return total / len(self.validation_spots)

    def _not_converged(self) -> None:
        epoch = self.state.epoch + 1
        if self.state.best_weights is not None:
            self.module.load_state_dict(self.state.best_weights)
        kept = "The weights of the best epoch are kept." if self.state.best_weights is not None else ""
        raise NotConvergedError(
            "a finite loss",
            found=f"not a number in epoch {epoch}",
            mend=f"Choose a smaller learning rate than {self.config.learning_rate:g}. {kept}".strip(),
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of this very run."""
        sums = {name: float(m.data.sum(dtype=np.float64)) for name, m in self.dataset.matrices.items()}
        return {"format": FORMAT, "config": as_plain(self.config), "spots": len(self.dataset), "sums": sums}

    def _write_checkpoint(self) -> None:
        folder = self.context.checkpoints
        if folder is None:
            return
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        content = {
            "fingerprint": self._fingerprint(),
            "state": dict(vars(self.state)),
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state(),
            "random": random,
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        checkpoint.write(Path(folder) / CHECKPOINT, content)

    def _resume(self) -> None:
        path = Path(self.context.checkpoints or "") / CHECKPOINT
        if self.context.checkpoints is None or not path.is_file():
            return
        content = checkpoint.read(path)
        if content["fingerprint"] != self._fingerprint():
            return
        self.state = _State(**content["state"])
        self.module.load_state_dict(content["module"])
        self.optimizer.restore(content["optimizer"])
        torch.set_rng_state(content["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in content["random"]:
            torch.cuda.set_rng_state(content["random"]["cuda"], self.device)
