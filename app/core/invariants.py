"""What must be true of every execution after every decision.

A violation is a fault of ours, never of a user. Checks look at what the decision has in hand and
cost little; with all tasks of an execution in hand they count anew what the counters say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .execution import Counts, Execution, Task


class InvariantBroken(RuntimeError):
    """A decision left an execution in a state that it must never be in."""

    def __init__(self, execution_id: str, broken: Collection[str]) -> None:
        super().__init__(f"execution {execution_id}: " + "; ".join(broken))
        self.broken = tuple(broken)


def broken(execution: Execution, *, all_tasks: Iterable[Task] | None = None) -> list[str]:
    """What is not as it must be, in words; *all_tasks* are all of the execution's, if known."""
    found = [*_counts(execution, all_tasks), *_end(execution)]
    for task in execution.tasks.values():
        found.extend(_items(task))
        found.extend(_join(task))
        if task.state.terminal and task.finished_at is None:
            found.append(f"task {task.name} is {task.state} without a time at which it ended")
    return found


def _counts(execution: Execution, all_tasks: Iterable[Task] | None) -> Iterable[str]:
    counts = execution.counts
    for name in ("incomplete", "waiting", "paused", "cancelled", "unhandled", "held"):
        if getattr(counts, name) < 0:
            yield f"{getattr(counts, name)} tasks are {name}"
    if counts.waiting + counts.paused > counts.incomplete:
        yield f"more tasks wait or are paused than are incomplete: {counts}"
    if all_tasks is not None:
        real = Counts()
        for task in all_tasks:
            real.add(task.tally())
        if real != counts:
            yield f"the counters say {counts}, the tasks {real}"


def _end(execution: Execution) -> Iterable[str]:
    if not execution.state.terminal:
        if execution.finished_at is not None:
            yield f"it is {execution.state} and has ended"
        return
    ended = execution.finished_at
    if ended is None:
        yield f"it is {execution.state} without a time at which it ended"
        return
    for task in execution.tasks.values():
        if task.new and not task.state.terminal and task.created_at > ended:
            yield f"task {task.name} begins after the end"


def _items(task: Task) -> Iterable[str]:
    items = task.items
    if items is None:
        return
    if items.running < 0 or items.done > items.count or items.next > items.count:
        yield f"task {task.name} counts its items wrongly: {items}"
    if items.concurrency and items.running > items.concurrency:
        yield f"task {task.name} runs {items.running} of {items.concurrency} items at once"


def _join(task: Task) -> Iterable[str]:
    join = task.join
    if join is not None and (join.arrived < 0 or join.dead < 0):
        yield f"join {task.name} counts its branches wrongly: {join}"
