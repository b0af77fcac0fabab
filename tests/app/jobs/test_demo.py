from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import shapely

from core.context import Context
from spatialmeta_app.jobs import demo
from spatialmeta_app.jobs.perform import perform
from spatialmeta_app.workspace import CHAIN, DEMO, Annotations, Workspace
from spatialmeta_app.workspace.views import View


@pytest.fixture
def offering(settings) -> Workspace:
    return Workspace(dataclasses.replace(settings, demo=True))


def test_it_is_not_made_where_it_is_not_wanted(workspace, store):
    assert demo.ensure(workspace, store) is None
    assert store.jobs() == []


def test_it_is_made_once_and_again_after_a_failure(offering, store):
    job = demo.ensure(offering, store)
    assert (job.kind, job.project, job.user) == ("demo", DEMO, DEMO)
    assert demo.ensure(offering, store) is None
    store.claim("r")
    store.finish(job, "failed", error="no")
    again = demo.ensure(offering, store)
    assert again.sample == job.sample
    assert len(offering.samples(DEMO)) == 1


class Told(Context):
    def __init__(self, checkpoints):
        self.fractions, self.checkpoints = [], checkpoints

    def progress(self, fraction, message, **numbers):
        self.fractions.append(fraction)


@pytest.mark.slow
def test_every_step_is_really_done_and_a_second_run_does_nothing(offering, store, tmp_path):
    job = demo.ensure(offering, store)
    names = ("kind", "project", "sample", "user", "config", "inputs", "attempt")
    spec = {"job": job.id} | {name: getattr(job, name) for name in names}
    spec["settings"] = {"data": str(offering.settings.data), "min_free_bytes": 0}
    context = Told(tmp_path / "checkpoints")
    result = perform(spec, context, lambda: None)
    assert set(offering.status(job.sample).values()) == {"done"}
    assert offering.chosen(job.sample, "cluster").id == result
    assert context.fractions == sorted(context.fractions)
    assert demo.ensure(offering, store) is None

    view = View(offering.path(result, "view"))
    assert {"total_st", "total_sm", "leiden"} <= set(view.meta["obs"])
    assert {"spatial", "X_emb", "X_umap"} <= set(view.meta["obsm"])
    assert [record["name"] for record in view.meta["spatialmeta"]["history"]] == [*CHAIN][2:]
    assert np.isfinite(view.obsm("X_umap")).all()
    region, path = Annotations(offering).head(job.sample).document["features"]
    largest = np.argmax(np.bincount(view.obs("domain").values))
    held = shapely.contains_xy(shapely.geometry.shape(region["geometry"]), view.obsm("spatial").astype(float))
    assert view.obs("domain").values[held].tolist() == [largest] * held.sum()
    assert held.sum() > 0.1 * view.meta["n_obs"]
    assert path["geometry"]["type"] == "LineString"
    image = offering.path(offering.chosen(job.sample, "st"), "image/overview.json")
    assert image.exists()

    assert perform(spec, context, lambda: None) == result
    assert len(offering.results(job.sample)) == len(CHAIN)
