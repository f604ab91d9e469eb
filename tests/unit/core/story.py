"""Executions played in memory: the conductor with dictionaries in the place of the database.

A story starts a workflow, runs its inline actions as the engine would, and lets a test complete
the other actions, fire timers and make requests in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from app.core import commands as c
from app.core import events as e
from app.core.conductor import advance
from app.core.data_flow import Context
from app.core.errors import InvalidInput
from app.core.evaluation import collect
from app.core.execution import (
    Action,
    ActionInfo,
    Child,
    Execution,
    FoundWorkflow,
    Task,
)
from app.core.language.loading import load_action, load_workflow, stored_action, stored_workflow
from app.core.language.specs import ActionSpec, WorkflowSpec
from app.core.starting import Surroundings, prepare
from app.core.states import State
from app.core.working_copy import Changes, Limits

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Plain:
    """An action whose results the test decides; names starting with ``std.`` run at once."""

    name: str
    asynchronous: bool = False

    def check_input(self, input: Mapping[str, Any]) -> None:
        if self.name == "std.echo" and "output" not in input:
            raise InvalidInput(self.name, "EchoAction", missing=["output"])

    def may_run_inline(self, input: Mapping[str, Any]) -> bool:
        return self.name in ("std.echo", "std.noop", "std.fail")


class World:
    """All executions of a test, and the definitions they find."""

    def __init__(self, text: str) -> None:
        self.workflows: dict[str, WorkflowSpec] = {}
        self.actions: dict[str, ActionSpec] = {}
        self.runs: dict[str, Run] = {}
        self.now = START
        self.limits = Limits()
        for name, written in yaml.safe_load(text).items():
            if "base" in written:
                self.actions[name] = load_action(stored_action(name, written))
            else:
                self.workflows[name] = load_workflow(stored_workflow(name, written))

    def send(self, execution_id: str, event: e.Event) -> None:
        """Have an execution advanced by *event*; here at once."""
        self.runs[execution_id].apply(event)

    def dispatch(self, run: Run, command: c.RunAction) -> None:
        """Have an executor run an action; here the test completes it."""

    def found(self, name: str) -> FoundWorkflow | None:
        spec = self.workflows.get(name)
        return spec and FoundWorkflow(
            id=name, name=name, namespace="", workbook=None, spec=spec, spec_id=name
        )


class Run:
    """One execution in memory; it answers the conductor's questions about itself."""

    def __init__(self, world: World, execution: Execution, spec: WorkflowSpec, input: Any) -> None:
        self.world = world
        self.spec = spec
        self.execution = execution
        self.given = input
        self.tasks: dict[str, Task] = {}
        self.all_actions: dict[str, Action] = {}
        self.all_contexts: dict[str, Context] = {}
        self.accepted: dict[str, bool] = {}
        self.attempt = 0
        self.commands: list[c.Command] = []
        self.timers: list[c.SetTimer] = []

    # --- Lookup -------------------------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    def join(self, name: str) -> Task | None:
        return next((t for t in self.tasks.values() if t.unique and t.name == name), None)

    def tasks_named(self, names: Iterable[str]) -> list[Task]:
        wanted = set(names)
        return [t for t in self.tasks.values() if t.name in wanted]

    def all_tasks(self) -> list[Task]:
        return list(self.tasks.values())

    # As a database answers them: by what is stored, not by what has just been decided.
    def open_tasks(self) -> list[Task]:
        return [t for t in self.tasks.values() if not t.state.terminal or t.held]

    def leaf_tasks(self) -> list[Task]:
        return [t for t in self.tasks.values() if t.state.terminal and not t.has_next_tasks]

    def action(self, action_id: str) -> Action | None:
        return self.all_actions.get(action_id)

    def actions(self, task_id: str) -> list[Action]:
        return [a for a in self.all_actions.values() if a.task_id == task_id]

    def child(self, child_id: str) -> Child | None:
        run = self.world.runs.get(child_id)
        return run and run.as_child()

    def children(self, task_id: str) -> list[Child]:
        runs = self.world.runs.values()
        return [r.as_child() for r in runs if r.execution.parent_task_id == task_id]

    def as_child(self) -> Child:
        execution = self.execution
        parent = self.world.runs[execution.parent_execution_id or ""]
        return Child(
            id=execution.id,
            task_id=execution.parent_task_id or "",
            index=execution.index,
            attempt=self.attempt,
            state=execution.state,
            accepted=parent.accepted.get(execution.id, False),
            output=execution.output,
            state_info=execution.state_info,
        )

    def context(self, context_id: str) -> Context:
        return self.all_contexts[context_id]

    def environment(self) -> Mapping[str, Any]:
        root = self.world.runs[self.execution.root_id or self.execution.id]
        return root.execution.params.get("env", {})

    def input(self) -> Mapping[str, Any]:
        return self.given

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        if name in self.world.actions:
            return self.world.actions[name]
        if name.startswith(("std.", "my.")):
            return Plain(name, asynchronous=name == "std.async_noop")
        return None

    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        return self.world.found(name)

    def executions(self, *args: Any, **criteria: Any) -> list[Mapping[str, Any]]:
        return []

    def task_views(self, *args: Any, **criteria: Any) -> list[Mapping[str, Any]]:
        return []

    # --- applying events ----------------------------------------------------------------

    def apply(self, *found: e.Event) -> None:
        """Apply events as one batch, with the inline actions that follow."""
        self._store(*self.decide(*found))

    def decide(self, *found: e.Event) -> tuple[Execution, Changes, list[c.Command]]:
        """What a batch of events leads to; nothing of it is kept."""
        execution = self.execution
        changes = Changes()
        made: list[c.Command] = []
        pending: list[e.Event] = list(found)
        while pending:
            decision = advance(
                self.spec,
                execution,
                pending,
                now=self.world.now,
                lookup=self,
                limits=self.world.limits,
            )
            execution = decision.execution
            changes.update(decision.changes)
            made.extend(decision.commands)
            pending = [
                _run_inline(each)
                for each in decision.commands
                if isinstance(each, c.RunAction) and each.inline
            ]
        return execution, changes, made

    def _store(self, execution: Execution, changes: Changes, made: list[c.Command]) -> None:
        for task_id in sorted(changes.tasks, key=lambda i: execution.tasks[i].number):
            self.tasks[task_id] = replace(execution.tasks[task_id], new=False)
        for action_id in changes.actions:
            self.all_actions[action_id] = replace(execution.actions[action_id], new=False)
        for context_id in changes.contexts:
            self.all_contexts[context_id] = execution.contexts[context_id]
        self.execution = replace(execution, tasks={}, actions={}, contexts={}, accepted_children={})
        self.commands.extend(made)
        for command in made:
            self._carry_out(command)

    def _carry_out(self, command: c.Command) -> None:
        world = self.world
        if isinstance(command, c.StartWorkflow):
            begin(
                world,
                command.definition,
                id=command.child_id,
                input=command.input,
                params=command.params,
                variables=command.variables,
                parent=(self, command),
            )
        elif isinstance(command, c.RunAction):
            if not command.inline:
                world.dispatch(self, command)
        elif isinstance(command, c.SendEvent):
            world.send(command.execution_id, command.event)
        elif isinstance(command, c.TellChildren):
            for run in list(world.runs.values()):
                mine = run.execution.parent_execution_id == self.execution.id
                if mine and not run.execution.state.terminal:
                    world.send(run.execution.id, command.event)
        elif isinstance(command, c.SetTimer):
            self.timers.append(command)
        elif isinstance(command, c.CancelTimers):
            self.timers = [
                t for t in self.timers if command.task_id and t.task_id != command.task_id
            ]
        elif isinstance(command, c.AcceptChild):
            self.accepted[command.child_id] = command.accepted
        elif isinstance(command, c.StopActions | c.AcceptActions | c.ForgetResults):
            before = None if isinstance(command, c.ForgetResults) else command.before
            for action in self.actions(command.task_id or ""):
                if before is not None and action.attempt >= before:
                    continue
                if isinstance(command, c.StopActions) and not action.state.terminal:
                    self.all_actions[action.id] = replace(action, state=State.CANCELLED)
                elif isinstance(command, c.AcceptActions) and (
                    command.indexes is None or action.index in command.indexes
                ):
                    self.all_actions[action.id] = replace(action, accepted=command.accepted)
                elif isinstance(command, c.ForgetResults):
                    self.all_actions[action.id] = replace(action, result=None)

    # --- for tests ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        return str(self.execution.state)

    @property
    def output(self) -> Any:
        return self.execution.output

    def named(self, name: str) -> Task:
        """The latest task of this name."""
        return [t for t in self.tasks.values() if t.name == name][-1]

    def states(self) -> dict[str, str]:
        """The state of the latest task of each name."""
        return {t.name: str(t.state) for t in self.tasks.values()}

    def count(self, name: str) -> int:
        return sum(t.name == name for t in self.tasks.values())

    def running(self, name: str) -> list[Action]:
        """Unfinished actions of the tasks of this name."""
        found = [
            a
            for a in self.all_actions.values()
            if self.tasks[a.task_id].name == name and not a.state.terminal
        ]
        return sorted(found, key=lambda action: action.number)

    def complete(self, name: str, result: Any = None, *, state: str = "SUCCESS") -> None:
        """Complete the oldest unfinished action of a task."""
        action = self.running(name)[0]
        self.apply(e.ActionCompleted(action_id=action.id, state=State(state), result=result))

    def fail(self, name: str, error: Any = "broken") -> None:
        self.complete(name, error, state="ERROR")

    def fire(self) -> None:
        """Let time pass until the next timer, and apply its event."""
        timer = min(self.timers, key=lambda t: t.at)
        self.timers.remove(timer)
        self.world.now = max(self.world.now, timer.at)
        self.apply(timer.event)

    def children_of(self, name: str) -> list[Run]:
        ids = {t.id for t in self.tasks.values() if t.name == name}
        return [r for r in self.world.runs.values() if r.execution.parent_task_id in ids]

    def result(self, name: str) -> Any:
        task = self.named(name)
        accepted = [a for a in self.actions(task.id) if a.accepted]
        accepted.sort(key=lambda a: a.index)
        return collect([a.result for a in accepted], bool(self.spec.tasks[name].with_items))


