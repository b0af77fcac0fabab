"""From uploaded files to the import jobs of a sample, and back to what the Data page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import EllipsisType
from typing import Any

from spatialmeta_app.jobs import Job, JobStore
from spatialmeta_app.services import projects
from spatialmeta_app.workspace import Result, Upload, Workspace, WorkspaceError
from spatialmeta_app.workspace.views import View

SECTIONS = ("st", "sm")
ARCHIVES = (".zip", ".tar", ".tgz")
MATRIX_FOLDER = "_bc_matri"  # filtered_feature_bc_matrix of Space Ranger, filtered_gene_bc_matrices before


@dataclass(frozen=True)
class Slot:
    """A place for one kind of file."""

    name: str
    title: str
    formats: str
    accept: str
    starts: str  # the import that a new file in this slot starts


SLOTS = (
    Slot(
        "st",
        "ST section",
        "h5ad, 10x matrix (h5, tar.gz) + spatial folder (zip, tar.gz), Space Ranger folder (zip, tar.gz)",
        f".h5ad,.h5,{','.join(ARCHIVES)},.gz",
        "st",
    ),
    Slot(
        "sm",
        "SM section",
        "h5ad, imzML + ibd, peak table (CSV, TSV)",
        ".h5ad,.imzml,.ibd,.csv,.tsv,.txt,.zip,.gz",
        "sm",
    ),
    Slot("negative", "SM, negative mode", "same pixels: h5ad, CSV, TSV; optional", ".h5ad,.csv,.tsv,.txt,.gz", "sm"),
    Slot("image", "Histology", "PNG, JPEG or TIFF; optional", ".png,.jpg,.jpeg,.tif,.tiff", "st"),
)


@dataclass(frozen=True)
class Finding:
    """A check of an imported section, as ``core.io.Check``."""

    level: str
    title: str
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Plan:
    """What an import would take: the inputs of the job, or what it still waits for."""

    inputs: Mapping[str, Any]
    waits_for: str = ""


@dataclass(frozen=True)
class Section:
    """One imported section, or the way to it."""

    kind: str
    result: Result | None
    job: Job | None  # the newest import, where it is active or failed after the result
    waits_for: str
    findings: tuple[Finding, ...]
    spatial_keys: tuple[str, ...]  # coordinates one can choose among
    spatial_key: str | None

    @property
    def blocked(self) -> bool:
        return any(f.level == "blocking" for f in self.findings)

    @property
    def ready(self) -> bool:
        """Whether later steps may use it."""
        return self.result is not None and not self.blocked and not (self.job and self.job.active)


def plan(uploads: Sequence[Upload], kind: str, image_scale: float | None = None) -> Plan:
    """The inputs of the import *kind* from those *uploads* of a sample (newest first) that are not on their way."""
    done = [u for u in uploads if u.usable]
    return _plan_st(done, image_scale) if kind == "st" else _plan_sm(done)


def _plan_st(uploads: Sequence[Upload], image_scale: float | None) -> Plan:
    main = _newest(uploads, "st")
    if main is None:
        return Plan({})
    inputs: dict[str, Any] = {"file": main.path}
    if _ending(main) in (".h5", *ARCHIVES):  # a matrix and its spatial folder may come as two files, in any order
        matrices = [u for u in uploads if _is_matrix(u)]
        matrix = _newest(matrices, "st")
        folder = _newest([u for u in uploads if u not in matrices], "st", *ARCHIVES)
        if matrix and not folder:
            return Plan({}, "the spatial folder as zip or tar.gz (positions and scale factors)")
        if matrix and folder:
            inputs = {"file": matrix.path, "spatial": folder.path}
    image = _newest(uploads, "image")
    if image:
        inputs |= {"image": image.path} | ({"image_scale": image_scale} if image_scale else {})
    return Plan(inputs)


def _plan_sm(uploads: Sequence[Upload]) -> Plan:
    main, spectra = _newest(uploads, "sm"), _newest(uploads, "ibd")
    negative = _newest(uploads, "negative")
    if main is None:
        mode = "the file of the positive mode" if negative else ""
        return Plan({}, "the .imzML file that belongs to the .ibd" if spectra else mode)
    inputs = {"file": main.path}
    if _ending(main) == ".imzml":
        if not spectra:
            return Plan({}, "the .ibd file with the spectra")
        inputs["ibd"] = spectra.path
    if negative:  # it belongs to the section that was there when it came, or to the first that came after
        older = _newest(uploads[uploads.index(negative) :], "sm")
        if older in (None, main):
            inputs["negative"] = negative.path
    return Plan(inputs)


def _newest(uploads: Sequence[Upload], slot: str, *endings: str) -> Upload | None:
    return next((u for u in uploads if u.slot == slot and (not endings or _ending(u) in endings)), None)


def _is_matrix(upload: Upload) -> bool:
    """A matrix without its places: the .h5, or the archive of the folder that 10x offers beside it. The name says it:
    what is in gzip would have to be unpacked to be looked at."""
    ending = _ending(upload)
    return ending == ".h5" or (ending in ARCHIVES and MATRIX_FOLDER in upload.filename.lower())


def _ending(upload: Upload) -> str:
    return ending_of(upload.filename)


def ending_of(name: str) -> str:
    """In small letters, without gzip's: '.csv' of 'A.CSV.gz'."""
    return PurePath(name.lower().removesuffix(".gz")).suffix


