"""Finding features by what people type: a name, a symbol, an annotation, an m/z."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import keys

TEXTS = ("name", keys.SYMBOL, keys.ANNOTATION, keys.GENE_IDS)
SHOWN = ("name", keys.TYPE, keys.SYMBOL, keys.MZ, keys.ANNOTATION)


def lowered(features: dict[str, np.ndarray]) -> list[list[str]]:
    """The texts that are searched, in small letters; made once per result."""
    return [[text.lower() for text in features[column].tolist()] for column in TEXTS if column in features]


def search(
    features: dict[str, np.ndarray], texts: list[list[str]], query: str, limit: int, *, kind: str | None = None
) -> list[dict[str, Any]]:
    """Features that fit *query*, best first: equal, then m/z, then beginning with it, then containing it.

    A number also finds m/z within one unit of its last digit (``798.5``: 798.4 to 798.6), the nearest first. An empty
    query gives the first features. *texts* is :func:`lowered` of *features*.
    """
    text = query.strip().lower()
    ranks = _text_ranks(texts, text, features["name"].shape[0])
    _add_mz(ranks, features, text)
    if kind is not None:
        ranks[features[keys.TYPE] != kind] = np.inf
    order = np.argsort(ranks, kind="stable")[:limit]
    return [describe(features, int(i)) for i in order if np.isfinite(ranks[i])]


def describe(features: dict[str, np.ndarray], index: int) -> dict[str, Any]:
    """One feature as JSON, without what is missing."""
    found: dict[str, Any] = {"index": index}
    for name in SHOWN:
        if name in features:
            value = features[name][index].item()
            if value not in ("", None) and value == value:  # noqa: PLR0124  NaN is missing
                found[name] = value
    return found


def _text_ranks(texts: list[list[str]], text: str, n: int) -> np.ndarray:
    ranks = np.full(n, 0.0 if text == "" else np.inf)
    if text == "":
        return ranks
    for column in texts:
        found = np.flatnonzero([text in value for value in column])
        values = [column[i] for i in found]
        lengths = np.array([len(value) for value in values], dtype=np.float64)
        begins = np.array([value.startswith(text) for value in values], dtype=bool)
        rank = np.where(lengths == len(text), 0.0, np.where(begins, 2.0, 3.0)) + lengths * 1e-3
        ranks[found] = np.minimum(ranks[found], rank)
    return ranks


def _add_mz(ranks: np.ndarray, features: dict[str, np.ndarray], text: str) -> None:
    if keys.MZ not in features:
        return
    try:
        wanted = float(text.removeprefix("m/z").strip())
    except ValueError:
        return
    digits = len(text.partition(".")[2])
    away = np.abs(features[keys.MZ] - wanted)
    near = away <= 10.0**-digits * 1.0001  # 798.6 - 798.5 is a little more than 0.1
    ranks[near] = np.minimum(ranks[near], 1.0 + away[near] * 0.5)
