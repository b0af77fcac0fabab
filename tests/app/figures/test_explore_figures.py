"""The profile of the Explore page, and its palettes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from spatialmeta_app.figures import palettes
from spatialmeta_app.figures.profile import profile_figure


def test_profile_has_a_line_and_a_band_for_each_feature() -> None:
    x = np.linspace(0, 3, 7)
    mean = np.vstack([x, 3 - x])
    figure = profile_figure(x, ["Dopamine", "Pcp4"], mean, mean - 0.1, mean + 0.1, scaled=False)
    lines = [t for t in figure.data if t.name]
    bands = [t for t in figure.data if t.fill == "toself"]
    assert [t.name for t in lines] == ["Dopamine", "Pcp4"]
    np.testing.assert_array_equal(lines[1].y, 3 - x)
    assert len(bands) == 2
    np.testing.assert_allclose(bands[0].y, np.concatenate([mean[0] + 0.1, (mean[0] - 0.1)[::-1]]))
    assert figure.layout.xaxis.title.text == "position (mm)"


def test_profile_band_is_cut_where_it_is_not_known() -> None:
    x = np.arange(6.0)
    mean = np.array([[0, 1, np.nan, np.nan, 4, 5.0]])
    bands = [t for t in profile_figure(x, ["a"], mean, mean, mean, scaled=True).data if t.fill == "toself"]
    assert [list(b.x) for b in bands] == [[0, 1, 1, 0], [4, 5, 5, 4]]


def test_palettes_are_plain_hex_and_distinct() -> None:
    found = palettes.for_browser()
    json.dumps(found)
    colours = [c for scale in found["scales"].values() for c in scale]
    colours += found["categories"] + found["outlines"] + found["lines"]
    assert all(re.fullmatch(r"#[0-9a-f]{6}", c) for c in colours)
    assert len(set(found["categories"])) >= 20


@pytest.mark.parametrize("name", ["viridis", "cividis", "magma", "inferno", "plasma"])
def test_scales_grow_in_luminance(name: str) -> None:
    """Perceptually even scales are ordered also for people who see no colours."""
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in palettes.hex_stops(name)])
    assert (np.diff(rgb @ [0.2126, 0.7152, 0.0722]) > 0).all()
