"""``Supervisor``: everything starts, what dies comes back, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.supervisor import processes
from tests.processes import ROOT, wait_for

PROGRAM = """
import sys
from pathlib import Path
from app.supervisor import AlreadyRunning, Options, Supervisor

def then(addresses):
    print("ready", addresses["CELERIAC_URL"], flush=True)
    return 7

try:
    supervisor = Supervisor(Options(data=Path(sys.argv[1]), port=int(sys.argv[2]), executors=1))
    sys.exit(supervisor.run(then=then, stay=sys.argv[3] == "stay"))
except AlreadyRunning as err:
    sys.exit(f"already running: {err}")
"""


class Up:
    """A supervisor in a process of its own."""

    def __init__(self, data: Path, port: int, mode: str = "stay") -> None:
        self.data = data
        self.log = data.with_suffix(f".{port}.log")
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(data), str(port), mode],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self.log.read_text()

    def ready(self) -> None:
        wait_for(lambda: "ready" in self.output(), seconds=60, what=self.output)

    def pids(self) -> dict[str, int]:
        found = json.loads((self.data / "processes.json").read_text())
        return {name: pid for name, (pid, _) in found.items()}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def up(tmp_path: Path, port: int) -> Iterator[Up]:
    up = Up(tmp_path / "data", port)
    try:
        up.ready()
        yield up
    finally:
        if up.popen.poll() is None:
            up.popen.terminate()
        up.popen.wait(40)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if processes.identity(pid) is not None]


def family(up: Up) -> list[int]:
    return [each.pid for each in psutil.Process(up.popen.pid).children(recursive=True)]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_good_order_and_leaves_nothing(up: Up, number: signal.Signals) -> None:
    pids = family(up)
    assert len(pids) >= 7
    environment = (up.data / "celeriac.env").read_text()
    assert "export CELERIAC_URL=http://127.0.0.1:" in environment
    up.popen.send_signal(number)
    up.popen.wait(30)
    assert alive(pids) == []
    assert not (up.data / "celeriac.env").exists()


def test_what_dies_is_started_again(up: Up, port: int) -> None:
    before = up.pids()
    for name in ("redis", "web", "engine", "executor", "beat"):
        os.kill(before[name], signal.SIGKILL)
    wait_for(
        lambda: all(
            up.pids().get(name, pid) != pid for name, pid in before.items() if name != "notifier"
        ),
        what=up.output,
    )
    wait_for(lambda: answers(port), seconds=40, what=up.output)
    assert "engine was ended by SIGKILL: starting it again" in up.output()


def test_nothing_outlives_a_supervisor_that_is_killed(up: Up) -> None:
    pids = family(up)
    up.popen.kill()
    up.popen.wait()
    wait_for(lambda: alive(pids) == [], seconds=40, what=lambda: str(alive(pids)))


def test_a_second_one_in_the_same_place_is_refused(up: Up, port: int) -> None:
    second = Up(up.data, port + 1)
    assert second.popen.wait(30) == 1
    assert "is in use by another Celeriac" in second.output()


def test_it_ends_with_the_status_of_what_it_was_started_for(tmp_path: Path, port: int) -> None:
    up = Up(tmp_path / "data", port, mode="leave")
    assert up.popen.wait(90) == 7, up.output()
