"""A whole Celeriac, served over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import serving
from tests.servers.process import free_port
from tests.system import system


@pytest.fixture
def service(tmp_path: Path, database_url: str, clean_redis_url: str) -> Iterator[str]:
    """The address of a whole Celeriac that may call this machine."""
    settings = {"CELERIAC_HTTP_DENIED_NETWORKS": "169.254.0.0/16"}
    port = free_port()
    with system(
        tmp_path, database_url=database_url, redis_url=clean_redis_url, **settings
    ) as celeriac:
        celeriac.start("engine", "executor", "notifier", "beat")
        log = tmp_path / "web.log"
        with serving(port, celeriac.environment, log, "--blocking-threads", "16"):
            yield f"http://127.0.0.1:{port}"
