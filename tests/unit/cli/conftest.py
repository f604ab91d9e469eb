"""The command line, run as in a pipe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from app.cli import main


@pytest.fixture
def celeriac() -> Callable[..., Result]:
    """Run the command: no colours, no terminal."""

    def run(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), input=input, prog_name="celeriac")

    return run
