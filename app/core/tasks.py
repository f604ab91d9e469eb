"""The life of one task: it starts, runs its action or sub-workflow, and is completed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import joins, outcome, policies, routing, with_items
from .actions import BrokenAction, UnknownAction, plan_action
from .commands import CancelTimers, ForgetResults, RunAction, StartWorkflow, StopActions
from .data_flow import deep_merge, first_oversized, publish
from .errors import InvalidInput, RequestRefused
from .evaluation import evaluate, outbound_view, task_view, workflow_layers
from .execution import Action, Items, Task
from .expressions import ExpressionError, View, is_expression, truthy
from .policies import InvalidPolicyValue
from .starting import plan_child
from .states import State
from .with_items import InvalidItems
from .working_copy import Completion, WorkingCopy


class WrongInput(Exception):
    """A task's input is not a mapping."""


class TooLarge(Exception):
    """A value exceeds the size limit."""


class TaskFault(Exception):
    """A fault that makes only the task fail, so that its on-error clause applies."""


#: Faults of the definition or its data: the task and the execution fail at once.
FORCED = (
    ExpressionError,
    InvalidPolicyValue,
    InvalidItems,
    InvalidInput,
    UnknownAction,
    WrongInput,
    TooLarge,
)


# --- starting --------------------------------------------------------------------------------


def start(run: WorkingCopy, task_id: str) -> None:
    """Let a task run that was created, or whose join is satisfied."""
    task = run.edit(task_id)
    if task.state not in (State.IDLE, State.WAITING):
        return
    # Whatever was created before a pause starts all the same; nothing is created during one.
    resumed = task.state is State.WAITING or task.paused_before
    begin(run, task, "TASK_RESUMED" if resumed else "TASK_LAUNCHED")


def begin(run: WorkingCopy, task: Task, event: str) -> None:
    """Begin a run of *task*, with everything its policies want first."""
    policies_done = task.paused_before and task.state is State.IDLE
    task.due = None
    run.set_state(task, State.RUNNING)
    task.started_at = run.now
    task.attempt += 1
    run.record(event, task)
    try:
        if policies_done:
            policies.limit_time(run, task)
        elif _held_by_policies(run, task):
            return
    except FORCED as err:
        outcome.force_fail(run, task, _run_text(run, task, err))
        return
    execute(run, task)


def _held_by_policies(run: WorkingCopy, task: Task) -> bool:
    """True when a policy keeps the task from running now."""
    if policies.pauses_before(run, task):
        policies.limit_time(run, task)
        task.paused_before = True
        run.set_state(task, State.IDLE, "Set by 'pause-before' policy")
        run.record_task(task)
        if run.execution.state is State.RUNNING:
            routing.pause_execution(run, None)
        return True
    policies.limit_time(run, task)
    return policies.waits_before(run, task)


def execute(run: WorkingCopy, task: Task) -> None:
    """Run the action or sub-workflow of a RUNNING *task*."""
    spec = run.task_spec(task)
    try:
        if spec.with_items:
            _begin_items(run, task)
        else:
            _run_one(run, task, index=0, variables=None)
    except TaskFault as err:
        run.to_complete.append(Completion(task.id, State.ERROR, str(err)))
    except FORCED as err:
        outcome.force_fail(run, task, _run_text(run, task, err))


def _run_text(run: WorkingCopy, task: Task, err: Exception) -> str:
    return (
        f"Failed to run task [error={err}, wf={run.execution.name}, task={task.name}]:\n"
        f"{type(err).__name__}: {err}"
    )


def _run_one(
    run: WorkingCopy, task: Task, *, index: int, variables: Mapping[str, Any] | None
) -> None:
    if task.type == "WORKFLOW":
        _run_workflow(run, task, index=index, variables=variables)
    else:
        _run_action(run, task, index=index, variables=variables)


def _input_of(run: WorkingCopy, task: Task, variables: Mapping[str, Any] | None) -> dict[str, Any]:
    spec = run.task_spec(task)
    view = task_view(run, task, context_id=task.inbound_id, extra=variables)
    value = evaluate(run, spec.input, view, task)
    if not isinstance(value, Mapping):
        raise WrongInput(
            f"Wrong dynamic input for task: {task.name}. Dict type is expected. "
            f"Actual type: {type(value)}. Actual value: {value}"
        )
    _check_size(run, "input", value)
    return dict(value)


def _check_size(run: WorkingCopy, name: str, value: Any) -> None:
    oversized = first_oversized(((name, value),), run.limits.field_size_kb)
    if oversized:
        raise TooLarge(oversized)


def _name_of(run: WorkingCopy, task: Task, text: str) -> Any:
    """The name of an action or workflow, which may be an expression.

    It does not see the variables of an item (as in Mistral).
    """
    if not is_expression(text):
        return text
    return evaluate(run, text, task_view(run, task, context_id=task.inbound_id), task)


