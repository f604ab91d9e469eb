"""How an execution ends: its final context, its output, and what is said of failures.

The texts are Mistral's (clients show and parse them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .commands import CancelTimers, SendEvent, StopActions, TellChildren
from .data_flow import deep_merge, first_oversized, merge
from .evaluation import evaluate, final_view
from .events import ChildCompleted, StopRequested
from .execution import Task
from .expressions import ExpressionError
from .states import State
from .working_copy import WorkingCopy


def final_context(run: WorkingCopy) -> Mapping[str, Any]:
    """The variables at the end: those of all tasks that nothing followed, merged."""
    if run.spec.reverse:
        target = run.find_unique(str(run.execution.params.get("task_name")))
        tasks = [target] if target is not None and target.state.terminal else []
    else:
        tasks = run.leaf_tasks()
    contexts = [run.context(t.outbound_id) for t in tasks]
    merged = merge(contexts, id="final")
    return merged.variables if merged else {}


def succeed(run: WorkingCopy, message: str | None = None) -> None:
    """End with SUCCESS and the output; raises ExpressionError if that cannot be evaluated."""
    final = final_context(run)
    if run.spec.output is not None:
        output = evaluate(run, run.spec.output, final_view(run, final))
    else:
        output = dict(final)
    oversized = first_oversized((("output", output),), run.limits.field_size_kb)
    if oversized:
        # Mistral ends in SUCCESS with {} here, which nobody notices.
        fail(run, oversized)
        return
    _end(run, State.SUCCESS, message, output)


def fail(run: WorkingCopy, message: Any) -> None:
    """End with ERROR: the output says why, beside ``output-on-error`` or the final context."""
    info = as_info(message)
    final = final_context(run)
    base: dict[str, Any] = {"result": message}
    if run.spec.output_on_error is not None:
        try:
            extra = evaluate(run, run.spec.output_on_error, final_view(run, final))
        except ExpressionError as err:
            info = (
                "Failed to evaluate expression in output-on-error! "
                f"(output-on-error: '{run.spec.output_on_error}', exception: '{err}' "
                f"Cause: '{info}'"
            )
            base, extra = {"result": info}, {}
    else:
        extra = final
    output = deep_merge(base, extra)
    if first_oversized((("output", output),), run.limits.field_size_kb):
        output = {"result": message}
    _end(run, State.ERROR, info, output)


def cancel(run: WorkingCopy, message: str | None) -> None:
    """End with CANCELLED."""
    _end(run, State.CANCELLED, message, {"result": message})


def complete(run: WorkingCopy) -> None:
    """End as the tasks say, now that all are completed."""
    counts = run.execution.counts
    if counts.cancelled:
        names = sorted(t.name for t in run.all_tasks() if t.state is State.CANCELLED)
        cancel(run, "Cancelled tasks: " + ", ".join(names))
    elif counts.unhandled:
        fail(run, failure_text(run))
    else:
        try:
            succeed(run)
        except ExpressionError as err:
            fail(run, broken_text(run, err))


def broken_text(run: WorkingCopy, err: Exception) -> str:
    execution = run.execution
    return (
        f"Failed to check and complete [wf_ex_id={execution.id}, wf_name={execution.name}]: {err}"
    )


def _end(run: WorkingCopy, state: State, info: str | None, output: Mapping[str, Any]) -> None:
    execution = run.execution
    execution.output = dict(output)
    execution.backlog = []
    run.set_execution_state(state, info)
    run.command(CancelTimers())
    _let_go(run, stop=False)
    if execution.parent_execution_id and execution.parent_task_id:
        run.command(
            SendEvent(
                execution_id=execution.parent_execution_id,
                event=ChildCompleted(
                    task_id=execution.parent_task_id,
                    child_id=execution.id,
                    index=execution.index,
                    state=state,
                    output=execution.output,
                ),
            )
        )


def stop(run: WorkingCopy, state: State, message: str | None) -> None:
    """End because somebody said so; what runs is told to stop."""
    if state is State.SUCCESS:
        succeed(run, message)
    elif state is State.ERROR:
        fail(run, message)
    else:
        cancel(run, message)
        run.command(TellChildren(event=StopRequested(state=State.CANCELLED, message=message)))
    _let_go(run, stop=True, info=message)


def _let_go(run: WorkingCopy, *, stop: bool, info: str | None = None) -> None:
    """Bring tasks that can get nowhere any more to an end.

    Those whose action or sub-workflow still runs may finish unless *stop* is set; their results
    then start nothing. Mistral leaves them all as they were, for ever.
    """
    counts = run.settle_counts()
    if not counts.incomplete and not counts.held:
        return
    if stop:
        run.to_start.clear()
    for open_task in run.open_tasks():
        if open_task.id in run.to_start:
            continue  # Created before the command that ended the execution: it runs.
        if open_task.state.terminal:
            run.edit(open_task.id).held = False
            continue
        runs = open_task.state in (State.RUNNING, State.PAUSED)
        keep = runs and (not stop or open_task.type == "WORKFLOW") and _has_running(run, open_task)
        if keep and not (run.execution.state is State.CANCELLED and stop):
            continue
        task = run.edit(open_task.id)
        task.due = None
        task.processed = True
        run.set_state(task, State.CANCELLED, info)
        run.record_task(task)
        if runs:
            run.command(StopActions(task_id=task.id, reason="the execution has ended"))
    run.settle_counts()


def _has_running(run: WorkingCopy, task: Task) -> bool:
    """True when something runs for *task* that will report without being asked."""
    if task.items is not None:
        return task.items.running > 0
    if task.type == "WORKFLOW":
        return True
    return any(not a.state.terminal and not a.asynchronous for a in run.actions(task.id))


def as_info(message: Any) -> str | None:
    """A message as state_info: a mapping becomes JSON text."""
    if message is None or isinstance(message, str):
        return message
    return json.dumps(message)


def failure_text(run: WorkingCopy) -> str:
    """Which tasks failed and why, each with its failed actions and sub-workflows."""
    failed = sorted(
        (t for t in run.all_tasks() if t.state is State.ERROR and not t.error_handled),
        key=lambda t: t.name,
    )
    lines = ["Failure caused by error in tasks: " + ", ".join(t.name for t in failed), ""]
    for task in failed:
        lines.append(f"  {task.name} [task_ex_id={task.id}] -> {task.state_info}")
        for position, action in enumerate(run.actions(task.id)):
            if action.state is State.ERROR:
                lines.append(f"    [action_ex_id={action.id}, idx={position}]: {action.result}")
        for position, child in enumerate(run.children(task.id)):
            if child.state is State.ERROR:
                said = (child.output or {}).get("result")
                lines.append(f"    [wf_ex_id={child.id}, idx={position}]: {said}")
        lines.append("")
    return "\n".join(lines)


def force_fail(run: WorkingCopy, task: Task, message: str) -> None:
    """Fail *task* and the execution at once: no clause, no policy, nothing published follows.

    Mistral does so when the definition itself is wrong: a broken expression, an unknown action,
    parameters that do not fit. A paused execution fails when it is resumed.
    """
    task = run.edit(task.id)
    task.next_tasks = None
    task.error_handled = False
    task.held = False
    task.due = None
    if task.state is not State.ERROR:
        run.set_state(task, State.ERROR, message)
    task.state_info = message
    run.record_task(task)
    run.command(StopActions(task_id=task.id, before=task.attempt + 1, reason="the task has failed"))
    run.command(CancelTimers(task_id=task.id))
    if run.execution.state is State.RUNNING:
        fail(run, message)
