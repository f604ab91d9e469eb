"""``advance``: what happened goes in, the decision comes out.

Same arguments, same decision. Time and stored data come in as arguments; ids derive from the
execution's own. A redelivered or late event decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import control, joins, outcome, policies, routing, tasks
from .actions import transformed
from .commands import CancelTimers, Command, StopActions
from .data_flow import first_oversized
from .events import (
    ActionCompleted,
    ActionPaused,
    ActionResumed,
    ChildCompleted,
    ChildPaused,
    ChildResumed,
    EnvironmentUpdated,
    Event,
    ExecutionBroke,
    ExecutionStarted,
    Nudged,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    SkipRequested,
    StopRequested,
    TimerFired,
)
from .execution import Execution, Lookup, Task
from .expressions import ExpressionError
from .language.specs import WorkflowSpec
from .states import State
from .working_copy import Changes, Completion, Limits, WorkingCopy


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be, and what is to be done for it."""

    execution: Execution
    commands: tuple[Command, ...]
    #: Which tasks, actions and contexts differ from what is stored.
    changes: Changes


def advance(
    spec: WorkflowSpec,
    execution: Execution,
    events: Iterable[Event],
    *,
    now: datetime,
    lookup: Lookup,
    limits: Limits | None = None,
) -> Decision:
    """Apply *events* in order and decide.

    Raises ExpressionError only for a ``StopRequested`` whose output cannot be evaluated; any
    other mistake of a user is part of the decision.
    """
    run = WorkingCopy(spec, execution, now=now, lookup=lookup, limits=limits or Limits())
    for event in events:
        _APPLY[type(event)](run, event)
        _settle(run)
    return Decision(run.execution, tuple(run.commands), run.changes)


def _settle(run: WorkingCopy) -> None:
    """Carry on until nothing more follows from what happened, then see whether it is over."""
    while True:
        while run.to_complete or run.to_start:
            if run.to_complete:
                completion = run.to_complete.popleft()
                tasks.complete(run, completion, late=completion.late)
            else:
                tasks.start(run, run.to_start.popleft())
        counts = run.settle_counts()
        if run.execution.state is not State.RUNNING or not run.execution.launched:
            return
        if counts.waiting and counts.waiting == counts.incomplete:
            joins.resolve_quiet(run)
            if run.to_complete or run.to_start:
                continue
            counts = run.settle_counts()
        if counts.incomplete == 0 and counts.held == 0:
            outcome.complete(run)
        return


#: A task that waits to run, perhaps again, has nothing under way that could end it.
_NOT_AT_WORK = (State.IDLE, State.WAITING)


def _has_ended(task: Task) -> bool:
    """True when it is settled how the task ended, though wait-after may hold that back."""
    return task.state.terminal or task.outcome is not None


def _started(run: WorkingCopy, event: ExecutionStarted) -> None:
    routing.launch(run)


# --- actions and sub-workflows ---------------------------------------------------------------


def _action_completed(run: WorkingCopy, event: ActionCompleted) -> None:
    found = run.find_action(event.action_id)
    if found is None or found.state.terminal:
        return
    action = run.edit_action(found)
    task = run.find_task(action.task_id)
    if task is None:
        return
    result, fault = _shaped(run, action.name, event)
    state = event.state if fault is None else State.ERROR
    run.set_action_state(action, state)
    action.result = result if fault is None else fault
    if _has_ended(task) or task.state in _NOT_AT_WORK or task.attempt != action.attempt:
        return  # Late: recorded, not applied.
    task = run.edit(task.id)
    action.accepted = fault is None
    if fault is not None:
        outcome.force_fail(
            run,
            task,
            f"Failed to complete action [error={fault}, action={action.name}, "
            f"task={task.name}]:\n{fault}",
        )
    elif task.items is not None:
        tasks.item_completed(run, task, state)
    else:
        info = None if state is not State.ERROR or not result else str(result)
        run.to_complete.append(Completion(task.id, state, info))


