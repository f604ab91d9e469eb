"""Invariants tell what is wrong, and say nothing when all is right."""

from __future__ import annotations

from dataclasses import replace

from app.core import invariants
from app.core.execution import Counts, Items
from app.core.states import State
from tests.unit.core.story import START, play

TEXT = "w: {tasks: {a: {action: my.work, with-items: 'i in <% range(3) %>', concurrency: 2}}}"


def test_what_is_right_has_no_violations() -> None:
    run = play(TEXT)
    assert invariants.broken(run.execution, all_tasks=run.tasks.values()) == []


def test_counters_are_counted_anew() -> None:
    run = play(TEXT)
    wrong = replace(run.execution, counts=Counts(incomplete=2))
    [told] = invariants.broken(wrong, all_tasks=run.tasks.values())
    assert "the counters say" in told
    below = replace(run.execution, counts=Counts(incomplete=1, held=-1))
    assert "-1 tasks are held" in invariants.broken(below)


def test_items_keep_within_their_number_and_their_concurrency() -> None:
    run = play(TEXT)
    task = replace(run.named("a"), items=Items(count=3, next=3, running=3, concurrency=2))
    found = invariants.broken(replace(run.execution, tasks={task.id: task}))
    assert found == ["task a runs 3 of 2 items at once"]
    task = replace(task, items=Items(count=3, succeeded=4))
    found = invariants.broken(replace(run.execution, tasks={task.id: task}))
    assert "counts its items wrongly" in found[0]


def test_what_has_ended_says_when() -> None:
    run = play(TEXT)
    assert invariants.broken(replace(run.execution, state=State.SUCCESS)) == [
        "it is SUCCESS without a time at which it ended"
    ]
    assert invariants.broken(replace(run.execution, finished_at=START)) == [
        "it is RUNNING and has ended"
    ]
