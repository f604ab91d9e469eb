"""A whole Celeriac, served over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.processes import running, wait_for
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
        arguments = ["granian", "app.wsgi:app", "--interface", "wsgi", "--port", str(port)]
        arguments += ["--blocking-threads", "16"]
        url = f"http://127.0.0.1:{port}"
        with running(arguments, celeriac.environment, tmp_path / "web.log"):
            wait_for(lambda: _answers(url), what=celeriac.logs)
            yield url


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=2).status_code == 200
    except requests.RequestException:
        return False
