"""Targets of which only so many actions run at once, in all executors together."""

from __future__ import annotations

import itertools

from tests.integration.actions.conftest import Bench

QUEUES = "actions,actions.vm"


def running_at_once(bench: Bench, name: str) -> int:
    """The most runs that were under way at one time, by the lines that they wrote."""
    steps = (1 if line == "ran" else -1 for line in bench.lines(name))
    return max(itertools.accumulate(steps))


def test_no_more_run_than_the_target_allows_and_others_pass_them_by(bench: Bench):
    limits = {"queues": QUEUES, "concurrency": 3, "target_limits": "vm=2"}
    with bench.executor(**limits), bench.executor(**limits):
        note = {"path": str(bench.folder / "f"), "then": 0.2}
        limited = [bench.send(bench.request("test.note", note), "vm") for _ in range(14)]
        bench.wait(lambda: bench.lines("f"))
        assert bench.result(bench.run("std.noop"))["state"] == "SUCCESS"
        assert bench.lines("f").count("ended") < 14
        for each in limited:
            assert bench.result(each)["state"] == "SUCCESS"
        bench.wait(bench.idle)
    assert bench.lines("f").count("ran") == 14
    assert running_at_once(bench, "f") == 2
    assert bench.client.zcard(bench.ledger.pool_key("vm")) == 0


def test_the_place_of_a_dead_executor_is_free_when_its_lease_ends(bench: Bench):
    limits = {"queues": QUEUES, "target_limits": "vm=1", "lease_seconds": 1}
    note = {"path": str(bench.folder / "f")}
    with bench.executor(**limits) as worker:
        bench.send(bench.request("test.note", {**note, "text": "first", "then": 60}), "vm")
        bench.wait(lambda: bench.lines("f") == ["first"])
        worker.kill()
    with bench.executor(**limits):
        bench.result(bench.send(bench.request("test.note", note), "vm"))
    assert bench.lines("f") == ["first", "ran"]
