"""What people ask of an execution: pause, resume, stop, run a task again, skip one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import joins, outcome, routing, tasks
from .commands import AcceptActions, CancelTimers, SendEvent, TellChildren
from .data_flow import deep_merge
from .events import (
    ChildPaused,
    ChildResumed,
    EnvironmentUpdated,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    SkipRequested,
    StopRequested,
)
from .execution import Child, Items, Task
from .policies import limit_time, prepare_again
from .states import State
from .working_copy import Completion, WorkingCopy


def pause(run: WorkingCopy, event: PauseRequested) -> None:
    """Let nothing new start; what runs may finish, and what follows it waits."""
    if run.execution.state is State.RUNNING:
        routing.pause_execution(run, event.message, by_parent=event.by_parent)


def resume(run: WorkingCopy, event: ResumeRequested) -> None:
    """Go on where a pause held things back."""
    if run.execution.state is not State.PAUSED:
        return
    merge_environment(run, event.env)
    run.set_execution_state(State.RUNNING)
    run.command(TellChildren(event=ResumeRequested(by_parent=True)))
    _tell_parent(run, rerun=False, by_parent=event.by_parent)
    release(run)


def release(run: WorkingCopy) -> None:
    """Start, in a running execution, all that a pause held back."""
    routing.launch(run)
    routing.resume_backlog(run)
    if run.execution.state is not State.RUNNING:
        return
    for held in run.open_tasks():
        if run.execution.state is not State.RUNNING:
            return
        task = run.edit(held.id)
        if task.held and task.state.terminal:
            task.held = False
            task.due = None
            _proceed(run, task)
        elif task.state is State.IDLE:
            task.due = None
            run.to_start.append(task.id)
        else:
            _continue_due(run, task)


def _proceed(run: WorkingCopy, task: Task) -> None:
    if task.next_tasks is None and task.processed:
        return  # Force-failed while the execution was paused.
    try:
        tasks.proceed(run, task)
        joins.rearm_if_again(run, task)
    except tasks.FORCED as err:
        outcome.force_fail(
            run,
            task,
            f"Failed to complete task [error={err}, "
            f"wf={run.execution.name}, task={task.name}]:\n{err}",
        )


def continue_after_delay(run: WorkingCopy, task: Task, purpose: str) -> None:
    """A delay of *task* is over."""
    if run.execution.state.terminal:
        run.set_state(task, State.CANCELLED, "the execution has ended")
        run.record_task(task)
    elif run.execution.state is State.PAUSED:
        task.due = purpose  # Nothing starts while the execution is paused.
    elif purpose == "wait-before":
        run.set_state(task, State.RUNNING)
        run.record("TASK_LAUNCHED", task)
        tasks.execute(run, task)
    elif purpose == "wait-after":
        state, task.outcome = task.outcome or State.SUCCESS, None
        run.to_complete.append(Completion(task.id, state, task.outcome_info, late=True))
    elif purpose == "retry":
        run.set_state(task, State.RUNNING)
        run.record("TASK_LAUNCHED", task)
        limit_time(run, task)
        tasks.execute(run, task)


def stop(run: WorkingCopy, event: StopRequested) -> None:
    """End the execution now; raises ExpressionError when its output cannot be evaluated."""
    if not run.execution.state.terminal:
        outcome.stop(run, event.state, event.message)


def update_environment(run: WorkingCopy, event: EnvironmentUpdated) -> None:
    merge_environment(run, event.env)


def merge_environment(run: WorkingCopy, env: Mapping[str, Any] | None) -> None:
    """Lay *env* on the execution's environment, key by key."""
    if env:
        current = run.execution.params.get("env") or {}
        run.execution.params = {**run.execution.params, "env": deep_merge(current, env)}


# --- again, or not at all --------------------------------------------------------------------


def rerun(run: WorkingCopy, event: RerunRequested) -> None:
    """Run a failed task again."""
    found = run.find_task(event.task_id)
    if found is None or found.state is not State.ERROR:
        return
    if not _reopen(run, event.env):
        return
    task = run.edit(found.id)
    items = task.items
    keep = not event.reset and items is not None
    if keep and items is not None:
        task.items = _items_to_repeat(run, task, items)
    else:
        prepare_again(run, task)
    _forget_outcome(task)
    if task.join is not None and task.join.failed:
        run.set_state(task, State.WAITING, joins.WAITING_INFO)
        task.join.failed = False
        joins.recount(run, task)
        return
    tasks.begin(run, task, "TASK_RERUN")


def _items_to_repeat(run: WorkingCopy, task: Task, items: Items) -> Items:
    """Items for a run of those only that failed or were cancelled."""
    again: list[int] = []
    if task.type == "WORKFLOW":
        for child in run.children(task.id):
            if child.accepted and child.state is not State.SUCCESS:
                run.accept_child(child.id, False)
                again.append(child.index)
    else:
        for action in run.actions(task.id):
            if action.accepted and action.state in (State.ERROR, State.CANCELLED):
                run.edit_action(action).accepted = False
                again.append(action.index)
    run.command(
        AcceptActions(
            task_id=task.id, accepted=False, before=task.attempt + 1, indexes=tuple(again)
        )
    )
    return Items(
        count=items.count,
        next=items.next,
        succeeded=items.succeeded,
        concurrency=items.concurrency,
        again=sorted(set(again)),
    )


def skip(run: WorkingCopy, event: SkipRequested) -> None:
    """Pass over a failed task."""
    found = run.find_task(event.task_id)
    if found is None or found.state is not State.ERROR or not _reopen(run, event.env):
        return
    task = run.edit(found.id)
    _forget_outcome(task)
    run.command(CancelTimers(task_id=task.id))
    run.set_state(task, State.SKIPPED, "Task was skipped.")
    tasks.finish_skipped(run, task)


