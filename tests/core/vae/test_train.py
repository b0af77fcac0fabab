"""The loop: the same for the same seed, stopped and taken up again without a trace, and honest about NaN."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from core.context import Context
from core.errors import Cancelled, NotConvergedError
from core.vae import IntegrateConfig, compiled, integrate, load
from core.vae.byhand import ByHand
from core.vae.config import resolve
from core.vae.data import Dataset
from core.vae.modality import Modality
from core.vae.module import Module
from core.vae.train import CHECKPOINT, choose_mixed, fit

QUICK = {"epochs": 5, "n_hidden": 16, "n_latent": 4, "batch_size": 64}


class Recorder(Context):
    """Keeps what is said; asks to stop after *stop_after* questions."""

    def __init__(self, checkpoints: Path | None = None, stop_after: int | None = None) -> None:
        self.checkpoints, self.stop_after = checkpoints, stop_after
        self.asked, self.said = 0, []

    def progress(self, fraction, message, **numbers):
        self.said.append((fraction, message, numbers))

    def cancelled(self):
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / "model.pt").module.state_dict()


def assert_equal_weights(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_seed_decides(pair):
    first, again = (integrate(pair, IntegrateConfig(**QUICK, seed=3)) for _ in range(2))
    other = integrate(pair, IntegrateConfig(**QUICK, seed=4))
    for slot in ("X_emb", "X_emb_st", "X_emb_sm"):
        np.testing.assert_array_equal(first.obsm[slot], again.obsm[slot])
    assert not np.allclose(first.obsm["X_emb"], other.obsm["X_emb"])


def test_training_leaves_the_callers_random_numbers_alone(pair):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    integrate(pair, IntegrateConfig(**QUICK))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("mixed", ["off", "on"])
@pytest.mark.parametrize("stop_after", [3, 12, 20])  # in the first epoch, between two checkpoints, in the last
def test_resumed_training_gives_the_same_weights_bit_for_bit(pair, tmp_path, stop_after, mixed, monkeypatch):
    monkeypatch.setattr(compiled, "WIDE", 16)
    config = IntegrateConfig(**QUICK, checkpoint_epochs=2, mixed_precision=mixed)
    integrate(pair, config, Recorder(tmp_path / "whole"))
    with pytest.raises(Cancelled):
        integrate(pair, config, Recorder(tmp_path / "parts", stop_after=stop_after))
    assert (tmp_path / "parts" / CHECKPOINT).is_file()
    resumed = Recorder(tmp_path / "parts")
    out = integrate(pair, config, resumed)
    assert_equal_weights(tmp_path / "whole", tmp_path / "parts")
    assert len(out.uns["spatialmeta"]["training"]["terms"]["loss"]) == 5
    assert resumed.asked == 25 - stop_after  # 5 epochs of 5 batches: nothing was done twice


def test_a_killed_run_goes_on_from_its_last_periodic_checkpoint(pair, tmp_path):
    class Killed(Recorder):
        def progress(self, fraction, message, **numbers):
            if message.startswith("epoch 4"):
                raise KeyboardInterrupt

    config = IntegrateConfig(**QUICK, checkpoint_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        integrate(pair, config, Killed(tmp_path / "killed"))
    integrate(pair, config, Recorder(tmp_path / "killed"))
    integrate(pair, config, Recorder(tmp_path / "whole"))
    assert_equal_weights(tmp_path / "killed", tmp_path / "whole")


def test_a_checkpoint_of_another_run_is_not_taken(pair, tmp_path):
    with pytest.raises(Cancelled):
        integrate(pair, IntegrateConfig(**QUICK, seed=1), Recorder(tmp_path / "a", stop_after=12))
    integrate(pair, IntegrateConfig(**QUICK, seed=2), Recorder(tmp_path / "a"))
    integrate(pair, IntegrateConfig(**QUICK, seed=2), Recorder(tmp_path / "b"))
    assert_equal_weights(tmp_path / "a", tmp_path / "b")


def test_progress_tells_each_term_of_each_epoch(pair):
    recorder = Recorder()
    out = integrate(pair, IntegrateConfig(**QUICK), recorder)
    epochs = [numbers for _, message, numbers in recorder.said if message.startswith("epoch")]
    assert len(epochs) == QUICK["epochs"]
    assert {"loss", "st", "sm", "kl", "validation"} <= set(epochs[0])
    terms = out.uns["spatialmeta"]["training"]["terms"]
    for name, values in terms.items():
        np.testing.assert_array_equal(values, [numbers[name] for numbers in epochs])
    assert terms["loss"][-1] < terms["loss"][0]
    assert [f for f, _, _ in recorder.said][-1] == 1.0


def small_run(seed: int = 0, **settings) -> tuple[Module, Dataset, IntegrateConfig]:
    config = resolve(IntegrateConfig(**{**QUICK, **settings}), n_samples=1, has_st=True, has_spatial=False)
    counts = np.random.default_rng(seed).poisson(1.0, (80, 6)).astype(np.float32)
    import scipy.sparse as sp

    torch.manual_seed(seed)
    module = Module([Modality("ST", "zinb", "log1p", tuple("abcdef"))], (), config)
    return module, Dataset({"ST": sp.csr_matrix(counts)}, np.zeros((80, 0), dtype=int)), config


def test_early_stopping_keeps_the_best_epoch():
    module, dataset, config = small_run(epochs=200, patience=3, validation=0.3, learning_rate=0.05)
    history = fit(module, dataset, config, Context())
    curve = history.terms["validation"]
    assert history.stopped == "patience"
    assert len(curve) < 200
    assert history.best_epoch == int(np.argmin(curve)) == len(curve) - 1 - 3


def test_nan_stops_with_the_last_good_weights(tmp_path):
    module, dataset, config = small_run(validation=0.0)
    good = {}

    class Poison(Context):
        def progress(self, fraction, message, **numbers):
            if message.startswith("epoch 2"):
                good.update({k: v.clone() for k, v in module.state_dict().items()})
                with torch.no_grad():
                    module.joint_mean.weight.fill_(float("nan"))

    with pytest.raises(NotConvergedError, match=r"epoch 3.*smaller learning rate"):
        fit(module, dataset, config, Poison())
    assert all(torch.equal(good[name], value) for name, value in module.state_dict().items())


def test_nan_leaves_the_best_model_behind(pair, tmp_path, monkeypatch):
    real = ByHand.differentiate
    calls = {"n": 0}

    def differentiate(self, spots, *, kl_share):
        calls["n"] += 1
        return real(self, spots, kl_share=float("nan") if calls["n"] > 12 else kl_share)

    monkeypatch.setattr(ByHand, "differentiate", differentiate)
    with pytest.raises(NotConvergedError):
        integrate(pair, IntegrateConfig(**QUICK), Recorder(tmp_path))
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values())


@pytest.mark.parametrize("n", [1, 129, 257])
def test_a_last_batch_of_one_spot(pair, n):
    module, _, config = small_run(validation=0.0, batch_size=128, epochs=2)
    import scipy.sparse as sp

    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (n, 6)).astype(np.float32))
    history = fit(module, Dataset({"ST": counts}, np.zeros((n, 0), dtype=int)), config, Context())
    assert np.isfinite(history.terms["loss"]).all()


def test_bfloat16_learns_what_float32_learns(pair, monkeypatch):
    monkeypatch.setattr(compiled, "WIDE", 16)
    settings = {**QUICK, "epochs": 30, "validation": 0.0}
    full, mixed = (integrate(pair, IntegrateConfig(**settings, mixed_precision=m)) for m in ("off", "on"))
    trained = [out.uns["spatialmeta"]["training"] for out in (full, mixed)]
    assert [each["mixed_precision"] for each in trained] == [False, True]
    (start, *_, end), (mixed_start, *_, mixed_end) = (each["terms"]["loss"] for each in trained)
    assert mixed_start - mixed_end == pytest.approx(start - end, rel=0.02)
    assert mixed_end != end
    apart = [pdist(out.obsm["X_emb"]) for out in (full, mixed)]
    assert np.corrcoef(apart)[0, 1] > 0.95


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="needs Linux, whose list of features is compared")
def test_mixed_precision_is_for_what_multiplies_it_fast():
    there = "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    found = {name: choose_mixed("auto", torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert found == {"cpu": there, "cuda": True, "mps": False}
    assert choose_mixed("on", torch.device("cpu"))
    assert not choose_mixed("off", torch.device("cuda"))


def test_uses_no_device_that_is_not_there(pair):
    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    from core.errors import ConfigError

    with pytest.raises(ConfigError, match="cuda"):
        integrate(pair, IntegrateConfig(**QUICK, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_trains_on_cuda_with_mixed_precision(pair):
    out: ad.AnnData = integrate(pair, IntegrateConfig(**QUICK, device="cuda"))
    assert out.uns["spatialmeta"]["training"]["device"].startswith("cuda")
    assert np.isfinite(out.obsm["X_emb"]).all()
