"""A process beside this one that calls a function for it, and that may die of it.

It is a fresh interpreter, since a fork is no way out of a process with threads: what they had
locked at that moment is locked in the child for ever. Not only Python's locks are: SQLite notes in
its memory what the process has locked, so a child that was forked in the midst of another thread's
transaction takes the database for locked until it ends.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Generic, TypeVar

from app.parent import end_with_parent

#: Seconds without anything to do after which the process ends.
IDLE = 30.0
#: Seconds that its start may take: a second or two where nothing is wrong.
START = 45.0
#: Seconds that it has to end, and to write where it is if it took too long.
LAST_WORDS = 2.0

A = TypeVar("A")
R = TypeVar("R")


class ChildLost(Exception):
    """The process died, or ended itself since it took too long."""


class NotStarted(Exception):
    """There is no process, which says nothing about what it was to do."""


class Apart(Generic[A, R]):
    """Calls of *call* in a process of their own, which is started when there is something to do.

    *call*, what it takes and what it returns are pickled. A child that has died is replaced at the
    next call.
    """

    def __init__(self, call: Callable[[A], R]) -> None:
        self._call = call
        self._child: _Child | None = None

    def __call__(self, argument: A, *, seconds: float) -> R:
        """What *call* returns for *argument*.

        Raises ChildLost when the process dies or has not answered after *seconds*, and NotStarted
        when there is none.
        """
        while True:
            fresh = self._child is None
            child = self._child = self._child or _Child(self._call)
            began = time.monotonic()
            try:
                returned: R = child.ask(argument, seconds)
                return returned
            except (EOFError, OSError) as err:
                self._child = None
                status = child.end()
                if time.monotonic() - began >= seconds:
                    raise ChildLost(f"it took more than {seconds:g} s") from err
                if fresh or status != 0:
                    raise ChildLost(f"the process died: {status}") from err
                # It had nothing to do and was about to end when we asked.
            except BaseException:
                self._child = None
                child.end()
                raise


class _Child:
    """The process, and the line to it."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self._line, theirs = Pipe()
        try:
            with theirs:
                self._popen = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        except OSError as err:
            self._line.close()
            raise NotStarted(str(err)) from err
        try:
            self._line.send(sys.path)
            self._line.send(call)
            self._receive(START)
        except (EOFError, OSError) as err:
            raise NotStarted(f"it ended with {self.end()}: {err!r}") from err

    def ask(self, argument: Any, seconds: float) -> Any:
        self._line.send((argument, seconds))
        return self._receive(seconds + LAST_WORDS)

    def _receive(self, seconds: float) -> Any:
        if not self._line.poll(seconds):
            self._popen.kill()
        return self._line.recv()

    def end(self) -> int:
        """End it; its exit status, or minus the number of the signal that it died of."""
        self._line.close()
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(LAST_WORDS)
        self._popen.kill()
        return self._popen.wait()


def _serve(line: Connection) -> None:
    # First where modules are, then what is to be called, which may be in one of them.
    sys.path[:] = line.recv()
    call = line.recv()
    line.send("ready")
    while line.poll(IDLE):
        argument, seconds = line.recv()
        # A thread outside Python's lock: it ends what is stuck in a library, too, and tells where.
        faulthandler.dump_traceback_later(seconds, exit=True)
        line.send(call(argument))
        faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Serve the process that has started us until it leaves us, or leaves us alone for long."""
    # They are sent to the whole group; who has started us waits for us before it heeds them.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    logging.basicConfig(format="[%(asctime)s: %(levelname)s/Apart] %(message)s", level=logging.INFO)
    with Connection(int(sys.argv[1])) as line, suppress(EOFError, BrokenPipeError):
        _serve(line)
    # As the process that has started us: its threads end with it.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
