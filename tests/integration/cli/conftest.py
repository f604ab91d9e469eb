"""A small server of the API, and the command line pointed at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.integration.cli.server import FakeServer, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        yield running


@pytest.fixture
def celeriac(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command as in a pipe: no colours, no terminal."""

    def run(*arguments: str, url: str | None = None, input: str | None = None) -> Result:
        if url:
            monkeypatch.setenv("CELERIAC_URL", url)
        return CliRunner().invoke(main, list(arguments), input=input, prog_name="celeriac")

    return run
