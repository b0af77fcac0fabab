"""Small pictures of sections: the histology, or spots drawn on a canvas by assets/thumbs.js."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from spatialmeta_app.components.panel import icon
from spatialmeta_app.services.projects import Picture


def thumb(picture: Picture, label: str) -> Component:
    """The picture of a section or sample; a quiet grid of dots where there is none yet.

    Parameters
    ----------
    label
        What the picture shows, for people who do not see it.
    """
    if picture.image:
        return html.Img(src=picture.image, alt=label, className="sm-picture", key=picture.image)
    if picture.xy:
        props = {"data-xy": picture.xy, "data-values": picture.values, "aria-label": label}
        return html.Canvas(className="sm-thumb", key=picture.xy, role="img", **props)
    return html.Div(icon("grid-3x3-gap"), className="sm-no-picture")
