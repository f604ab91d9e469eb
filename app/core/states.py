"""Every state, the transition tables, and the one door through them.

The diagrams in ``docs/states.md`` are generated from these tables.
"""

from __future__ import annotations

from enum import StrEnum

from .errors import InvalidTransition


class State(StrEnum):
    """A state of an execution, a task or an action execution, spelled as the API spells it."""

    IDLE = "IDLE"  #: Created, not started: held by a pause, or by ``pause-before``.
    WAITING = "WAITING"  #: A join whose inbound tasks are not all there.
    RUNNING = "RUNNING"
    DELAYED = "DELAYED"  #: A timer runs: wait-before, wait-after or the delay of a retry.
    PAUSED = "PAUSED"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"  #: A failed task that somebody decided to pass over.

    @property
    def terminal(self) -> bool:
        """True when nothing more will happen without a request from outside."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCESS, State.ERROR, State.CANCELLED, State.SKIPPED})

_S = State

#: What an execution may do. SUCCESS and CANCELLED only leave through a rerun of a task below them.
EXECUTION_TRANSITIONS: dict[State, frozenset[State]] = {
    _S.IDLE: frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.SUCCESS, _S.ERROR, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED}),
    _S.SUCCESS: frozenset(),
    _S.ERROR: frozenset({_S.RUNNING}),
    _S.CANCELLED: frozenset({_S.RUNNING}),
}

#: What a task may do. A completed join goes back to WAITING or RUNNING when a loop re-enters it.
TASK_TRANSITIONS: dict[State, frozenset[State]] = {
    _S.IDLE: frozenset({_S.RUNNING, _S.WAITING, _S.DELAYED, _S.ERROR, _S.CANCELLED}),
    _S.WAITING: frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED}),
    _S.RUNNING: frozenset(
        {_S.IDLE, _S.DELAYED, _S.PAUSED, _S.WAITING, _S.SUCCESS, _S.ERROR, _S.CANCELLED}
    ),
    _S.DELAYED: frozenset({_S.RUNNING, _S.IDLE, _S.WAITING, _S.SUCCESS, _S.ERROR, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.SUCCESS, _S.ERROR, _S.CANCELLED}),
    # To DELAYED or ERROR: a policy (wait-after, retry, fail-on) has the last word on a completion.
    _S.SUCCESS: frozenset({_S.RUNNING, _S.WAITING, _S.DELAYED, _S.ERROR}),
    _S.ERROR: frozenset({_S.RUNNING, _S.WAITING, _S.DELAYED, _S.SKIPPED}),
    _S.CANCELLED: frozenset({_S.RUNNING, _S.WAITING}),
    _S.SKIPPED: frozenset({_S.RUNNING, _S.WAITING}),
}

#: What an action execution may do.
ACTION_TRANSITIONS: dict[State, frozenset[State]] = {
    _S.RUNNING: frozenset({_S.PAUSED, _S.SUCCESS, _S.ERROR, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.SUCCESS, _S.ERROR, _S.CANCELLED}),
    _S.SUCCESS: frozenset(),
    _S.ERROR: frozenset(),
    _S.CANCELLED: frozenset(),
}


def transition(table: dict[State, frozenset[State]], current: State, target: State) -> State:
    """Return *target* if *table* allows it from *current*, else raise.

    Staying where one is is always allowed: a message may come twice.
    """
    if target is not current and target not in table.get(current, frozenset()):
        raise InvalidTransition(current, target)
    return target
