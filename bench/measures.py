"""The work that is measured: each function does some of it once and checks the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench import workflows
from bench.drive import Client, Driver, Wrong, percentile
from bench.raw_celery import RawCelery
from bench.service import Service
from bench.storage import lateness_of_timers, multiply_executions

TARGET = "bench"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work each row does."""

    items: int = 1000
    fan: int = 500
    chain: int = 20
    chain_runs: int = 10
    swarm: int = 100
    clients: int = 4
    api_seconds: float = 10.0
    stored: int = 100_000
    few_items: int = 100
    many_items: int = 10_000
    few_joined: int = 100
    many_joined: int = 2000
    upload: int = 500
    timers: int = 50
    timer_gap: float = 0.1
    timers_per_second: int = 1000
    timers_spread: int = 5000
    timers_burst: int = 10_000
    tree: int = 3
    idle_seconds: float = 20.0
    soak: int = 20_000


#: Everything small: it shows that the bench runs, not how fast anything is.
QUICK = Sizes(
    items=20,
    fan=10,
    chain=4,
    chain_runs=2,
    swarm=4,
    clients=2,
    api_seconds=0.5,
    stored=200,
    few_items=5,
    many_items=40,
    few_joined=5,
    many_joined=20,
    upload=20,
    timers=3,
    timer_gap=0.05,
    timers_per_second=20,
    timers_spread=20,
    timers_burst=20,
    tree=2,
    idle_seconds=1.0,
    soak=40,
)


@dataclass
class Lab:
    """One deployment under measurement, with raw Celery beside it."""

    service: Service
    driver: Driver
    raw: RawCelery
    sizes: Sizes
    database_url: str
    #: Raw Celery's figures of this repetition, so that rows share them.
    floor: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Names of uploaded workflows.
    known: dict[str, str] = field(default_factory=dict)

    def workflow(self, key: str, text: Callable[[], str]) -> str:
        """The uploaded workflow called *key*; the text is made and uploaded at first use."""
        if key not in self.known:
            self.known[key] = self.driver.client.upload(text())
        return self.known[key]

    def raw_seconds(self, kind: str, size: int) -> float:
        """What raw Celery takes for the same, measured once in each repetition."""
        if (kind, size) not in self.floor:
            runs = self.sizes.chain_runs if kind == "chain" else 1
            seconds = [getattr(self.raw, kind)(size) for _ in range(runs)]
            self.floor[kind, size] = sum(seconds) / runs
        return self.floor[kind, size]

    def check(self, found: Any, expected: Any, what: str) -> None:
        """Raise Wrong unless a result is what it must be."""
        if found != expected:
            raise Wrong(f"{what}: expected {str(expected)[:120]}, got {str(found)[:120]}")


# --- the work -------------------------------------------------------------------------------


def items(lab: Lab, size: int, target: str | None) -> float:
    """Seconds for one execution over *size* items."""
    name = lab.workflow(f"items {target}", lambda: workflows.items(target=target))
    values = list(range(size))
    found, took = lab.driver.one(f"items {size} {target}", name, {"items": values})
    lab.check(lab.driver.client.output(found), {"results": values}, f"{size} items")
    return took


def fan(lab: Lab, width: int, target: str | None) -> float:
    """Seconds for one execution of *width* parallel tasks and their join."""
    key = f"fan {width} {target}"
    name = lab.workflow(key, lambda: workflows.fan(width, target=target))
    found, took = lab.driver.one(key, name, {"base": 7})
    expected = {"first": 7, "last": 7 + width - 1, "joined": True}
    lab.check(lab.driver.client.output(found), expected, key)
    states = [task["state"] for task in lab.driver.client.tasks(found)]
    lab.check(states, ["SUCCESS"] * (width + 1), f"tasks of {key}")
    return took


def chain(lab: Lab, target: str | None) -> float:
    """Seconds for one chain, the mean of some."""
    length = lab.sizes.chain
    key = f"chain {target}"
    name = lab.workflow(key, lambda: workflows.chain(length, target=target))
    total = 0.0
    for run in range(lab.sizes.chain_runs):
        found, took = lab.driver.one(key, name, {"n": run})
        lab.check(lab.driver.client.output(found), {"n": run + length}, key)
        total += took
    return total / lab.sizes.chain_runs


