from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from core.fdr import benjamini_hochberg


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_equals_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(np.array(p)), false_discovery_control(p), atol=1e-12)


def test_nan_is_no_test() -> None:
    fdr = benjamini_hochberg(np.array([0.01, np.nan, 0.03]))
    np.testing.assert_allclose(fdr, [0.02, np.nan, 0.03])
