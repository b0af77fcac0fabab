"""Readers by format, the checks of untrusted files, the atomic writer: the only part of core that opens files.

The names below are imported when they are first used: the web process takes the atomic writer from here and must not
import anndata with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Check": "checks",
    "check_pair": "pair_checks",
    "check_sm": "checks",
    "check_st": "checks",
    "read_alignment": "alignment",
    "read_h5ad": "h5ad",
    "read_image": "images",
    "read_sm": "readers",
    "read_st": "readers",
    "write_alignment": "alignment",
    "write_h5ad": "writer",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
