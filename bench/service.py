"""Celeriac's processes as the Procfile starts them, and what they cost.

The commands are read from the Procfile, so what is measured is what a host would run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.servers.process import free_port

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0


class NotStarted(Exception):
    """The service did not come up; the message ends with what it wrote last."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running Celeriac."""

    url: str
    #: Name of the process in the Procfile (with a number when there are several) to its pid.
    pids: Mapping[str, int]

    def tree(self, *names: str) -> Iterator[psutil.Process]:
        """The processes called *names* (all if none is given) with their children."""
        for name, pid in self.pids.items():
            if names and name.split(".")[0] not in names:
                continue
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                yield process
                yield from process.children(recursive=True)

    def memory(self, *names: str) -> int:
        """Bytes of memory, shared pages divided among those who share them (PSS)."""
        total = 0
        for process in self.tree(*names):
            with suppress(psutil.Error):
                info = process.memory_full_info()
                total += getattr(info, "pss", info.uss)
        return total

    def processor_seconds(self, *names: str) -> float:
        """Seconds of processor time used so far."""
        total = 0.0
        for process in self.tree(*names):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def commands() -> dict[str, str]:
    """The processes of the Procfile and how they are started."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {name.strip(): command.strip() for name, _, command in pairs}


@contextmanager
def service(
    *,
    database_url: str,
    redis_url: str,
    logs: Path,
    engines: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Migrate the database, start every process, and end them all at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        # The Procfile names programs, not paths; `celeriac` may not be installed in a checkout.
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PORT": str(port),
        "CELERIAC_DATABASE_URL": database_url,
        "CELERIAC_BROKER_URL": redis_url,
        "CELERIAC_REDIS_URL": redis_url,
        "CELERIAC_EXECUTOR_CONCURRENCY": "2",
        "CELERIAC_EXECUTOR_QUEUES": "actions,actions.bench",
        "WEB_CONCURRENCY": "1",
        **(settings or {}),
    }
    known = commands()
    release = known.pop("release", None)
    if release:
        subprocess.run(
            ["sh", "-c", release.replace("celeriac ", f"{sys.executable} -m app.cli ", 1)],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in known.items():
            count = engines if name == "engine" else 1
            for number in range(count):
                called = f"{name}.{number}" if count > 1 else name
                with (logs / f"{called}.log").open("wb") as log:
                    started[called] = subprocess.Popen(
                        # Two workers of one name would disturb each other.
                        ["sh", "-c", "exec env " + command.replace(f"{name}@", f"{called}@")],
                        cwd=ROOT,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
        _await_ready(url, started, logs)
        yield Service(url=url, pids={name: each.pid for name, each in started.items()})
    finally:
        _end(started.values())


def _await_ready(url: str, started: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    answer = "no answer"
    while time.monotonic() < deadline:
        for name, process in started.items():
            if process.poll() is not None:
                raise NotStarted(f"{name} ended with {process.returncode}\n{_tail(logs, name)}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2) as response:
                if response.status == 200:
                    return
        except urllib.error.HTTPError as err:
            answer = err.read().decode(errors="replace")[:500]
        except OSError as err:
            answer = str(err)
        time.sleep(0.1)
    raise NotStarted(f"not ready after {START_SECONDS:g} s: {answer}\n{_tail(logs, 'web')}")


def _tail(logs: Path, name: str) -> str:
    return "\n".join((logs / f"{name}.log").read_text(errors="replace").splitlines()[-20:])


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End process groups: politely first, so that the workers' children go with them."""
    processes = list(processes)
    for each in processes:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    for each in processes:
        with suppress(subprocess.TimeoutExpired):
            each.wait(max(0.1, deadline - time.monotonic()))
    for each in processes:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()
