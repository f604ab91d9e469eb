"""The table: one entry for each row, with how it is measured and what is aimed at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench import measures
from bench.measures import TARGET, Lab, Sizes

#: What a row's figure is set beside: raw Celery in the same repetition, or the same row of the
#: first deployment (PostgreSQL, one engine); or the figure is judged by itself.
Beside = Literal["raw", "first", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    key: str
    name: Callable[[Sizes], str]
    #: One figure, or several that are judged one by one.
    measure: Callable[[Lab], float | tuple[float, ...]]
    #: Raw Celery's seconds for the same.
    floor: Callable[[Lab], float] | None = None
    #: What each figure is: ``s``, ``/s``, ``ms``, ``MB``, ``%``, ``x``.
    units: tuple[str, ...]
    beside: Beside = "nothing"
    #: ``most`` or ``least``, and how much, for what is judged.
    aims: tuple[tuple[Literal["most", "least"], float], ...]
    #: Says that the judged number is the throughput of ours over theirs, not the time.
    throughput: bool = False
    #: Not repeated: it takes long, or has a stable answer.
    once: bool = False


def _dispatched_and_inline() -> list[Row]:
    """The four kinds of work, each dispatched and inline, beside raw Celery."""
    kinds: list[tuple[str, Callable[[Sizes], str], Any, Any, float]] = [
        (
            "items",
            lambda s: f"{s.items:,} items",
            lambda lab, target: measures.items(lab, lab.sizes.items, target),
            lambda lab: lab.raw_seconds("group", lab.sizes.items),
            2.0,
        ),
        (
            "fan",
            lambda s: f"fan of {s.fan} + join",
            lambda lab, target: measures.fan(lab, lab.sizes.fan, target),
            lambda lab: lab.raw_seconds("group", lab.sizes.fan),
            2.2,
        ),
        (
            "chain",
            lambda s: f"chain of {s.chain}",
            measures.chain,
            lambda lab: lab.raw_seconds("chain", lab.sizes.chain),
            2.0,
        ),
        (
            "swarm",
            lambda s: f"{s.swarm} executions of 5 tasks",
            measures.swarm,
            lambda lab: lab.raw_seconds("swarm", 5 * lab.sizes.swarm),
            2.5,
        ),
    ]
    rows = []
    for key, name, work, floor, most in kinds:
        rows.append(
            Row(
                key=f"{key} dispatched",
                name=lambda s, name=name: f"{name(s)}, dispatched",
                measure=lambda lab, work=work: work(lab, TARGET),
                floor=floor,
                units=("s",),
                beside="raw",
                aims=(("most", most),),
            )
        )
    for key, name, work, floor, _ in kinds:
        rows.append(
            Row(
                key=f"{key} inline",
                name=lambda s, name=name: f"{name(s)}, inline",
                measure=lambda lab, work=work: work(lab, None),
                floor=floor,
                units=("s",),
                beside="raw",
                throughput=True,
                aims=(("least", 3.0),),
            )
        )
    return rows


WORK = _dispatched_and_inline()


def _clients(sizes: Sizes, clients: int) -> str:
    """In words, and fewer in a quick run."""
    clients = min(clients, 4 * sizes.clients)
    return f"{clients} client{'s' if clients > 1 else ''}"


#: Reads: what comes after ``/executions``, and how many rows that shows.
_READS = (
    ("list", "list of 50", "?limit=50", 50),
    (
        "filter",
        "list of 50 by workflow and state",
        "?workflow_name={name}&state=SUCCESS&limit=50",
        50,
    ),
    ("get", "one", "/{id}", 0),
)

API = [
    *(
        Row(
            key="post" if clients == 4 else f"post-{clients}",
            name=lambda s, clients=clients: f"POST executions, {_clients(s, clients)}",
            measure=lambda lab, clients=clients: measures.accepted(
                lab, min(clients, 4 * lab.sizes.clients)
            ),
            units=("/s",),
            aims=(("least", least),),
            once=clients != 4,
        )
        for clients, least in ((4, 300), (1, 150), (16, 300))
    ),
    *(
        Row(
            key=key if clients == 4 else f"{key}-{clients}",
            name=lambda s, clients=clients, what=what: (
                f"GET {what}, {_clients(s, clients)}, {s.stored:,} executions stored"
            ),
            measure=lambda lab, clients=clients, query=query, rows=rows: measures.read(
                lab, query, min(clients, 4 * lab.sizes.clients), rows=rows
            ),
            units=("/s", "ms p99"),
            aims=(("least", least), ("most", most)),
            once=clients != 4,
        )
        for key, what, query, rows in _READS
        for clients, least, most in ((4, 400, 50), (1, 150, 50), (16, 400, 150))
    ),
    Row(
        key="upload",
        name=lambda s: f"upload a workflow of {s.upload} tasks",
        measure=measures.upload,
        units=("s",),
        aims=(("most", 0.5),),
    ),
]

GROWTH = [
    Row(
        key="cost of items",
        name=lambda s: f"cost of an item, {s.many_items:,} against {s.few_items}",
        measure=measures.cost_of_items,
        units=("x",),
        aims=(("most", 1.3),),
    ),
    Row(
        key="cost of joins",
        name=lambda s: f"cost of a task, join of {s.many_joined:,} against {s.few_joined}",
        measure=measures.cost_of_joins,
        units=("x",),
        aims=(("most", 1.3),),
    ),
    Row(
        key="cost of trees",
        name=lambda s: (
            f"cost of a sub-workflow, tree of {(10 ** (s.tree + 1) - 1) // 9:,} "
            f"against {(10**s.tree - 1) // 9}"
        ),
        measure=measures.cost_of_trees,
        units=("x",),
        aims=(("most", 1.3),),
    ),
    Row(
        key="laden chain",
        name=lambda s: f"1 MB of context through a chain of {s.chain}, inline",
        measure=lambda lab: measures.laden(lab, "chain"),
        units=("s",),
        aims=(("most", 1.0),),
    ),
    Row(
        key="laden fan",
        name=lambda s: f"1 MB of context through a fan of {s.fan} + join, inline",
        measure=lambda lab: measures.laden(lab, "fan"),
        units=("s",),
        aims=(("most", 3.0),),
    ),
    Row(
        key="timers due",
        name=lambda s: f"{s.timers_per_second:,} timers a second due: lateness p99",
        measure=lambda lab: measures.many_timers(
            lab, lab.sizes.timers_spread, lab.sizes.timers_per_second
        ),
        units=("ms",),
        aims=(("most", 150),),
    ),
    Row(
        key="timers burst",
        name=lambda s: f"{s.timers_burst:,} timers due at once: lateness p99",
        measure=lambda lab: measures.many_timers(lab, lab.sizes.timers_burst, None),
        units=("ms",),
        aims=(("most", 1000),),
    ),
    Row(
        key="timers",
        name=lambda s: f"wait-before 1 s, {s.timers} timers: lateness p95",
        measure=measures.lateness,
        units=("ms",),
        aims=(("most", 100),),
    ),
    Row(
        key="soak",
        name=lambda s: f"memory of engine and executor, {s.soak:,} executions against a tenth",
        measure=measures.soak,
        units=("x",),
        aims=(("most", 1.1),),
        once=True,
    ),
]

#: Before everything else: memory is least when nothing has run yet, and that is what idle means.
IDLE = Row(
    key="idle",
    name=lambda s: "all processes idle: memory (PSS), processor",
    measure=measures.idle,
    units=("MB", "%"),
    aims=(("most", 450), ("most", 2)),
    once=True,
)

FIRST = [IDLE, *WORK, *API, *GROWTH]


def _again(prefix: str, row: Row, least: float) -> Row:
    """The same work on another deployment, beside the first one's figure."""
    return Row(
        key=f"{prefix} {row.key}",
        name=lambda s: f"{prefix}: {row.name(s)}",
        measure=row.measure,
        units=row.units,
        beside="first",
        throughput=True,
        aims=(("least", least),),
    )


_BY_KEY = {row.key: row for row in (*WORK, *API)}

EMBEDDED = [_again("SQLite", row, 0.5) for row in (*WORK, _BY_KEY["post"])]

TWO_ENGINES = [
    _again("two engines", _BY_KEY["swarm dispatched"], 1.0),
    _again("two engines", _BY_KEY["swarm inline"], 1.0),
    # "Never less": what the same measurement varies by is no loss.
    _again("two engines", _BY_KEY["items dispatched"], 0.95),
    _again("two engines", _BY_KEY["fan dispatched"], 0.95),
]


def dump(sizes: Sizes) -> dict[str, Any]:
    """The sizes as plain data."""
    data: dict[str, Any] = json.loads(json.dumps(sizes.__dict__))
    return data
