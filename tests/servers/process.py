"""Server processes: how they start, when they are ready, how they end.

It knows nothing of what the servers serve.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
#: Temporary directories bear this prefix, so that a later run finds those
#: whose owner was killed before it could clean up.
PREFIX = "celeriac-server-"
OWNER = "owner.pid"


class ServerUnavailable(Exception):
    """This machine lacks what the server needs; the message says what."""


class ServerFailed(Exception):
    """A server did not start, or did not stop, in time."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody a server may run as."""

    uid: int
    gid: int


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    ready: Callable[[], bool], *, seconds: float, what: Callable[[], str], interval: float = 0.02
) -> None:
    """Return as soon as *ready* says so; raise `ServerFailed` after *seconds*."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ServerFailed(f"not within {seconds:g} s: {what()}")
        time.sleep(interval)


@contextmanager
def scratch(*, traversable: bool = False) -> Iterator[Path]:
    """Give a temporary directory, and remove it with all that is in it.

    With *traversable*, other users can reach what stands below it.
    """
    parent = Path(tempfile.gettempdir()).resolve()
    if traversable and not _open_to_all(parent):
        # A root shell may have a TMPDIR of its own that nobody else can enter.
        candidates = [Path("/tmp"), Path("/var/tmp")]
        parent = next((path for path in candidates if _open_to_all(path)), parent)
    _sweep(parent)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        (directory / OWNER).write_text(str(os.getpid()))
        if traversable:
            directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _open_to_all(directory: Path) -> bool:
    return all(
        path.is_dir() and path.stat().st_mode & stat.S_IXOTH
        for path in (directory, *directory.parents)
    )


def _sweep(parent: Path) -> None:
    """Remove our directories whose owner was killed."""
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            if left.is_symlink() or left.stat().st_uid != os.geteuid():
                continue
            owner = int((left / OWNER).read_text())
            try:
                os.kill(owner, 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)


@dataclass(kw_only=True)
class Process:
    """One server process that can be started and ended again and again."""

    name: str
    command: Sequence[str | Path]
    #: Where its output goes; shown when it does not start.
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: User | None = None
    #: Asks it to end in good order.
    stop_signal: signal.Signals = signal.SIGTERM
    #: What it gets when our process dies.
    death_signal: signal.Signals = signal.SIGKILL
    start_seconds: float = 30.0
    stop_seconds: float = 30.0
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def running(self) -> bool:
        """Whether the process is there (not whether it answers)."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """The process's id; of its last one when it has ended."""
        if self._popen is None:
            raise ServerFailed(f"{self.name} was never started")
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """The status with which it ended, negative for a signal; None while it runs."""
        return self._popen.poll() if self._popen is not None else None

    def start(self) -> None:
        """Start it and return when it answers."""
        if self.running:
            return
        uid, gid = (self.user.uid, self.user.gid) if self.user else (-1, -1)
        launch = [sys.executable, "-I", "-S", LAUNCH, os.getpid(), int(self.death_signal), uid, gid]
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [str(part) for part in (*launch, *self.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd="/",
                # A Ctrl-C in the terminal is for us; we end our servers.
                start_new_session=True,
            )
        try:
            wait_until(
                lambda: not self.running or self.ready(),
                seconds=self.start_seconds,
                what=lambda: f"{self.name} did not answer\n{self.tail()}",
            )
        except BaseException:
            self.kill()
            raise
        if not self.running:
            raise ServerFailed(f"{self.name} ended with status {self._wait()}\n{self.tail()}")

    def stop(self) -> None:
        """End it in good order and return when it is gone."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would, and return when it is gone."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, e.g. SIGSTOP to make it hang."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def tail(self, lines: int = 20) -> str:
        """Return the last lines that it wrote."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def _end(self, number: signal.Signals) -> None:
        if self._popen is None:
            return
        if self.running:
            self._popen.send_signal(number)
            # One that was stopped would never see a polite request.
            self._popen.send_signal(signal.SIGCONT)
        try:
            self._popen.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._wait()

    def _wait(self) -> int:
        assert self._popen is not None
        return self._popen.wait(self.stop_seconds)
