"""Latents of two VAEs in place of principal components."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from core import keys
from core.context import Context
from core.datasets import SimulateConfig, simulate
from core.errors import DataError
from core.pipeline import run_step
from core.registration import AlignConfig, align
from core.registration.outline import point_distance

VALUES = AlignConfig(
    transform="similarity",
    orientation="given",
    flip=True,
    rotation_deg=125.0,
    max_steps=40,
    features_weight=3.0,
    latents="vae",
)


class Recorder(Context):
    def __init__(self) -> None:
        self.said: list[tuple[float, str]] = []

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        self.said.append((fraction, message))


@pytest.fixture(scope="module")
def pair():
    return simulate(
        SimulateConfig(spots=300, genes=60, metabolites=20, rotation_deg=130.0, flip=True, warp=0.0, seed=2)
    )


def test_both_sections_get_a_vae_and_its_latent_is_compared(pair) -> None:
    recorder = Recorder()
    done = run_step("align", {"st": pair.st, "sm": pair.sm}, VALUES, recorder)
    latent = done.obsm[keys.X_EMB_MODALITY[keys.SM]]
    assert latent.shape == (pair.sm.n_obs, 10)
    assert keys.X_EMB_MODALITY[keys.SM] not in pair.sm.obsm  # what came in stays as it was
    said = " ".join(message for _, message in recorder.said)
    assert "VAE of ST" in said
    assert "VAE of SM" in said
    assert np.diff([fraction for fraction, _ in recorder.said]).min() > -1e-9  # parts of the bar are rounded
    away = np.linalg.norm(done.obsm[keys.SPATIAL] - pair.truth.true_st_xy, axis=1)
    assert away.mean() / point_distance(pair.st.obsm[keys.SPATIAL]) < 0.6
    domain = pair.sm.obs["visible_domain"].to_numpy().astype(str)
    shuffled = np.random.default_rng(0).permutation(domain)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    read, chance = (cross_val_score(LogisticRegression(max_iter=1000), latent, y, cv=folds) for y in (domain, shuffled))
    assert read.mean() > chance.mean() + 0.05  # 0.29 against 0.2; ten principal components give 0.38


def waves(xy: np.ndarray) -> np.ndarray:
    """Four smooth functions of the place *xy* (n, 2), full-resolution pixels."""
    x, y = np.asarray(xy).T / 500
    return np.column_stack([np.sin(x), np.cos(y), np.sin(x + y), np.cos(x - y)])


def test_latents_that_are_there_are_taken(pair) -> None:
    st, sm = pair.st.copy(), pair.sm.copy()
    true = np.asarray(pair.truth.true_st_xy)
    st.obsm["X_emb_st"], sm.obsm["X_emb_sm"] = waves(st.obsm[keys.SPATIAL]), waves(true)
    recorder = Recorder()
    done = run_step("align", {"st": st, "sm": sm}, VALUES, recorder)
    assert not any("VAE" in message for _, message in recorder.said)
    assert np.linalg.norm(done.obsm[keys.SPATIAL] - true, axis=1).mean() / 200 < 0.06


def test_nothing_is_trained_where_nothing_is_compared(pair) -> None:
    recorder = Recorder()
    outline = AlignConfig(
        transform="similarity",
        orientation="given",
        flip=True,
        rotation_deg=125.0,
        max_steps=5,
        latents="vae",
        features_weight=0.0,
    )
    run_step("align", {"st": pair.st, "sm": pair.sm}, outline, recorder)
    assert not any("VAE" in message for _, message in recorder.said)


def test_the_method_alone_names_the_slot_that_is_missing(pair) -> None:
    with pytest.raises(DataError, match="X_emb_st"):
        align(pair.st, pair.sm, VALUES)
