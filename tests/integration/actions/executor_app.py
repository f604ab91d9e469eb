"""A Celery application with the executor's tasks only, and actions that misbehave."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery

from app.actions.registry import from_function
from app.broker import celery_settings
from app.config import Config
from workers import executor
from workers.process import Process


def note(path: str, text: str = "ran", then: float = 0, result: Any = None) -> Any:
    """Add a line to a file, wait, and add another."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
        file.flush()
        time.sleep(then)
        if then:
            file.write("ended\n")
    return result


def stubborn() -> None:
    """Never ends, and takes no exception for an answer."""
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            logging.getLogger(__name__).info("not now")


def deaf() -> None:
    """Never ends, in code that no signal handler interrupts."""
    sum(range(10**15))


def die(path: str, times: int = 1_000) -> str:
    """Kill the process, as a crash would, the first *times*."""
    note(path)
    if len(Path(path).read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "lives"


def leave() -> None:
    """Ends the interpreter, as it thinks."""
    raise SystemExit(3)


def large(size: int) -> str:
    """A long text."""
    return "x" * size


def strange() -> Any:
    """Something that JSON does not know."""
    return {"when": object()}


config = Config.from_env()
app = Celery("executor-under-test", set_as_current=False)
app.conf.update(celery_settings(config.broker_url))
app.conf.update(
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_prefetch_count_reduction=False,
)
executor.register(app, Process(config))
actions: list[Callable[..., Any]] = [note, stubborn, deaf, die, leave, large, strange]
for action in actions:
    executor.current().registry.register(
        from_function(f"test.{action.__name__}", action), source="the tests"
    )