def swarm(lab: Lab, target: str | None) -> float:
    """Seconds for many executions of five tasks at once."""
    # A fresh name for each run keeps the list that is waited for short.
    name = lab.driver.client.upload(workflows.diamond(target=target))
    inputs = [{"n": n} for n in range(1, lab.sizes.swarm + 1)]
    wall, places, _ = lab.driver.many(name, inputs, clients=lab.sizes.clients)
    for execution_id, place in places.items():
        expected = {"total": 8 * inputs[place]["n"] + 1, "last": None}
        lab.check(lab.driver.client.output(execution_id), expected, "diamond")
    return wall


def accepted(lab: Lab, clients: int) -> float:
    """POSTs of executions per second; afterwards every one must have succeeded."""
    name = lab.driver.client.upload(workflows.SINGLE)
    rate, latencies = lab.driver.rate(
        lambda client: client.start(name, {"n": 1}),
        clients=clients,
        seconds=lab.sizes.api_seconds,
    )
    lab.driver.drained(name, len(latencies))
    return rate


def read(lab: Lab, query: str, clients: int, *, rows: int) -> tuple[float, float]:
    """GETs per second, and the 99th percentile of their milliseconds.

    *query* is what comes after ``/executions``; ``{id}`` and ``{name}`` are those of one that is
    stored. A list has so many *rows*, 0 is for a single execution.
    """
    _fill(lab)
    path = "/executions" + query.format(id=lab.known["stored"], name=lab.known["filled"])

    def get(client: Client) -> None:
        client.request("GET", path)

    rate, latencies = lab.driver.rate(get, clients=clients, seconds=lab.sizes.api_seconds)
    found = lab.driver.client.get(path)
    if rows:
        lab.check(len(found["executions"]), rows, "rows of a page")
    else:
        lab.check(found["id"], lab.known["stored"], "the execution")
    return rate, percentile(latencies, 0.99) * 1000


def _fill(lab: Lab) -> None:
    """Have at least the wanted number of executions stored."""
    if "filled" in lab.known:
        return
    name = lab.driver.client.upload(workflows.SINGLE)
    found, _ = lab.driver.one("single", name, {"n": 1})
    multiply_executions(lab.database_url, found, lab.sizes.stored)
    lab.known["filled"], lab.known["stored"] = name, found


def _processor_seconds(
    lab: Lab, roles: tuple[str, ...], runs: int, run: Callable[[], Any]
) -> float:
    """Processor time of *roles* for one of some runs."""
    before = lab.service.processor_seconds(*roles)
    for _ in range(runs):
        run()
    return (lab.service.processor_seconds(*roles) - before) / runs


def cost_of_items(lab: Lab) -> float:
    """Processor time of engine and executor for an item among many, over that among few."""
    sizes = lab.sizes
    times = sizes.many_items // sizes.few_items

    def cost(size: int, runs: int) -> float:
        roles = ("engine", "executor")
        return _processor_seconds(lab, roles, runs, lambda: items(lab, size, TARGET)) / size

    few = cost(sizes.few_items, times)
    return cost(sizes.many_items, 1) / max(few, 1e-9)


def cost_of_joins(lab: Lab) -> float:
    """Processor time of engine and executor for a task of a wide join, over that of a narrow."""
    sizes = lab.sizes
    times = sizes.many_joined // sizes.few_joined

    def cost(width: int, runs: int) -> float:
        # The definition is read and parsed at its first use; that is no event's cost.
        key = f"fan {width} {TARGET}"
        lab.workflow(key, lambda: workflows.fan(width, target=TARGET))
        fan(lab, width, TARGET)
        roles = ("engine", "executor")
        return _processor_seconds(lab, roles, runs, lambda: fan(lab, width, TARGET)) / width

    few = cost(sizes.few_joined, times)
    return cost(sizes.many_joined, 1) / max(few, 1e-9)


