"""Lists of features in form fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.preprocessing.features import names_of
from spatialmeta_app.services import features

PLAIN = st.text("abcXYZ019-. ", min_size=1, max_size=8).map(str.strip).filter(bool)
COMMA = st.text("ab(3Z,)-", min_size=1, max_size=8).map(str.strip).filter(lambda n: n.strip(",") == n and "," in n)


@given(st.sets(PLAIN | COMMA, min_size=1, max_size=5))
def test_the_core_reads_what_the_field_writes(wanted: set[str]) -> None:
    known = np.array(sorted(wanted | {"another"}))
    text = features.joined(wanted)
    if all("," not in part for name in wanted for part in [name]) or len(wanted) > 1 or ";" in text:
        assert set(known[names_of(text, known)]) == wanted
    assert features.names(text) == wanted


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("pin", ("", ""), ("Sox2", "")),
        ("pin", ("Sox2", ""), ("", "")),
        ("drop", ("Sox2, Actb", ""), ("Actb", "Sox2")),
        ("pin", ("Actb", "Sox2"), ("Actb, Sox2", "")),
    ],
)
def test_marked(kind: str, before: tuple[str, str], after: tuple[str, str]) -> None:
    assert features.marked(kind, "Sox2", *before) == after


def test_sorted_by_turns_round_at_the_second_press() -> None:
    first = features.sorted_by({"by": "morans_i", "descending": True}, "spots")
    assert first == {"by": "spots", "descending": True}
    assert features.sorted_by(first, "spots") == {"by": "spots", "descending": False}
    assert features.sorted_by(first, "name") == {"by": "name", "descending": False}
