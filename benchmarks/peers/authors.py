"""Import the authors' package (spatialmeta 0.0.3.0), with what it lacks put right; for the peers' environment.

It pins packages of 2022 that no longer install, so it runs on today's. It imports two image helpers of torchvision,
used for plots alone; torchvision would bring another PyTorch, so they are replaced. Its alignment uses `os` without
importing it.
"""

import os
import sys
import types


def _no_plots(*_: object, **__: object) -> None:
    raise NotImplementedError("the plots of the package are not run here")


functional = types.ModuleType("torchvision.transforms.functional")
functional.resize = functional.to_pil_image = _no_plots
for name in ("torchvision", "torchvision.transforms"):
    sys.modules[name] = types.ModuleType(name)
sys.modules[functional.__name__] = functional

import spatialmeta  # noqa: E402
from spatialmeta.model import _alignment_module  # noqa: E402

_alignment_module.os = os

__all__ = ["spatialmeta"]
