"""Applying events: the one place that changes the state of executions.

A batch of events for any number of executions is one transaction: their rows are locked in the
order of their ids, all that the events need is read, every execution is decided on by the pure
core, and all decisions are written together with one outbox row. Nothing is written before all
is decided, so an execution whose decision fails leaves the others untouched; it is tried again
alone, event by event, and ends in ERROR with the cause if it keeps failing.

An event that comes alone, for an execution that is remembered, is decided on without a lock. The
decision is then written on the condition that nobody has written to the execution since; if
somebody has, the event is applied anew under the lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import prometheus_client
from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.actions import runner
from app.actions.context import ActionContext
from app.broker import engine_message
from app.core import events, invariants
from app.core.commands import (
    CancelTimers,
    Record,
    RunAction,
    SendEvent,
    SetTimer,
    StartWorkflow,
)
from app.core.conductor import advance
from app.core.events import ActionCompleted, Event, ExecutionBroke
from app.core.execution import Execution
from app.core.expressions import ExpressionError
from app.core.invariants import InvariantBroken
from app.core.states import State
from app.models import Changed, utcnow
from app.services import action_runs, mapping, stored, timers
from app.services.carry_out import Outcome, Standing, write
from app.services.mapping import A, E, T
from app.services.outbox import add, unit_of_work
from app.services.platform import Platform

log = logging.getLogger(__name__)

_broken_invariants = prometheus_client.Counter(
    "celeriac_broken_invariants", "Decisions that left an execution as it must never be."
)

#: Executions with at most this many tasks and actions are read whole: one query for all of them.
SMALL = 48
#: Times that a transaction is tried when the database refuses it for reasons of its own.
ATTEMPTS = 5
#: The kind of a message that has the engine run inline actions it left for later.
RUN_INLINE = "RunInline"

#: Commands that change no row but those which the decision itself knows to be changed.
_REMEMBERED = (CancelTimers, Record, RunAction, SendEvent, SetTimer, StartWorkflow)

_LOCK = (
    mapping.EXECUTIONS.where(E.id.in_(bindparam("ids", expanding=True)))
    .order_by(E.id)
    .with_for_update()
)
_ACTIONS = mapping.ACTIONS.where(A.id.in_(bindparam("ids", expanding=True)))
_ALL_TASKS = mapping.TASKS.where(
    T.workflow_execution_id.in_(bindparam("ids", expanding=True))
).order_by(T.number)
_TASKS = mapping.TASKS.where(T.id.in_(bindparam("ids", expanding=True))).order_by(T.number)

#: Events as messages carry them, by execution; None for actions that were run alone.
Batch = Mapping[str | None, Sequence[Mapping[str, Any]]]


def apply(platform: Platform, batch: Batch) -> None:
    """Apply *batch* in one transaction, its messages sent after the commit.

    Timers that events came from are forgotten with it. Raises only what concerns the
    infrastructure (database, broker): then nothing was applied that will not be applied again by
    a repetition without harm.
    """
    known = {key: [dict(event) for event in found] for key, found in batch.items() if key}
    fired = {
        key: [event.pop(timers.TIMER_ID) for event in found if timers.TIMER_ID in event]
        for key, found in known.items()
    }
    if known:
        try:
            failed = _transact(platform, known, fired)
        except _Broken as err:
            log.warning("a batch of %d executions is applied one by one: %s", len(known), err)
            failed = list(known)
        for execution_id in failed:
            _apply_one_by_one(platform, execution_id, known[execution_id], fired[execution_id])
    for event in batch.get(None, ()):
        with unit_of_work(platform.database, platform.broker) as session:
            action_runs.complete(session, event)


class _Broken(Exception):
    """The transaction as a whole failed for a reason that may lie in one of its executions."""


def _transact(
    platform: Platform,
    batch: Mapping[str, Sequence[Mapping[str, Any]]],
    fired: Mapping[str, Sequence[str]],
) -> list[str]:
    """Apply *batch*; the ids of executions whose decision failed, which were left as they were.

    *fired* are timers that go with the events of each execution.
    """
    alone = len(batch) == 1 and all(len(found) == 1 for found in batch.values())
    # Who deletes a timer before it has the execution may wait for somebody who waits for it.
    trust = alone and not any(fired.values())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with unit_of_work(platform.database, platform.broker) as session:
                applied = apply_in(session, platform, batch, last=True, trust=trust)
                failed = set(applied.failed)
                timers.applied(session, chain(*(fired[key] for key in fired if key not in failed)))
            remember(platform, applied)
            tell_stopped(platform, applied.stopped)
            return applied.failed
        except Changed:
            platform.remembered.doubt()
            trust = False
        except (IntegrityError, ValueError, TypeError, KeyError) as err:
            raise _Broken(f"{type(err).__name__}: {err}") from err
        except DBAPIError as err:
            if isinstance(err, OperationalError) and _may_pass(err) and attempt < ATTEMPTS:
                time.sleep(0.02 * 2**attempt)
                continue
            if isinstance(err, OperationalError):
                raise
            raise _Broken(f"{type(err).__name__}: {err}") from err
    raise AssertionError("unreachable")


def _may_pass(err: OperationalError) -> bool:
    """True for deadlocks, serialization failures and a busy SQLite."""
    code = getattr(err.orig, "sqlstate", None)
    return code in ("40001", "40P01", "55P03") or "locked" in str(err.orig)


def _apply_one_by_one(
    platform: Platform,
    execution_id: str,
    found: Sequence[Mapping[str, Any]],
    fired: Sequence[str],
) -> None:
    for event in found:
        try:
            if not _transact(platform, {execution_id: [event]}, {}):
                continue
            cause = "a fault of Celeriac, told in the engine's log"
        except _Broken as err:
            cause = str(err)
        log.error("execution %s cannot take %s: %s", execution_id, event.get("kind"), cause)
        broke = events.dump(
            ExecutionBroke(cause=f"Failed to apply {event.get('kind')} [cause={cause}]")
        )
        if event.get("kind") != "ExecutionBroke":
            _transact(platform, {execution_id: [broke]}, {})
    if fired:
        with platform.database.sessions.begin() as session:
            timers.applied(session, fired)


def tell_stopped(platform: Platform, stopped: Sequence[tuple[str, str]]) -> None:
    """Let executors know which actions nobody waits for any more; as well as can be."""
    if not stopped:
        return
    try:
        platform.ledger.stop([action_id for action_id, _ in stopped])
        foreign = [action_id for action_id, name in stopped if name.startswith("celery.")]
        if foreign:
            platform.broker.celery.control.revoke(foreign, terminate=True)
    except Exception as err:  # The decision stands; an action that runs on harms nobody.
        log.warning("%d actions could not be told to stop: %s", len(stopped), err)


# --- one transaction -------------------------------------------------------------------------


def apply_in(
    session: Session,
    platform: Platform,
    batch: Mapping[str, Sequence[Mapping[str, Any] | Event]],
    *,
    inline_steps: int | None = None,
    last: bool = False,
    trust: bool = False,
) -> Applied:
    """Apply *batch* in the transaction of *session*.

    At most *inline_steps* inline actions run in it; the others are left for the engine's next.
    *last* means that nobody reads what it writes before the commit. *trust* has executions that
    are remembered not be locked; then Changed may be raised, here or by the commit.
    """
    now = utcnow()
    standings = _standings(session, platform, batch, trust=trust)
    wanted = {key: [_event(e) for e in batch[key]] for key in standings}
    lookups = _read(session, platform, standings, wanted)
    outcomes: list[Outcome] = []
    failed: list[str] = []
    for key, before in standings.items():
        spec = stored.spec(session, before.spec_id)
        outcome = Outcome(before, spec=spec, execution=before.execution, lookup=lookups[key])
        try:
            _decide(session, platform, outcome, wanted[key], now, steps=inline_steps)
            _check(platform, outcome)
        except (OperationalError, ExpressionError):
            raise
        except Exception:
            log.exception("no decision on execution %s", key)
            failed.append(key)
            continue
        outcomes.append(outcome)
    stopped = write(session, platform, outcomes, now, last=last)
    return Applied(failed, stopped, outcomes, now)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a transaction, to be looked at once it is committed."""

    #: Ids of executions whose decision failed, which were left as they were.
    failed: list[str]
    #: Ids and names of actions to be told to stop.
    stopped: list[tuple[str, str]]
    outcomes: list[Outcome]
    at: datetime


