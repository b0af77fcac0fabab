from __future__ import annotations

import numpy as np

from spatialmeta_app.figures import histograms


def test_counts_are_those_of_numpy_and_leave_out_what_is_not_finite() -> None:
    values = np.array([0.0, 1.0, 1.5, 2.0, np.nan, np.inf])
    figure = histograms.histogram(values, label="counts", bins=4)
    np.testing.assert_array_equal(figure.data[0].y, np.histogram(values[:4], bins=4)[0])
    assert figure.data[0].type == "bar"  # SVG, no WebGL


def test_the_cut_is_always_in_sight() -> None:
    figure = histograms.histogram(np.arange(5.0), label="I", cut=9.0, cut_label="cut")
    assert figure.layout.shapes[0].x0 == 9.0
    assert figure.data[0].x[-1] > 8.5
    assert figure.layout.annotations[0].text == "cut"


def test_no_values_are_said_in_words() -> None:
    figure = histograms.histogram(np.array([np.nan]), label="counts")
    assert "counts" in figure.layout.annotations[0].text


def test_equal_values_have_a_bin() -> None:
    counts, edges = histograms.bin_counts(np.full(7, 3.0), bins=5)
    assert counts.sum() == 7
    assert edges[0] < 3 < edges[-1]


def test_groups_share_their_bins() -> None:
    groups = {"genes": np.array([0.1, 0.2, np.nan]), "metabolites": np.array([0.9])}
    figure = histograms.stacked_by_kind(groups, label="I", counted="features", cuts={"genes": 0.15})
    assert [t.name for t in figure.data] == ["genes", "metabolites"]
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)
    assert [t.y.sum() for t in figure.data] == [2, 1]
    assert len(figure.layout.shapes) == 1
