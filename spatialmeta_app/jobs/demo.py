"""The demonstration project: a simulated pair, every step done once."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from core import keys
from core.analysis.outlines import outline
from core.context import Context, Share
from spatialmeta_app.jobs.records import Job
from spatialmeta_app.jobs.store import JobStore
from spatialmeta_app.jobs.task import Task, add
from spatialmeta_app.workspace import CHAIN, DEMO, IMPORTS, Annotations, NotFound, Result, Workspace
from spatialmeta_app.workspace.views import View

NAME = "Demonstration"
SAMPLE = "Simulated section"
SIZE = {"spots": 600, "genes": 150, "metabolites": 60}  # every step within seconds on two cores
EPOCHS = 60


def ensure(workspace: Workspace, store: JobStore) -> Job | None:
    """Submit the job that makes the demonstration, where it is wanted and neither there nor under way.

    Called by the runner at its start: there is only one, so it is made once.
    """
    if not workspace.settings.demo:
        return None
    try:
        project = workspace.project(DEMO)
    except NotFound:
        project = workspace.create_project(NAME, DEMO, id=DEMO)
    samples = workspace.samples(project)
    complete = any(workspace.status(sample)["cluster"] == "done" for sample in samples)
    if complete or any(job.active for job in store.jobs(project)):
        return None
    sample = samples[0] if samples else workspace.create_sample(project, SAMPLE)
    return store.submit("demo", project=project, sample=sample, user=DEMO, config={}, priority=-1)


def make(task: Task) -> str | None:
    """Do every step that is not done yet; a demonstration that was cut off goes on where it was."""
    result = None
    for number, step in enumerate(CHAIN):
        task.context.stop_if_cancelled()
        chosen = task.workspace.chosen(task.sample, step)
        if chosen is not None and task.workspace.status(task.sample)[step] == "done":
            result = chosen
            continue
        share = _share(task.context, number)
        part = dataclasses.replace(task, context=share, kind=step, config={})
        result = _simulated(part, step) if step in IMPORTS else _run(part, step)
    if result is not None and Annotations(task.workspace).head(task.sample).number == 0:
        _draw(task, result)
    return result.id if result else None


def _share(context: Context, number: int) -> Context:
    step = list(CHAIN)[number]
    return Share(context, number / len(CHAIN), (number + 1) / len(CHAIN), prefix=f"{step}: ")


def _simulated(task: Task, step: str) -> Result:
    from core import io
    from core.datasets import SimulateConfig, simulate

    started = time.time()
    task.context.progress(0.0, "simulating")
    config = SimulateConfig(**SIZE)
    pair = simulate(config)
    adata, check = (pair.st, io.check_st) if step == "st" else (pair.sm, io.check_sm)
    summary = {"checks": [dataclasses.asdict(c) for c in check(adata)], "simulated": dataclasses.asdict(config)}
    return add(task, step, adata, config={"seed": config.seed}, inputs={}, started=started, summary=summary)


def _run(task: Task, step: str) -> Result:
    from spatialmeta_app.jobs import work

    return work.run(dataclasses.replace(task, config=_config(step)), step)


def _config(step: str) -> dict[str, Any]:
    """Defaults, but for what the small size needs."""
    return {"integrate": {"epochs": EPOCHS}}.get(step, {})


def _draw(task: Task, joint: Result) -> None:
    """A region around the largest domain, and a trajectory from its middle to the domain that lies furthest."""
    view = View(task.workspace.path(joint, "view"))
    xy, domains = np.asarray(view.obsm(keys.SPATIAL), dtype=float), view.obs("domain")
    members = {name: domains.values == code for code, name in enumerate(domains.categories)}
    largest = max(members, key=lambda name: members[name].sum())
    middles = {name: xy[chosen].mean(axis=0) for name, chosen in members.items() if chosen.any()}
    furthest = max(middles, key=lambda name: np.linalg.norm(middles[name] - middles[largest]))
    line = np.linspace(middles[largest], middles[furthest], 2).tolist()
    region = {"kind": "region", "name": largest.capitalize(), "group": "regions", "color": "#e8590c"}
    path = {"kind": "trajectory", "name": "Across domains", "width_um": 300.0, "color": "#1c7ed6"}
    features = [
        _feature("demo-region", region, outline(xy, members[largest])[0]),
        _feature("demo-path", path, {"type": "LineString", "coordinates": line}),
    ]
    Annotations(task.workspace).seed(task.sample, {"type": "FeatureCollection", "features": features}, user=DEMO)


def _feature(id: str, properties: dict[str, Any], geometry: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "id": id, "properties": properties, "geometry": geometry}
