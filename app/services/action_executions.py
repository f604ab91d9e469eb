"""Action executions as people handle them: report a result, run an action alone."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.actions import runner
from app.actions.context import ActionContext
from app.core import events
from app.core.actions import ADHOC_CLASS, fill_input
from app.core.errors import RequestRefused, StateRefused
from app.core.events import Event
from app.core.execution import ActionInfo
from app.core.expressions import NO_FUNCTIONS, evaluate_recursively
from app.core.language import load_action
from app.core.language.specs import ActionSpec
from app.core.states import ACTION_TRANSITIONS, State, transition
from app.models import ActionDefinition, ActionExecution, utcnow
from app.services import action_runs, actors, code_sources, definitions, executions, outbox, stored
from app.services.actors import Actor
from app.services.carry_out import request_message
from app.services.errors import NotAllowed, NotFound, Refused, Unavailable
from app.services.platform import Platform

#: States that somebody may report.
REPORTABLE = ("SUCCESS", "ERROR", "CANCELLED", "PAUSED", "RUNNING")
#: Seconds that a synchronous run is waited for when it names no timeout.
SYNC_SECONDS = 60.0


def get(session: Session, actor: Actor, id: str) -> ActionExecution:
    """The action execution; NotFound when there is none or *actor* may not see it."""
    row = session.get(ActionExecution, id)
    if row is None or not (actor.is_admin or row.project_id == actor.project_id):
        raise NotFound(f"ActionExecution not found [id={id}]")
    return row


def update(
    session: Session,
    platform: Platform,
    actor: Actor,
    id: str,
    *,
    state: str,
    output: Any = None,
) -> ActionExecution:
    """Report from outside how an action stands."""
    row = get(session, actor, id)
    if state not in REPORTABLE:
        raise Refused(f"Error. Expected one of {list(REPORTABLE)}, actual: {state}")
    if row.workflow_execution_id is not None:
        executions.locked(session, actor, row.workflow_execution_id)
        session.refresh(row)
    current, target = State(row.state), State(state)
    if target in (State.PAUSED, State.RUNNING):
        if row.is_sync:
            raise StateRefused(
                f"Transition to the {target} state is only supported for asynchronous "
                "action execution."
            )
        transition(ACTION_TRANSITIONS, current, target)
    elif current is State.CANCELLED and row.state_info:
        # The engine gave it up; what it came to after all is worth keeping, and changes nothing.
        row.state = str(target)
        row.output = {"result": _result(target, output)}
        row.updated_at = utcnow()
        return row
    elif current.terminal:
        raise Refused(f"Action {id} is already completed")
    event = _reported(row, target, output)
    if row.workflow_execution_id is None:
        action_runs.complete(session, events.dump(event))
        session.expire_all()
    else:
        executions.apply(session, platform, row.workflow_execution_id, [event])
    return get(session, actor, id)


def _reported(row: ActionExecution, state: State, output: Any) -> Event:
    if state is State.PAUSED:
        return events.ActionPaused(action_id=row.id)
    if state is State.RUNNING:
        return events.ActionResumed(action_id=row.id)
    return events.ActionCompleted(action_id=row.id, state=state, result=_result(state, output))


def _result(state: State, output: Any) -> Any:
    if state is State.SUCCESS:
        return output
    return (output or "Unknown error") if state is State.ERROR else None


def delete(session: Session, actor: Actor, id: str, *, allowed: bool) -> None:
    """Delete the completed run of an action that was run alone, if that is *allowed* here."""
    if not allowed:
        raise NotAllowed("Action execution deletion is not allowed.")
    row = get(session, actor, id)
    actors.require_owner(actor, row)
    if row.task_execution_id is not None:
        raise NotAllowed("Only ad-hoc action execution can be deleted.")
    if not State(row.state).terminal:
        raise NotAllowed("Only completed action execution can be deleted.")
    session.delete(row)


# --- running an action alone -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Alone:
    """An action to be run for no task."""

    name: str
    input: Mapping[str, Any]
    base: ActionInfo
    base_input: Mapping[str, Any]
    #: The class of a dynamic action, which its executor must be told.
    code: Mapping[str, Any] | None = None


def run(
    platform: Platform,
    actor: Actor,
    *,
    name: str,
    input: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    description: str | None = None,
    namespace: str = "",
) -> ActionExecution:
    """Run one action for no workflow; the answer has its result unless it is to be waited for.

    ``params``: ``run_sync`` (wait), ``save_result`` (keep a record), ``timeout`` (seconds),
    ``target``. A synchronous action is waited for unless its result is to be saved.
    """
    wanted = dict(params or {})
    with platform.database.read() as session:
        plan = _plan(session, platform, actor, name, dict(input or {}), namespace)
    save = bool(wanted.get("save_result"))
    sync = bool(wanted.get("run_sync"))
    if sync and plan.base.asynchronous:
        raise Refused("Action does not support synchronous execution.")
    if sync or not (save or plan.base.asynchronous):
        return _run_and_wait(platform, actor, plan, wanted, description, save=save)
    return _schedule(platform, actor, plan, wanted)


def _plan(
    session: Session,
    platform: Platform,
    actor: Actor,
    name: str,
    given: dict[str, Any],
    namespace: str,
) -> _Alone:
    chain: list[ActionSpec] = []
    value, wanted = given, name
    recorded: dict[str, Any] | None = None
    while True:
        row = definitions.find_action(
            session, name=wanted, namespace=namespace, project_id=actor.project_id
        )
        if not isinstance(row, ActionDefinition):
            break
        spec = replace(load_action(row.spec), name=row.name)
        if any(spec.name == each.name for each in chain):
            raise RequestRefused(
                f"Found a cycle in an ad-hoc action chain {[each.name for each in chain]}"
            )
        chain.append(spec)
        value = fill_input(spec.name, ADHOC_CLASS, spec.input, value)
        recorded = value if recorded is None else recorded
        value = dict(evaluate_recursively(spec.base_input, value, NO_FUNCTIONS))
        wanted = spec.base
    base = stored.dynamic_info(row) if row is not None else platform.registry.find(wanted)
    if base is None:
        raise RequestRefused(f"Failed to find action [action_name={wanted}]")
    base.check_input(value)
    return _Alone(
        name=chain[0].name if chain else base.name,
        input=value if recorded is None else recorded,
        base=base,
        base_input=value,
        code=code_sources.code_of(session, row) if row is not None else None,
    )


def _run_and_wait(
    platform: Platform,
    actor: Actor,
    plan: _Alone,
    params: Mapping[str, Any],
    description: str | None,
    *,
    save: bool,
) -> ActionExecution:
    action_id = str(uuid.uuid4())
    state, value = _run_now(platform, actor, plan, params, action_id)
    row = ActionExecution(
        id=action_id if save else None,
        name=plan.name,
        input=dict(plan.input),
        description=description,
        workflow_namespace="",
        state=str(state),
        # The output of an ad-hoc action is not applied when it is run alone (as in Mistral).
        output={"result": value},
    )
    if save:
        now = utcnow()
        values = {
            **_values(actor, plan, action_id),
            "state": row.state,
            "output": row.output,
            "description": description if description is not None else "",
            "dispatched": False,
            "check_at": None,
            "created_at": now,
        }
        with outbox.unit_of_work(platform.database, platform.broker) as session:
            session.execute(insert(ActionExecution.__table__), values)  # type: ignore[arg-type]
        row = ActionExecution(**values)
    return row


def _run_now(
    platform: Platform, actor: Actor, plan: _Alone, params: Mapping[str, Any], action_id: str
) -> tuple[State, Any]:
    target = params.get("target")
    if not target and plan.base.may_run_inline(plan.base_input):
        action = platform.registry.get(plan.base.name)
        result = runner.run(action, plan.base_input, ActionContext(project_id=actor.project_id))
        return State(result.state), result.value
    seconds = float(params.get("timeout") or SYNC_SECONDS)
    request = _request(actor, plan, params, action_id, sync_reply=True)
    platform.broker.send([request_message(request, target=target)])
    answer = platform.ledger.wait(action_id, timeout=seconds + 2)
    if answer is None:
        platform.ledger.stop([action_id])
        raise Unavailable(
            f"The action {plan.name} gave no result within {seconds:g} seconds: "
            "is an executor running?"
        )
    return State(answer["state"]), answer.get("result")


def _schedule(
    platform: Platform, actor: Actor, plan: _Alone, params: Mapping[str, Any]
) -> ActionExecution:
    action_id = str(uuid.uuid4())
    now = utcnow()
    values = {
        **_values(actor, plan, action_id),
        "state": "RUNNING",
        "output": None,
        "description": "",
        "dispatched": True,
        "dispatch": {
            "target": params.get("target"),
            "timeout": params.get("timeout"),
            "safe_rerun": False,
            "base": plan.base.name,
            "base_input": dict(plan.base_input),
        },
        "check_at": now + timedelta(seconds=platform.config.dispatch_check_seconds),
        "created_at": now,
    }
    with outbox.unit_of_work(platform.database, platform.broker) as session:
        session.execute(insert(ActionExecution.__table__), values)  # type: ignore[arg-type]
        request = _request(actor, plan, params, action_id, sync_reply=False)
        if plan.base.name != "std.async_noop":
            outbox.add(session, [request_message(request, target=params.get("target"))])
    return ActionExecution(**values)


def _request(
    actor: Actor, plan: _Alone, params: Mapping[str, Any], action_id: str, *, sync_reply: bool
) -> dict[str, Any]:
    return {
        "id": action_id,
        "execution_id": None,
        "task_id": None,
        "attempt": 1,
        "action": plan.base.name,
        "input": dict(plan.base_input),
        "context": {
            "action_execution_id": action_id,
            "callback_url": f"/v2/action_executions/{action_id}",
            "project_id": actor.project_id,
        },
        "timeout": params.get("timeout"),
        "safe_rerun": False,
        "asynchronous": plan.base.asynchronous,
        "sync_reply": sync_reply,
        **({"code": plan.code} if plan.code is not None else {}),
    }


def _values(actor: Actor, plan: _Alone, action_id: str) -> dict[str, Any]:
    return {
        "id": action_id,
        "task_execution_id": None,
        "workflow_execution_id": None,
        "workflow_name": None,
        "workflow_namespace": "",
        "project_id": actor.project_id,
        "name": plan.name,
        "state_info": None,
        "accepted": False,
        "input": dict(plan.input),
        "item_index": 0,
        "attempt": 0,
        "number": 0,
        "is_sync": not plan.base.asynchronous,
        "dispatch": {},
        "last_heartbeat": None,
        "updated_at": None,
    }
