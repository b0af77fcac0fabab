from __future__ import annotations

from spatialmeta_app.figures import curves

HISTORY = {"loss": ([1, 2], [9.0, 8.0]), "validation": ([1, 2], [9.5, 8.5]), "kl": ([1, 2], [0.1, 0.2])}


def test_traces_keep_the_order_of_the_terms() -> None:
    figure = curves.small_multiples(HISTORY, overlays={"validation": "loss"})
    assert [t.name for t in figure.data] == list(HISTORY)
    assert list(figure.data[2].y) == [0.1, 0.2]


def test_titles_stay_clear_of_the_panel_above() -> None:
    history = {term: ([1, 2], [1.0, 2.0]) for term in ("a", "b", "c")}
    figure = curves.small_multiples(history, height=250)
    upper, lower = figure.layout.yaxis.domain, figure.layout.yaxis3.domain
    assert (upper[0] - lower[1]) * (
        250 - 32
    ) >= 40  # px: a line of ticks (11 px) and a title (12 px) with their margins


def test_an_overlay_shares_the_panel() -> None:
    figure = curves.small_multiples(HISTORY, overlays={"validation": "loss"})
    loss, validation, kl = figure.data
    assert (validation.xaxis, validation.yaxis) == (loss.xaxis, loss.yaxis)
    assert kl.yaxis != loss.yaxis
    assert len(figure.layout.annotations) == 2


def test_an_overlay_without_its_panel_has_its_own() -> None:
    figure = curves.small_multiples({"validation": ([1], [1.0])}, overlays={"validation": "loss"})
    assert len(figure.data) == 1
    assert figure.layout.annotations[0].text == "validation"


def test_no_numbers_are_said_in_words() -> None:
    assert "Curves appear" in curves.small_multiples({}).layout.annotations[0].text
