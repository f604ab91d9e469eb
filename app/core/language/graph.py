"""Facts about the graph of a direct workflow's tasks that do not change while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .specs import WorkflowSpec


class Graph:
    """The transitions of a workflow, seen as a graph."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self._spec = spec
        #: Tasks that run at most once per execution, unless somebody reruns something: those
        #: not part of or behind a cycle, entered by at most one transition from such a task (a
        #: join may be entered by many).
        self.once = _once(spec)
        self._beyond: dict[str, frozenset[str]] = {}

    def joins_beyond(self, name: str) -> frozenset[str]:
        """Joins that some path of transitions from the task *name* leads to."""
        known = self._beyond.get(name)
        if known is None:
            known = frozenset(n for n in self.reachable([name]) if self._spec.tasks[n].join)
            self._beyond[name] = known
        return known

    def reachable(self, sources: Iterable[str], *, without: Collection[str] = ()) -> set[str]:
        """Tasks that some path from *sources* leads to, not passing through *without*."""
        reached: set[str] = set()
        open_names = list(sources)
        while open_names:
            for name in self._spec.successors[open_names.pop()]:
                if name not in reached and name not in without:
                    reached.add(name)
                    open_names.append(name)
        return reached


def _once(spec: WorkflowSpec) -> frozenset[str]:
    links: dict[str, int] = dict.fromkeys(spec.tasks, 0)
    for task in spec.tasks.values():
        for clause in task.clauses:
            for transition in clause.transitions:
                if not transition.is_command and transition.target in links:
                    links[transition.target] += 1
    pending = {name: len(spec.inbound[name]) for name in spec.tasks}
    ready = [name for name, count in pending.items() if count == 0]
    once: set[str] = set()
    while ready:
        name = ready.pop()
        entered_once = links[name] <= 1 or bool(spec.tasks[name].join)
        if entered_once and all(source in once for source in spec.inbound[name]):
            once.add(name)
        for target in spec.successors[name]:
            pending[target] -= 1
            if pending[target] == 0:
                ready.append(target)
    return frozenset(once)
