"""Definitions, parsed: immutable values that the conductor reads.

Made by the parser from text and by ``load_*`` from stored data; nobody changes them. What an
attribute means is told in ``docs/language.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from .graph import Graph

#: Targets of on-clauses that are not tasks.
ENGINE_COMMANDS = frozenset({"noop", "fail", "succeed", "pause"})

#: An integer, or a string holding one expression that must give one.
IntOrExpression = int | str
BoolOrExpression = bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputParameter:
    """One declared input of a workflow or an ad-hoc action."""

    name: str
    required: bool = True
    #: Literal; expressions in it are never evaluated.
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One entry of an on-clause: where to go, and when."""

    #: A task's name or an engine command.
    target: str
    #: One expression, or None for always.
    guard: str | None = None
    #: Arguments of an engine command, e.g. ``{"msg": "<% $.why %>"}``.
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_command(self) -> bool:
        return self.target in ENGINE_COMMANDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """What to publish, by scope."""

    branch: Mapping[str, Any] = field(default_factory=dict)
    global_: Mapping[str, Any] = field(default_factory=dict)
    atomic: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.branch or self.global_ or self.atomic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """An ``on-success``, ``on-error``, ``on-complete`` or ``on-skip`` clause."""

    transitions: tuple[Transition, ...] = ()
    publish: Publish | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The retry policy as written."""

    count: IntOrExpression
    #: Seconds.
    delay: IntOrExpression
    break_on: str | None = None
    continue_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies of a task, those of ``task-defaults`` already merged in.

    A task's own value counts only if it is "set": not 0 and not false (as in Mistral).
    """

    wait_before: IntOrExpression = 0
    wait_after: IntOrExpression = 0
    timeout: IntOrExpression = 0
    concurrency: IntOrExpression = 0
    pause_before: BoolOrExpression = False
    fail_on: BoolOrExpression = False
    retry: Retry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithItem:
    """One ``<variable> in <array>`` of with-items."""

    variable: str
    #: A list (whose strings may hold expressions) or one expression.
    source: list[Any] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task as written, defaults merged."""

    name: str
    #: Position in the document, from 0: the order in which things are listed and started.
    position: int
    #: The mapping as stored and shown by the API, with ``name``, ``version`` and ``type``.
    raw: Mapping[str, Any]
    description: str | None = None
    tags: tuple[str, ...] = ()
    #: Name or one expression; None when ``workflow`` is given. ``std.noop`` when neither is.
    action: str | None = None
    workflow: str | None = None
    #: Inline parameters merged over ``input``; a string is one expression giving a mapping.
    input: Mapping[str, Any] | str = field(default_factory=dict)
    with_items: tuple[WithItem, ...] = ()
    #: Simple publish clauses (branch scope).
    publish: Mapping[str, Any] = field(default_factory=dict)
    publish_on_error: Mapping[str, Any] = field(default_factory=dict)
    publish_on_skip: Mapping[str, Any] = field(default_factory=dict)
    keep_result: BoolOrExpression = True
    safe_rerun: BoolOrExpression = False
    target: str | None = None
    policies: Policies = Policies()
    #: None: no join. ``all``, or how many inbound tasks suffice.
    join: Literal["all"] | int | None = None
    #: ``on-success``, ``on-error``, ``on-complete``, ``on-skip`` as they apply: a default clause
    #: stands here when the task's own has no transitions (its reference to the task itself
    #: left out); a clause's own publish is kept.
    on_success: Clause = Clause()
    on_error: Clause = Clause()
    on_complete: Clause = Clause()
    on_skip: Clause = Clause()
    #: Reverse workflows: names of tasks that must succeed before this one, defaults united.
    requires: tuple[str, ...] = ()

    @property
    def clauses(self) -> tuple[Clause, Clause, Clause, Clause]:
        return (self.on_success, self.on_error, self.on_complete, self.on_skip)


@dataclass(frozen=True, kw_only=True)
class WorkflowSpec:
    """A workflow as written, with the graph of its tasks."""

    name: str
    #: ``direct`` or ``reverse``.
    type: str = "direct"
    #: The mapping as stored and shown by the API, with ``name`` and ``version``.
    raw: Mapping[str, Any]
    description: str | None = None
    tags: tuple[str, ...] = ()
    input: tuple[InputParameter, ...] = ()
    #: None when absent: then the output is the whole final context.
    output: Mapping[str, Any] | None = None
    output_on_error: Mapping[str, Any] | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    #: In the order of the document.
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)

    @property
    def reverse(self) -> bool:
        return self.type == "reverse"

    @property
    def class_name(self) -> str:
        """The name under which error texts speak of this kind of workflow (as Mistral's do)."""
        return "ReverseWorkflowSpec" if self.reverse else "DirectWorkflowSpec"

    @cached_property
    def successors(self) -> Mapping[str, tuple[str, ...]]:
        """For each task the distinct tasks that any of its clauses may lead to."""
        result: dict[str, tuple[str, ...]] = {}
        for task in self.tasks.values():
            names = {
                transition.target: None
                for clause in task.clauses
                for transition in clause.transitions
                if not transition.is_command and transition.target in self.tasks
            }
            result[task.name] = tuple(names)
        return result

    @cached_property
    def inbound(self) -> Mapping[str, tuple[str, ...]]:
        """For each task the distinct tasks that may lead to it, in the order of the document."""
        result: dict[str, list[str]] = {name: [] for name in self.tasks}
        for source, targets in self.successors.items():
            for target in targets:
                result[target].append(source)
        return {name: tuple(sources) for name, sources in result.items()}

    @cached_property
    def commanded(self) -> frozenset[str]:
        """Tasks named like an engine command that some clause refers to.

        Such a reference means the command, yet it counts as an inbound transition (as in
        Mistral), so the task is not a start task and never runs.
        """
        return frozenset(
            transition.target
            for task in self.tasks.values()
            for clause in task.clauses
            for transition in clause.transitions
            if transition.is_command and transition.target in self.tasks
        )

    @cached_property
    def start_tasks(self) -> tuple[str, ...]:
        """Tasks of a direct workflow without inbound transitions."""
        return tuple(
            name for name in self.tasks if not self.inbound[name] and name not in self.commanded
        )

    @cached_property
    def graph(self) -> Graph:
        """What follows from the transitions as a whole."""
        return Graph(self)

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """Reverse workflows: for each task those that require it."""
        result: dict[str, list[str]] = {name: [] for name in self.tasks}
        for task in self.tasks.values():
            for name in task.requires:
                if name in result:
                    result[name].append(task.name)
        return {name: tuple(names) for name, names in result.items()}

    def required_for(self, target: str) -> frozenset[str]:
        """Reverse workflows: *target* and all it needs, directly or not."""
        needed: set[str] = set()
        open_names = [target]
        while open_names:
            name = open_names.pop()
            if name not in needed:
                needed.add(name)
                open_names.extend(self.tasks[name].requires)
        return frozenset(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """An ad-hoc action as written."""

    name: str
    raw: Mapping[str, Any]
    #: The name of the action it stands on.
    base: str
    #: ``base-input`` with the inline parameters of ``base`` merged over it.
    base_input: Mapping[str, Any] = field(default_factory=dict)
    input: tuple[InputParameter, ...] = ()
    #: None when absent: then the result of the base is the result.
    output: Any = None
    has_output: bool = False
    description: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbookSpec:
    """A workbook as written; its members carry their short names."""

    name: str
    raw: Mapping[str, Any]
    description: str | None = None
    tags: tuple[str, ...] = ()
    workflows: Mapping[str, WorkflowSpec] = field(default_factory=dict)
    actions: Mapping[str, ActionSpec] = field(default_factory=dict)
