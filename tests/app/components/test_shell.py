"""Marks of the steps, places from addresses, menus."""

from __future__ import annotations

import pytest
from dash import html

from spatialmeta_app.components import shell
from spatialmeta_app.components.shell import Place

DONE = dict.fromkeys(("st", "sm", "align", "reassign", "features", "integrate", "cluster"), "done")


def texts(component: object) -> str:
    """All text below a component."""
    if isinstance(component, list | tuple):
        return " ".join(texts(c) for c in component)
    if component is None or isinstance(component, str | int | float):
        return str(component or "")
    return " ".join([texts(getattr(component, "children", None)), texts(getattr(component, "label", None))])


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("/p/abc/def/align", Place("abc", "def", "align")),
        ("/p/abc/jobs", Place("abc", None, "jobs")),
        ("/", None),
        ("/help", None),
        ("/p/abc", None),
        (None, None),
    ],
)
def test_place_of_an_address(address: str | None, place: Place | None) -> None:
    assert Place.from_path(address) == place


@pytest.mark.parametrize(
    ("change", "page", "expected"),
    [
        ({}, "data", "done"),
        ({"sm": "missing"}, "data", "missing"),
        ({"sm": "stale"}, "data", "stale"),
        ({"sm": "blocked"}, "data", "missing"),
        ({"reassign": "stale"}, "reassign", "stale"),
        ({"cluster": "missing"}, "explore", "missing"),
        ({}, "export", "missing"),
    ],
)
def test_mark_of_a_step(change: dict[str, str], page: str, expected: str) -> None:
    step = next(s for s in shell.STEPS if s.page == page)
    assert shell.mark(step, DONE | change) == expected


def test_stepper_says_in_words_what_its_icons_show() -> None:
    links = shell.stepper(Place("p", "s", "features"), DONE | {"features": "stale", "integrate": "stale"})
    assert isinstance(links, html.Ol)
    words = {item.children.href.rsplit("/", 1)[1]: texts(item) for item in links.children}
    assert "done:" in words["align"]
    assert "out of date:" in words["features"]
    assert "done" not in words["export"]
    current = [item for item in links.children if getattr(item, "aria-current", None) == "step"]
    assert [item.children.href for item in current] == ["/p/p/s/features"]


def test_the_demonstration_can_not_be_renamed() -> None:
    given = {"project": "Demo", "sample": "One", "projects": [("Mine", "/p/m/s/data")], "samples": []}
    mine = texts(shell.pickers(Place("p", "s", "data"), writable=True, **given))
    demo = texts(shell.pickers(Place("p", "s", "data"), writable=False, **given))
    assert "Rename project" in mine
    assert "New sample" in mine
    assert "Rename" not in demo
    assert "New sample" not in demo
    assert "All projects" in demo
