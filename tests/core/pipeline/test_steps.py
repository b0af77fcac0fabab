from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from core import keys
from core.context import Context
from core.errors import ConfigError
from core.options import options
from core.pipeline import STEPS, content_hash, history, run_step, step
from core.preprocessing import FeaturesConfig
from core.reassignment import ReassignConfig
from tests.core.pairs import pair


def test_steps_are_in_the_order_of_the_work() -> None:
    assert list(STEPS) == ["align", "reassign", "features", "integrate", "cluster"]
    known = {"st", "sm"}
    for each in STEPS.values():
        assert set(each.inputs) <= known
        known.add(each.output)


@pytest.mark.parametrize("name", STEPS)
def test_every_setting_can_be_shown_in_a_form(name: str) -> None:
    config = STEPS[name].Config
    assert dataclasses.is_dataclass(config)
    for option in options(config):
        assert option.type in (int, float, str, bool)
        assert option.help
    assert STEPS[name].config() == config()


def test_the_registry_is_light() -> None:
    """The web process reads every step's settings, and must not load the libraries of the methods."""
    code = (
        "import sys; from core.pipeline import STEPS; from core.options import options\n"
        "for s in STEPS.values(): options(s.Config)\n"
        "heavy = {'torch', 'scanpy', 'umap', 'numba', 'sklearn', 'igraph', 'anndata'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_record_of_a_step() -> None:
    st, sm = pair()
    joint = run_step("reassign", {"st": st, "sm": sm}, ReassignConfig(k=3))
    selected = run_step("features", {"joint": joint}, FeaturesConfig(n_genes=4))
    first, second = history(selected)
    assert (first["name"], second["name"]) == ("reassign", "features")
    assert first["config"]["k"] == 3
    assert second["config"]["n_genes"] == 4
    assert second["seed"] is None  # nothing in this step is random
    assert first["inputs"] == {"st": content_hash(st), "sm": content_hash(sm)}
    assert second["inputs"] == {"joint": content_hash(joint)}
    assert datetime.fromisoformat(first["start"]) <= datetime.fromisoformat(second["start"])
    assert second["duration_s"] >= 0
    assert {"core", "numpy", "anndata"} <= set(second["versions"])
    assert len(history(joint)) == 1
    assert history(st) == []


def test_repeating_a_step_gives_the_same_values() -> None:
    st, sm = pair()
    once, again = (run_step("features", {"joint": run_step("reassign", {"st": st, "sm": sm})}) for _ in range(2))
    assert content_hash(once) == content_hash(again)


def test_from_a_pair_to_clusters() -> None:
    st, sm = pair()
    joint = run_step("features", {"joint": run_step("reassign", {"st": st, "sm": sm})})
    epochs = STEPS["integrate"].config({"epochs": 2})
    result = run_step("cluster", {"joint": run_step("integrate", {"joint": joint}, epochs)})
    assert [record["name"] for record in history(result)] == ["reassign", "features", "integrate", "cluster"]
    assert np.isfinite(result.obsm[keys.X_EMB]).all()
    assert result.obs[keys.LEIDEN].notna().all()
    for column in keys.CONTRIBUTION.values():
        assert result.obs[column].between(0, 1).all()
    genes = result.var[keys.TYPE] == keys.ST
    assert (result[:, genes].X != st[result.obs_names].X).nnz == 0


def test_the_context_is_handed_on() -> None:
    class Listening(Context):
        said: tuple[str, ...] = ()

        def progress(self, fraction: float, message: str, **numbers: float) -> None:
            self.said += (message,)

    context = Listening()
    st, sm = pair()
    run_step("reassign", {"st": st, "sm": sm}, None, context)
    assert any("nearest" in message for message in context.said)


def test_refusals() -> None:
    st, sm = pair()
    with pytest.raises(ConfigError, match="a step among align, reassign"):
        step("merge")
    with pytest.raises(ConfigError, match="inputs st, sm"):
        run_step("reassign", {"st": st})
    with pytest.raises(ConfigError, match="inputs joint"):
        run_step("features", {"joint": st, "sm": sm})
    with pytest.raises(ConfigError, match="ReassignConfig"):
        run_step("reassign", {"st": st, "sm": sm}, FeaturesConfig())
    with pytest.raises(ConfigError, match="k to be"):
        run_step("reassign", {"st": st, "sm": sm}, ReassignConfig(k=0))
    with pytest.raises(ConfigError, match="Known are"):
        STEPS["reassign"].config({"radius": 3})
