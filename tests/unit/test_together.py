"""A line of threads in which one does the work of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from app.services.together import Together
from tests.processes import wait_for


class Worker:
    """Notes what it is given; the item 0 lasts until it may go on, odd ones are refused."""

    def __init__(self) -> None:
        self.line: Together[int] = Together(most=3, patience=30)
        self.calls: list[Sequence[int]] = []
        self.go = Event()

    def do(self, items: Sequence[int]) -> None:
        self.calls.append(items)
        if items == [0]:
            assert self.go.wait(30)
        refused = [item for item in items if item % 2]
        if refused:
            raise ValueError(str(refused))

    def add(self, item: int) -> None:
        self.line.add(item, self.do)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def while_one_works(worker: Worker, items: Sequence[int]) -> list[Future[None]]:
    """Add *items* one after the other while 0 is being done, then let it end."""
    with ThreadPoolExecutor(len(items) + 1) as threads:
        first = threads.submit(worker.add, 0)
        wait_for(lambda: worker.line.busy)
        added = []
        for number, item in enumerate(items, start=1):
            added.append(threads.submit(worker.add, item))
            wait_for(lambda number=number: worker.line.waiting == number)
        worker.go.set()
        first.result()
        return added


def outcome(work: Callable[[], None]) -> str:
    try:
        work()
    except ValueError as err:
        return str(err)
    return "done"


def test_who_comes_alone_works_alone(worker: Worker) -> None:
    for item in (2, 4):
        worker.add(item)
    assert worker.calls == [[2], [4]]


def test_who_comes_meanwhile_is_served_by_one_call(worker: Worker) -> None:
    added = while_one_works(worker, [2, 4, 6])
    assert [outcome(each.result) for each in added] == ["done"] * 3
    assert worker.calls == [[0], [2, 4, 6]]


def test_a_call_takes_no_more_than_it_may(worker: Worker) -> None:
    added = while_one_works(worker, [2, 4, 6, 8])
    assert [outcome(each.result) for each in added] == ["done"] * 4
    assert worker.calls == [[0], [2, 4, 6], [8]]


def test_what_fails_fails_alone(worker: Worker) -> None:
    added = while_one_works(worker, [2, 3])
    assert [outcome(each.result) for each in added] == ["done", "[3]"]
    assert worker.calls[:2] == [[0], [2, 3]]
    assert sorted(worker.calls[2:]) == [[2], [3]]
    assert not worker.line.busy
    assert outcome(lambda: worker.add(5)) == "[5]"
    worker.add(6)
    assert worker.calls[-1] == [6]


def test_who_has_waited_for_long_works_alone(worker: Worker) -> None:
    worker.line = Together(patience=0.01)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(worker.add, 0)
        wait_for(lambda: worker.line.busy)
        threads.submit(worker.add, 2).result(timeout=10)
        assert outcome(lambda: worker.add(3)) == "[3]"
        worker.go.set()
        first.result()
    assert worker.calls == [[0], [2], [3]]
    assert not worker.line.busy
    assert worker.line.waiting == 0


@pytest.mark.parametrize("patience", [0.0, 0.0001, 1.0])
def test_each_item_is_done_once_however_many_come(worker: Worker, patience: float) -> None:
    worker.line = Together(patience=patience)
    items = range(2, 2000, 2)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(worker.add, items))
    assert sorted(item for call in worker.calls for item in call) == list(items)
    assert not worker.line.busy
