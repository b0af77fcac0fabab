"""What could not be written after a training is refused before it."""

from __future__ import annotations

import pytest

from core import keys
from core.errors import DataError
from core.vae import IntegrateConfig, integrate
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_train import QUICK, Recorder


@pytest.mark.parametrize("samples", [1, 2])
def test_a_sample_to_correct_to_that_is_not_there(samples):
    recorder = Recorder()
    with pytest.raises(DataError, match="s0, s1" if samples == 2 else "no levels"):
        integrate(make_pair(120, samples=samples), IntegrateConfig(**QUICK, correct_to="s9"), recorder)
    assert not recorder.said


def test_genes_alone_without_the_layer_that_the_reconstruction_is_scaled_by():
    joint, recorder = make_pair(120), Recorder()
    joint = joint[:, joint.var[keys.TYPE] == keys.ST].copy()
    del joint.layers[keys.NORMALIZED]
    with pytest.raises(DataError, match=r"normalized.*reconstruct off"):
        integrate(joint, IntegrateConfig(**QUICK), recorder)
    assert not recorder.said
    out = integrate(joint, IntegrateConfig(**QUICK, reconstruct=False), recorder)
    assert keys.RECONSTRUCTION not in out.layers
    assert len(recorder.said) > QUICK["epochs"]