def _run_action(
    run: WorkingCopy, task: Task, *, index: int, variables: Mapping[str, Any] | None
) -> None:
    spec = run.task_spec(task)
    soft = bool(spec.with_items)
    given = _input_of(run, task, variables)
    try:
        name = _name_of(run, task, spec.action) if spec.action else None
        name = str(name) if name else "std.noop"
        plan = plan_action(run, task, name, given)
        target = None
        if spec.target:
            view = View(given, *_target_layers(run, task))
            target = evaluate(run, spec.target, view, task)
    except (ExpressionError, UnknownAction) as err:
        # Mistral is milder with these in a with-items task.
        if soft:
            raise TaskFault(str(err)) from err
        raise
    except BrokenAction as err:
        raise TaskFault(str(err)) from err
    timeout = policies.timeout_of(run, task)
    safe_rerun = spec.safe_rerun
    if isinstance(safe_rerun, str):
        safe_rerun = truthy(
            evaluate(run, safe_rerun, task_view(run, task, context_id=task.inbound_id), task)
        )
    action = Action(
        id=run.new_id(),
        task_id=task.id,
        name=plan.name,
        state=State.RUNNING,
        index=index,
        attempt=task.attempt,
        asynchronous=plan.base.asynchronous,
        number=run.execution.serial,
    )
    run.add_action(action)
    run.command(
        RunAction(
            action_id=action.id,
            task_id=task.id,
            name=plan.name,
            input=plan.input,
            base=plan.base.name,
            base_input=plan.base_input,
            index=index,
            attempt=task.attempt,
            target=str(target) if target else None,
            timeout=float(timeout) if timeout else None,
            safe_rerun=bool(safe_rerun),
            asynchronous=plan.base.asynchronous,
            inline=not target and plan.base.may_run_inline(plan.base_input),
        )
    )


def _target_layers(run: WorkingCopy, task: Task) -> tuple[Mapping[str, Any], ...]:
    context = run.context(task.inbound_id)
    return (
        context.variables if context else {},
        {"__env": run.environment()},
        *workflow_layers(run),
    )


def _run_workflow(
    run: WorkingCopy, task: Task, *, index: int, variables: Mapping[str, Any] | None
) -> None:
    spec = run.task_spec(task)
    assert spec.workflow is not None
    given = _input_of(run, task, variables)
    name = _name_of(run, task, spec.workflow)
    child_id = run.new_id()
    try:
        child = plan_child(run, task, str(name), given, index=index, child_id=child_id)
    except (RequestRefused, ExpressionError) as err:
        raise TaskFault(str(err)) from err
    run.command(
        StartWorkflow(
            child_id=child_id,
            task_id=task.id,
            index=index,
            attempt=task.attempt,
            definition=child.definition,
            input=child.input,
            params=child.params,
            variables=child.variables,
        )
    )


# --- with-items ------------------------------------------------------------------------------


def _begin_items(run: WorkingCopy, task: Task) -> None:
    concurrency = policies.concurrency_of(run, task)
    values = with_items.item_values(run, task)
    count = len(next(iter(values.values())))
    again = task.items.again if task.items is not None else []
    if again and task.items is not None and task.items.count == count:
        task.items.concurrency = concurrency
    else:
        task.items = Items(count=count, concurrency=concurrency)
    task.concurrency = concurrency or None
    if count == 0:
        run.to_complete.append(Completion(task.id, State.SUCCESS))
        return
    _run_items(run, task, values)


def _run_items(run: WorkingCopy, task: Task, values: Mapping[str, list[Any]]) -> None:
    assert task.items is not None
    for index in task.items.take():
        variables = with_items.variables_at(values, index)
        _run_one(run, task, index=index, variables=variables)


def refill_items(run: WorkingCopy, task: Task) -> None:
    """Start as many further items as the concurrency allows."""
    items = task.items
    if items is None or not (items.again or items.next < items.count):
        return
    if run.execution.state is not State.RUNNING:
        if run.execution.state is State.PAUSED:
            task.due = "items"
        elif items.running == 0:
            run.set_state(task, State.CANCELLED, "the execution has ended")
            run.record_task(task)
        return
    if items.concurrency and items.running >= items.concurrency:
        return
    try:
        _run_items(run, task, with_items.item_values(run, task))
    except TaskFault as err:
        run.to_complete.append(Completion(task.id, State.ERROR, str(err)))
    except FORCED as err:
        outcome.force_fail(run, task, _run_text(run, task, err))


def item_completed(run: WorkingCopy, task: Task, state: State) -> None:
    """One item of a with-items task ended."""
    with_items.note_completion(task, state)
    completion = with_items.completion(task)
    if completion is not None:
        run.to_complete.append(completion)
    else:
        refill_items(run, task)


# --- completing ------------------------------------------------------------------------------


