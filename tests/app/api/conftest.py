from __future__ import annotations

import flask
import pytest

from spatialmeta_app import api

CHANGE = {"X-SpatialMETA": "1"}


@pytest.fixture
def server(settings) -> flask.Flask:
    server = flask.Flask("test")
    api.register(server, settings)
    return server


@pytest.fixture
def client(server):
    return server.test_client()
