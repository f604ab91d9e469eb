"""What a worker needs whose tasks run in its main process (``--pool solo``).

A pool of processes is watched by the main process. Here there is none beside, and:

- the main process tells the broker nothing while it works, so a thread of it does;
- what hangs is ended, with its process, by a watchdog; whoever runs the worker starts it again;
- what may take its process with it runs in another: ``workers.apart``.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
from typing import Any

from celery import bootsteps
from celery.concurrency.solo import TaskPool

#: Seconds after which a main process that has not looked up from its work is ended.
HUNG = 180.0
#: How often it looks up in that time when it has nothing to do.
SIGNS = 12


def is_solo(pool: Any) -> bool:
    """True when *pool* runs its tasks in the main process."""
    return isinstance(pool, TaskPool)


_watched = False


def sign_of_life() -> None:
    """Tell the watchdog, if there is one, that this process has done something."""
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
        sign_of_life()
        self._timer = consumer.timer.call_repeatedly(HUNG / SIGNS, sign_of_life)
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
        renew()
