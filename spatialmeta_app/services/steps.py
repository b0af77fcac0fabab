"""One mechanism for every step page: what a step needs, its runs, its job, why it is stale, its command line.

Everything is derived from the workspace and the job store by project, sample and step; nothing is remembered here, so
a reload, a second tab and another web process see the same.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.cli.arguments import flags_of
from core.joining import ConcatConfig
from core.options import from_mapping, options
from core.pipeline import STEPS
from spatialmeta_app.workspace.records import CHAIN, IMPORTS, Result

if TYPE_CHECKING:
    from spatialmeta_app.jobs import Job, JobStore
    from spatialmeta_app.workspace import Workspace

TITLES = {"st": "ST section", "sm": "SM section", **{name: step.title for name, step in STEPS.items()}}
#: the page on which a step is run
PAGES = {**dict.fromkeys(IMPORTS, "data"), **{name: name for name in STEPS}, "cluster": "integrate"}
ACTIVE = ("queued", "running", "cancelling")

#: files as the command line shows them
FILES = {
    "st": "ST.h5ad",
    "sm": "SM.h5ad",
    "align": "SM_ALIGNED.h5ad",
    "reassign": "JOINT.h5ad",
    "features": "FEATURES.h5ad",
    "integrate": "INTEGRATED.h5ad",
    "cluster": "RESULT.h5ad",
}


@dataclass(frozen=True)
class Run:
    """One kept result of a step, as the list of versions shows it."""

    result: Result
    number: int  # 1 is the oldest
    chosen: bool
    changed: Mapping[str, Any]  # settings that are not the default
    stale: tuple[str, ...]  # why it is out of date; empty where it is fresh


@dataclass(frozen=True)
class StepView:
    """All that a step page shows besides its own figures."""

    step: str
    missing: tuple[str, ...]  # steps that have to be run first
    blocked: tuple[str, ...]  # imports with a blocking check
    runs: tuple[Run, ...]  # newest first
    job: Job | None  # the newest, if it is active, or failed after the newest result
    alone: str = ""  # 'st' or 'sm' where the sample has that section alone

    @property
    def chosen(self) -> Run | None:
        """The run that later steps take."""
        return next((run for run in self.runs if run.chosen), None)

    @property
    def ready(self) -> bool:
        """Whether the step can be run."""
        return not self.missing and not self.blocked


def view(workspace: Workspace, store: JobStore, *, project: str, sample: str, step: str) -> StepView:
    """The state of *step* for one sample."""
    chosen = workspace.choices(sample)
    # a sample that joins others has no imports and no alignment: it begins with their reassignments
    sources = workspace.sources(sample).get(step, {"reassign": None})
    inputs = {_source(step, name, result): result for name, result in sources.items()}
    if not chosen and not workspace.sample(sample).parts:
        inputs = dict.fromkeys(IMPORTS)  # the way begins there, whatever the step
    alone = workspace.alone(sample)
    return StepView(
        step=step,
        missing=tuple(name for name, result in inputs.items() if result is None),
        blocked=tuple(name for name, result in inputs.items() if result is not None and result.blocked),
        runs=runs(workspace, sample, step, chosen),
        job=shown_job(store, project=project, sample=sample, step=step),
        alone=alone.step if alone else "",
    )


def _source(step: str, name: str, result: Result | None) -> str:
    """The step that the input *name* of *step* comes from."""
    return result.step if result else CHAIN[step].get(name, step)


def runs(workspace: Workspace, sample: str, step: str, chosen: Mapping[str, Result] | None = None) -> tuple[Run, ...]:
    """All kept results of *step*, newest first."""
    chosen = workspace.choices(sample) if chosen is None else chosen
    results = sorted(workspace.results(sample, step), key=lambda r: r.created)
    current = chosen[step].id if step in chosen else None
    found = [
        Run(r, i, r.id == current, changed_settings(step, r.config), stale_reasons(workspace, r, chosen))
        for i, r in enumerate(results, start=1)
    ]
    return tuple(reversed(found))


def stale_reasons(workspace: Workspace, result: Result, chosen: Mapping[str, Result]) -> tuple[str, ...]:
    """What changed since *result* was made, a sentence for each input that is not the chosen one any more."""
    reasons = []
    for name, now in workspace.sources(result.sample).get(result.step, {}).items():
        used = result.inputs.get(name)
        source = _source(result.step, name, now)
        inside = now is None or now.sample == result.sample
        title = TITLES[source] if inside else f"{TITLES[source]} of {workspace.sample(now.sample).name}"
        if now is None:
            reasons.append(f"{title} is missing now.")
        elif now.id != used:
            reasons.append(f"{title} changed: {_difference(workspace, source, used, now)}.")
        else:
            before = chosen if inside else workspace.choices(now.sample)
            reasons += [r for r in stale_reasons(workspace, now, before) if r not in reasons]
    return tuple(reasons)


def _difference(workspace: Workspace, source: str, used: str | None, now: Result) -> str:
    from core.errors import SpatialMetaError

    try:
        made_from = workspace.result(used) if used else now
    except SpatialMetaError:
        return "another run was chosen"
    if made_from.step != now.step:
        return f"it takes the place of the {TITLES[made_from.step]}"
    before = made_from.config
    names = [n for n in {**before, **now.config} if before.get(n) != now.config.get(n)]
    if not names:
        return "it was run again" if source not in IMPORTS else "another file was imported"
    return ", ".join(f"{n} {_text(before.get(n))} → {_text(now.config.get(n))}" for n in names[:4])


def shown_job(store: JobStore, *, project: str, sample: str, step: str) -> Job | None:
    """The newest job of *step* that a person still has to know of: active, or the last one if it went wrong."""
    jobs = [j for j in store.jobs(project=project) if j.sample == sample and j.kind == step]
    newest = max(jobs, key=lambda j: j.created, default=None)
    return newest if newest is not None and newest.state != "done" else None


def version(view: StepView) -> dict[str, Any]:
    """What a page compares to know whether there is something else to show."""
    run = view.chosen
    return {"result": run.result.id if run else None, "stale": list(run.stale) if run else [], "runs": len(view.runs)}


def submit(
    workspace: Workspace,
    store: JobStore,
    sample: str,
    step: str,
    config: Any,
    *,
    user: str,
    then: tuple[str, Any] | None = None,
) -> Job:
    """Queue a run of *step*, and the step *then* (name, Config) after it.

    Raises
    ------
    WorkspaceError
        A step before it has no result that can be used.
    """
    found = workspace.sample(sample)
    workspace.inputs_of(found, step)
    job = store.submit(step, project=found.project, sample=found, user=user, config=_submitted(step, config))
    if then is not None:
        name, following = then
        settings = _submitted(name, following)
        store.submit(name, project=found.project, sample=found, user=user, config=settings, after=job)
    return job


def _submitted(step: str, config: Any) -> dict[str, Any]:
    return changed_settings(step, dataclasses.asdict(config))


def changed_settings(step: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of *config* that differ from the step's defaults; all of them for an import."""
    if step not in STEPS:
        return dict(config)
    defaults = {name: value for kind in _kinds(step) for name, value in _defaults(kind).items()}
    return {name: value for name, value in config.items() if name in defaults and value != defaults[name]}


