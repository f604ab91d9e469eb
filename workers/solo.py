"""What a worker needs whose tasks run in its main process (``--pool solo``).

A pool of processes is watched by the main process. Here there is none beside, and:

- the main process tells the broker nothing while it works, so a thread of it does;
- what hangs is ended, with its process, by a watchdog; whoever runs the worker starts it again;
- what may take its process with it runs in a child: ``call_apart``.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import connection
from typing import Any, NoReturn, TypeVar

from celery import bootsteps, signals
from celery.concurrency.solo import TaskPool

log = logging.getLogger(__name__)

#: Seconds after which a main process that has not looked up from its work is ended.
HUNG = 180.0
#: How often it looks up in that time when it has nothing to do.
SIGNS = 12

T = TypeVar("T")


def is_solo(pool: Any) -> bool:
    """True when *pool* runs its tasks in the main process."""
    return isinstance(pool, TaskPool)


# --- children ---------------------------------------------------------------------------------


#: Held by the thread that renews while it does: what it has locked just then (a pool of
#: connections, a module that it imports) would stay locked for ever in a child.
_renewing = threading.Lock()


class ChildLost(Exception):
    """A child of this process died, or was killed since it took too long."""


def call_apart(call: Callable[[], T], *, seconds: float) -> T:
    """What *call* returns when it is called in a child of this process, with its own connections.

    Raises ChildLost when the child dies or has not ended after *seconds*, which must be well
    below ``HUNG``.
    """
    _sign_of_life()
    reader, writer = connection.Pipe(duplex=False)
    with _renewing:
        pid = os.fork()
    if pid == 0:
        _be_the_child(call, writer)
    writer.close()
    try:
        if not reader.poll(seconds):
            raise ChildLost(f"killed after {seconds:g} s")
        returned: T = reader.recv()
        return returned
    except EOFError:
        raise ChildLost("the process died") from None
    finally:
        reader.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _sign_of_life()


def _be_the_child(call: Callable[[], Any], writer: Any) -> NoReturn:
    status = 1
    try:
        # They are sent to the whole group; the main process waits for us before it heeds them.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signals.worker_process_init.send(sender=None)
        writer.send(call())
        status = 0
    except BaseException:
        log.exception("a child could not do its work")
    finally:
        os._exit(status)


# --- the main process -------------------------------------------------------------------------

_watched = False


def _sign_of_life() -> None:
    if _watched:
        # A thread outside Python's lock: it ends a process that is stuck in a library, too.
        faulthandler.dump_traceback_later(HUNG, exit=True, file=sys.__stderr__ or 2)


class Watch(bootsteps.StartStopStep):
    """Keeps messages in hand and the process from hanging; only for the solo pool."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:
        self.enabled = is_solo(consumer.pool)
        self._stopping = threading.Event()
        self._timer: Any = None
        if self.enabled:
            # It would sleep in a signal's handler, in the midst of the work it waits for.
            consumer.app.conf.worker_soft_shutdown_timeout = 0.0

    def start(self, consumer: Any) -> None:
        """Begin to keep them."""
        global _watched
        _watched = True
        _sign_of_life()
        self._timer = consumer.timer.call_repeatedly(HUNG / SIGNS, _sign_of_life)
        self._stopping = threading.Event()
        threading.Thread(
            target=_renew, args=(consumer, self._stopping), name="renew", daemon=True
        ).start()

    def stop(self, consumer: Any) -> None:
        """Leave them: the connection is gone, or we are."""
        global _watched
        self._stopping.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _watched = False
        faulthandler.cancel_dump_traceback_later()


def _renew(consumer: Any, stopping: threading.Event) -> None:
    """Say that the messages in hand are in hand still, where the broker wants to be told."""
    channel = consumer.task_consumer.channel
    renew = getattr(getattr(channel.connection, "cycle", None), "renew", None)
    while renew is not None and not stopping.wait(channel.unacked_restore_interval):
        with _renewing:
            renew()
