"""A Heroku-style host can run every line of the Procfile with what it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from sqlalchemy import make_url

from tests.servers import Databases, redis_server
from tests.servers.process import Process, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = """
version: '2.0'
procfile:
  tasks:
    here:
      action: std.echo output='decided'
      on-success: there
    there:
      action: std.sleep seconds=0
"""


def lines() -> dict[str, str]:
    """The commands of the Procfile by their names."""
    split = (line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    return dict(split)


@pytest.fixture
def host(postgres_server: Databases) -> Iterator[dict[str, str]]:
    """What such a host puts into the environment, and nothing of ours."""
    url = postgres_server.new_database()
    with redis_server() as redis:
        yield {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PORT": str(free_port()),
            "DATABASE_URL": make_url(url)
            .set(drivername="postgres")
            .render_as_string(hide_password=False),
            "REDIS_URL": redis.url.removesuffix("/0"),
        }
    postgres_server.drop_database(make_url(url).database or "")


def test_every_line_starts_works_and_stops(host: dict[str, str], tmp_path: Path) -> None:
    commands = lines()
    release = subprocess.run(
        ["/bin/bash", "-c", commands.pop("release")],
        env={**os.environ, **host},
        capture_output=True,
        text=True,
        check=False,
    )
    assert release.returncode == 0, release.stderr

    api = f"http://127.0.0.1:{host['PORT']}"

    def ready() -> bool:
        if ended := [name for name, process in processes.items() if not process.running]:
            raise AssertionError(f"{ended[0]} ended\n{processes[ended[0]].tail(40)}")
        try:
            return requests.get(f"{api}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    with ExitStack() as stack:
        processes = {
            name: Process(
                name=name,
                command=["/bin/bash", "-c", command],
                log=tmp_path / f"{name}.log",
                ready=lambda: True,
                environment=host,
            )
            for name, command in commands.items()
        }
        for process in processes.values():
            stack.callback(process.kill)
            process.start()
        wait_until(
            ready,
            seconds=60,
            what=lambda: "\n".join(f"--- {name}\n{p.tail(10)}" for name, p in processes.items()),
            interval=0.2,
        )

        created = requests.post(f"{api}/v2/workflows", data=WORKFLOW, timeout=10)
        assert created.status_code == 201, created.text
        started = requests.post(
            f"{api}/v2/executions", json={"workflow_name": "procfile"}, timeout=10
        )
        assert started.status_code == 201, started.text
        execution = f"{api}/v2/executions/{started.json()['id']}"
        wait_until(
            lambda: requests.get(execution, timeout=10).json()["state"] != "RUNNING",
            seconds=30,
            what=lambda: "the workflow did not end",
        )
        final = requests.get(execution, timeout=10).json()
        assert final["state"] == "SUCCESS", final["state_info"]

        for process in processes.values():
            process.stop()
        ended = {name: process.status for name, process in processes.items()}
        assert ended == dict.fromkeys(commands, 0)
