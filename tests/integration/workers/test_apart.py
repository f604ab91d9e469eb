"""Calls in a process beside: what comes back, and what happens when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from app.config import Config
from app.models import Database
from tests.integration.workers.answers import Unreadable, answer
from tests.processes import ROOT, wait_for
from workers import apart
from workers.process import Process


@pytest.fixture
def ask() -> Iterator[Callable[..., Any]]:
    beside = apart.Apart(answer)
    yield partial(beside, seconds=30)
    if beside._child is not None:
        beside._child.end()


def test_one_process_answers_all(ask: Callable[..., Any]) -> None:
    first, second = ask("a"), ask("b")
    assert first == ("a", second[1])
    assert second == ("b", first[1])
    assert first[1] != os.getpid()


@pytest.mark.parametrize("how", ["die", "raise", "leave"])
def test_a_process_that_dies_is_told_and_replaced(how: str, ask: Callable[..., Any]) -> None:
    with pytest.raises(apart.ChildLost, match="died"):
        ask(how)
    first = ask("a")
    with pytest.raises(apart.ChildLost, match="died"):
        # One that has answered before and leaves of its own is asked again, once, and afresh.
        ask(how)
    assert ask("b")[1] != first[1]


def test_one_that_does_not_start_is_told_from_one_that_dies() -> None:
    beside = apart.Apart(Unreadable())
    for _ in range(2):
        with pytest.raises(apart.NotStarted):
            beside("a", seconds=30)


def test_one_that_takes_too_long_ends_and_tells_where_it_was(
    ask: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    ask("a")
    began = time.monotonic()
    with pytest.raises(apart.ChildLost, match=r"took more than 0\.2 s"):
        ask("hang", seconds=0.2)
    assert time.monotonic() - began < 10
    assert "answers.py" in capfd.readouterr().err
    assert ask("b")[0] == "b"


PARENT = """
from tests.integration.workers.answers import answer
from workers.apart import Apart
ask = Apart(answer)
print(ask("a", seconds=60)[1], flush=True)
ask("hang", seconds=600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when its time is over")
def test_one_that_hangs_does_not_outlive_who_has_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        beside = psutil.Process(int(parent.stdout.readline()))
        before = beside.cpu_times().user
        wait_for(lambda: beside.cpu_times().user > before + 0.3)
        parent.kill()
    wait_for(lambda: not beside.is_running())


def test_it_heeds_no_signal_to_the_group_and_ends_with_the_line(ask: Callable[..., Any]) -> None:
    _, pid = ask("a")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert ask("a")[1] == pid
    child = ask.func._child  # type: ignore[attr-defined]
    assert child.end() == 0


def stored(process: Process, rows: int) -> int:
    """How many rows there are, with *rows* more."""
    with process.platform.database.sessions.begin() as session:
        for _ in range(rows):
            session.execute(text("INSERT INTO t VALUES (1)"))
        return session.execute(text("SELECT count(*) FROM t")).scalar_one()


def test_another_threads_transaction_on_sqlite_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    """A fork in its midst would take the database for locked for ever."""
    url = f"sqlite:///{tmp_path}/x.db"
    database = Database(url)
    with database.sessions.begin() as session:
        session.execute(text("CREATE TABLE t (x INTEGER)"))
    locked, done = threading.Event(), threading.Event()

    def write() -> None:
        with database.sessions.begin() as session:
            session.execute(text("INSERT INTO t VALUES (1)"))
            locked.set()
            done.wait(10)

    thread = threading.Thread(target=write)
    thread.start()
    process = Process(Config(database_url=url))
    beside = apart.Apart(partial(stored, process))
    try:
        assert locked.wait(10)
        threading.Timer(1.0, done.set).start()
        assert beside(2, seconds=10) == 3
    finally:
        done.set()
        thread.join()
        assert beside._child is not None
        beside._child.end()
        database.engine.dispose()
