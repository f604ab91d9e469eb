"""An execution as the conductor sees it: all that a decision may know.

Only what the events at hand need is loaded; the rest is asked for through ``Lookup``. Questions
about all tasks ("is it over?", "has every branch arrived?") are answered by counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from .data_flow import Context
from .language.specs import ActionSpec, WorkflowSpec
from .states import State

T = TypeVar("T")


def copy_of(record: T) -> T:
    """A shallow copy of a dataclass of this module, which every decision makes some of.

    ``dataclasses.replace`` takes three times as long.
    """
    kind: Any = type(record)
    copied: T = kind(*_values(kind)(record))
    return copied


def values_of(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name; what they hold is not copied."""
    kind: Any = type(record)
    return dict(zip(_names(kind), _values(kind)(record), strict=True))


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@cache
def _values(kind: Any) -> attrgetter[Any]:
    return attrgetter(*_names(kind))


@dataclass(slots=True)
class Counts:
    """How many tasks of an execution are in what condition."""

    #: IDLE, WAITING, RUNNING, DELAYED or PAUSED.
    incomplete: int = 0
    #: Joins that wait for inbound tasks.
    waiting: int = 0
    #: PAUSED.
    paused: int = 0
    #: CANCELLED.
    cancelled: int = 0
    #: ERROR that no on-error clause took care of.
    unhandled: int = 0
    #: Completed while the execution was paused: what follows is still to be decided.
    held: int = 0

    def add(self, other: Counts, sign: int = 1) -> None:
        self.incomplete += sign * other.incomplete
        self.waiting += sign * other.waiting
        self.paused += sign * other.paused
        self.cancelled += sign * other.cancelled
        self.unhandled += sign * other.unhandled
        self.held += sign * other.held


@dataclass(slots=True)
class Items:
    """How far a with-items task is."""

    count: int
    #: Index of the next item never started.
    next: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    #: Most items at once; 0: no limit.
    concurrency: int = 0
    #: Indexes to be run again before new ones (rerun without reset).
    again: list[int] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.succeeded + self.failed + self.cancelled

    def take(self) -> list[int]:
        """Indexes that may start now; they count as running."""
        free = self.concurrency - self.running if self.concurrency else self.count
        taken: list[int] = []
        while free > 0 and self.again:
            taken.append(self.again.pop(0))
            free -= 1
        upto = min(self.count, self.next + max(free, 0))
        taken.extend(range(self.next, upto))
        self.next = max(self.next, upto)
        self.running += len(taken)
        return taken


@dataclass(slots=True)
class Join:
    """How far a join is: counts of its distinct inbound tasks."""

    #: Inbound tasks whose latest run led here.
    arrived: int = 0
    #: Inbound tasks that ended without leading here, or can no more run at all.
    dead: int = 0
    #: True once it failed because too few can arrive; it then never ran an action.
    failed: bool = False
    #: A loop came back while it ran: run once more afterwards.
    again: bool = False
    #: Arrivals that its inbound context contains.
    merged: int = 0


@dataclass(slots=True)
class Task:
    """One task of an execution."""

    id: str
    name: str
    #: ``ACTION`` or ``WORKFLOW``.
    type: str
    #: Creation order within the execution.
    number: int
    state: State
    created_at: datetime
    state_info: str | None = None
    #: Grows with each run; actions and timers of an older run mean nothing any more.
    attempt: int = 0
    inbound_id: str | None = None
    outbound_id: str | None = None
    published: dict[str, Any] = field(default_factory=dict)
    published_global: dict[str, Any] = field(default_factory=dict)
    processed: bool = False
    has_next_tasks: bool = False
    next_tasks: list[list[str | None]] | None = None
    error_handled: bool = False
    #: ``[{"task_id": .., "event": ..}]``.
    triggered_by: list[dict[str, Any]] = field(default_factory=list)
    items: Items | None = None
    join: Join | None = None
    #: Retries done so far; None before the first, and when none are left to count.
    retry_no: int | None = None
    waited_before: bool = False
    waited_after: bool = False
    paused_before: bool = False
    #: Completed while the execution was paused.
    held: bool = False
    #: What a timer wanted while the execution was paused.
    due: str | None = None
    #: How the task will have ended once wait-after is over.
    outcome: State | None = None
    outcome_info: str | None = None
    #: True after a rerun or a skip: joins downstream must not rely on their counts.
    revisited: bool = False
    #: Evaluated concurrency, for the API's runtime context.
    concurrency: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    #: Joins and tasks of reverse workflows exist once per execution.
    unique: bool = False
    #: False once it has a row.
    new: bool = True

    def tally(self) -> Counts:
        """What this task adds to the counts of its execution."""
        return Counts(
            incomplete=0 if self.state.terminal else 1,
            waiting=1 if self.state is State.WAITING else 0,
            paused=1 if self.state is State.PAUSED else 0,
            cancelled=1 if self.state is State.CANCELLED else 0,
            unhandled=1 if self.state is State.ERROR and not self.error_handled else 0,
            held=1 if self.held and self.state.terminal else 0,
        )

    @property
    def runtime_context(self) -> dict[str, Any]:
        """Progress of joins, items and policies as the API shows it (keys as in Mistral)."""
        result: dict[str, Any] = {}
        if self.triggered_by:
            result["triggered_by"] = self.triggered_by
        if self.items is not None:
            concurrency = self.items.concurrency
            result["with_items"] = {
                "capacity": concurrency - self.items.running if concurrency else None,
                "count": self.items.count,
            }
        if self.concurrency:
            result["concurrency"] = self.concurrency
        if self.retry_no is not None:
            result["retry_task_policy"] = {"retry_no": self.retry_no} if self.retry_no else {}
        if self.waited_before:
            result["wait_before_policy"] = {"skip": True}
        if self.waited_after:
            result["wait_after_policy"] = {"skip": True}
        return result


