"""Who is asking: a name from a proxy that logs people in, else a random cookie."""

from __future__ import annotations

import re
import secrets
import time

import flask

from spatialmeta_app.services.backend import backend

COOKIE = "sm_user"
COOKIE_AGE_S = 10 * 365 * 24 * 3600
_COOKIE_VALUE = re.compile(r"[0-9a-f]{32}")
LONGEST_NAME = 200


def current_user() -> str:
    """The person of this request. A browser without a cookie gets one with the answer (:func:`remember`)."""
    if "user" not in flask.g:
        flask.g.user = _from_header() or _from_cookie() or _new()
    return flask.g.user


def remember(response: flask.Response) -> flask.Response:
    """Hand out the cookie where this request made a new person; registered as ``after_request``."""
    if flask.g.get("new_user"):
        response.set_cookie(
            COOKIE,
            flask.g.user,
            max_age=COOKIE_AGE_S,
            httponly=True,
            samesite="Lax",
            secure=flask.request.is_secure,
        )
    return response


def _from_header() -> str | None:
    """The proxy's name for the person; prefixed, so that no cookie can claim it and none of the program's own names."""
    name = backend().settings.user_header
    value = flask.request.headers.get(name, "").strip() if name else ""
    return f"user:{value[:LONGEST_NAME]}" if value else None


def _from_cookie() -> str | None:
    value = flask.request.cookies.get(COOKIE, "")
    return value if _COOKIE_VALUE.fullmatch(value) else None


def _new() -> str:
    user = secrets.token_hex(16)
    now = time.time()
    with backend().workspace.database.write() as db:
        db.execute("INSERT INTO users VALUES (?, ?, ?)", (user, now, now))
    flask.g.new_user = True
    return user
