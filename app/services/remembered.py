"""Executions that this process decided on last: what it need not read again.

What is remembered of an execution holds for one revision of its row. Whoever locks the row sees
whether somebody has written since, here or in another process; then nothing of it is used. Whoever
decides without a lock writes on the condition that nobody has.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from app.core.execution import Action, Execution, Task, copy_of

#: Executions that are remembered, the most recently used ones.
EXECUTIONS = 1000
#: Executions with more tasks, or more running actions, are read anew: few of theirs are needed.
LARGEST = 200
#: Seconds for which nothing is relied on without a lock, after it turned out that it had changed:
#: there are others then who work on the same executions.
DOUBT = 10.0


@dataclass(frozen=True, slots=True)
class Known:
    """An execution, all its tasks and its unfinished actions, as of one revision."""

    execution: Execution
    spec_id: str
    revision: int
    tasks: dict[str, Task]
    actions: dict[str, Action]


class Remembered:
    """What is known of executions, by id."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()
        self._doubted_until = 0.0

    def take(self, execution_id: str, revision: int) -> Known | None:
        """What is known of the execution at *revision*; it is forgotten here until kept again.

        So a transaction that fails leaves nothing behind of what it had changed.
        """
        known = self._take(execution_id)
        return known if known is not None and known.revision == revision else None

    def trusted(self, execution_id: str) -> Known | None:
        """The same at whatever revision it was last: what comes of it is written on condition."""
        return self._take(execution_id) if time.monotonic() > self._doubted_until else None

    def doubt(self) -> None:
        """Have nothing be trusted for a while: something had changed."""
        self._doubted_until = time.monotonic() + DOUBT

    def _take(self, execution_id: str) -> Known | None:
        with self._lock:
            return self._known.pop(execution_id, None)

    def keep(
        self,
        execution: Execution,
        spec_id: str,
        revision: int,
        updated_at: datetime,
        tasks: Iterable[Task],
        actions: Iterable[Action],
    ) -> None:
        """Remember an execution as a transaction that has been committed left it.

        *tasks* are all tasks of the execution, the later ones of an id being the newer.
        """
        own = copy_of(execution)
        own.updated_at, own.output = updated_at, None
        own.tasks, own.actions, own.contexts, own.accepted_children = {}, {}, {}, {}
        kept = Known(
            execution=own,
            spec_id=spec_id,
            revision=revision,
            tasks={task.id: task for task in tasks},
            actions={action.id: action for action in actions},
        )
        if len(kept.tasks) > LARGEST or len(kept.actions) > LARGEST:
            return
        for action_id in [key for key, action in kept.actions.items() if action.state.terminal]:
            del kept.actions[action_id]
        for task in kept.tasks.values():
            task.new = False
        for action in kept.actions.values():
            action.new = False
        with self._lock:
            self._known[execution.id] = kept
            self._known.move_to_end(execution.id)
            while len(self._known) > EXECUTIONS:
                self._known.popitem(last=False)