def remember(platform: Platform, applied: Applied) -> None:
    """Keep what was decided for the next events of the same executions; after the commit."""
    for outcome in applied.outcomes:
        execution, lookup = outcome.execution, outcome.lookup
        for context_id in outcome.changes.contexts:
            # Not before the commit: a decision that is thrown away, and the one that takes its
            # place in another process, give the same ids to different contexts.
            stored.keep_context(execution.contexts[context_id])
        if (
            lookup.complete
            and not execution.state.terminal
            and all(isinstance(command, _REMEMBERED) for command in outcome.commands)
        ):
            platform.remembered.keep(
                execution,
                outcome.before.spec_id,
                outcome.before.revision + 1,
                applied.at,
                chain(lookup.known_tasks(), execution.tasks.values()),
                chain(lookup.known_actions(), execution.actions.values()),
            )


def lock(session: Session, ids: Iterable[str]) -> Sequence[Any]:
    """Lock and read executions, always in the order of their ids, so that nobody deadlocks."""
    return session.connection().execute(_LOCK, {"ids": sorted(ids)}).all()


def _standings(
    session: Session, platform: Platform, ids: Iterable[str], *, trust: bool
) -> dict[str, Standing]:
    """The executions with these ids that there are, as they stand."""
    found = {}
    unknown = []
    for key in ids:
        known = platform.remembered.trusted(key) if trust else None
        if known is None:
            unknown.append(key)
        else:
            before = known.execution
            found[key] = Standing(before, known.spec_id, known.revision, known, locked=False)
    for row in lock(session, unknown) if unknown else ():
        known = platform.remembered.take(row.id, row.revision)
        found[row.id] = Standing(mapping.execution_of(row), row.spec_id, row.revision, known)
    return found


