"""Several samples whose neighbours are crossed: a training that was cut is the one that was not."""

from __future__ import annotations

import numpy as np
import pytest

from core import keys
from core.errors import Cancelled
from core.vae import IntegrateConfig, integrate, load
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_train import QUICK, Recorder, assert_equal_weights


@pytest.mark.parametrize("stop_after", [3, 14])  # in the first epoch, between two checkpoints
def test_resumed_and_uninterrupted_training_are_equal_bit_for_bit(tmp_path, stop_after):
    joint = make_pair(300, samples=3)
    config = IntegrateConfig(**QUICK, checkpoint_epochs=2, weight_mmd=1.0)
    whole = integrate(joint, config, Recorder(tmp_path / "whole"))
    with pytest.raises(Cancelled):
        integrate(joint, config, Recorder(tmp_path / "parts", stop_after=stop_after))
    resumed = integrate(joint, config, Recorder(tmp_path / "parts"))
    assert_equal_weights(tmp_path / "whole", tmp_path / "parts")
    shifts = [load(tmp_path / run / "model.pt").shifts for run in ("whole", "parts")]
    assert shifts[0].samples == shifts[1].samples == ("s0", "s1", "s2")  # neighbours were crossed
    for name, values in shifts[0].values.items():
        assert np.abs(values).max() > 0
        np.testing.assert_array_equal(values, shifts[1].values[name])
    for slot in (keys.X_EMB, *keys.X_EMB_MODALITY.values()):
        np.testing.assert_array_equal(whole.obsm[slot], resumed.obsm[slot])
    np.testing.assert_array_equal(whole.layers[keys.RECONSTRUCTION], resumed.layers[keys.RECONSTRUCTION])
    for name in keys.CONTRIBUTION.values():
        np.testing.assert_array_equal(whole.obs[name], resumed.obs[name])
    terms = [out.uns[keys.UNS][keys.TRAINING]["terms"] for out in (whole, resumed)]
    assert "mmd" in terms[0]
    assert {k: list(v) for k, v in terms[0].items()} == {k: list(v) for k, v in terms[1].items()}
