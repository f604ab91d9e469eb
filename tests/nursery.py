"""A process that has loaded what our workers load, and forks them: as ``celeriac up`` does.

To load it takes seconds, and the tests start hundreds of workers. The processes of a test run have
threads and cannot fork themselves.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from app.supervisor import processes
from app.supervisor.supervisor import PRELOADED

ROOT = Path(__file__).parents[1]
#: Seconds for the nursery to be there, and to give birth.
PATIENCE = 60.0


class Born:
    """A process that the nursery has forked, used as a ``subprocess.Popen``."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended; None: it runs."""
        if self.returncode is None:
            self._nursery.listen(0)
            self.returncode = self._nursery.ended.pop(self.pid, None)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended; raises ``subprocess.TimeoutExpired`` if it has not in time."""
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while (status := self.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or PATIENCE)
            self._nursery.listen(left)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, and the line to it."""

    def __init__(self) -> None:
        self._line, theirs = Pipe()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._born: list[int] = []
        #: How processes have ended that nobody has asked for yet.
        self.ended: dict[int, int] = {}

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Born:
        """Run ``python -m`` with *arguments* in a session of its own, its output going to *log*."""
        self._line.send((list(arguments), dict(environment), str(log)))
        deadline = time.monotonic() + PATIENCE
        while not self._born:
            assert time.monotonic() < deadline, "the nursery does not answer"
            self.listen(1.0)
        return Born(self, self._born.pop())

    def listen(self, seconds: float) -> None:
        """Take note of what the nursery tells within so many seconds, if it tells anything."""
        while self._line.poll(seconds):
            pid, status = self._line.recv()
            if status is None:
                self._born.append(pid)
            else:
                self.ended[pid] = status
            seconds = 0

    def close(self) -> None:
        """End it, and ask all that it has forked to end."""
        self._line.close()
        self._popen.wait(PATIENCE)


@cache
def nursery() -> Nursery:
    """The nursery of this process, which ends with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _serve(line: Connection) -> None:
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    running: set[int] = set()
    while True:
        ready = wait([line, woken])
        if woken in ready:
            os.read(woken, 1000)
        if line in ready:
            arguments, environment, log = line.recv()
            pid = processes.fork(partial(_run, line, arguments, environment), Path(log))
            running.add(pid)
            line.send((pid, None))
        for pid in list(running):
            if (status := processes.ended(pid)) is not None:
                running.discard(pid)
                line.send((pid, status))


def _run(line: Connection, arguments: list[str], environment: dict[str, str]) -> None:
    signal.set_wakeup_fd(-1)
    line.close()
    os.environ.clear()
    os.environ.update(environment)
    # The interpreter has read it already.
    sys.path[1:1] = [each for each in environment.get("PYTHONPATH", "").split(":") if each]
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Fork what the process that has started us asks for, until it is gone."""
    processes.preload(PRELOADED)
    with Connection(int(sys.argv[1])) as line:
        try:
            _serve(line)
        except EOFError:
            return


if __name__ == "__main__":
    main()