def _run_inline(command: c.RunAction) -> e.ActionCompleted:
    given = command.base_input
    if command.base == "std.fail":
        error = given.get("error_data") or "Fail action expected exception."
        return e.ActionCompleted(action_id=command.action_id, state=State.ERROR, result=error)
    return e.ActionCompleted(
        action_id=command.action_id, state=State.SUCCESS, result=given.get("output")
    )


def begin(
    world: World,
    definition: FoundWorkflow,
    *,
    id: str,
    input: Mapping[str, Any],
    params: Mapping[str, Any],
    variables: Mapping[str, Any],
    parent: tuple[Run, c.StartWorkflow] | None = None,
) -> Run:
    execution = Execution(
        id=id,
        state=State.RUNNING,
        name=definition.name,
        created_at=world.now,
        params=dict(params),
        workflow_id=definition.id,
        context_id=id if variables else None,
    )
    if parent is not None:
        above, command = parent
        execution.parent_execution_id = above.execution.id
        execution.parent_task_id = command.task_id
        execution.root_id = above.execution.root_id or above.execution.id
        execution.index = command.index
        execution.depth = above.execution.depth + 1
    run = Run(world, execution, definition.spec, input)
    if parent is not None:
        run.attempt = parent[1].attempt
    if variables:
        run.all_contexts[id] = Context(id=id, parent=None, data=variables)
    world.runs[id] = run
    world.send(id, e.ExecutionStarted())
    return run


def play(
    text: str,
    *,
    workflow: str = "w",
    input: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Run:
    """Start *workflow* of the definitions in *text*; ``version`` is not needed."""
    return start(World(text), workflow=workflow, input=input, params=params)


def start(
    world: World,
    *,
    workflow: str = "w",
    input: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Run:
    """Start *workflow* in *world*, under the id ``root``."""
    definition = world.found(workflow)
    assert definition is not None, f"no workflow {workflow}"
    prepared = prepare(
        definition,
        input=input or {},
        params=params or {},
        surroundings=Surroundings(execution_id="root", now=world.now, new_uuid=lambda: "uuid"),
        limits=world.limits,
    )
    return begin(
        world,
        definition,
        id="root",
        input=prepared.input,
        params=prepared.params,
        variables=prepared.variables,
    )


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
