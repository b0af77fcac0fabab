"""`/p/<project>/<sample>/data`: files come in, are looked at and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dash
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update

from core.errors import SpatialMetaError
from spatialmeta_app.components import alerts, joined, sections
from spatialmeta_app.components.panel import columns, missing
from spatialmeta_app.components.shell import Place
from spatialmeta_app.ids import Data, Shell
from spatialmeta_app.services import imports, joining, projects
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import NotFound, WorkspaceError

dash.register_page(__name__, path_template="/p/<project>/<sample>/data", title="Data · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> html.Div:
    """Slots, pictures, checks."""
    workspace = backend().workspace
    try:
        projects.names(workspace, project, sample, current_user())
    except NotFound as error:
        return missing(error)
    if joining.is_joined(workspace, sample):
        return joined.no_files(f"/p/{project}/{sample}")
    slots, scale = {slot.name: slot for slot in imports.SLOTS}, imports.image_scale_of(workspace, sample)
    left = [
        sections.slot_panel(slots["st"], project, sample),
        sections.slot_panel(slots["sm"], project, sample, sections.key_field()),
        sections.slot_panel(slots["negative"], project, sample),
        sections.slot_panel(slots["image"], project, sample, sections.scale_field(scale)),
    ]
    if workspace.server_folders.roots():
        left.append(sections.browser_panel())
    centre = html.Div(id=Data.TILES, className="sm-tiles")
    right = [html.Div(id=Data.CHECKS, className="sm-stack-gap"), html.Div(id=Data.NEXT, className="sm-panel sm-next")]
    heading = html.H1("Data", className="visually-hidden")
    stores = [dcc.Store(id=Data.UPLOADED), dcc.Store(id=Data.KEY_SHOWN)]
    return html.Div([heading, *stores, columns(left, centre, right)])


@callback(
    Output(Data.TILES, "children"),
    Output(Data.CHECKS, "children"),
    Output(Data.NEXT, "children"),
    Output({Data.STATES: ALL}, "children"),
    Output(Data.KEY, "options"),
    Output(Data.KEY, "value"),
    Output(Data.KEY_SHOWN, "data"),
    Output(Data.KEY_FRAME, "hidden"),
    Input(Shell.JOBS, "data"),
    Input(Data.UPLOADED, "data"),
    State(Shell.URL, "pathname"),
)
def refresh(_jobs: Any, _uploaded: Any, pathname: str) -> tuple:
    """Everything that follows the files, from the workspace."""
    place = Place.from_path(pathname)
    if place is None or place.page != "data":
        return (no_update, no_update, no_update, [no_update] * len(imports.SLOTS), *[no_update] * 4)
    found, workspace = _sections(place), backend().workspace
    held, sm = imports.files_in_use(workspace, place.project, place.sample), found["sm"]
    return (
        sections.tiles(found, imports.image_of(workspace, found["st"]), given=bool(held["image"])),
        sections.check_panels(found),
        sections.next_step(found, f"/p/{place.project}/{place.sample}"),
        [sections.files(held[slot.name], found[imports.kind_of(slot.name)]) for slot in imports.SLOTS],
        [{"label": name, "value": name} for name in sm.spatial_keys],
        sm.spatial_key,
        sm.spatial_key,
        len(sm.spatial_keys) < 2,
    )


def _sections(place: Place) -> dict[str, imports.Section]:
    b = backend()
    here = {"project": place.project, "sample": place.sample}
    return {kind: imports.section(b.workspace, b.jobs, kind=kind, **here) for kind in imports.SECTIONS}


def _start(pathname: str, kind: str, scale: float | None, key: str | None = None) -> None:
    place = Place.from_path(pathname)
    imports.start(
        backend().workspace,
        backend().jobs,
        project=place.project,
        sample=place.sample,
        kind=kind,
        user=current_user(),
        image_scale=scale,
        spatial_key=key,
    )


@callback(
    Output(Shell.SUBMITTED, "data", allow_duplicate=True),
    Input(Data.SCALE, "value"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def rescale(scale: float | None, pathname: str) -> Any:
    """Another image scale: the ST section is imported again with it, if it has an image."""
    place = Place.from_path(pathname)
    st = backend().workspace.chosen(place.sample, "st")
    if st is None or "image" not in st.inputs or st.inputs.get("image_scale") == scale:
        return no_update
    _start(pathname, "st", scale)
    return str(scale)


@callback(
    Output(Shell.SUBMITTED, "data", allow_duplicate=True),
    Input(Data.KEY, "value"),
    State(Data.KEY_SHOWN, "data"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def choose_coordinates(key: str | None, shown: str | None, pathname: str) -> Any:
    """Other coordinates of the SM file: it is imported again with them.

    What :func:`refresh` shows while that import runs, the old ones, is nobody's choice, however late it is heard here.
    """
    if key == shown:
        return no_update
    place = Place.from_path(pathname)
    sm = backend().workspace.chosen(place.sample, "sm")
    if not key or sm is None or key == (sm.config.get("spatial_key") or "spatial"):
        return no_update
    _start(pathname, "sm", None, key)
    return key


@callback(
    Output(Data.BROWSER, "children"),
    Input(Data.BROWSE, "data"),
)
def browse(folder: str | None) -> Any:
    """What lies in the folder of the server."""
    entries = backend().workspace.server_folders.browse(folder)
    return sections.browser(Path(folder) if folder else None, entries, top=folder is None)


@callback(
    Output(Data.BROWSE, "data"),
    Output(Data.UPLOADED, "data", allow_duplicate=True),
    Output(Shell.SUBMITTED, "data", allow_duplicate=True),
    Input({Data.BROWSER: ALL, "path": ALL}, "n_clicks"),
    State(Data.BROWSE_AS, "value"),
    State(Data.SCALE, "value"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def open_entry(clicks: list[int], taken_as: str, scale: float | None, pathname: str) -> tuple[Any, Any, Any]:
    """Go into a folder, or import a file or a whole folder (Space Ranger)."""
    if not any(clicks):
        return no_update, no_update, no_update
    kind, path = ctx.triggered_id[Data.BROWSER], ctx.triggered_id["path"]
    if kind in ("folder", "up"):
        return _inside(path), no_update, no_update
    place = Place.from_path(pathname)
    slot = taken_as if taken_as != "auto" else imports.guess_slot(path) or ("st" if kind == "take" else None)
    if slot is None:
        raise WorkspaceError("to know what the file is", found=Path(path).name, mend="Choose 'Take the file as'.")
    here = {"project": place.project, "sample": place.sample}
    upload = imports.import_from_server(backend().workspace, path=path, slot=slot, user=current_user(), **here)
    _start(pathname, imports.kind_of(slot), scale)
    return no_update, upload.id, upload.id


def _inside(path: str) -> str | None:
    """*path* if the server allows it, else None: the list of allowed folders."""
    try:
        return str(backend().workspace.server_folders.allowed(path))
    except SpatialMetaError as error:
        if not isinstance(error, NotFound):
            alerts.show(alerts.describe(error))
        return None
