"""What the conductor asks for: imperative, frozen, carried out by ``app.services``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to be done in the transaction of the decision, or sent after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAction(Command):
    """Run one action for one task: record it, and send it to an executor or run it here."""

    action_id: str
    task_id: str
    #: The name that is recorded: an ad-hoc action's own.
    name: str
    #: The input that is recorded.
    input: Mapping[str, Any]
    #: The action that really runs, and its input; the same as above unless ad-hoc.
    base: str
    base_input: Mapping[str, Any]
    #: Position in with-items; 0 for an ordinary task.
    index: int = 0
    attempt: int = 0
    #: The executors' queue to use; None for the common one.
    target: str | None = None
    #: Seconds after which the executor stops it.
    timeout: float | None = None
    safe_rerun: bool = False
    #: True when somebody else will report the result.
    asynchronous: bool = False
    #: True when it may run in the engine: no I/O and no explicit target.
    inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorkflow(Command):
    """Create a sub-workflow execution and start it."""

    child_id: str
    task_id: str
    index: int
    attempt: int
    #: The definition that was found.
    definition: Any
    input: Mapping[str, Any]
    params: Mapping[str, Any]
    #: What its vars gave.
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer(Command):
    """Apply *event* at a time."""

    id: str
    task_id: str
    at: datetime
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimers(Command):
    """Forget all timers of a task, or of the whole execution."""

    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEvent(Command):
    """Tell another execution what happened here."""

    execution_id: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class TellChildren(Command):
    """Tell all unfinished sub-workflows of this execution (or of one task) something."""

    event: Event
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopActions(Command):
    """End what still runs for a task, or for the whole execution: CANCELLED, and stop it."""

    task_id: str | None = None
    #: Only runs of attempts before this one; None: all.
    before: int | None = None
    #: Recorded as their state_info.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptActions(Command):
    """Set ``accepted`` of earlier runs of a task: all of them, or only these indexes."""

    task_id: str
    accepted: bool
    #: Only runs of attempts before this one.
    before: int
    indexes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptChild(Command):
    """Set ``accepted`` of one sub-workflow: whether its end was counted."""

    child_id: str
    accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetResults(Command):
    """Wipe the outputs of a task's actions (``keep-result: false``)."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Command):
    """Append to the event log and tell publishers."""

    #: From 1 in each execution, without gaps.
    number: int
    #: ``TASK_SUCCEEDED``, ...; None for a change without a name.
    event: str | None
    #: The task it is about; None: the execution.
    task_id: str | None
    #: State and state_info at that moment.
    state: str
    state_info: str | None
    at: datetime
