"""An execution decided on once more, from a recording of what happened to it.

The conductor is deterministic: the same events, in the same batches, at the same times, lead to the
same decisions. So a recording from an installation shows its fault anywhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from . import commands as c
from . import events as e
from .conductor import advance
from .data_flow import Context
from .execution import Action, ActionInfo, Child, Execution, FoundWorkflow, Task
from .language.specs import ActionSpec, WorkflowSpec
from .states import State
from .working_copy import Changes, Limits


class Definitions(Protocol):
    """Where names lead that a decision asks for."""

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None: ...
    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One transaction: batches of events, applied one after the other."""

    revision: int
    now: datetime
    rounds: Sequence[Sequence[e.Event]]
    #: What the decision came to when it was made.
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one step led to this time."""

    step: Step
    execution: Execution
    commands: Sequence[c.Command]
    fingerprint: str

    @property
    def same(self) -> bool:
        """True when it led to what it had led to before."""
        return self.fingerprint == self.step.fingerprint


@cache
def _told_of(kind: Any) -> tuple[str | None, ...]:
    """The attributes of commands of a *kind* that a fingerprint tells; None for what they lack."""
    names = ("action_id", "child_id", "task_id", "execution_id", "event", "state")
    has = {each.name for each in fields(kind)}
    return tuple(name if name in has else None for name in names)


def fingerprint(execution: Execution, commands: Iterable[c.Command]) -> str:
    """A short text that is the same for the same decision."""
    counts = execution.counts
    said = [
        execution.state, execution.serial, execution.sequence, execution.log_number,
        counts.incomplete, counts.waiting, counts.paused, counts.unhandled, counts.held,
    ]  # fmt: skip
    for command in commands:
        kind: Any = type(command)
        said.append(kind.__name__)
        for name in _told_of(kind):
            value = getattr(command, name) if name else None
            said.append(value if isinstance(value, str) else type(value).__name__)
    return hashlib.blake2b("\n".join(map(str, said)).encode(), digest_size=8).hexdigest()


class Replay:
    """An execution in memory, which the steps of a recording advance."""

    def __init__(
        self,
        spec: WorkflowSpec,
        execution: Execution,
        *,
        input: Mapping[str, Any],
        environment: Mapping[str, Any],
        variables: Mapping[str, Any] | None,
        definitions: Definitions,
        limits: Limits,
    ) -> None:
        self.spec = spec
        self.execution = execution
        self._input = input
        self._environment = environment
        self._definitions = definitions
        self._limits = limits
        self._tasks: dict[str, Task] = {}
        self._actions: dict[str, Action] = {}
        self._contexts: dict[str, Context] = {}
        self._children: dict[str, Child] = {}
        if variables and execution.context_id:
            first = Context(id=execution.context_id, parent=None, data=variables)
            self._contexts[first.id] = first

    def play(self, steps: Iterable[Step]) -> Iterator[Outcome]:
        """Each step with what it leads to."""
        for step in steps:
            yield self._step(step)

    def _step(self, step: Step) -> Outcome:
        execution, changes = self.execution, Changes()
        made: list[c.Command] = []
        for events in step.rounds:
            for event in events:
                self._hear(event)
            decision = advance(
                self.spec, execution, events, now=step.now, lookup=self, limits=self._limits
            )
            execution = decision.execution
            changes.update(decision.changes)
            made.extend(decision.commands)
        told = fingerprint(execution, made)
        self._store(execution, changes)
        for command in made:
            self._carry_out(command)
        return Outcome(step=step, execution=execution, commands=made, fingerprint=told)

    def _hear(self, event: e.Event) -> None:
        """Take the state of sub-workflows from what they tell."""
        child_id = getattr(event, "child_id", None)
        child = self._children.get(child_id) if child_id else None
        if child is None:
            return
        if isinstance(event, e.ChildCompleted):
            child = replace(child, state=event.state, output=event.output)
        elif isinstance(event, e.ChildPaused):
            child = replace(child, state=State.PAUSED)
        elif isinstance(event, e.ChildResumed) and not child.state.terminal:
            child = replace(child, state=State.RUNNING)
        self._children[child.id] = child

    def _store(self, execution: Execution, changes: Changes) -> None:
        for task_id in sorted(changes.tasks, key=lambda i: execution.tasks[i].number):
            self._tasks[task_id] = replace(execution.tasks[task_id], new=False)
        for action_id in changes.actions:
            self._actions[action_id] = replace(execution.actions[action_id], new=False)
        for context_id in changes.contexts:
            self._contexts[context_id] = execution.contexts[context_id]
        self.execution = replace(execution, tasks={}, actions={}, contexts={}, accepted_children={})

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.StartWorkflow():
                self._children[command.child_id] = Child(
                    id=command.child_id,
                    task_id=command.task_id,
                    index=command.index,
                    attempt=command.attempt,
                    state=State.RUNNING,
                    accepted=False,
                    output=None,
                    state_info=None,
                )
            case c.AcceptChild():
                child = self._children[command.child_id]
                self._children[child.id] = replace(child, accepted=command.accepted)
            case c.StopActions():
                for action in self._actions_before(command.task_id, command.before):
                    if not action.state.terminal:
                        self._actions[action.id] = replace(action, state=State.CANCELLED)
            case c.AcceptActions():
                for action in self._actions_before(command.task_id, command.before):
                    if command.indexes is None or action.index in command.indexes:
                        self._actions[action.id] = replace(action, accepted=command.accepted)
            case c.ForgetResults():
                for action in self.actions(command.task_id):
                    self._actions[action.id] = replace(action, result=None)

    def _actions_before(self, task_id: str | None, attempt: int | None) -> list[Action]:
        found = list(self._actions.values()) if task_id is None else self.actions(task_id)
        return [a for a in found if attempt is None or a.attempt < attempt]

    # --- what the conductor asks ----------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        return self._tasks.get(task_id)

    def join(self, name: str) -> Task | None:
        return next((t for t in self._tasks.values() if t.unique and t.name == name), None)

    def tasks_named(self, names: Iterable[str]) -> list[Task]:
        wanted = set(names)
        return [task for task in self._tasks.values() if task.name in wanted]

    def all_tasks(self) -> list[Task]:
        return list(self._tasks.values())

    open_tasks = leaf_tasks = all_tasks

    def action(self, action_id: str) -> Action | None:
        return self._actions.get(action_id)

    def actions(self, task_id: str) -> list[Action]:
        return [action for action in self._actions.values() if action.task_id == task_id]

    def children(self, task_id: str) -> list[Child]:
        return [child for child in self._children.values() if child.task_id == task_id]

    def child(self, child_id: str) -> Child | None:
        return self._children.get(child_id)

    def context(self, context_id: str) -> Context:
        return self._contexts[context_id]

    def environment(self) -> Mapping[str, Any]:
        return self._environment

    def input(self) -> Mapping[str, Any]:
        return self._input

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        return self._definitions.find_action(name, namespace=namespace, workbook=workbook)

    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        return self._definitions.find_workflow(name, namespace=namespace, workbook=workbook)

    def executions(self, *args: Any, **criteria: Any) -> list[Mapping[str, Any]]:
        """Nothing: other executions are not part of a recording."""
        return []

    task_views = executions
