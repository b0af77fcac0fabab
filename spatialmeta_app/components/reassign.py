"""The Reassign page: coverage map, what one spot is made of, totals."""

from __future__ import annotations

from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from core import keys
from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import facts, format_number, head, panel
from spatialmeta_app.ids import Reassign
from spatialmeta_app.services.results import PLACES, Coverage, SpotAudit

STEP = "reassign"
MOST_ROWS = 12  # pixels listed; the figure shows all
#: what a place takes, by the modality that moved
NOUNS = {keys.SM: "SM pixel", keys.ST: "ST spot"}
#: what became of places that take nothing
WITHOUT = {"drop": ", left out", "keep": ", kept", "nearest": ", given the nearest"}
ZEROS = (
    "Kept places have 0 there, which is no measurement: statistics leave them out, and Explore shows no value. "
    "A training shows its encoder the nearest place instead."
)


def layout(values: dict[str, Any] | None, join: Any = None) -> html.Div:
    """Settings, map, findings; *join* is the fold that joins samples, where there is something to join."""
    left = [steps.settings(STEP, STEPS[STEP].Config, values=values), join]
    centre = html.Div(
        [
            html.Div(
                [
                    head("Sources of each place", "places without one are hollow"),
                    html.Span("Click a spot to see what it takes", className="sm-note ms-auto"),
                ],
                className="sm-toolbar",
            ),
            html.Div(
                steps.graph(id=Reassign.MAP, label="Map of the number of sources of each place of the joint object"),
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
    covered, places = report.get("n_spots_covered", 0), report.get("n_spots", len(found.plan.xy))
    noun = PLACES[report.get("direction", "sm-to-st")].capitalize()
    without = report.get("n_spots_uncovered", 0)
    other = NOUNS[found.moved].split()[0]
    mean = float(found.distances_um.mean()) if found.distances_um.size else None
    rows = [
        (f"{noun} with {other}", f"{covered:,} of {places:,} ({100 * covered / max(places, 1):.1f} %)"),
        (f"{noun} without", f"{without:,}{WITHOUT[found.missing] if without else ''}"),
        (f"{noun} kept", f"{report.get('n_spots_kept', 0):,}"),
        ("SM pixels used", f"{report.get('n_pixels_used', 0):,} of {report.get('n_pixels', 0):,}"),
        ("Reach", format_number(report.get("reach_um"), "µm")),
        ("Mean distance", format_number(mean, "µm")),
        ("Total intensity, SM", format_number(report.get("total_intensity_before"), "", 4)),
        ("… of the pixels used", format_number(report.get("total_intensity_of_used_pixels"), "", 4)),
        ("… of the joint object", format_number(report.get("total_intensity_after"), "", 4)),
        ("Total counts, ST", format_number(report.get("total_counts_before"), "", 6)),
        ("… of the joint object", format_number(report.get("total_counts_after"), "", 6)),
    ]
    warning = html.P(ZEROS, className="sm-note") if without and found.missing == "keep" else None
    return html.Div([facts(rows), warning])


def spot(audit: SpotAudit, figure: Any, noun: str) -> html.Div:
    """The pixels of one spot as a picture and a table."""
    if not len(audit.pixels):
        note = html.Div(f"Place {audit.spot:,} has no {noun} within reach.", className="sm-muted")
    else:
        note = _pixels(audit, noun)
    label = f"Place {audit.spot} and what it takes"
    return html.Div([steps.graph(figure, id=f"{Reassign.SPOT}-figure", height=200, label=label), note])


def _pixels(audit: SpotAudit, noun: str) -> html.Table:
    header = html.Thead(
        html.Tr([html.Th(t, className="sm-num" if i else "") for i, t in enumerate((noun, "Distance", "Weight"))])
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