def _forget_outcome(task: Task) -> None:
    task.revisited = True
    task.processed = False
    task.held = False
    task.error_handled = False
    task.has_next_tasks = False
    task.next_tasks = None
    task.finished_at = None
    task.retry_no = None
    task.waited_before = task.waited_after = task.paused_before = False


def _reopen(run: WorkingCopy, env: Mapping[str, Any] | None) -> bool:
    """Let the execution go on after its end; False when it may not."""
    state = run.execution.state
    if state in (State.PAUSED, State.SUCCESS):
        return False
    merge_environment(run, env)
    if state.terminal:
        run.set_execution_state(State.RUNNING)
        _tell_parent(run, rerun=True, by_parent=False)
        for task in run.open_tasks():
            # A pause held it back, and then the execution ended.
            if task.state is State.IDLE:
                run.to_start.append(task.id)
            elif task.due is not None:
                _continue_due(run, run.edit(task.id))
    return True


def _continue_due(run: WorkingCopy, task: Task) -> None:
    due, task.due = task.due, None
    if due == "items":
        tasks.refill_items(run, task)
    elif due is not None:
        continue_after_delay(run, task, due)


def _tell_parent(run: WorkingCopy, *, rerun: bool, by_parent: bool) -> None:
    execution = run.execution
    if execution.parent_execution_id and execution.parent_task_id:
        run.command(
            SendEvent(
                execution_id=execution.parent_execution_id,
                event=ChildResumed(
                    task_id=execution.parent_task_id,
                    child_id=execution.id,
                    rerun=rerun,
                    by_parent=by_parent,
                ),
            )
        )


# --- what sub-workflows report ---------------------------------------------------------------


def child_paused(run: WorkingCopy, event: ChildPaused) -> None:
    """A paused sub-workflow pauses its parent, and thereby its siblings.

    One that only did as its parent did may find that its parent has changed its mind since. Then
    it is told so, or the two would go on answering each other for ever.
    """
    found = run.find_task(event.task_id)
    if found is None or found.state is not State.RUNNING:
        return
    child = run.find_child(event.child_id)
    if child is not None and child.state.terminal:
        return  # It went on since, to its end.
    if event.by_parent and run.execution.state is State.RUNNING:
        run.command(SendEvent(execution_id=event.child_id, event=ResumeRequested(by_parent=True)))
        return
    task = run.edit(found.id)
    run.set_state(task, State.PAUSED)
    run.record_task(task)
    if run.execution.state is State.RUNNING:
        routing.pause_execution(run, None)


def child_resumed(run: WorkingCopy, event: ChildResumed) -> None:
    """A sub-workflow goes on: its parent does too, unless another task there is paused."""
    found = run.find_task(event.task_id)
    if found is None:
        return
    if event.rerun:
        _child_runs_again(run, found, event.child_id)
        return
    if found.state is not State.PAUSED:
        return
    if event.by_parent and run.execution.state is State.PAUSED:
        # Paused again since: see child_paused.
        run.command(SendEvent(execution_id=event.child_id, event=PauseRequested(by_parent=True)))
        return
    task_resumed(run, found)


def task_resumed(run: WorkingCopy, found: Task) -> None:
    """A PAUSED task runs again; with the last of them the execution does."""
    task = run.edit(found.id)
    run.set_state(task, State.RUNNING)
    run.record("TASK_RESUMED", task)
    if run.settle_counts().paused == 0 and run.execution.state is State.PAUSED:
        resume(run, ResumeRequested())


def _child_runs_again(run: WorkingCopy, found: Task, child_id: str) -> None:
    child = run.find_child(child_id)
    if child is None or not child.accepted or not found.state.terminal:
        return
    if child.attempt != found.attempt:
        return  # Its task has run again since, without it.
    if found.state not in (State.ERROR, State.CANCELLED) or not _reopen(run, None):
        return
    task = run.edit(found.id)
    run.accept_child(child.id, False)
    if task.items is not None:
        _recount_items(run, task, task.items)
    _forget_outcome(task)
    run.set_state(task, State.RUNNING)
    run.record("TASK_RERUN", task)
    if child.state.terminal:
        # It has ended again before word of its going on came here.
        count_child(run, task, child)


def _recount_items(run: WorkingCopy, task: Task, items: Items) -> None:
    """Take the counts of items from the sub-workflows.

    Those that ended after their task did were not counted then.
    """
    latest = {
        child.index: child for child in run.children(task.id) if child.attempt == task.attempt
    }
    for child in latest.values():
        if child.accepted and not child.state.terminal:
            # It goes on as well; word of that is still to come, or was lost.
            run.accept_child(child.id, False)
    ended = Counter(c.state for c in latest.values() if c.accepted and c.state.terminal)
    items.running = len(latest) - ended.total()
    items.succeeded = ended[State.SUCCESS]
    items.failed = ended[State.ERROR]
    items.cancelled = ended[State.CANCELLED]


def count_child(run: WorkingCopy, task: Task, child: Child) -> None:
    """Take the end of a sub-workflow as the result of its task, or of one item."""
    task = run.edit(task.id)
    run.accept_child(child.id, True)
    if task.items is not None:
        tasks.item_completed(run, task, child.state)
        return
    info = None
    if child.state is not State.SUCCESS and isinstance(child.output, Mapping):
        said = child.output.get("result")
        info = str(said) if said else None
    run.to_complete.append(Completion(task.id, child.state, info))