def _kinds(step: str) -> tuple[type, ...]:
    """The Configs that a run of *step* may have: a sample that joins others joins them where others reassign."""
    return (STEPS[step].Config, ConcatConfig) if step == "reassign" else (STEPS[step].Config,)


def config_kind(step: str, names: Iterable[str]) -> type:
    """The Config of *step* that has the settings *names*."""
    names = set(names)
    return max(_kinds(step), key=lambda kind: len(names & set(_defaults(kind))))


def config_of(step: str, values: Mapping[str, Any]) -> Any:
    """The Config of a kept run; settings that this version does not know any more are left out."""
    kind = config_kind(step, values)
    known = _defaults(kind)
    return from_mapping(kind, {name: value for name, value in values.items() if name in known})


def _defaults(kind: type) -> dict[str, Any]:
    return {o.name: o.default for o in options(kind)}


def command_line(step: str, config: Any, *, parts: int = 2, alone: str = "") -> str:
    """The command that does the same as a run of *step* with *config* (a Config or a mapping).

    *parts* is the number of samples to join; *alone* the section ('st' or 'sm') of a sample that has no other.
    """
    names = FILES | ({"reassign": FILES[alone]} if alone else {})
    config = config if dataclasses.is_dataclass(config) else config_of(step, config)
    command, inputs = step, _input_words(step, names)
    if isinstance(config, ConcatConfig):
        command, inputs = "concat", [f"JOINT_{i}.h5ad" for i in range(1, parts + 1)]
    section = ["--section", alone] if alone and step == "features" else []
    words = ["python", "-m", "core", command, *inputs, *section, "--out", names[step]]
    return " ".join(shlex.quote(word) for word in (*words, *flags_of(config)))