@dataclass(frozen=True, slots=True)
class _RunInline:
    """Inline actions that an earlier transaction left for this one."""

    action_ids: tuple[str, ...]


def _event(data: Mapping[str, Any] | Event) -> Event | _RunInline:
    if isinstance(data, Event):
        return data
    if data.get("kind") == RUN_INLINE:
        return _RunInline(tuple(data["action_ids"]))
    return events.load(data)


def _read(
    session: Session,
    platform: Platform,
    standings: Mapping[str, Standing],
    wanted: Mapping[str, Sequence[Event | _RunInline]],
) -> dict[str, stored.Stored]:
    """Read what the events need and is not remembered, for all executions at once."""
    definitions_found = stored.Found()
    lookups: dict[str, stored.Stored] = {}
    action_ids: list[str] = []
    task_ids: set[str] = set()
    small: list[str] = []
    new: list[str] = []
    for key, before in standings.items():
        execution, known = before.execution, before.known
        if execution.serial == 0:
            new.append(key)
        lookup = lookups[key] = stored.Stored(
            session,
            execution,
            platform.registry,
            tasks=known.tasks if known else {},
            actions=known.actions if known else {},
            complete=known is not None or execution.serial == 0,
            definitions_found=definitions_found,
        )
        for event in wanted[key]:
            action_id = getattr(event, "action_id", None)
            if action_id and not lookup.knows_action(action_id):
                action_ids.append(action_id)
            task_id = getattr(event, "task_id", None)
            if task_id and not lookup.complete:
                task_ids.add(task_id)
        if not lookup.complete and execution.serial <= SMALL:
            small.append(key)
    if new:
        stored.read_inputs(session, new)
    connection = session.connection()
    for start in range(0, len(action_ids), 500):
        for row in connection.execute(_ACTIONS, {"ids": action_ids[start : start + 500]}):
            if row.workflow_execution_id in lookups:
                lookups[row.workflow_execution_id].know_action(mapping.action_of(row))
                task_ids.add(row.task_execution_id)
    if small:
        for row in connection.execute(_ALL_TASKS, {"ids": small}):
            lookups[row.workflow_execution_id].know_task(mapping.task_of(row))
        for execution_id in small:
            lookups[execution_id].complete = True
    if task_ids and not all(lookup.complete for lookup in lookups.values()):
        for row in connection.execute(_TASKS, {"ids": sorted(task_ids)}):
            if row.workflow_execution_id in lookups:
                lookups[row.workflow_execution_id].know_task(mapping.task_of(row))
    _read_contexts(session, lookups.values())
    return lookups


