"""Executions that this process decided on last: what it need not read again.

What is remembered of an execution holds for one revision of its row. Whoever locks the row sees
whether somebody has written since, here or in another process; then nothing of it is used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from app.core.execution import Action, Task

#: Executions that are remembered, the most recently used ones.
EXECUTIONS = 1000
#: Executions with more tasks, or more running actions, are read anew: few of theirs are needed.
LARGEST = 200


@dataclass(frozen=True, slots=True)
class Known:
    """All tasks of an execution and its unfinished actions, as of one revision."""

    revision: int
    tasks: dict[str, Task]
    actions: dict[str, Action]


class Remembered:
    """What is known of executions, by id."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()

    def take(self, execution_id: str, revision: int) -> Known | None:
        """What is known of the execution at *revision*; it is forgotten here until kept again.

        So a transaction that fails leaves nothing behind of what it had changed.
        """
        with self._lock:
            known = self._known.pop(execution_id, None)
        return known if known is not None and known.revision == revision else None

    def keep(
        self, execution_id: str, revision: int, tasks: Iterable[Task], actions: Iterable[Action]
    ) -> None:
        """Remember an execution as a transaction that has been committed left it.

        *tasks* are all tasks of the execution, the later ones of an id being the newer.
        """
        kept = Known(
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
            self._known[execution_id] = kept
            self._known.move_to_end(execution_id)
            while len(self._known) > EXECUTIONS:
                self._known.popitem(last=False)
