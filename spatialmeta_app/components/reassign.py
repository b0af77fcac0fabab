"""The Reassign page: coverage map, what one spot is made of, totals."""

from __future__ import annotations

from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import facts, format_number, head, panel
from spatialmeta_app.ids import Reassign
from spatialmeta_app.services.results import Coverage, SpotAudit

STEP = "reassign"
MOST_ROWS = 12  # pixels listed; the figure shows all


def layout(values: dict[str, Any] | None) -> html.Div:
    """Settings, map, findings."""
    left = steps.settings(STEP, STEPS[STEP].Config, values=values)
    centre = html.Div(
        [
            html.Div(
                [
                    head("SM pixels per spot", "spots without a pixel are hollow"),
                    html.Span("Click a spot to see its pixels", className="sm-note ms-auto"),
                ],
                className="sm-toolbar",
            ),
            html.Div(
                steps.graph(id=Reassign.MAP, label="Map of the number of SM pixels that each ST spot averages"),
                className="sm-canvas",
            ),
        ],
        className="sm-panel sm-fill sm-flush",
    )
    right = [
        panel("Coverage", html.Div(id=Reassign.COVERAGE)),
        panel(
            "Distance of pixels from their spot",
            steps.graph(
                id=Reassign.DISTANCES, height=132, label="Histogram of distances between spots and their pixels"
            ),
        ),
        panel("One spot", _number(), html.Div(id=Reassign.SPOT)),
        steps.runs_panel(STEP),
    ]
    return steps.page(STEP, left=left, centre=centre, right=right)


def _number() -> html.Label:
    field = dbc.Input(id=Reassign.NUMBER, type="number", min=0, step=1, value=0, size="sm", debounce=True)
    return html.Label([html.Span("Spot number"), field], className="sm-field-label mb-2")


def coverage(found: Coverage | None) -> html.Div:
    """Totals of a reassignment."""
    if found is None:
        return steps.summary([])
    report = found.report
    covered, spots = report.get("n_spots_covered", 0), report.get("n_spots", len(found.st_xy))
    share = f"{covered:,} of {spots:,} ({100 * covered / max(spots, 1):.1f} %)"
    kept = report.get("total_intensity_after"), report.get("total_intensity_of_used_pixels")
    return facts(
        [
            ("Spots with SM", share),
            ("Spots without", f"{report.get('n_spots_uncovered', 0):,}"),
            ("Spots kept", f"{report.get('n_spots_kept', 0):,}"),
            ("Pixels used", f"{report.get('n_pixels_used', 0):,} of {report.get('n_pixels', 0):,}"),
            ("Reach of a spot", format_number(report.get("reach_um"), "µm")),
            (
                "Mean distance",
                format_number(float(found.distances_um.mean()) if found.distances_um.size else None, "µm"),
            ),
            ("Intensity of pixels used", format_number(kept[1], "", 4)),
            ("Intensity of spots", format_number(kept[0], "", 4)),
        ]
    )


def spot(audit: SpotAudit, figure: Any) -> html.Div:
    """The pixels of one spot as a picture and a table."""
    if not len(audit.pixels):
        note = html.Div(f"Spot {audit.spot:,} has no SM pixel within reach.", className="sm-muted")
    else:
        note = _pixels(audit)
    label = f"Spot {audit.spot} and the SM pixels it averages"
    return html.Div([steps.graph(figure, id=f"{Reassign.SPOT}-figure", height=200, label=label), note])


def _pixels(audit: SpotAudit) -> html.Table:
    header = html.Thead(
        html.Tr([html.Th(t, className="sm-num" if i else "") for i, t in enumerate(("SM pixel", "Distance", "Weight"))])
    )
    rows = [
        html.Tr(
            [
                html.Td(f"{pixel:,}"),
                html.Td(f"{distance:.1f} µm", className="sm-num"),
                html.Td(f"{weight:.3f}", className="sm-num"),
            ]
        )
        for pixel, distance, weight in zip(audit.pixels, audit.distances_um, audit.weights, strict=True)
    ]
    more = len(rows) - MOST_ROWS
    if more > 0:
        rows = [*rows[:MOST_ROWS], html.Tr(html.Td(f"and {more} more", colSpan=3, className="sm-muted"))]
    return html.Table([header, html.Tbody(rows)], className="sm-table")
