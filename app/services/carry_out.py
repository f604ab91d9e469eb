"""Carrying out decisions: what the conductor asked for becomes rows and messages.

All decisions of one transaction are written together, each kind of row in one statement, however
many executions they belong to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.actions.registry import CELERY_PREFIX
from app.broker import ACTION_RUN, Message, action_queue, engine_message
from app.core import commands as c
from app.core import events
from app.core.execution import Execution, Task
from app.core.language.specs import WorkflowSpec
from app.core.states import TERMINAL
from app.core.working_copy import Changes
from app.models import ActionExecution, TaskExecution, WorkflowExecution, Write
from app.models import Context as ContextRow
from app.models import write as write_rows
from app.services import (
    code_sources,
    event_log,
    foreign,
    journal,
    mapping,
    outbox,
    stored,
    timers,
)
from app.services.event_log import LogEntry
from app.services.mapping import A, E
from app.services.platform import Platform
from app.services.remembered import Known

#: Seconds until an execution in which nothing happens is looked at.
QUIET_SECONDS = 60.0

_TERMINAL = [str(state) for state in TERMINAL]
_executions: Any = WorkflowExecution.__table__
_tasks: Any = TaskExecution.__table__
_actions: Any = ActionExecution.__table__
_contexts: Any = ContextRow.__table__


@dataclass(frozen=True, slots=True)
class Standing:
    """An execution before it is decided on."""

    execution: Execution
    spec_id: str
    revision: int
    #: What is remembered of it.
    known: Known | None
    #: False: nobody keeps others from writing it, so what is decided holds only if nobody did.
    locked: bool = True

    @property
    def condition(self) -> dict[str, Any]:
        """What its row must still have when the decision is written."""
        if self.locked:
            return {}
        return {"revision": self.revision, "updated_at": self.execution.updated_at}


@dataclass(slots=True)
class Outcome:
    """The decisions of one transaction about one execution."""

    before: Standing
    spec: WorkflowSpec
    execution: Execution
    lookup: stored.Stored
    changes: Changes = field(default_factory=Changes)
    commands: list[c.Command] = field(default_factory=list)
    #: The events of each call of the conductor.
    rounds: list[list[events.Event]] = field(default_factory=list)


def event_message(execution_id: str, event: events.Event) -> Message:
    """The message that has *event* applied to an execution."""
    return engine_message(execution_id, events.dump(event))


def write(
    session: Session,
    platform: Platform,
    outcomes: Sequence[Outcome],
    now: datetime,
    *,
    last: bool = False,
) -> list[tuple[str, str]]:
    """Write all *outcomes* and have their messages sent after the commit.

    *last* means that nobody reads or writes any of it in what is left of the transaction: then
    it may leave with the commit.
    Returns ids and names of actions that need not go on: whoever commits tells the executors.
    """
    writer = _Writer(session, platform, now)
    for outcome in outcomes:
        writer.gather(outcome)
    writer.flush(last=last)
    return writer.stopped


class _Writer:
    """Rows and messages of one transaction, gathered by kind."""

    def __init__(self, session: Session, platform: Platform, now: datetime) -> None:
        self.session = session
        self.platform = platform
        self.now = now
        self.check_action_at = now + timedelta(seconds=platform.config.dispatch_check_seconds)
        self.check_execution_at = now + timedelta(seconds=QUIET_SECONDS)
        self.everywhere = json.loads(platform.config.notify) if platform.config.notify else []
        self.messages: list[Message] = []
        self.new_executions: list[dict[str, Any]] = []
        self.changed_executions: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        #: Changes of executions that are not locked.
        self.conditional: list[Write] = []
        self.new_contexts: list[dict[str, Any]] = []
        self.new_tasks: list[dict[str, Any]] = []
        self.changed_tasks: list[dict[str, Any]] = []
        self.new_actions: list[dict[str, Any]] = []
        self.changed_actions: list[dict[str, Any]] = []
        self.log: list[LogEntry] = []
        self.journal: list[dict[str, Any]] = []
        self.stopped: list[tuple[str, str]] = []
        #: By execution and task.
        self.new_timers: dict[str, dict[str | None, list[timers.Timer]]] = {}
        #: Tasks and executions whose stored timers nobody wants any more.
        self.timers_of_tasks: set[str] = set()
        self.timers_of_executions: set[str] = set()
        #: Commands that change rows in place; carried out after all rows are written.
        self.later: list[tuple[Outcome, c.Command]] = []

    # --- gathering ----------------------------------------------------------------------

    def gather(self, outcome: Outcome) -> None:
        """Take over everything one outcome wants."""
        execution, changes = outcome.execution, outcome.changes
        for command in outcome.commands:
            self._take(command, outcome)
        for task_id in sorted(changes.tasks, key=lambda i: execution.tasks[i].number):
            task = execution.tasks[task_id]
            if task.new:
                tags = list(outcome.spec.tasks[task.name].tags)
                self.new_tasks.append(mapping.new_task_values(task, execution, tags))
            else:
                self.changed_tasks.append({"id": task.id, **mapping.values_of_task(task)})
        for action_id in changes.actions:
            action = execution.actions[action_id]
            if not action.new:
                self.changed_actions.append(
                    {
                        "id": action.id,
                        "state": str(action.state),
                        "accepted": action.accepted,
                        "output": {"result": action.result} if action.state.terminal else None,
                        "updated_at": self.now,
                        "check_at": None if action.state.terminal else self.check_action_at,
                    }
                )
        for context_id in changes.contexts:
            context = execution.contexts[context_id]
            self.new_contexts.append(mapping.context_values(context, execution.id))
        self._gather_execution(outcome)
        self.journal.append(
            journal.entry(
                execution, outcome.before.revision + 1, self.now, outcome.rounds, outcome.commands
            )
        )

    def _gather_execution(self, outcome: Outcome) -> None:
        execution = outcome.execution
        values: dict[str, Any] = {
            "id": execution.id,
            "state": str(execution.state),
            "state_info": execution.state_info,
            "context_id": execution.context_id,
            "conductor": mapping.conductor_of_execution(execution),
            "revision": outcome.before.revision + 1,
            "updated_at": self.now,
            "finished_at": execution.finished_at,
            "check_at": None if execution.state.terminal else self.check_execution_at,
        }
        if execution.output is not None:
            values["output"] = execution.output
        if execution.params != outcome.before.execution.params:
            values["params"] = execution.params
        if condition := outcome.before.condition:
            self.conditional.append(Write("update", _executions, [values], condition))
        else:
            self.changed_executions[tuple(values)].append(values)

    def _take(self, command: c.Command, outcome: Outcome) -> None:
        taken = _TAKEN.get(type(command))
        if taken is None:
            self.later.append((outcome, command))
        else:
            taken(self, command, outcome)

    def _take_run_action(self, command: c.RunAction, outcome: Outcome) -> None:
        execution = outcome.execution
        action = execution.actions[command.action_id]
        waits = not action.state.terminal
        # Nobody is to be asked for the result of an action that the engine ran and that
        # somebody else will complete.
        sent = waits and not (command.inline and command.asynchronous)
        dispatch: dict[str, Any] = {
            "target": command.target,
            "timeout": command.timeout,
            "safe_rerun": command.safe_rerun,
        }
        if command.base != command.name:
            dispatch["base"] = command.base
            dispatch["base_input"] = dict(command.base_input)
        self.new_actions.append(
            {
                "id": command.action_id,
                "task_execution_id": command.task_id,
                "workflow_execution_id": execution.id,
                "workflow_name": execution.name,
                "workflow_namespace": execution.namespace,
                "project_id": execution.project_id,
                "name": command.name,
                "description": "",
                "state": str(action.state),
                "state_info": None,
                "accepted": action.accepted,
                "input": dict(command.input),
                "output": None if waits else {"result": action.result},
                "item_index": command.index,
                "attempt": command.attempt,
                "number": action.number,
                "is_sync": not command.asynchronous,
                "dispatched": sent,
                "dispatch": dispatch,
                "check_at": self.check_action_at if sent else None,
                "last_heartbeat": self.now,
                "created_at": self.now,
                "updated_at": None if waits else self.now,
            }
        )
        if sent and not command.inline:
            self.messages.append(
                code_sources.with_code(
                    self.session,
                    self.platform.registry,
                    action_message(execution, outcome.execution.tasks, command),
                    namespace=execution.namespace,
                    project_id=execution.project_id,
                )
            )

    def _take_set_timer(self, command: c.SetTimer, outcome: Outcome) -> None:
        execution_id = outcome.execution.id
        timer = timers.Timer(
            id=command.id,
            execution_id=execution_id,
            task_id=command.task_id,
            due_at=command.at,
            event=command.event,
        )
        of_tasks = self.new_timers.setdefault(execution_id, {})
        of_tasks.setdefault(command.task_id, []).append(timer)

    def _take_cancel_timers(self, command: c.CancelTimers, outcome: Outcome) -> None:
        if not _has_timers(outcome, command.task_id):
            return
        execution_id, task_id = outcome.execution.id, command.task_id
        # What was set before in the same transaction is not stored yet.
        if task_id is None:
            self.timers_of_executions.add(execution_id)
            self.new_timers.pop(execution_id, None)
        else:
            self.timers_of_tasks.add(task_id)
            self.new_timers.get(execution_id, {}).pop(task_id, None)

    def _take_start_workflow(self, command: c.StartWorkflow, outcome: Outcome) -> None:
        parent = outcome.execution
        found = command.definition
        context_id = None
        if command.variables:
            context_id = first_context_id(command.child_id)
        self.new_executions.append(
            {
                **execution_values(
                    found,
                    id=command.child_id,
                    project_id=parent.project_id,
                    input=command.input,
                    params=command.params,
                    description="sub-workflow execution",
                    context_id=context_id,
                    now=self.now,
                    check_at=self.check_execution_at,
                ),
                "workflow_namespace": found.namespace,
                "task_execution_id": command.task_id,
                "parent_execution_id": parent.id,
                "root_execution_id": parent.root_id or parent.id,
                "item_index": command.index,
                "attempt": command.attempt,
                "depth": parent.depth + 1,
            }
        )
        if context_id is not None:
            self.new_contexts.append(
                variables_values(context_id, command.child_id, command.variables)
            )
        self.messages.append(event_message(command.child_id, events.ExecutionStarted()))

    def _take_send_event(self, command: c.SendEvent, outcome: Outcome) -> None:
        self.messages.append(event_message(command.execution_id, command.event))

    def _take_record(self, command: c.Record, outcome: Outcome) -> None:
        execution = outcome.execution
        task = execution.tasks[command.task_id] if command.task_id else None
        self.log.append(
            LogEntry(
                execution_id=execution.id,
                root_execution_id=execution.root_id or execution.id,
                project_id=execution.project_id,
                number=command.number,
                event=command.event,
                data=_payload(command, execution, task),
                created_at=command.at,
                publishers=event_log.publishers_of(execution.params, self.everywhere),
            )
        )

    # --- writing ------------------------------------------------------------------------

    def flush(self, *, last: bool) -> None:
        """Write everything gathered; rows that others refer to come first."""
        writes = self._writes()
        if last and not (self.later or self.new_timers):
            outbox.write_last(self.session, writes)
        else:
            write_rows(self.session, writes)
        timers.cancel(
            self.session,
            task_ids=self.timers_of_tasks,
            execution_ids=self.timers_of_executions,
        )
        of_tasks = chain.from_iterable(each.values() for each in self.new_timers.values())
        timers.add(self.session, chain.from_iterable(of_tasks))
        for outcome, command in self.later:
            self._carry_out(command, outcome)
        outbox.add(self.session, self.messages)

    def _writes(self) -> list[Write]:
        writes = [
            Write("insert", table, rows)
            for table, rows in (
                (_executions, self.new_executions),
                (_contexts, self.new_contexts),
                (_tasks, self.new_tasks),
                (_actions, self.new_actions),
            )
        ]
        for table, changes in ((_tasks, self.changed_tasks), (_actions, self.changed_actions)):
            if changes:
                writes.append(Write("update", table, changes))
        for group in self.changed_executions.values():
            writes.append(Write("update", _executions, group))
        writes.extend(self.conditional)
        writes.append(journal.insertion(self.journal))
        writes.extend(event_log.append(self.session, self.log))
        return [each for each in writes if each.rows]

    def _carry_out(self, command: c.Command, outcome: Outcome) -> None:
        _CARRIED_OUT[type(command)](self, command, outcome)

    def _do_tell_children(self, command: c.TellChildren, outcome: Outcome) -> None:
        if not any(task.workflow is not None for task in outcome.spec.tasks.values()):
            return
        query = select(E.id).where(
            E.parent_execution_id == outcome.execution.id, E.state.not_in(_TERMINAL)
        )
        if command.task_id is not None:
            query = query.where(E.task_execution_id == command.task_id)
        for child_id in self.session.scalars(query):
            self.messages.append(event_message(child_id, command.event))

    def _do_stop_actions(self, command: c.StopActions, outcome: Outcome) -> None:
        condition = (
            A.workflow_execution_id == outcome.execution.id
            if command.task_id is None
            else A.task_execution_id == command.task_id
        )
        query = select(A.id, A.name, A.dispatched, A.dispatch).where(
            condition, A.state.in_(["RUNNING", "PAUSED"])
        )
        if command.before is not None:
            query = query.where(A.attempt < command.before)
        running = self.session.execute(query).all()
        if not running:
            return
        self.session.execute(
            update(_actions)
            .where(A.id.in_([row.id for row in running]))
            .values(
                state="CANCELLED",
                state_info=command.reason,
                output={"result": None},
                updated_at=self.now,
                check_at=None,
            )
        )
        self.stopped.extend(
            # An ad-hoc action is stopped as what really runs.
            (row.id, (row.dispatch or {}).get("base", row.name))
            for row in running
            if row.dispatched
        )

    def _do_accept_actions(self, command: c.AcceptActions, outcome: Outcome) -> None:
        statement = update(_actions).where(
            A.task_execution_id == command.task_id,
            A.accepted.is_(not command.accepted),
            A.attempt < command.before,
        )
        if command.indexes is not None:
            statement = statement.where(A.item_index.in_(command.indexes))
        self.session.execute(statement.values(accepted=command.accepted))

    def _do_accept_child(self, command: c.AcceptChild, outcome: Outcome) -> None:
        self.session.execute(
            update(_executions).where(E.id == command.child_id).values(accepted=command.accepted)
        )

    def _do_forget_results(self, command: c.ForgetResults, outcome: Outcome) -> None:
        self.session.execute(
            update(_actions)
            .where(A.task_execution_id == command.task_id, A.accepted.is_(True))
            .values(output={})
        )


#: What becomes rows together with all else of the transaction.
_TAKEN: Mapping[type[c.Command], Callable[[_Writer, Any, Outcome], None]] = {
    c.RunAction: _Writer._take_run_action,
    c.SetTimer: _Writer._take_set_timer,
    c.CancelTimers: _Writer._take_cancel_timers,
    c.StartWorkflow: _Writer._take_start_workflow,
    c.SendEvent: _Writer._take_send_event,
    c.Record: _Writer._take_record,
}
#: What reads rows or sends something, when those are written.
_CARRIED_OUT: Mapping[type[c.Command], Callable[[_Writer, Any, Outcome], None]] = {
    c.TellChildren: _Writer._do_tell_children,
    c.StopActions: _Writer._do_stop_actions,
    c.AcceptActions: _Writer._do_accept_actions,
    c.AcceptChild: _Writer._do_accept_child,
    c.ForgetResults: _Writer._do_forget_results,
}


def _has_timers(outcome: Outcome, task_id: str | None) -> bool:
    """False when no policy of the workflow (or task) can have set a timer."""
    if task_id is not None:
        task = outcome.execution.tasks.get(task_id)
        specs = [outcome.spec.tasks[task.name]] if task is not None else []
    else:
        specs = list(outcome.spec.tasks.values())
    return any(
        p.wait_before or p.wait_after or p.timeout or p.retry
        for p in (spec.policies for spec in specs)
    )


def first_context_id(execution_id: str) -> str:
    """The id of the context that vars make: the execution's own, which no other context has."""
    return execution_id


