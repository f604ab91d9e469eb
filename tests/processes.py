"""Worker processes for tests: started, awaited, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.nursery import Born, nursery

ROOT = Path(__file__).parents[1]


def wait_for(condition: Callable[[], Any], *, seconds: float = 20.0, what: object = "") -> Any:
    """The first true value that *condition* gives; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Worker:
    """One process of ours, with its children."""

    def __init__(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        fork: bool = False,
    ) -> None:
        """Run ``python -m`` with *arguments*; with *fork* it has loaded our workers already."""
        self.log = log
        self.file = log.open("ab")  #: Closed by ``running``.
        self.popen: subprocess.Popen[bytes] | Born
        if fork:
            self.popen = nursery().start(arguments, {**os.environ, **environment}, log)
            return
        self.popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def children(self) -> list[psutil.Process]:
        """The processes of its pool."""
        return psutil.Process(self.popen.pid).children()

    def output(self) -> str:
        """All that it said."""
        return self.log.read_text(errors="replace")

    def ready(self) -> None:
        """Return when it takes messages."""
        wait_for(
            lambda: " ready." in self.output() or self.popen.poll() is not None,
            what=self.output,
        )
        assert self.popen.poll() is None, (self.popen.returncode, self.output())

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def kill_all(self) -> None:
        """End it and its pool as a crash of the machine would."""
        if self.popen.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(30)

    def _end(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.popen.send_signal(number)
        try:
            self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(f"it did not end:\n{self.output()}") from None


#: How a web server of ours is started; a port is still to be told.
WEB = ("granian", "app.wsgi:app", "--interface", "wsgi")


def answers(port: int) -> bool:
    """True when a web server of ours listens on *port*."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def serving(port: int, environment: Mapping[str, str], log: Path, *more: str) -> Iterator[Worker]:
    """A web server on *port*, with *more* arguments, once it answers."""
    with running([*WEB, "--port", str(port), *more], environment, log) as server:
        wait_for(lambda: answers(port), seconds=60, what=server.output)
        yield server


@contextmanager
def running(
    arguments: list[str], environment: Mapping[str, str], log: Path, *, fork: bool = False
) -> Iterator[Worker]:
    """A process that runs until the end of the block at most."""
    worker = Worker(arguments, environment, log, fork=fork)
    try:
        yield worker
    finally:
        if worker.popen.poll() is None:
            worker.kill()
        worker.file.close()
