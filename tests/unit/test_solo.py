"""Calls in a child of a main process that has a thread beside."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from workers import solo


def test_a_child_inherits_nothing_that_the_thread_has_locked() -> None:
    locked = threading.Lock()

    def renew() -> None:
        with locked:
            for _ in range(300_000):  # Somewhere in here the main thread has its turn.
                pass

    transport = SimpleNamespace(cycle=SimpleNamespace(renew=renew))
    channel = SimpleNamespace(connection=transport, unacked_restore_interval=0.0005)
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(channel=channel))
    stopping = threading.Event()
    thread = threading.Thread(target=solo._renew, args=(consumer, stopping))
    thread.start()
    try:
        got = [solo.call_apart(lambda: locked.acquire(timeout=1.0), seconds=10) for _ in range(20)]
    finally:
        stopping.set()
        thread.join()
    assert got == [True] * 20
