"""What can happen to an execution: facts, in the past tense, as frozen values.

An event may arrive twice, late or out of order; deciding on it must stand that. ``dump`` and
``load`` turn events into plain JSON data and back, for messages, timers and recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .execution import values_of
from .states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStarted(Event):
    """The execution was created and may begin its first tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCompleted(Event):
    """An action ended, in an executor, in the engine, or by word from outside."""

    action_id: str
    state: State
    #: The value on SUCCESS, the error on ERROR, None on CANCELLED.
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPaused(Event):
    """An asynchronous action was reported as paused from outside."""

    action_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResumed(Event):
    """An asynchronous action was reported as running again."""

    action_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCompleted(Event):
    """A sub-workflow came to an end."""

    task_id: str
    child_id: str
    index: int
    state: State
    output: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPaused(Event):
    """A sub-workflow was paused."""

    task_id: str
    child_id: str
    #: True when it was paused because its parent was.
    by_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResumed(Event):
    """A sub-workflow goes on: after a pause, or because something below it is run again."""

    task_id: str
    child_id: str
    #: True when it had ended and a task in it is run again.
    rerun: bool = False
    #: True when it goes on because its parent does.
    by_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    """A delay of a task is over."""

    task_id: str
    purpose: Literal["wait-before", "wait-after", "retry", "timeout"]
    #: The run of the task the timer belongs to; a timer of an older run means nothing.
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested(Event):
    """Somebody wants nothing new to start."""

    message: str | None = None
    #: True when it is a parent's pause, handed down.
    by_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested(Event):
    """Somebody wants a paused execution to go on."""

    #: Merged into the environment first.
    env: Mapping[str, Any] | None = None
    #: True when a parent goes on, handed down.
    by_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested(Event):
    """Somebody wants the execution to end now, in this state."""

    state: State
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentUpdated(Event):
    """Somebody gave new values for the environment."""

    env: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRequested(Event):
    """Somebody wants a failed task to run again."""

    task_id: str
    #: With-items: run all items again, not only those that failed.
    reset: bool = True
    env: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRequested(Event):
    """Somebody wants to pass over a failed task."""

    task_id: str
    env: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionBroke(Event):
    """Applying an event failed again and again through a fault of ours."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nudged(Event):
    """Nothing happened for long: look whether something was forgotten."""


_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}


def dump(event: Event) -> dict[str, Any]:
    """*event* as plain JSON data."""
    # A result may be large: it is handed on, not copied.
    data = asdict(event) if not isinstance(event, ActionCompleted) else values_of(event)
    return {"kind": type(event).__name__, **data}


def load(data: Mapping[str, Any]) -> Event:
    """The event that ``dump`` gave; ValueError for anything else."""
    values = dict(data)
    try:
        kind = _KINDS[values.pop("kind")]
        if "state" in values:
            values["state"] = State(values["state"])
        return kind(**values)
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"not an event: {str(data)[:200]}") from err