def _read_contexts(session: Session, lookups: Iterable[stored.Stored]) -> None:
    """Have the contexts ready that the decisions will look into."""
    ids = set()
    for lookup in lookups:
        if lookup.execution.context_id:
            ids.add(lookup.execution.context_id)
        for task in lookup.known_tasks():
            ids.update(i for i in (task.inbound_id, task.outbound_id) if i)
    if ids:
        stored.contexts(session, ids)


# --- deciding --------------------------------------------------------------------------------


def _decide(
    session: Session,
    platform: Platform,
    outcome: Outcome,
    wanted: Sequence[Event | _RunInline],
    now: datetime,
    *,
    steps: int | None,
) -> None:
    """Advance one execution, running inline actions as they come up.

    Their results go straight back into the next round. Steps and time are bounded, so that one
    execution does not keep the others waiting; what is left over runs in a transaction to come.
    """
    pending: list[Event] = []
    for each in wanted:
        if isinstance(each, _RunInline):
            pending.extend(_run_left_over(session, platform, each))
        else:
            pending.append(each)
    if steps is None:
        steps = platform.config.inline_steps
    deadline = time.monotonic() + platform.config.inline_seconds
    left_over: list[str] = []
    while pending:
        outcome.rounds.append(pending)
        decision = advance(
            outcome.spec,
            outcome.execution,
            pending,
            now=now,
            lookup=outcome.lookup,
            limits=platform.limits,
        )
        outcome.execution = decision.execution
        outcome.changes.update(decision.changes)
        outcome.commands.extend(decision.commands)
        pending = []
        for command in decision.commands:
            if isinstance(command, RunAction) and command.inline:
                if steps > 0 and time.monotonic() < deadline:
                    steps -= 1
                    pending.extend(_run_inline(platform, outcome.execution, command))
                else:
                    left_over.append(command.action_id)
    for start in range(0, len(left_over), steps_of(platform)):
        data = {"kind": RUN_INLINE, "action_ids": left_over[start : start + steps_of(platform)]}
        add(session, [engine_message(outcome.execution.id, data)])


def _check(platform: Platform, outcome: Outcome) -> None:
    """Tell when a decision broke an invariant; in strict mode it fails."""
    execution = outcome.execution
    all_tasks = None
    if platform.config.strict and outcome.lookup.complete:
        known = {task.id: task for task in outcome.lookup.known_tasks()}
        all_tasks = (known | execution.tasks).values()
    broken = invariants.broken(execution, all_tasks=all_tasks)
    if broken:
        error = InvariantBroken(execution.id, broken)
        if platform.config.strict:
            raise error
        _broken_invariants.inc(len(broken))
        log.error("an invariant is broken: %s", error)


def steps_of(platform: Platform) -> int:
    return max(1, platform.config.inline_steps // 2)


def _run_inline(
    platform: Platform, execution: Execution, command: RunAction
) -> list[ActionCompleted]:
    context = ActionContext(
        workflow_name=execution.name,
        workflow_execution_id=execution.id,
        task_execution_id=command.task_id,
        action_execution_id=command.action_id,
        project_id=execution.project_id,
    )
    return _run(platform, command.action_id, command.base, command.base_input, context)


def _run(
    platform: Platform,
    action_id: str,
    name: str,
    input: Mapping[str, Any],
    context: ActionContext,
) -> list[ActionCompleted]:
    """Run an action here; nothing has happened yet when somebody else will report the result."""
    action = platform.registry.get(name)
    result = runner.run(action, input, context)
    if action.asynchronous and result.state == State.SUCCESS:
        return []
    return [ActionCompleted(action_id=action_id, state=State(result.state), result=result.value)]


def _run_left_over(
    session: Session, platform: Platform, wanted: _RunInline
) -> list[ActionCompleted]:
    rows = session.execute(
        select(A.id, A.name, A.input, A.dispatch, A.task_execution_id, A.workflow_execution_id)
        .where(A.id.in_(wanted.action_ids), A.state == "RUNNING")
        .order_by(A.number)
    )
    results: list[ActionCompleted] = []
    for row in rows:
        context = ActionContext(
            workflow_execution_id=row.workflow_execution_id,
            task_execution_id=row.task_execution_id,
            action_execution_id=row.id,
        )
        name = row.dispatch.get("base", row.name)
        given = row.dispatch.get("base_input", row.input)
        results.extend(_run(platform, row.id, name, given, context))
    return results