def start(
    workspace: Workspace,
    store: JobStore,
    *,
    project: str,
    sample: str,
    kind: str,
    user: str,
    image_scale: float | None = None,
    spatial_key: str | None = None,
) -> Job | None:
    """Queue the import *kind* with the newest files; None while a file is missing. An import that still runs is
    stopped: the newest files count."""
    found = plan(workspace.uploads.list(project, sample=sample), kind, image_scale)
    if not found.inputs:
        return None
    for job in store.jobs(project):
        if job.sample == sample and job.kind == kind and job.active:
            store.cancel(job)
    config = {"spatial_key": spatial_key} if spatial_key else {}
    return store.submit(
        kind, project=project, sample=sample, user=user, config=config, inputs=dict(found.inputs), priority=1
    )


def arrived(
    workspace: Workspace, store: JobStore, upload: Upload, *, user: str, image_scale: float | EllipsisType | None = ...
) -> Job | None:
    """Import a file that is whole now, unless it waits for another; asking twice starts nothing twice. It happens here
    and not in a page, which may be closed by now or hear of two files as of one. *image_scale*: ``...`` for that of the
    import before."""
    if upload.sample is None or any(upload.path in job.inputs.values() for job in store.jobs(upload.project)):
        return None
    here = {"project": upload.project, "sample": upload.sample, "kind": kind_of(upload.slot)}
    scale = image_scale_of(workspace, upload.sample) if image_scale is ... else image_scale
    return start(workspace, store, user=user, image_scale=scale, **here)


def image_scale_of(workspace: Workspace, sample: str) -> float | None:
    """What was said of the histology of the ST section; None where it was found from the sizes."""
    st = workspace.chosen(sample, "st")
    return st.inputs.get("image_scale") if st else None


def kind_of(slot: str) -> str:
    """The import that a file in *slot* starts."""
    return "sm" if slot in ("sm", "ibd", "negative") else "st"


def section(workspace: Workspace, store: JobStore, *, project: str, sample: str, kind: str) -> Section:
    """The state of one section of a sample."""
    result = workspace.chosen(sample, kind)
    job = next((j for j in store.jobs(project) if j.sample == sample and j.kind == kind), None)
    waits = plan(workspace.uploads.list(project, sample=sample), kind).waits_for
    failed = job is not None and job.state == "failed" and _newer(job, result) and not waits  # of other files then
    shown = job if job and (job.active or failed) else None
    findings = tuple(Finding(**check) for check in (result.summary.get("checks", ()) if result else ()))
    choices = spatial_keys(workspace, result) if result and kind == "sm" else ()
    return Section(kind, result, shown, waits, findings, choices, _key_of(result, choices))


def _newer(job: Job, result: Result | None) -> bool:
    return result is None or (job.finished or job.created) > result.created


def spatial_keys(workspace: Workspace, result: Result) -> tuple[str, ...]:
    """Slots of the file's obsm that can be coordinates: two columns, not an embedding; 'spatial' first. The reader
    keeps what was 'spatial' as 'spatial_file' where another was chosen."""
    obsm = View(workspace.path(result, "view")).meta["obsm"]
    ours = ("spatial_raw", "spatial_file")
    names = [n for n, columns in obsm.items() if columns == 2 and not n.startswith("X_") and n not in ours]
    return tuple(sorted(names, key=lambda n: (n != "spatial", n)))


def _key_of(result: Result | None, choices: Sequence[str]) -> str | None:
    return (result.config.get("spatial_key") or "spatial") if result and choices else None


def import_from_server(workspace: Workspace, *, project: str, sample: str, path: str, slot: str, user: str) -> Upload:
    """Take a file or folder that the server allows into the project; the import copies it."""
    if slot not in ("st", "sm", "ibd", "negative", "image"):
        raise WorkspaceError("a kind of file", found=repr(slot), mend="Choose what the file is.")
    return workspace.server_folders.take(project, path, sample=sample, slot=slot, user=user)


def guess_slot(name: str) -> str | None:
    """What a file is by its ending; None where it could be either section."""
    known = {".imzml": "sm", ".ibd": "ibd", ".csv": "sm", ".tsv": "sm", ".txt": "sm", ".h5": "st"}
    known |= dict.fromkeys(ARCHIVES, "st")
    images = dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), "image")
    return (known | images).get(ending_of(name))


def files_in_use(workspace: Workspace, project: str, sample: str) -> dict[str, list[Upload]]:
    """Slot -> the files that the imports of a sample use or will use; ibd files stand with their imzML."""
    uploads = workspace.uploads.list(project, sample=sample)
    done = [u for u in uploads if u.usable]
    held: dict[str, list[Upload]] = {}
    kinds_of = {"st": ("st",), "sm": ("sm", "ibd"), "negative": ("negative",), "image": ("image",)}
    for slot, kinds in kinds_of.items():
        paths = plan(uploads, kind_of(slot)).inputs.values()
        waiting = [u for u in done if u.slot in kinds][:1]
        used = [u for u in done if u.slot in kinds and u.path in paths]
        left = slot == "negative" and held["sm"]  # a negative mode of a section that was there before
        held[slot] = used or ([] if left else waiting)
    return held


def image_of(workspace: Workspace, section: Section) -> str | None:
    """Address of the histology of the ST section."""
    return projects.overview(workspace, section.result) if section.result else None
