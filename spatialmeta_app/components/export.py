"""The Export page: what is in the file, what to leave out, other files, storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import button_link, columns, empty, facts, head, icon, panel
from spatialmeta_app.ids import Export
from spatialmeta_app.services.export import PARTS, Contents, Slot, size
from spatialmeta_app.services.steps import TITLES, when

STEP = "export"
NOTHING = "A joint object that is up to date is needed."
FILE_ICONS = {"geojson": "pentagon", "transform": "bounding-box", "spots": "table", "script": "terminal"}


def layout() -> html.Div:
    """Parts and files, contents, script and storage."""
    left = [
        html.Section(
            panel(
                "AnnData",
                _parts(),
                html.Fieldset(
                    steps.run_button(STEP, "Write h5ad", "file-earmark-arrow-down"),
                    id=Export.WRITE,
                    disabled=True,
                    **{"aria-describedby": Export.WHY_NOT},
                ),
                html.Div(id=Export.WHY_NOT, className="sm-note mt-2"),
                html.Div(id=Export.FILES),
            ),
            **{"aria-label": "Write the AnnData file"},
        ),
        panel(
            "Other files",
            html.Div(id=Export.GET, className="sm-stack"),
            html.Div(id=Export.WAITING, className="sm-note mt-2", role="status"),
            dcc.Download(id=Export.DOWNLOAD),
            dcc.Store(id=Export.WANTED),
        ),
    ]
    centre = html.Div(
        [
            html.Div(head("In the file"), className="sm-toolbar"),
            html.Div(
                id=Export.CONTENTS,
                className="sm-scroll sm-padded",
                tabIndex="0",
                role="region",
                **{"aria-label": "Contents of the file"},
            ),
        ],
        className="sm-panel sm-fill sm-flush",
    )
    right = [
        panel("Script", html.Div(id=Export.SCRIPT)),
        panel("Storage", html.Div(id=Export.STORAGE)),
    ]
    return html.Div([*steps.job_stores(STEP), columns(left, centre, right)], className="sm-step-page")


def _parts() -> html.Div:
    options = [
        {"label": html.Span([title, html.Span(what, className="sm-note d-block")]), "value": name}
        for name, (title, what) in PARTS.items()
    ]
    return html.Div(
        dbc.Checklist(id=Export.PARTS, options=options, value=list(PARTS), className="sm-checklist"),
        role="group",
        **{"aria-label": "Parts of the file"},
    )


def download(job: Any | None) -> html.Div | None:
    """The link to the file that was written last."""
    if job is None:
        return None
    link = html.A(
        [icon("download", className="me-1"), "Download ", html.B(job.result)],
        href=f"/api/download/{job.id}", className="btn btn-secondary w-100 sm-clip", download=job.result,
    )  # fmt: skip
    return html.Div(
        [link, html.Div(f"written {when(job.finished or job.created)}", className="sm-note mt-1")], className="mt-2"
    )


def files(found: Mapping[str, str]) -> list[Any]:
    """A button for each small file."""
    if not found:
        return [html.Div("Files appear here as the steps are done.", className="sm-muted")]
    return [
        html.Button(
            [icon(FILE_ICONS[kind]), html.Span(title)],
            id={"export-get": kind},
            className="btn btn-secondary sm-left-text",
            n_clicks=0,
        )
        for kind, title in found.items()
    ]


def contents(found: Contents | None, parts: Sequence[str], way: str) -> html.Div:
    """The slots of the file, and the history it carries; *way* is the address where the work goes on until then."""
    if found is None:
        return empty(
            "box-seam",
            "Nothing to export yet",
            f"{NOTHING} Run the steps up to Reassign (one section: Features).",
            button_link(f"Go to {way.rsplit('/', 1)[-1].capitalize()}", way, icon_name="arrow-right"),
        )
    kinds = ", ".join(f"{n:,} {'genes' if k == 'ST' else 'metabolites'}" for k, n in found.features.items())
    title = html.P(
        [
            html.B(f"AnnData, {found.n_obs:,} {found.place}s × {found.n_vars:,} features"),
            f" ({kinds}), after the step {TITLES[found.base.step]}.",
        ]
    )
    kept = [s for s in found.slots if s.part is None or s.part in parts]
    left_out = [s for s in found.slots if s not in kept]
    return html.Div([title, _slots(kept, left_out), head("History in the file"), history(found.history)])


def _slots(kept: Sequence[Slot], left_out: Sequence[Slot]) -> html.Table:
    header = html.Thead(
        html.Tr([html.Th("Slot"), html.Th("What"), html.Th("Shape"), html.Th("Size", className="sm-num")])
    )
    rows = [_slot(s, "") for s in kept] + [_slot(s, "sm-out") for s in left_out]
    return html.Table([header, html.Tbody(rows)], className="sm-table sm-dense")


def _slot(slot: Slot, class_name: str) -> html.Tr:
    state = html.Span(" left out", className="sm-tag") if class_name else None
    return html.Tr(
        [
            html.Td([html.Code(slot.name, className="sm-code"), state]),
            html.Td(slot.meaning, className="sm-muted"),
            html.Td(slot.shape, className="text-nowrap"),
            html.Td(size(slot.bytes), className="sm-num"),
        ],
        className=class_name,
    )


def history(records: Sequence[Mapping[str, Any]]) -> html.Ol:
    """One line a step: name, when, how long, by what."""
    items = []
    for record in records:
        start, seconds = str(record.get("start", ""))[:16].replace("T", " "), record.get("duration_s", 0)
        made = f"{start} UTC · {seconds:.1f} s · seed {record.get('seed')}"
        name = TITLES.get(record["name"], record["name"])
        items.append(
            html.Li([html.B(name), html.Span(made, className="sm-note sm-num")], className="sm-row sm-between")
        )
    return html.Ol(items, className="sm-runs")


def script(text: str) -> html.Div:
    """The commands with a button to copy them; none without a run."""
    if not text:
        return html.Div("The commands of the steps appear here as they are done.", className="sm-muted")
    code = html.Pre(text, id=f"{Export.SCRIPT}-text", className="sm-log", tabIndex="0")
    copy = dcc.Clipboard(target_id=f"{Export.SCRIPT}-text", title="Copy the script", className="sm-copy")
    return html.Div([code, copy], className="sm-command")


def storage(rows: Sequence[tuple[str, int, int]]) -> html.Div:
    """What the sample takes on disk."""
    total = sum(r[2] for r in rows)
    listed = [(f"{title} ({number})", size(number_bytes)) for title, number, number_bytes in rows if number]
    return facts([*listed, ("All", html.B(size(total)))])
