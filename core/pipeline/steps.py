"""The registry of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData


@dataclass(frozen=True)
class Step:
    """One step of the work.

    ``inputs`` are the names of what it takes, in the order of its method's parameters; ``output`` is the name of what
    it gives: ``'sm'`` an SM section, ``'joint'`` the joint object. ``module`` holds the method and its Config; it is
    imported on the first use of :attr:`Config` or :attr:`run`.
    """

    name: str
    title: str
    inputs: tuple[str, ...]
    output: str
    module: str
    config_name: str
    function_name: str

    @property
    def Config(self) -> type:  # noqa: N802  it is a class
        """The frozen dataclass of the step's settings."""
        return getattr(import_module(self.module), self.config_name)

    @property
    def run(self) -> Callable[..., AnnData]:
        """The method: ``run(*inputs, config, context) -> AnnData``."""
        return getattr(import_module(self.module), self.function_name)

    def config(self, values: dict[str, Any] | None = None) -> Any:
        """A Config from plain values; what is not given has its default. Raises ConfigError."""
        from core.options import from_mapping

        return from_mapping(self.Config, values or {})


STEPS: dict[str, Step] = {
    s.name: s
    for s in (
        Step("align", "Align", ("st", "sm"), "sm", "core.pipeline.alignment", "AlignConfig", "align"),
        Step("reassign", "Reassign", ("st", "sm"), "joint", "core.reassignment", "ReassignConfig", "reassign"),
        Step("features", "Features", ("joint",), "joint", "core.preprocessing", "FeaturesConfig", "select_features"),
        Step("integrate", "Integrate", ("joint",), "joint", "core.vae", "IntegrateConfig", "integrate"),
        Step("cluster", "Cluster", ("joint",), "joint", "core.analysis.clusters", "ClusterConfig", "cluster"),
    )
}


def step(name: str) -> Step:
    """The step called *name*; ConfigError naming those that exist."""
    if name not in STEPS:
        raise ConfigError("a step among " + ", ".join(STEPS), found=repr(name))
    return STEPS[name]
