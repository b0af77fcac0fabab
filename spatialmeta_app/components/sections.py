"""Parts of the Data page: upload slots, pictures of the sections, their checks, the files of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import dash_bootstrap_components as dbc
from dash import dcc, html
from dash.development.base_component import Component

from spatialmeta_app.components.panel import Children, button_link, checks, format_number, icon, panel
from spatialmeta_app.components.thumbs import thumb
from spatialmeta_app.ids import Data
from spatialmeta_app.services.imports import Section, Slot
from spatialmeta_app.services.projects import Picture, map_of
from spatialmeta_app.workspace import Upload
from spatialmeta_app.workspace.uploads import gib

TITLES = {"st": "ST · total counts", "sm": "SM · total intensity"}
UNITS = {"st": ("spots", "genes"), "sm": ("pixels", "metabolites")}


def slot_panel(slot: Slot, project: str, sample: str, *more: Children) -> html.Div:
    """Where files of one kind are dropped or chosen. assets/upload.js puts the file button and the transfers in."""
    drop = html.Div(
        [
            html.Div(
                [html.Div(className="sm-choose"), html.Span("or drop it here", className="sm-note")], className="sm-row"
            ),
            html.Div(slot.formats, className="sm-note"),
        ],
        className="sm-drop",
    )
    data = {
        "data-slot": slot.name,
        "data-project": project,
        "data-sample": sample,
        "data-accept": slot.accept,
        "data-title": slot.title,
    }
    parts = [
        drop,
        html.Div(className="sm-transfers", **{"aria-live": "polite"}),
        html.Div(id={Data.STATES: slot.name}),
        *more,
    ]
    return panel(slot.title, html.Div(parts, className="sm-slot", **data))


#: state of the import -> icon of its files and what it says
FILE_ICONS = {
    "done": ("file-earmark-check sm-ok", "Imported"),
    "failed": ("file-earmark-x sm-blocking", "Not imported"),
    "": ("file-earmark", "Not imported yet"),
}


def files(uploads: Sequence[Upload], section: Section) -> list[Component]:
    """The files a slot holds; *section* is what their import makes."""
    state = section.job.state if section.job else "done" if section.result and not section.waits_for else ""
    name, title = FILE_ICONS.get(state, FILE_ICONS[""])
    return [
        html.Div(
            [
                icon(name, title=title),
                html.Span(u.filename, className="sm-transfer-name", title=u.filename),
                html.Span(gib(u.size), className="sm-note sm-num"),
            ],
            className="sm-row sm-file",
        )
        for u in uploads
    ]


def scale_field(value: float | None) -> html.Label:
    """How the histology lies on the spots' coordinates."""
    return html.Label(
        [
            html.Span(["Image scale", html.Span(" px per full-res px", className="sm-unit")]),
            dbc.Input(
                id=Data.SCALE,
                type="number",
                min=0,
                step="any",
                value=value,
                size="sm",
                debounce=True,
                placeholder="auto",
            ),
        ],
        className="sm-field-label mt-2",
        title="Pixels of this image per pixel of the spots' coordinates; empty: found from the sizes",
    )


def key_field() -> html.Div:
    """Which coordinates of the SM file are used, where it has several."""
    return html.Div(
        [
            html.Label(
                [html.Span("Coordinates"), dbc.Select(id=Data.KEY, options=[], size="sm")], className="sm-field-label"
            ),
            html.Div("The file has several; take those as measured if you align here.", className="sm-note"),
        ],
        id=Data.KEY_FRAME,
        hidden=True,
        className="mt-2",
    )


def tiles(sections: Mapping[str, Section], image: str | None, *, given: bool) -> list[Component]:
    """The three pictures: both sections and the histology, which may be *given* before the ST section it belongs to."""
    hint = "" if image else "No image. It is optional: choose or drop one."
    if given and sections["st"].result is None:
        hint = "The image is kept for the ST section, whose coordinates place it. SM alone is shown without it."
    histology = tile("Histology", Picture(image=image), "", hint, None)
    return [section_tile(sections["st"]), section_tile(sections["sm"]), histology]


def section_tile(section: Section) -> html.Div:
    """A section as it arrives: waiting, being read, or its map."""
    spots, features = UNITS[section.kind]
    title = TITLES[section.kind]
    busy = _busy(section)
    waits = f"Waits for {section.waits_for}." if section.waits_for else ""
    if section.result is None:
        hint = waits or f"No {section.kind.upper()} file yet: choose or drop one."
        return tile(title, Picture(), "", "" if busy else hint, busy)
    summary = section.result.summary
    size = f"{format_number(summary['n_obs'])} {spots} × {format_number(summary['n_vars'])} {features}"
    has_map = not any(f.title == "Coordinates" and f.level == "blocking" for f in section.findings)
    picture = map_of(section.result) if has_map else Picture()
    over = busy or (html.Div(waits, className="sm-veil sm-busy") if waits else None)
    return tile(title, picture, size, "" if has_map else "No coordinates to draw.", over)


