"""The web server that the Procfile names, and what it makes of HTTP."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest
import requests

from tests.processes import answers, serving, wait_for
from tests.servers.process import free_port

WORKFLOW = "version: '2.0'\nwörk:\n  tasks:\n    one:\n      action: std.noop\n"


@pytest.fixture
def environment(sqlite_url: str, clean_redis_url: str) -> dict[str, str]:
    return {
        "CELERIAC_DATABASE_URL": sqlite_url,
        "CELERIAC_REDIS_URL": clean_redis_url,
        "CELERIAC_BROKER_URL": clean_redis_url,
    }


def test_names_sizes_and_pieces_arrive_as_they_were_sent(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v2/workflows"
    with serving(port, environment, tmp_path / "web.log"):
        # In pieces: nobody says beforehand how long it is.
        created = requests.post(url, data=iter([part.encode() for part in WORKFLOW]), timeout=10)
        assert created.status_code == 201, created.text
        found = requests.get(f"{url}/w%C3%B6rk", params={"fields": "name"}, timeout=10)
        assert found.json()["name"] == "wörk"
        # Longer than most servers take by default, and still a question like any other.
        many = requests.get(url, params={"name": "in:" + "x," * 10_000}, timeout=10)
        assert many.json()["workflows"] == []
        head = requests.head(url, timeout=10)
        assert (head.status_code, head.content) == (405, b"")
        gone = requests.delete(f"{url}/wörk", timeout=10)
        assert (gone.status_code, gone.content) == (204, b"")
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"this is not HTTP\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")


def test_when_its_main_process_is_killed_the_port_is_free_again(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    with serving(port, environment, tmp_path / "first.log") as first:
        first.kill()
        wait_for(lambda: not answers(port), what=first.output)
    with serving(port, environment, tmp_path / "second.log") as second:
        second.stop()
        assert second.popen.returncode == 0


def test_it_ends_although_somebody_follows_a_stream(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "web.log"
    with (
        serving(port, environment, log, "--workers-kill-timeout", "1") as server,
        requests.get(
            f"http://127.0.0.1:{port}/v2/events",
            headers={"Accept": "text/event-stream"},
            stream=True,
            timeout=10,
        ) as stream,
    ):
        assert next(stream.iter_lines()) == b"retry: 1000"
        began = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(20) == 0
        assert time.monotonic() - began < 15