def upload(lab: Lab) -> float:
    """Seconds to parse, validate and store a workflow of many tasks."""
    text = workflows.fan(lab.sizes.upload)
    began = time.perf_counter()
    name = lab.driver.client.upload(text)
    took = time.perf_counter() - began
    stored = lab.driver.client.get(f"/workflows/{name}")
    lab.check(stored["definition"].count("std.echo"), lab.sizes.upload, "tasks stored")
    return took


def idle(lab: Lab) -> tuple[float, float]:
    """Megabytes of all processes together, and per cent of a core, when nothing is to be done."""
    # Processes go on loading for some seconds after they are ready.
    time.sleep(min(15.0, lab.sizes.idle_seconds))
    before = lab.service.processor_seconds()
    time.sleep(lab.sizes.idle_seconds)
    used = lab.service.processor_seconds() - before
    return lab.service.memory() / 1e6, 100 * used / lab.sizes.idle_seconds


def lateness(lab: Lab) -> float:
    """Milliseconds by which tasks with a delay of a second are late, the 95th percentile.

    What the same workflow takes without the delay is no lateness and goes off.
    """

    def latencies(wait: int) -> list[float]:
        name = lab.driver.client.upload(workflows.TIMER)
        inputs = [{"wait": wait}] * lab.sizes.timers
        _, places, took = lab.driver.many(name, inputs, gap=lab.sizes.timer_gap, pause=0.01)
        for execution_id in places:
            lab.check(lab.driver.client.output(execution_id), {"done": True}, "timer")
        return sorted(took.values())

    plain = percentile(latencies(0), 0.5)
    return (percentile(latencies(1), 0.95) - 1.0 - plain) * 1000


def many_timers(lab: Lab, count: int, per_second: float | None) -> float:
    """Milliseconds by which waiting tasks end late when so many timers fall due, the p99."""
    width = min(count, 100)
    name = lab.workflow(f"waiting {width}", lambda: workflows.waiting(width))
    started = [lab.driver.client.start(name, {}) for _ in range(count // width)]
    late = lateness_of_timers(lab.database_url, count, per_second=per_second)
    for execution_id in started:
        lab.check(lab.driver.client.output(execution_id), {}, "execution that waited")
    return percentile(late, 0.99) * 1000


def cost_of_trees(lab: Lab) -> float:
    """Processor time of the engine for an execution of a deep tree, over that of a flat one."""

    def cost(depth: int, runs: int) -> float:
        key = f"tree {depth}"
        name = lab.workflow(key, lambda: workflows.tree(depth))
        executions = (10**depth - 1) // 9

        def run() -> None:
            found, _ = lab.driver.one(key, name, {})
            lab.check(lab.driver.client.output(found), {"n": 10**depth}, key)

        run()
        return _processor_seconds(lab, ("engine",), runs, run) / executions

    deep = lab.sizes.tree + 1
    flat = cost(lab.sizes.tree, 10)
    return cost(deep, 1) / max(flat, 1e-9)


def laden(lab: Lab, shape: str) -> float:
    """Seconds for a chain or a fan of inline actions with a megabyte in the context."""
    sizes = lab.sizes
    size = sizes.chain if shape == "chain" else sizes.fan
    make = workflows.chain if shape == "chain" else workflows.fan
    key = f"laden {shape}"
    name = lab.workflow(key, lambda: workflows.laden(make(size)))
    found, took = lab.driver.one(key, name, {"n": 0} if shape == "chain" else {"base": 7})
    expected = {"n": size} if shape == "chain" else {"first": 7, "last": 6 + size, "joined": True}
    lab.check(lab.driver.client.output(found), expected, key)
    return took


def soak(lab: Lab) -> float:
    """Memory of engine and executor after many executions, over that after the first tenth."""
    count = lab.sizes.soak
    tenth = max(1, count // 10)
    first = 0
    for block in range(10):
        # Every tenth execution sends an action to the executor.
        for target, size in ((None, tenth - tenth // 10), (TARGET, tenth // 10)):
            name = lab.driver.client.upload(workflows.chain(1, target=target))
            if size:
                lab.driver.many(name, [{"n": n} for n in range(size)], pause=0.5)
        if block == 0:
            first = lab.service.memory("engine", "executor")
    return lab.service.memory("engine", "executor") / first