def tile(title: str, picture: Picture, about: str, hint: str, busy: Children) -> html.Div:
    """One framed picture with its words."""
    label = f"{title}: {about}" if about else title
    shown = thumb(picture, label) if picture.image or picture.xy else None
    message = html.Div([icon("plus-square-dotted"), html.P(hint)], className="sm-empty") if hint else None
    head = html.Div(
        [html.H2(title, className="sm-head mb-0"), html.Span(about, className="sm-note sm-num")],
        className="sm-tile-head",
    )
    content = html.Div([shown, message, busy or None], className="sm-tile-picture")
    return html.Div([head, content], className="sm-panel sm-flush sm-tile")


def _busy(section: Section) -> Children:
    job = section.job
    if job is None:
        return None
    if job.state == "failed":
        return dbc.Alert([html.Strong("The file could not be imported. "), job.error or ""], color="danger")
    percent = round(100 * job.fraction)
    words = {"queued": "Waits for its turn", "cancelling": "Stops"}.get(job.state, job.message or "Starts")
    return html.Div(
        [
            html.Div(f"{words[:1].upper()}{words[1:]} · {percent}%", className="sm-num text-start"),
            html.Div(
                html.Div(style={"width": f"{percent}%"}),
                className="sm-bar",
                role="progressbar",
                **{"aria-label": f"Import of the {section.kind.upper()} section", "aria-valuenow": str(percent)},
            ),
        ],
        className="sm-veil sm-busy",
    )


def check_panels(sections: Mapping[str, Section]) -> list[Component]:
    """The checks of both sections."""
    return [_check_panel(section) for section in sections.values()]


def _check_panel(section: Section) -> html.Div:
    title = f"Checks · {section.kind.upper()}"
    if section.result is None:
        return panel(title, html.Div("Nothing to check yet.", className="sm-muted"))
    count = {level: sum(f.level == level for f in section.findings) for level in ("blocking", "warning")}
    words = [f"{n} {level}{'s' if level == 'warning' and n > 1 else ''}" for level, n in count.items() if n]
    return panel(title, checks(section.findings), note=", ".join(words) or "all in order")


def next_step(sections: Mapping[str, Section], address: str) -> Component:
    """The way on; locked, with the reason, until both sections are in order. One section alone needs no alignment."""
    href, features = f"{address}/align", f"{address}/features"
    reasons = [_reason(section) for section in sections.values() if not section.ready]
    if not reasons:
        return html.Div(
            [html.Span("Both sections are in order.", className="sm-note"), button_link("Next: Align", href)],
            className="sm-row sm-between",
        )
    locked = dbc.Button([icon("lock", className="me-1"), "Next: Align"], disabled=True, className="flex-shrink-0")
    row = html.Div([html.Span(" ".join(reasons), className="sm-note"), locked], className="sm-row sm-between")
    alone = [s for s in sections.values() if s.ready]
    if not alone or any(s.result or s.job for s in sections.values() if s is not alone[0]):
        return row
    kind = alone[0].kind.upper()
    way = button_link(f"Go on with {kind} alone", features, primary=False)
    note = html.Span("One section alone needs no alignment.", className="sm-note")
    return html.Div([row, html.Div([note, way], className="sm-row sm-between mt-2")])


def _reason(section: Section) -> str:
    name = section.kind.upper()
    if section.job is not None and section.job.active:
        return f"{name} is being read."
    if section.result is None:
        return f"{name} is missing."
    return f"{name} has a blocking check."


def browser(folder: Path | None, entries: Sequence[Path], top: bool) -> list[Component]:
    """The entries of a folder of the server; *top*: the list of allowed folders, which has no way up."""
    rows = [] if top else [_entry("arrow-90deg-up", "..", "up", folder.parent if folder else Path("/"), "")]
    for entry in entries:
        if entry.is_dir():
            rows.append(_entry("folder2", str(entry) if top else entry.name, "folder", entry, ""))
        else:
            rows.append(_entry("file-earmark", entry.name, "file", entry, gib(entry.stat().st_size)))
    return rows or [html.Div("This folder is empty.", className="sm-muted")]


def _entry(icon_name: str, text: str, kind: str, path: Path, size: str) -> html.Div:
    button = html.Button(
        [icon(icon_name), html.Span(text, className="sm-transfer-name"), html.Span(size, className="sm-note sm-num")],
        id={Data.BROWSER: kind, "path": str(path)},
        className="sm-entry",
        n_clicks=0,
    )
    if kind != "folder":
        return html.Div(button)
    take = dbc.Button(
        "Import folder", id={Data.BROWSER: "take", "path": str(path)}, size="sm", color="link", n_clicks=0
    )
    return html.Div([button, take], className="sm-row")


def browser_panel() -> html.Details:
    """Import from the folders the server allows; folded."""
    kinds = {
        "auto": "by its ending",
        "st": "ST section",
        "sm": "SM section",
        "ibd": "SM spectra (ibd)",
        "negative": "SM, negative mode",
        "image": "Histology",
    }
    return html.Details(
        [
            html.Summary("Import from a folder of the server"),
            dcc.Store(id=Data.BROWSE),
            html.Label(
                [
                    html.Span("Take the file as"),
                    dbc.Select(
                        id=Data.BROWSE_AS,
                        options=[{"label": v, "value": k} for k, v in kinds.items()],
                        value="auto",
                        size="sm",
                    ),
                ],
                className="sm-field-label my-2",
            ),
            html.Div(id=Data.BROWSER, className="sm-entries"),
        ],
        className="sm-panel sm-fold",
    )
