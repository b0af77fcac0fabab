"""What the Align page tells of a result."""

from __future__ import annotations

import numpy as np

from core.registration import Affine, Composition, Diffeomorphism, Quality, RegistrationResult
from spatialmeta_app.components.align_findings import quality


def test_a_deformation_that_was_dropped_is_told() -> None:
    linear = Affine(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    numbers = {"outline_mean_um": 20.0, "smallest_jacobian": 0.9}
    kept = RegistrationResult(linear, 0.5, Quality(1, 2, 0.9, 0.9), note="The linear map was kept: it would fold.")
    assert "it would fold" in str(quality(numbers, kept.to_dict()))
    both = Composition((Diffeomorphism((0.0, 0.0), 1.0, np.zeros((1, 2, 3, 3))), linear))
    shown = str(quality(numbers, RegistrationResult(both, 0.5, Quality(1, 2, 0.9, 0.9)).to_dict()))
    assert "Deformed" in shown
    assert "it would fold" not in shown