def _input_words(step: str, names: Mapping[str, str]) -> list[str]:
    inputs = CHAIN[step]
    if set(inputs) == {"joint"}:
        return [names[inputs["joint"]]]
    return [word for name, source in inputs.items() for word in (f"--{name}", names[source])]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def script(results: list[Result]) -> str:
    """A shell script that repeats *results* (one for each step, any order) from the input files."""
    order = {name: i for i, name in enumerate(STEPS)}
    steps = sorted((r for r in results if r.step in order), key=lambda r: order[r.step])
    joined = [r for r in steps if r.step == "reassign" and set(r.inputs) != set(CHAIN["reassign"])]
    if joined:  # its parts have scripts of their own
        first = command_line("reassign", joined[0].config, parts=len(joined[0].inputs))
        rest = [command_line(r.step, r.config) for r in steps if r.step not in ("align", "reassign")]
        return "\n".join(["#!/bin/sh", "# Joins the samples, then goes on.", "set -e", "", first, *rest, ""])
    lines = ["#!/bin/sh", "# Repeats the work from the files. Made by SpatialMETA.", "set -e", ""]
    whole = {"st", "sm"} <= {r.step for r in results} or any(r.step == "reassign" for r in steps)
    alone = "" if whole else next((r.step for r in results if r.step in IMPORTS), "")
    return "\n".join([*lines, *(command_line(r.step, r.config, alone=alone) for r in steps), ""])


def lineage(workspace: Workspace, result: Result) -> list[Result]:
    """*result* and all results it was made from, inputs first, each once."""
    found: dict[str, Result] = {}

    def visit(one: Result) -> None:
        for name in CHAIN.get(one.step, {}):  # the parts of a joined sample have lineages of their own
            source = one.inputs.get(name)
            if source and source not in found:
                visit(workspace.result(source))
        found[one.id] = one

    visit(result)
    return list(found.values())


def when(created: float, now: float | None = None) -> str:
    """How long ago, in the words of a list: '12 s ago', '5 min ago', '14:03', '2 Mar 14:03'."""
    now = time.time() if now is None else now
    age = max(0.0, now - created)
    if age < 60:
        return f"{age:.0f} s ago"
    if age < 3600:
        return f"{age / 60:.0f} min ago"
    moment = time.localtime(created)
    same_day = time.strftime("%Y%j", moment) == time.strftime("%Y%j", time.localtime(now))
    return time.strftime("%H:%M" if same_day else "%-d %b %H:%M", moment)


def submit_file(store: JobStore, kind: str, project: str, sample: str, config: Mapping[str, Any], *, user: str) -> Job:
    """Queue the writing of a file (``jobs.records.FILES``); an export's *config* has the ``parts`` to put in."""
    return store.submit(kind, project=project, sample=sample, user=user, config=dict(config))


def finished_export(store: JobStore, project: str, sample: str) -> Job | None:
    """The newest export of a sample whose file can be had."""
    jobs = [j for j in store.jobs(project=project) if j.sample == sample and j.kind == "export" and j.state == "done"]
    return max(jobs, key=lambda j: j.created, default=None)
