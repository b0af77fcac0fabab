"""The web application over ``core``: :func:`create_app`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import dash
from flask import Flask, Response

from spatialmeta_app import api
from spatialmeta_app.api import vendor
from spatialmeta_app.config import Settings

ROOT = Path(__file__).parents[1]
TITLE = "SpatialMETA"

INDEX = """<!DOCTYPE html>
<html lang="en" data-bs-theme="light">
  <head>
    {%metas%}
    <title>{%title%}</title>
    <link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">
    <script src="/assets/theme-init.js"></script>
    {%css%}
  </head>
  <body>
    {%app_entry%}
    <div hidden>{%config%}{%scripts%}{%renderer%}</div>
  </body>
</html>"""


def create_app(settings: Settings) -> dash.Dash:
    """The Dash application with its Flask server: pages, API, security headers.

    Parameters
    ----------
    settings
        See :class:`spatialmeta_app.config.Settings`. The data folder is made where it is missing.
    """
    from spatialmeta_app.components import alerts, shell

    server = Flask("spatialmeta_app")
    api.register(server, settings)
    server.register_blueprint(vendor.blueprint)
    app = dash.Dash(
        __name__,
        server=server,
        title=TITLE,
        update_title=None,
        use_pages=True,
        pages_folder="",
        assets_folder=str(ROOT / "assets"),
        assets_ignore=r"theme-init\.js",
        external_stylesheets=vendor.stylesheets(),
        index_string=INDEX,
        serve_locally=True,
        suppress_callback_exceptions=True,
        include_pages_meta=False,
        enable_mcp=False,
        on_error=alerts.on_error,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    _register_pages()
    app.layout = shell.shell
    _secure(app)
    return app


def _register_pages() -> None:
    """Import every module of ``pages``; Dash's own import by folder would load each again under another name."""
    from spatialmeta_app import pages

    for info in pkgutil.iter_modules(pages.__path__, "spatialmeta_app.pages."):
        module = importlib.import_module(info.name)
        if info.name in dash.page_registry:  # modules with a leading underscore hold callbacks only
            dash.page_registry[info.name]["layout"] = module.layout


def _secure(app: dash.Dash) -> None:
    """Headers on every answer. Dash writes a few inline scripts; their hashes are allowed, no others."""

    @app.server.after_request
    def add_headers(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = content_security_policy(app)
            response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        return response


def content_security_policy(app: dash.Dash) -> str:
    """The policy. Inline scripts: only those Dash writes itself, by their hashes. plotly needs three allowances: its
    WebGL traces compile their drawing code ('unsafe-eval'; without it they show "WebGL is not supported"), it writes
    style elements, and its image export uses blob: and data: addresses."""
    scripts = " ".join(["'self'", "'unsafe-eval'", *dict.fromkeys(app.csp_hashes())])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )
