"""Tasks that run their action or sub-workflow once per item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .evaluation import evaluate, task_view
from .execution import Task
from .states import State
from .working_copy import Completion, WorkingCopy


class InvalidItems(Exception):
    """What with-items was given cannot be iterated, or its lists differ in length."""


def item_values(run: WorkingCopy, task: Task) -> dict[str, list[Any]]:
    """For each variable of with-items the values it takes."""
    view = task_view(run, task, context_id=task.inbound_id)
    values: dict[str, Any] = {
        each.variable: evaluate(run, each.source, view, task)
        for each in run.task_spec(task).with_items
    }
    result: dict[str, list[Any]] = {}
    for name, value in values.items():
        # A text gives its characters and a mapping its keys, as in Mistral.
        if not isinstance(value, Iterable):
            raise InvalidItems(
                f"Wrong input format for: {values}. Iterable type is expected for each value."
            )
        result[name] = list(value)
    if len({len(each) for each in result.values()}) > 1:
        raise InvalidItems(
            f"Wrong input format for: {values}. All arrays must have the same length."
        )
    count = len(next(iter(result.values())))
    if count > run.limits.items:
        raise InvalidItems(f"with-items: at most {run.limits.items} items, got {count}")
    return result


def variables_at(values: Mapping[str, list[Any]], index: int) -> dict[str, Any]:
    """The variables of one item."""
    return {name: each[index] for name, each in values.items()}


def note_completion(task: Task, state: State) -> None:
    """Count one item that ended."""
    items = task.items
    assert items is not None
    items.running -= 1
    if state is State.SUCCESS:
        items.succeeded += 1
    elif state is State.CANCELLED:
        items.cancelled += 1
    else:
        items.failed += 1


def completion(task: Task) -> Completion | None:
    """How the task ends, if its items say so already."""
    items = task.items
    assert items is not None
    if items.cancelled:
        return Completion(task.id, State.CANCELLED, "One or more actions was cancelled.")
    if items.done < items.count:
        return None
    if items.failed:
        return Completion(task.id, State.ERROR, "One or more actions had failed.")
    return Completion(task.id, State.SUCCESS)
