"""Projects and samples as the start page and the pickers show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spatialmeta_app.jobs import Job, JobStore
from spatialmeta_app.workspace import DEMO, IMPORTS, ForbiddenError, NotFound, Project, Result, Sample, Workspace

FIRST_SAMPLE = "Sample 1"


@dataclass(frozen=True)
class Picture:
    """What stands for a sample: its histology, else a map of the counts of its spots."""

    image: str | None = None  # address
    xy: str | None = None  # addresses of typed arrays
    values: str | None = None


@dataclass(frozen=True)
class Card:
    """One project on the start page."""

    project: Project
    samples: int
    status: Mapping[str, str]  # of the first sample, step -> 'missing' | 'done' | 'stale' | 'blocked'
    href: str | None  # where work goes on; None: no sample yet
    picture: Picture


@dataclass(frozen=True)
class Names:
    """What the pickers of the header show."""

    project: Project
    sample: Sample | None
    samples: tuple[Sample, ...]
    others: tuple[tuple[str, str], ...]  # other projects: name, address


def cards(workspace: Workspace, user: str) -> list[Card]:
    """The projects of *user* and the demonstration."""
    return [card(workspace, project) for project in workspace.projects(user)]


def card(workspace: Workspace, project: Project) -> Card:
    """One project with the state and the picture of its first sample."""
    samples = workspace.samples(project)
    if not samples:
        return Card(project, 0, {}, None, Picture())
    status = workspace.status(samples[0])
    href = f"/p/{project.id}/{samples[0].id}/{next_page(status)}"
    return Card(project, len(samples), status, href, picture(workspace, samples[0]))


def next_page(status: Mapping[str, str]) -> str:
    """The page where the work goes on: the first whose step is not done, Explore when all are."""
    sections = [status.get(section, "done") for section in IMPORTS]  # joined samples have none
    alone = sorted(sections) == ["done", "missing"] and status["reassign"] == "missing" != status["features"]
    if not alone and sections != ["done", "done"]:
        return "data"
    for step in ("integrate",) if alone else ("align", "reassign", "features", "integrate"):
        if status.get(step) == "missing":
            return step
    return "explore"


def picture(workspace: Workspace, sample: Sample) -> Picture:
    """The histology of the chosen ST section where it has one, else the addresses of its map."""
    chosen = workspace.choices(sample)
    st, sm = chosen.get("st"), chosen.get("sm")
    image = overview(workspace, st) if st else None
    if image:
        return Picture(image=image)
    return map_of(st or sm) if st or sm else Picture()


def overview(workspace: Workspace, st: Result) -> str | None:
    """Address of the histology of an ST result, None where it has none."""
    try:
        workspace.path(st, "image/overview.jpg")
    except NotFound:
        return None
    return f"/api/image/{st.id}/overview.jpg"


def map_of(section: Result) -> Picture:
    """Addresses of the places and the total counts (intensities) of an imported section."""
    base = f"/api/view/{section.id}"
    return Picture(xy=f"{base}/obsm/spatial", values=f"{base}/obs/total_{section.step}")


def create(workspace: Workspace, name: str, user: str) -> str:
    """A new project with one empty sample; returns the address of its Data page."""
    project = workspace.create_project(name, user)
    sample = workspace.create_sample(project, FIRST_SAMPLE)
    return f"/p/{project.id}/{sample.id}/data"


def walk_through(workspace: Workspace, user: str) -> str:
    """A copy of the demonstration that *user* may change; returns the address of its Data page."""
    project = workspace.copy_project(DEMO, user)
    workspace.rename_project(project, f"{project.name}, my copy")
    return f"/p/{project.id}/{workspace.samples(project)[0].id}/data"


def delete(workspace: Workspace, project: str, user: str) -> None:
    """Delete a project; only the one who made it may.

    Raises
    ------
    ForbiddenError
        It is somebody else's.
    """
    if workspace.project(project).owner != user:
        raise ForbiddenError("a project of your own", found="somebody else's", mend="Ask whoever made it.")
    workspace.delete_project(project)


def demo_job(store: JobStore) -> Job | None:
    """The newest job that makes the demonstration."""
    return next((job for job in store.jobs(DEMO) if job.kind == "demo"), None)


def demo_address(workspace: Workspace) -> str | None:
    """Where the finished demonstration is explored; None while it is not there."""
    try:
        samples = workspace.samples(workspace.project(DEMO))
    except NotFound:
        return None
    done = (s for s in samples if workspace.joint(s) is not None)
    sample = next(done, None)
    return f"/p/{DEMO}/{sample.id}/explore" if sample else None


def names(workspace: Workspace, project: str, sample: str | None, user: str) -> Names:
    """Names for the pickers.

    Raises
    ------
    NotFound
        No such project, or no such sample in it.
    """
    here = workspace.project(project)
    samples = tuple(workspace.samples(here))
    current = next((s for s in samples if s.id == sample), None)
    if sample is not None and current is None:
        raise NotFound("a sample of this project", found="none with this address", mend="Choose one in the menu.")
    others = tuple((p.name, address(workspace, p)) for p in workspace.projects(user) if p.id != here.id)
    return Names(here, current, samples, others)


def address(workspace: Workspace, project: Project) -> str:
    """Where a project opens: its first sample, where its work goes on."""
    return card(workspace, project).href or "/"


def suggested_name(found: Names, kind: str) -> str:
    """What the line for a name starts with."""
    if kind == "project":
        return found.project.name
    if kind == "sample" and found.sample is not None:
        return found.sample.name
    return f"Sample {len(found.samples) + 1}"


def keep_name(workspace: Workspace, kind: str, name: str, *, project: str, sample: str | None) -> str | None:
    """Rename the project or sample, or make a new sample; returns the address to go to, None to stay."""
    if kind == "project":
        workspace.rename_project(project, name)
    elif kind == "sample" and sample is not None:
        workspace.rename_sample(sample, name)
    else:
        made = workspace.create_sample(workspace.require_writable(project), name)
        return f"/p/{project}/{made.id}/data"
    return None
