"""One place turns an error into one alert: what was expected, what was found, how to mend it."""

from __future__ import annotations

import logging

import dash_bootstrap_components as dbc
from dash import html, set_props

from core.errors import SpatialMetaError
from spatialmeta_app.ids import Shell

log = logging.getLogger(__name__)

UNEXPECTED = (
    "The program met something it was not made for. Nothing that was saved is lost; the server's log has the details."
)


def describe(error: BaseException) -> dict[str, str]:
    """The alert of an error, as the page's script shows it: ``{level, title, text, mend}``."""
    if isinstance(error, SpatialMetaError):
        title = f"Found {error.found}" if error.found else "This can not be done yet"
        return {"level": "danger", "title": title, "text": f"Expected {error.expected}.", "mend": error.mend}
    return {"level": "danger", "title": "Something went wrong", "text": UNEXPECTED, "mend": ""}


def on_error(error: Exception) -> None:
    """For ``dash.Dash(on_error=…)``: any callback that raises shows one alert and changes nothing else."""
    if not isinstance(error, SpatialMetaError):
        log.exception("callback failed", exc_info=error)
    show(describe(error))


def show(alert: dict[str, str]) -> None:
    """Show *alert* from inside a callback."""
    set_props(Shell.ALERT, {"data": alert})


def say(text: str, *, level: str = "success") -> None:
    """Show one plain sentence from inside a callback."""
    show({"level": level, "title": text, "text": "", "mend": ""})


def inline(error: BaseException) -> dbc.Alert:
    """The same alert as a part of a page."""
    alert = describe(error)
    return dbc.Alert([html.Strong(alert["title"]), html.Div(alert["text"]), html.Div(alert["mend"])], color="danger")
