"""Conditional variational autoencoder over any number of modalities (the paper, eq. 8-23).

The names below are imported when they are first used: the web process reads :class:`IntegrateConfig` for its form and
must not import torch with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from core.vae.config import PRESETS, IntegrateConfig

__all__ = ["PRESETS", "IntegrateConfig", "Model", "integrate", "load"]

_WHERE = {"Model": "core.vae.model", "load": "core.vae.model", "integrate": "core.vae.integration"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
