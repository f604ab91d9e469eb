"""What surrounds a run of a task: waiting, pausing, time limits, retries.

Values may be expressions; what they give is checked again, with Mistral's texts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from .commands import AcceptActions, CancelTimers, SetTimer, StopActions
from .evaluation import evaluate, outbound_view, task_view
from .events import TimerFired
from .execution import Task
from .states import State
from .working_copy import WorkingCopy

Purpose = Literal["wait-before", "wait-after", "retry", "timeout"]


class InvalidPolicyValue(Exception):
    """An expression in a policy gave a value of the wrong type."""

    def __init__(self, policy: str, value: Any, expected: str) -> None:
        super().__init__(
            f"Invalid data type in {policy}: {value!r} is not of type '{expected}'. "
            "Value(s) can be shown after YAQL evaluating. If you use YAQL here, please correct it."
        )


def _evaluated(run: WorkingCopy, task: Task, value: Any, *, after: bool) -> Any:
    """*value* of a policy; *after* a run it sees what the task has just published."""
    if not isinstance(value, str):
        return value
    if after:
        view = outbound_view(run, task, context_id=task.outbound_id)
    else:
        view = task_view(run, task, context_id=task.inbound_id)
    return evaluate(run, value, view, task)


def _seconds(run: WorkingCopy, task: Task, value: Any, policy: str, *, after: bool = False) -> int:
    """A number of seconds (or a count), evaluated and checked."""
    found = _evaluated(run, task, value, after=after)
    if isinstance(found, bool) or not isinstance(found, int):
        raise InvalidPolicyValue(policy, found, "integer")
    if found < 0:
        raise InvalidPolicyValue(policy, found, "non-negative integer")
    return found


def _truth(run: WorkingCopy, task: Task, value: Any, policy: str, *, after: bool = False) -> bool:
    """A yes or no, evaluated and checked."""
    found = _evaluated(run, task, value, after=after)
    if not isinstance(found, bool):
        raise InvalidPolicyValue(policy, found, "boolean")
    return found


def set_timer(run: WorkingCopy, task: Task, purpose: Purpose, seconds: float) -> None:
    run.command(
        SetTimer(
            id=run.new_id(),
            task_id=task.id,
            at=run.now + timedelta(seconds=seconds),
            event=TimerFired(task_id=task.id, purpose=purpose, attempt=task.attempt),
        )
    )


def delay(run: WorkingCopy, task: Task, purpose: Purpose, seconds: int) -> None:
    """Let *task* be DELAYED until a timer fires."""
    run.set_state(task, State.DELAYED, f"Delayed by '{purpose}' policy [delay={seconds}]")
    run.record_task(task)
    set_timer(run, task, purpose, seconds)


def pauses_before(run: WorkingCopy, task: Task) -> bool:
    """True when the task wants the execution to pause before it runs."""
    value = run.task_spec(task).policies.pause_before
    if not value or task.paused_before:
        return False
    return _truth(run, task, value, "PauseBeforePolicy")


def waits_before(run: WorkingCopy, task: Task) -> bool:
    """Delay the task if it wants to wait; True when it does."""
    value = run.task_spec(task).policies.wait_before
    if not value or task.waited_before:
        return False
    seconds = _seconds(run, task, value, "WaitBeforePolicy")
    if seconds <= 0:
        return False
    task.waited_before = True
    delay(run, task, "wait-before", seconds)
    return True


def timeout_of(run: WorkingCopy, task: Task) -> int:
    """Seconds that one run may take; 0: no limit."""
    value = run.task_spec(task).policies.timeout
    return _seconds(run, task, value, "TimeoutPolicy") if value else 0


def limit_time(run: WorkingCopy, task: Task) -> None:
    """Set the timer of the timeout policy for this run.

    Each attempt gets its own; in Mistral only the first one has a limit.
    """
    seconds = timeout_of(run, task)
    if seconds > 0:
        set_timer(run, task, "timeout", seconds)


def concurrency_of(run: WorkingCopy, task: Task) -> int:
    """Most items at once; 0: no limit."""
    value = run.task_spec(task).policies.concurrency
    return _seconds(run, task, value, "ConcurrencyPolicy") if value else 0


# --- after a run -----------------------------------------------------------------------------


def waits_after(run: WorkingCopy, task: Task) -> bool:
    """Delay the completion if the task wants to wait; True when it does."""
    value = run.task_spec(task).policies.wait_after
    if not value or task.waited_after:
        return False
    seconds = _seconds(run, task, value, "WaitAfterPolicy", after=True)
    if seconds <= 0:
        return False
    task.waited_after = True
    task.outcome, task.outcome_info = task.state, task.state_info
    delay(run, task, "wait-after", seconds)
    return True


def fails_on(run: WorkingCopy, task: Task) -> bool:
    """Turn a success into an error if the task says so; the expression is evaluated always."""
    value = run.task_spec(task).policies.fail_on
    if not value:
        return False
    wanted = _truth(run, task, value, "FailOnPolicy", after=True)
    if wanted and task.state is State.SUCCESS:
        run.set_state(task, State.ERROR, "Failed by 'fail-on' policy")
        return True
    return False


def retries(run: WorkingCopy, task: Task) -> bool:
    """Delay the task for another attempt if the retry policy wants one; True when it does."""
    retry = run.task_spec(task).policies.retry
    if retry is None or task.state is State.CANCELLED:
        return False
    count = _seconds(run, task, retry.count, "RetryPolicy", after=True)
    seconds = _seconds(run, task, retry.delay, "RetryPolicy", after=True)
    if count == 0:
        return False
    view = task_view(run, task, context_id=task.inbound_id, extra=_outbound_variables(run, task))
    keep_on = _condition(run, task, retry.continue_on, view)
    give_up = _condition(run, task, retry.break_on, view)
    done = task.retry_no or 0
    stop = (
        (task.state is State.ERROR and give_up)
        or (task.state is State.SUCCESS and retry.continue_on is None)
        or (retry.continue_on is not None and not keep_on)
    )
    if stop or done >= count:
        # The last of all attempts leaves its number to be seen; an early stop leaves none.
        if stop and task.retry_no is not None:
            task.retry_no = 0
        return False
    task.retry_no = done + 1
    prepare_again(run, task)
    if task.join is not None:
        task.join.again = False
        task.join.failed = False  # It runs now, whatever has not arrived.
    delay(run, task, "retry", seconds)
    return True


def prepare_again(run: WorkingCopy, task: Task) -> None:
    """Make way for another run: results so far no longer count."""
    # Timers and results of the attempt that is over mean nothing any more.
    task.attempt += 1
    task.items = None
    task.outcome = task.outcome_info = None
    for action in run.actions(task.id):
        if action.accepted:
            run.edit_action(action).accepted = False
    if task.type == "WORKFLOW":
        for child in run.children(task.id):
            if child.accepted:
                run.accept_child(child.id, False)
    else:
        run.command(AcceptActions(task_id=task.id, accepted=False, before=task.attempt))
    run.command(CancelTimers(task_id=task.id))
    run.command(
        StopActions(task_id=task.id, before=task.attempt, reason="superseded by another attempt")
    )


def _outbound_variables(run: WorkingCopy, task: Task) -> dict[str, Any] | None:
    context = run.context(task.outbound_id)
    return context.variables if context else None


def _condition(run: WorkingCopy, task: Task, text: str | None, view: Any) -> bool:
    return bool(evaluate(run, text, view, task)) if text is not None else False
