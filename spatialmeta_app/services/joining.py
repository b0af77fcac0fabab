"""Several samples of a project as one: which can be joined, and what a joined one is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import keys
from core.errors import SpatialMetaError
from core.joining import ConcatConfig
from spatialmeta_app.services import results, steps
from spatialmeta_app.workspace import Result, Sample, Workspace, WorkspaceError

if TYPE_CHECKING:
    from spatialmeta_app.jobs import JobStore


@dataclass(frozen=True)
class Part:
    """A sample of a joined one: its spots and the features it loses there."""

    name: str
    spots: int
    lost: tuple[str, ...]


def candidates(workspace: Workspace, sample: str) -> list[Sample]:
    """The other samples of the project that could be joined with *sample*: they are reassigned, and no joined ones."""
    own = workspace.sample(sample)
    others = [s for s in workspace.samples(own.project) if s.id != own.id and not s.parts]
    return [s for s in others if workspace.chosen(s, "reassign") is not None]


def suggested_name(workspace: Workspace, samples: Sequence[Sample]) -> str:
    """A name for what joins *samples*."""
    return " + ".join(sample.name for sample in samples)[:80]


def join(
    workspace: Workspace,
    store: JobStore,
    sample: str,
    others: Sequence[str],
    name: str,
    *,
    config: ConcatConfig | None = None,
    user: str,
) -> Sample:
    """A new sample that joins *sample* and *others*, with the job that makes its joint object queued.

    Raises
    ------
    WorkspaceError
        Nothing to join with, a sample without reassignment, or two of the same name.
    """
    project = workspace.require_writable(workspace.sample(sample).project)
    parts = [workspace.sample(part) for part in (sample, *others)]
    if len(parts) < 2:
        raise WorkspaceError("another sample to join with", found="none", mend="Tick at least one.")
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise WorkspaceError("samples of different names", found=", ".join(names), mend="Rename one of them.")
    for part in parts:
        if workspace.chosen(part, "reassign") is None:
            raise WorkspaceError(f"a reassignment of {part.name}", found="none yet", mend="Reassign it first.")
    made = workspace.create_sample(project, name.strip() or suggested_name(workspace, parts), parts=parts)
    steps.submit(workspace, store, made.id, "reassign", config or ConcatConfig(), user=user)
    return made


def part_samples(workspace: Workspace, sample: Sample) -> list[Sample]:
    """The samples that *sample* joins, without those that were deleted since."""
    known = {s.id: s for s in workspace.samples(sample.project)}
    return [known[part] for part in sample.parts if part in known]


def report(workspace: Workspace, result: Result) -> list[Part]:
    """What the joint object of a joined sample says of its parts."""
    noted: dict[str, Any] = results.notes(workspace, result, keys.JOINED)
    return [Part(name, int(entry["n_spots"]), tuple(entry.get("lost") or ())) for name, entry in noted.items()]


def is_joined(workspace: Workspace, sample: str) -> bool:
    """Whether *sample* joins others; False where there is no such sample."""
    try:
        return bool(workspace.sample(sample).parts)
    except SpatialMetaError:
        return False
