"""The private copy of an execution that one call of ``advance`` works on.

It finds tasks and actions (its own changes first, then what is stored), hands out ids, keeps the
counters right and gathers commands. It decides nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .commands import AcceptChild, Command, Record
from .data_flow import Context
from .execution import Action, Child, Counts, Execution, Lookup, Task, copy_of
from .language.specs import TaskSpec, WorkflowSpec
from .states import (
    ACTION_TRANSITIONS,
    EXECUTION_TRANSITIONS,
    TASK_TRANSITIONS,
    State,
    transition,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that a decision obeys."""

    #: Largest input, output, params or published value in KiB; -1: none.
    field_size_kb: int = 1024
    #: Deepest nesting of sub-workflows.
    depth: int = 100
    #: Most items of one with-items task.
    items: int = 100_000


@dataclass(slots=True)
class Changes:
    """Names of what a decision changed."""

    tasks: set[str] = field(default_factory=set)
    actions: set[str] = field(default_factory=set)
    contexts: set[str] = field(default_factory=set)

    def update(self, other: Changes) -> None:
        self.tasks |= other.tasks
        self.actions |= other.actions
        self.contexts |= other.contexts


@dataclass(frozen=True, slots=True)
class Completion:
    """A task is about to be completed."""

    task_id: str
    state: State
    info: str | None = None
    #: It had been put off, or nobody's action caused it.
    late: bool = False


_EVENTS_OF_EXECUTION = {
    State.PAUSED: "WORKFLOW_PAUSED",
    State.SUCCESS: "WORKFLOW_SUCCEEDED",
    State.ERROR: "WORKFLOW_FAILED",
    State.CANCELLED: "WORKFLOW_CANCELLED",
}
_EVENTS_OF_TASK = {
    State.PAUSED: "TASK_PAUSED",
    State.SUCCESS: "TASK_SUCCEEDED",
    State.ERROR: "TASK_FAILED",
    State.CANCELLED: "TASK_CANCELLED",
    State.SKIPPED: "TASK_SKIPPED",
}