def _shaped(run: WorkingCopy, name: str, event: ActionCompleted) -> tuple[Any, str | None]:
    """The result after ad-hoc outputs were applied, and what went wrong with it."""
    if event.state is State.CANCELLED:
        return None, None
    try:
        result = transformed(run, name, event.state, event.result)
    except ExpressionError as err:
        return None, str(err)
    oversized = first_oversized((("output", result),), run.limits.field_size_kb)
    if oversized and event.state is State.ERROR:
        return str(result)[: run.limits.field_size_kb * 1000] + "...", None
    return result, oversized


def _action_paused(run: WorkingCopy, event: ActionPaused) -> None:
    found = run.find_action(event.action_id)
    if found is None or found.state is not State.RUNNING:
        return
    action = run.edit_action(found)
    run.set_action_state(action, State.PAUSED)
    task = run.find_task(action.task_id)
    if task is not None and task.state is State.RUNNING:
        task = run.edit(task.id)
        run.set_state(task, State.PAUSED)
        run.record_task(task)
    if run.execution.state is State.RUNNING:
        routing.pause_execution(run, None)


def _action_resumed(run: WorkingCopy, event: ActionResumed) -> None:
    found = run.find_action(event.action_id)
    if found is None or found.state is not State.PAUSED:
        return
    action = run.edit_action(found)
    run.set_action_state(action, State.RUNNING)
    task = run.find_task(action.task_id)
    if task is not None and task.state is State.PAUSED:
        control.task_resumed(run, task)


def _child_completed(run: WorkingCopy, event: ChildCompleted) -> None:
    task = run.find_task(event.task_id)
    child = run.find_child(event.child_id)
    if task is None or child is None or child.accepted or not child.state.terminal:
        return
    if child.attempt != task.attempt or task.state in _NOT_AT_WORK:
        return
    if task.state.terminal:
        run.accept_child(child.id, True)  # Late: recorded, not applied.
        return
    if _has_ended(task):
        return
    control.count_child(run, task, child)


# --- timers ----------------------------------------------------------------------------------


def _timer_fired(run: WorkingCopy, event: TimerFired) -> None:
    found = run.find_task(event.task_id)
    if found is None or found.state.terminal or found.attempt != event.attempt:
        return
    task = run.edit(found.id)
    # A task that timed out while it waited to start may already wait for what comes after.
    after = task.outcome is not None
    if event.purpose == "timeout":
        _time_out(run, task)
    elif (
        task.state is State.DELAYED
        and task.due is None
        and after == (event.purpose == "wait-after")
    ):
        control.continue_after_delay(run, task, event.purpose)


def _time_out(run: WorkingCopy, task: Task) -> None:
    if task.outcome is not None:
        return  # Done in time; only wait-after holds it back.
    try:
        seconds = policies.timeout_of(run, task)
    except tasks.FORCED:
        seconds = 0
    run.command(CancelTimers(task_id=task.id))
    run.command(StopActions(task_id=task.id, before=task.attempt + 1, reason="timed out"))
    run.to_complete.append(
        Completion(task.id, State.ERROR, f"Task timed out [timeout(s)={seconds}].", late=True)
    )


# --- faults ----------------------------------------------------------------------------------


def _broke(run: WorkingCopy, event: ExecutionBroke) -> None:
    if not run.execution.state.terminal:
        outcome.fail(run, event.cause)


def _nudged(run: WorkingCopy, event: Nudged) -> None:
    """Begin what was not begun; looking at the whole again is what ``_settle`` does."""
    routing.launch(run)


_APPLY: dict[type[Event], Callable[[WorkingCopy, Any], None]] = {
    ExecutionStarted: _started,
    ActionCompleted: _action_completed,
    ActionPaused: _action_paused,
    ActionResumed: _action_resumed,
    ChildCompleted: _child_completed,
    ChildPaused: control.child_paused,
    ChildResumed: control.child_resumed,
    TimerFired: _timer_fired,
    PauseRequested: control.pause,
    ResumeRequested: control.resume,
    StopRequested: control.stop,
    EnvironmentUpdated: control.update_environment,
    RerunRequested: control.rerun,
    SkipRequested: control.skip,
    ExecutionBroke: _broke,
    Nudged: _nudged,
}
