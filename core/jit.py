"""Compiled loops: how numba is used here. To be imported where a loop is first needed: numba takes half a second."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

#: what may be assumed of arithmetic: NaN and infinity exist; sums may be reordered by FAST alone
EXACT = {"contract", "nsz", "arcp"}
FAST = {*EXACT, "reassoc"}


def compiled(*signatures: str, **options: object) -> Callable:
    """numba.njit; kept on disk where that can be written, so that only the first process compiles."""

    def decorate(function: Callable) -> Callable:
        given = [list(signatures)] if signatures else []
        settings = {"error_model": "numpy", "fastmath": FAST, "nogil": True, **options}
        try:
            return njit(*given, cache=bool(signatures), **settings)(function)
        except (RuntimeError, OSError):  # no folder for the cache
            return njit(*given, **settings)(function)

    return decorate
