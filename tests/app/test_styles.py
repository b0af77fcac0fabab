"""The style sheets are whole: a brace that is lost in a merge takes all later rules with it, without a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[2] / "assets"
SHEETS = sorted(ASSETS.glob("*.css"))
#: at-rules that hold rules, not declarations
GROUPS = ("@media", "@supports", "@container", "@layer", "@keyframes")


def faults(text: str) -> list[str]:
    """What is wrong with the braces of a style sheet: never closed, closed twice, a rule inside of a rule."""
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found.group().count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"\"[^\"\n]*\"|'[^'\n]*'|url\([^)]*\)", "x", text)
    open_rules: list[tuple[int, str]] = []
    found, start = [], 0
    for place in re.finditer(r"[{};]", text):
        line, words = text.count("\n", 0, place.start()) + 1, text[start : place.start()].strip()
        start = place.end()
        if place.group() == "{":
            if open_rules and not open_rules[-1][1].startswith(GROUPS):
                found.append(f"line {line}: '{words}' inside of '{open_rules[-1][1]}' of line {open_rules[-1][0]}")
            open_rules.append((line, words))
        elif place.group() == "}":
            if not open_rules:
                found.append(f"line {line}: closes nothing")
            else:
                open_rules.pop()
    return found + [f"line {line}: '{words}' is never closed" for line, words in open_rules]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_every_rule_is_closed(sheet: Path) -> None:
    assert not faults(sheet.read_text(encoding="utf-8"))


def test_there_are_style_sheets() -> None:
    assert {"base.css", "theme.css", "steps.css"} <= {sheet.name for sheet in SHEETS}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (".a { color: red; .b { color: blue; }", "inside of"),
        (".a { color: red; }}", "closes nothing"),
        ("@media print { .a { color: red; }", "never closed"),
    ],
)
def test_a_lost_brace_is_found(text: str, fault: str) -> None:
    assert fault in " ".join(faults(text))


def test_braces_in_words_are_none() -> None:
    assert not faults("/* } */ .a::before { content: '{'; } @media print { .b { color: red; } }")