def complete(run: WorkingCopy, completion: Completion, *, late: bool = False) -> None:
    """Complete a task: publish, apply the policies that come after, decide what follows.

    *late* says that the completion had been put off (wait-after, a timeout, a join), which only
    shows in the text of a failure.
    """
    task = run.edit(completion.task_id)
    if task.state.terminal:
        return
    run.set_state(task, completion.state, completion.info)
    task.due = None  # Whatever a pause held back was part of the run that has just ended.
    if completion.state is State.CANCELLED and task.items is not None:
        run.command(
            StopActions(task_id=task.id, before=task.attempt + 1, reason="an item was cancelled")
        )
    run.record_task(task)
    try:
        _publish(run, task)
        if _put_off(run, task):
            return
        run.command(CancelTimers(task_id=task.id))
        _forget_result(run, task)
        proceed(run, task)
        joins.rearm_if_again(run, task)
    except FORCED as err:
        outcome.force_fail(run, task, _completion_text(run, task, err, late=late))


def finish_skipped(run: WorkingCopy, task: Task) -> None:
    """Publish for a task that is SKIPPED, and go on behind it; no policy applies."""
    run.record_task(task)
    try:
        _publish(run, task)
        proceed(run, task)
    except FORCED as err:
        outcome.force_fail(run, task, _completion_text(run, task, err, late=True))


def _put_off(run: WorkingCopy, task: Task) -> bool:
    """Apply the policies after a run; True when one of them delays the task."""
    if run.execution.state.terminal or task.state in (State.SKIPPED, State.CANCELLED):
        return False
    if policies.waits_after(run, task):
        return True
    policies.fails_on(run, task)
    return policies.retries(run, task)


def proceed(run: WorkingCopy, task: Task) -> None:
    """Decide what follows a completed *task*; a pause holds it until the execution is resumed."""
    state = run.execution.state
    if state is State.PAUSED:
        task.held = True
    elif state is State.RUNNING:
        routing.follow(run, task)
    else:
        task.next_tasks = []


def _completion_text(run: WorkingCopy, task: Task, err: Exception, *, late: bool) -> str:
    place = f"wf={run.execution.name}, task={task.name}"
    detail = f"{type(err).__name__}: {err}"
    if late or task.type == "WORKFLOW":
        return f"Failed to complete task [error={err}, {place}]:\n{detail}"
    action = run.task_spec(task).action or "std.noop"
    return f"Failed to handle action completion [error={err}, {place}, action={action}]:\n{detail}"


def _publish(run: WorkingCopy, task: Task) -> None:
    """Evaluate and keep what the task publishes in its state."""
    if task.join is not None:
        joins.refresh_context(run, task)
    task.outbound_id = task.inbound_id
    branch, global_ = _scopes(run, task)
    if not branch and not global_:
        return
    view = outbound_view(run, task, context_id=task.inbound_id)
    # All values see the same data: one entry cannot read another of the same task.
    published = evaluate(run, branch, view, task)
    published_global = evaluate(run, global_, view, task)
    _check_size(run, "published", published)
    _check_size(run, "published", published_global)
    task.published = dict(published)
    task.published_global = dict(published_global)
    if published:
        context = publish(
            run.context(task.inbound_id),
            published,
            id=run.context_id(),
            sequence=run.next_publication(),
        )
        task.outbound_id = run.add_context(context)
    if published_global:
        current = run.context(run.execution.context_id)
        known = current.variables if current else {}
        merged = {
            name: deep_merge(known[name], value)
            if isinstance(value, Mapping) and isinstance(known.get(name), Mapping)
            else value
            for name, value in published_global.items()
        }
        context = publish(current, merged, id=run.context_id(), sequence=run.next_publication())
        run.execution.context_id = run.add_context(context)


def _scopes(run: WorkingCopy, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to publish to the branch and to the workflow: the clauses of the state, merged.

    For the same key ``on-complete`` beats the simple clause, which beats the state's own clause.
    Atomic values are global ones: a transaction holds the execution's lock anyway.
    """
    spec = run.task_spec(task)
    simple, own = {
        State.SUCCESS: (spec.publish, spec.on_success.publish),
        State.ERROR: (spec.publish_on_error, spec.on_error.publish),
        State.SKIPPED: (spec.publish_on_skip, spec.on_skip.publish),
    }.get(task.state, ({}, None))
    branch: dict[str, Any] = {}
    global_: dict[str, Any] = {}
    if own is not None:
        branch = deep_merge(branch, own.branch)
        global_ = deep_merge(deep_merge(global_, own.global_), own.atomic)
    branch = deep_merge(branch, simple)
    final = spec.on_complete.publish
    if final is not None and task.state is not State.CANCELLED:
        branch = deep_merge(branch, final.branch)
        global_ = deep_merge(deep_merge(global_, final.global_), final.atomic)
    return branch, global_


def _forget_result(run: WorkingCopy, task: Task) -> None:
    keep: Any = run.task_spec(task).keep_result
    if keep is True or task.type == "WORKFLOW":
        return
    if isinstance(keep, str):
        view = outbound_view(run, task, context_id=task.outbound_id)
        keep = truthy(evaluate(run, keep, view, task))
    if not keep:
        run.command(ForgetResults(task_id=task.id))
        for action in run.actions(task.id):
            if action.accepted:
                run.edit_action(action).result = None
