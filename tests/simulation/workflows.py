"""Random workflows, and what their actions come to.

Everything is drawn from one ``random.Random``, so a seed tells the whole story.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

#: What the actions of the simulated executors do, by name.
WORKS, BREAKS, FLAKY, ASYNC = "my.works", "my.breaks", "my.flaky", "std.async_noop"
#: Runs of a flaky action that fail before one succeeds.
FLAKES = 2


@dataclass(frozen=True)
class Story:
    """Definitions, and whether every schedule must lead to the same end."""

    definitions: dict[str, Any]
    #: False when the order of things may change the outcome: joins of some, commands, timeouts.
    certain: bool

    @property
    def params(self) -> dict[str, Any]:
        """Params that the workflow ``w`` is started with."""
        if self.definitions["w"].get("type") != "reverse":
            return {}
        return {"task_name": list(self.definitions["w"]["tasks"])[-1]}


def draw(chance: random.Random) -> Story:
    """A workflow ``w``, with sub-workflows ``sub`` and ``deep``."""
    certain = chance.random() < 0.6
    definitions = {
        "w": (
            _reverse(chance, 7)
            if chance.random() < 0.15
            else _workflow(chance, certain, most=7, below=["sub", "deep"])
        ),
        "sub": _workflow(chance, certain, most=3, below=[]),
        "deep": _workflow(chance, certain, most=3, below=["sub"]),
    }
    return Story(definitions, certain)


def _workflow(
    chance: random.Random, certain: bool, *, most: int, below: list[str]
) -> dict[str, Any]:
    names = [f"t{number}" for number in range(chance.randint(1, most))]
    tasks: dict[str, dict[str, Any]] = {name: {} for name in names}
    inbound: dict[str, list[str]] = {name: [] for name in names}
    for place, name in enumerate(names):
        task = tasks[name]
        _body(chance, task, name, below)
        _policies(chance, task, certain)
        later = names[place + 1 :]
        for clause in ("on-success", "on-error", "on-complete"):
            if not later or chance.random() < 0.55:
                continue
            targets: list[Any] = []
            for target in chance.sample(later, min(len(later), chance.randint(1, 2))):
                inbound[target].append(name)
                guard = chance.choice((None, None, None, "<% true %>", "<% false %>"))
                targets.append(target if guard is None else {target: guard})
            if not certain and chance.random() < 0.15:
                targets.append(chance.choice(("fail", "succeed", "pause", "noop")))
            task[clause] = targets
    for name in names:
        # A task that several others start runs several times, and joins behind it count the
        # latest run: then the order matters.
        if len(inbound[name]) > 1 and (certain or chance.random() < 0.7):
            two = 2 if len(set(inbound[name])) > 1 else "one"
            some = "all" if certain else chance.choice(("all", "all", "one", two))
            tasks[name]["join"] = some
            tasks[name].pop("wait-before", None)
            if certain:
                # A join that failed and is tried again runs, whatever arrives meanwhile.
                tasks[name].pop("retry", None)
    return {
        "tasks": tasks,
        "output": {name: f"<% $.get(v_{name}) %>" for name in names},
        "output-on-error": {"failed": True},
    }


def _reverse(chance: random.Random, most: int) -> dict[str, Any]:
    names = [f"t{number}" for number in range(chance.randint(1, most))]
    tasks: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        tasks[name] = {"action": chance.choice((WORKS, WORKS, FLAKY, "std.noop"))}
        before = names[:place]
        if before and chance.random() < 0.8:
            tasks[name]["requires"] = chance.sample(before, min(len(before), chance.randint(1, 2)))
    return {"type": "reverse", "tasks": tasks, "output": {"done": True}}


def _body(chance: random.Random, task: dict[str, Any], name: str, below: list[str]) -> None:
    kind = chance.random()
    if below and kind < 0.2:
        task["workflow"] = chance.choice(below)
    elif kind < 0.3:
        task["action"] = chance.choice(("std.noop", "std.fail"))
    else:
        task["action"] = chance.choice((WORKS, WORKS, WORKS, FLAKY, BREAKS, ASYNC))
    if chance.random() < 0.2:
        items = chance.randint(0, 4)
        task["with-items"] = f"i in <% range({items}) %>"
        if chance.random() < 0.5:
            task["concurrency"] = chance.randint(1, 2)
    elif "action" in task:
        task["publish"] = {f"v_{name}": "<% task().result %>"}


def _policies(chance: random.Random, task: dict[str, Any], certain: bool) -> None:
    if chance.random() < 0.25:
        task["retry"] = {"count": chance.randint(1, 3), "delay": chance.choice((0, 1, 5))}
    if chance.random() < 0.1:
        task["wait-before"] = chance.choice((1, 3))
    if chance.random() < 0.1:
        task["wait-after"] = chance.choice((1, 3))
    if chance.random() < 0.1 and not certain:
        task["timeout"] = chance.choice((1, 2, 1000))
    if chance.random() < 0.05:
        task["pause-before"] = True