@dataclass(slots=True)
class Action:
    """One run of an action, as far as the conductor cares."""

    id: str
    task_id: str
    name: str
    state: State
    index: int = 0
    attempt: int = 0
    accepted: bool = False
    #: The value or error it ended with.
    result: Any = None
    asynchronous: bool = False
    #: Creation order within the task.
    number: int = 0
    new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One sub-workflow execution of a task."""

    id: str
    task_id: str
    index: int
    #: The task's attempt it belongs to.
    attempt: int
    state: State
    #: True once the parent has counted its end.
    accepted: bool
    output: Any
    state_info: str | None


@dataclass(slots=True)
class Execution:
    """One run of a workflow."""

    id: str
    state: State
    name: str
    created_at: datetime
    params: dict[str, Any]
    project_id: str = ""
    namespace: str = ""
    workbook: str | None = None
    workflow_id: str = ""
    description: str | None = None
    state_info: str | None = None
    output: Any = None
    parent_execution_id: str | None = None
    parent_task_id: str | None = None
    root_id: str | None = None
    index: int = 0
    depth: int = 0
    #: Workflow-level context: vars and globals.
    context_id: str | None = None
    #: True once its first tasks were started.
    launched: bool = False
    counts: Counts = field(default_factory=Counts)
    #: Ids given out so far: the next id derives from the execution's id and this.
    serial: int = 0
    #: Publications so far.
    sequence: int = 0
    #: Events recorded so far.
    log_number: int = 0
    #: Held back by a pause command: ``[target, triggering task id, clause, message]``.
    backlog: list[list[Any]] = field(default_factory=list)
    updated_at: datetime | None = None
    finished_at: datetime | None = None

    # What is loaded or made; not part of the execution's own row.
    tasks: dict[str, Task] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    contexts: dict[str, Context] = field(default_factory=dict)
    #: Sub-workflows whose end was counted, or is not to count any more.
    accepted_children: dict[str, bool] = field(default_factory=dict)

    @property
    def is_root(self) -> bool:
        return self.parent_execution_id is None


class ActionInfo(Protocol):
    """What the conductor must know of an action that executors can run."""

    @property
    def name(self) -> str: ...
    @property
    def asynchronous(self) -> bool: ...
    def check_input(self, input: Mapping[str, Any]) -> None:
        """Raise InvalidInput unless *input* fits the parameters."""

    def may_run_inline(self, input: Mapping[str, Any]) -> bool:
        """True when it does no I/O and takes no time with this *input*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWorkflow:
    """A workflow definition that a name led to."""

    id: str
    name: str
    namespace: str
    workbook: str | None
    spec: WorkflowSpec
    spec_id: str
    tags: Sequence[str] = ()
    scope: str = "private"


class Lookup(Protocol):
    """The one seam to stored data: what a decision may ask beyond what it was given.

    Answers are those at the start of the transaction; the conductor lays its own changes over
    them. In tests a class on dictionaries does.
    """

    def task(self, task_id: str) -> Task | None: ...
    def join(self, name: str) -> Task | None:
        """The one task of a join (or of a reverse workflow's task)."""

    def tasks_named(self, names: Iterable[str]) -> list[Task]:
        """Tasks of these names, in order of creation."""

    def all_tasks(self) -> list[Task]: ...
    def open_tasks(self) -> list[Task]:
        """Tasks that are not completed, and those held by a pause; in order of creation."""

    def leaf_tasks(self) -> list[Task]:
        """Completed tasks without next tasks, in order of creation."""

    def action(self, action_id: str) -> Action | None: ...
    def actions(self, task_id: str) -> list[Action]:
        """Runs for a task, in order of creation."""

    def children(self, task_id: str) -> list[Child]:
        """Sub-workflows of a task, in order of creation."""

    def child(self, child_id: str) -> Child | None: ...
    def context(self, context_id: str) -> Context: ...
    def environment(self) -> Mapping[str, Any]:
        """The environment of the root execution."""

    def input(self) -> Mapping[str, Any]:
        """The execution's own input."""

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None: ...
    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None: ...
    def executions(self, *args: Any, **criteria: Any) -> list[Mapping[str, Any]]:
        """For the function ``executions()``."""

    def task_views(self, *args: Any, **criteria: Any) -> list[Mapping[str, Any]]:
        """For the function ``tasks()``."""
