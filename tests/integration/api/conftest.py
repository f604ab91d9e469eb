"""An application in this process, on a database of its own; no worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config import Config
from app.factory import create_app

Make = Callable[..., Flask]


@pytest.fixture
def make_app(database_url: str, clean_redis_url: str) -> Iterator[Make]:
    """Make an application with these settings."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        config = Config(database_url=database_url, broker_url=clean_redis_url, **settings)
        made.append(create_app(config))
        return made[-1]

    yield make
    for app in made:
        app.extensions["celeriac"].platform.close()


@pytest.fixture
def app(make_app: Make) -> Flask:
    """An application without authentication."""
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A caller of the application."""
    return app.test_client()