class WorkingCopy:
    """An execution in the hands of one decision."""

    def __init__(
        self,
        spec: WorkflowSpec,
        execution: Execution,
        *,
        now: datetime,
        lookup: Lookup,
        limits: Limits,
    ) -> None:
        self.spec = spec
        self.execution = own = copy_of(execution)
        own.counts = copy_of(own.counts)
        own.params = dict(own.params)
        own.backlog = list(own.backlog)
        own.tasks = dict(own.tasks)
        own.actions = dict(own.actions)
        own.contexts = dict(own.contexts)
        own.accepted_children = dict(own.accepted_children)
        self.now = now
        self.lookup = lookup
        self.limits = limits
        self.commands: list[Command] = []
        self.changes = Changes()
        self.to_start: deque[str] = deque()
        self.to_complete: deque[Completion] = deque()
        #: Tallies of changed tasks as the counts of the execution know them.
        self._tallies: dict[str, Counts] = {}
        #: Tasks that may have changed since the counts were last settled.
        self._uncounted: set[str] = set()
        self._own_actions: set[str] = set()
        self._fresh_contexts: set[str] = set()
        self._seed = _seed_of(execution.id)
        self._new_names: dict[str, list[str]] = {}
        self._actions_of: dict[str, list[str]] = {}
        for task in self.execution.tasks.values():
            if task.new:
                self._new_names.setdefault(task.name, []).append(task.id)
        for action in self.execution.actions.values():
            self._actions_of.setdefault(action.task_id, []).append(action.id)

    # --- ids, commands, records ---------------------------------------------------------

    def new_id(self) -> str:
        """The next id: it derives from the execution's, so that a replay gives the same."""
        self.execution.serial += 1
        text = hashlib.sha256(self._seed + b"%d" % self.execution.serial).hexdigest()
        # What uuid.UUID makes of the first 16 bytes with version=5; there are many of these.
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"

    def command(self, command: Command) -> None:
        self.commands.append(command)

    def record(self, event: str | None, task: Task | None = None) -> None:
        """Note in the event log that something happened to *task*, or to the execution."""
        self.execution.log_number += 1
        subject = task or self.execution
        self.command(
            Record(
                number=self.execution.log_number,
                event=event,
                task_id=task.id if task else None,
                state=subject.state,
                state_info=subject.state_info,
                at=self.now,
            )
        )

    # --- tasks --------------------------------------------------------------------------

    def task_spec(self, task: Task) -> TaskSpec:
        return self.spec.tasks[task.name]

    def find_task(self, task_id: str) -> Task | None:
        found = self.execution.tasks.get(task_id)
        if found is None:
            found = self.lookup.task(task_id)
            if found is not None:
                self.execution.tasks[task_id] = found
        return found

    def edit(self, task_id: str) -> Task:
        """The task, to be changed. Ask anew for each event: the counts follow such calls."""
        task = self.find_task(task_id)
        if task is None:
            raise KeyError(f"no task {task_id} in execution {self.execution.id}")
        if task_id not in self._tallies:
            self._tallies[task_id] = task.tally()
            task = copy_of(task)
            if task.items:
                task.items = copy_of(task.items)
                task.items.again = list(task.items.again)
            if task.join:
                task.join = copy_of(task.join)
            self.execution.tasks[task_id] = task
        self._uncounted.add(task_id)
        if task_id not in self.changes.tasks:
            self.changes.tasks.add(task_id)
            task.updated_at = self.now
        return task

    def add_task(self, name: str, *, unique: bool, state: State = State.IDLE) -> Task:
        """A new task of this name."""
        task_id = self.new_id()
        spec = self.spec.tasks[name]
        task = Task(
            id=task_id,
            name=name,
            type="WORKFLOW" if spec.workflow is not None else "ACTION",
            number=self.execution.serial,
            state=state,
            created_at=self.now,
            unique=unique,
        )
        self.execution.tasks[task_id] = task
        self._tallies[task_id] = Counts()
        self._uncounted.add(task_id)
        self.changes.tasks.add(task_id)
        self._new_names.setdefault(name, []).append(task_id)
        return task

    def set_state(self, task: Task, state: State, info: str | None = None) -> None:
        """Bring *task* (one that ``edit`` or ``add_task`` gave) into *state*."""
        task.state = transition(TASK_TRANSITIONS, task.state, state)
        task.state_info = info[:65500] if info else info
        task.updated_at = self.now
        if state.terminal:
            task.finished_at = self.now

    def record_task(self, task: Task) -> None:
        """Note the state that *task* has just entered."""
        self.record(_EVENTS_OF_TASK.get(task.state), task)

    def tasks_named(self, names: Iterable[str]) -> list[Task]:
        """Tasks of these names in order of creation, changes included."""
        wanted = tuple(dict.fromkeys(names))
        found = self._overlay(self.lookup.tasks_named(wanted))
        for name in wanted:
            found.extend(self.execution.tasks[i] for i in self._new_names.get(name, ()))
        return sorted(found, key=lambda task: task.number)

    def latest(self, names: Iterable[str]) -> dict[str, Task]:
        """For each name the task created last, if there is one."""
        return {task.name: task for task in self.tasks_named(names)}

    def all_tasks(self) -> list[Task]:
        return self._as_it_is(self.lookup.all_tasks())

    def open_tasks(self) -> list[Task]:
        """Tasks that are not completed, and those held by a pause."""
        found = self._as_it_is(self.lookup.open_tasks())
        return [task for task in found if not task.state.terminal or task.held]

    def leaf_tasks(self) -> list[Task]:
        """Completed tasks without next tasks."""
        found = self._as_it_is(self.lookup.leaf_tasks())
        return [task for task in found if task.state.terminal and not task.has_next_tasks]

    def find_unique(self, name: str) -> Task | None:
        """The task of a join, or of a reverse workflow's task."""
        for task_id in self._new_names.get(name, ()):
            return self.execution.tasks[task_id]
        for task in self.execution.tasks.values():
            if task.unique and task.name == name:
                return task
        found = self.lookup.join(name)
        if found is not None:
            found = self.execution.tasks.setdefault(found.id, found)
        return found

    def _overlay(self, stored: Iterable[Task]) -> list[Task]:
        return [self.execution.tasks.setdefault(task.id, task) for task in stored]

    def _as_it_is(self, stored: Iterable[Task]) -> list[Task]:
        """Stored tasks of a kind, and all that may have become of it since, here or before."""
        self._overlay(stored)
        return sorted(self.execution.tasks.values(), key=lambda task: task.number)

    # --- actions and sub-workflows ------------------------------------------------------

    def find_action(self, action_id: str) -> Action | None:
        found = self.execution.actions.get(action_id)
        if found is None:
            found = self.lookup.action(action_id)
            if found is not None:
                self.execution.actions[action_id] = found
                self._actions_of.setdefault(found.task_id, []).append(action_id)
        return found

    def edit_action(self, action: Action) -> Action:
        if action.id not in self._own_actions:
            self._own_actions.add(action.id)
            action = copy_of(action)
            self.execution.actions[action.id] = action
        self.changes.actions.add(action.id)
        return self.execution.actions[action.id]

    def add_action(self, action: Action) -> None:
        self.execution.actions[action.id] = action
        self._own_actions.add(action.id)
        self.changes.actions.add(action.id)
        self._actions_of.setdefault(action.task_id, []).append(action.id)

    def set_action_state(self, action: Action, state: State) -> None:
        action.state = transition(ACTION_TRANSITIONS, action.state, state)

    def actions(self, task_id: str) -> list[Action]:
        """Runs for a task in order of creation, changes included."""
        task = self.find_task(task_id)
        known = [self.execution.actions[i] for i in self._actions_of.get(task_id, ())]
        if task is None or task.new:
            return known
        if known and task.items is None and task.attempt == 1:
            return known  # The first run of an ordinary task has one action, and this is it.
        found = {a.id: self.execution.actions.get(a.id, a) for a in self.lookup.actions(task_id)}
        found.update((action.id, action) for action in known)
        return sorted(found.values(), key=lambda action: action.number)

    def children(self, task_id: str) -> list[Child]:
        """Sub-workflows of a task in order of creation, changes included."""
        task = self.find_task(task_id)
        stored = [] if task is None or task.new else self.lookup.children(task_id)
        return [self._counted(child) for child in stored]

    def find_child(self, child_id: str) -> Child | None:
        found = self.lookup.child(child_id)
        return self._counted(found) if found is not None else None

    def accept_child(self, child_id: str, accepted: bool) -> None:
        """Count the end of a sub-workflow, or take that back."""
        self.execution.accepted_children[child_id] = accepted
        self.command(AcceptChild(child_id=child_id, accepted=accepted))

    def _counted(self, child: Child) -> Child:
        accepted = self.execution.accepted_children.get(child.id)
        return child if accepted is None else replace(child, accepted=accepted)

    # --- contexts -----------------------------------------------------------------------

    def context(self, context_id: str | None) -> Context | None:
        if context_id is None:
            return None
        found = self.execution.contexts.get(context_id)
        return found if found is not None else self.lookup.context(context_id)

    def add_context(self, context: Context | None) -> str | None:
        """Keep *context* if it is new; its id."""
        if context is None:
            return None
        if context.id not in self.execution.contexts and context.id in self._fresh_contexts:
            self.execution.contexts[context.id] = context
            self.changes.contexts.add(context.id)
        return context.id

    def context_id(self) -> str:
        """An id for a context that is about to be made."""
        fresh = self.new_id()
        self._fresh_contexts.add(fresh)
        return fresh

    def next_publication(self) -> int:
        self.execution.sequence += 1
        return self.execution.sequence

    def environment(self) -> Mapping[str, Any]:
        """The environment of the root execution."""
        if self.execution.is_root:
            env = self.execution.params.get("env")
            return env if env and isinstance(env, (dict, Mapping)) else {}
        return self.lookup.environment()

    # --- the execution ------------------------------------------------------------------

    def set_execution_state(self, state: State, info: str | None = None) -> State:
        """Bring the execution into *state*; the state it had."""
        before = self.execution.state
        self.execution.state = transition(EXECUTION_TRANSITIONS, before, state)
        self.execution.state_info = info[:65500] if info else info
        self.execution.updated_at = self.now
        self.execution.finished_at = self.now if state.terminal else None
        if state is State.RUNNING:
            event = {State.PAUSED: "WORKFLOW_RESUMED"}.get(
                before, "WORKFLOW_RERUN" if before.terminal else "WORKFLOW_LAUNCHED"
            )
        else:
            event = _EVENTS_OF_EXECUTION[state]
        self.record(event)
        return before

    def settle_counts(self) -> Counts:
        """Bring the counts up to date with all changed tasks."""
        counts = self.execution.counts
        for task_id in self._uncounted:
            before = self._tallies[task_id]
            after = self.execution.tasks[task_id].tally()
            if after != before:
                counts.add(after)
                counts.add(before, -1)
                self._tallies[task_id] = after
        self._uncounted.clear()
        return counts


def _seed_of(execution_id: str) -> bytes:
    """What the ids of an execution's parts derive from."""
    try:
        return uuid.UUID(execution_id).bytes
    except ValueError:
        return hashlib.sha256(execution_id.encode()).digest()[:16]