def variables_values(
    context_id: str, execution_id: str, variables: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of the context that vars made."""
    return {
        "id": context_id,
        "workflow_execution_id": execution_id,
        "parent_id": None,
        "data": dict(variables),
        "versions": {},
    }


def execution_values(
    found: Any,
    *,
    id: str,
    project_id: str,
    input: Mapping[str, Any],
    params: Mapping[str, Any],
    description: str | None,
    context_id: str | None,
    now: datetime,
    check_at: datetime,
) -> dict[str, Any]:
    """All columns of a new execution of the definition *found*."""
    return {
        "id": id,
        "project_id": project_id,
        "scope": "private",
        "workflow_id": found.id,
        "workflow_name": found.name,
        "workflow_namespace": found.namespace,
        "workbook_name": found.workbook,
        "spec_id": found.spec_id,
        "description": description,
        "tags": list(found.tags),
        "state": "RUNNING",
        "state_info": None,
        "input": dict(input),
        "params": dict(params),
        "output": {},
        "task_execution_id": None,
        "parent_execution_id": None,
        "root_execution_id": None,
        "item_index": 0,
        "attempt": 0,
        "depth": 0,
        "accepted": False,
        "context_id": context_id,
        "revision": 0,
        "conductor": {},
        "check_at": check_at,
        "created_at": now,
        "updated_at": now,
        "started_at": now,
        "finished_at": None,
    }


def action_message(
    execution: Execution, tasks: Mapping[str, Task], command: c.RunAction
) -> Message:
    """The message that has an executor run an action."""
    task = tasks[command.task_id]
    return request_message(
        {
            "id": command.action_id,
            "execution_id": execution.id,
            "task_id": command.task_id,
            "attempt": 1,
            "action": command.base,
            "input": dict(command.base_input),
            "context": {
                "workflow_name": execution.name,
                "workflow_execution_id": execution.id,
                "task_name": task.name,
                "task_execution_id": task.id,
                "action_execution_id": command.action_id,
                "callback_url": f"/v2/action_executions/{command.action_id}",
                "project_id": execution.project_id,
                "with_items_index": command.index if task.items is not None else None,
            },
            "timeout": command.timeout,
            "safe_rerun": command.safe_rerun,
            "asynchronous": command.asynchronous,
            "sync_reply": False,
        },
        target=command.target,
    )


def request_message(request: dict[str, Any], *, target: str | None) -> Message:
    """The message that carries *request* to whoever runs the action."""
    if request["action"].startswith(CELERY_PREFIX):
        return foreign.message_for(request)
    attempt = request["attempt"]
    return Message(
        task=ACTION_RUN,
        queue=action_queue(target),
        args=[request],
        id=request["id"] if attempt == 1 else f"{request['id']}:{attempt}",
    )


@dataclass(slots=True)
class _Facts:
    """What a payload of the event log tells, by attribute."""

    id: str
    name: str
    workflow_name: str
    workflow_namespace: str
    workflow_id: str
    workflow_execution_id: str
    state: str
    state_info: str | None
    project_id: str
    created_at: datetime
    updated_at: datetime | None
    task_execution_id: str | None = None
    root_execution_id: str | None = None
    type: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


def _payload(command: c.Record, execution: Execution, task: Task | None) -> dict[str, Any]:
    facts = _Facts(
        id=task.id if task else execution.id,
        name=task.name if task else execution.name,
        workflow_name=execution.name,
        workflow_namespace=execution.namespace,
        workflow_id=execution.workflow_id,
        workflow_execution_id=execution.id,
        state=command.state,
        state_info=command.state_info,
        project_id=execution.project_id,
        created_at=task.created_at if task else execution.created_at,
        updated_at=command.at,
    )
    if task is None:
        facts.task_execution_id = execution.parent_task_id
        facts.root_execution_id = execution.root_id
        return event_log.payload_of_execution(facts, event=command.event)
    facts.type = task.type
    facts.started_at, facts.finished_at = task.started_at, task.finished_at
    return event_log.payload_of_task(facts, event=command.event)
