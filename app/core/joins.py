"""Joins: tasks that wait for several inbound ones.

A join is answered from two counts, of inbound tasks that arrived and of those that are dead
(ended without leading here, or cannot run any more). The counts follow each completion; they are
taken anew from the tasks only when something unusual happened: a loop, a rerun, a branch that
died before it reached the join.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from .data_flow import merge
from .execution import Join, Task
from .language.specs import WorkflowSpec
from .states import State
from .working_copy import Completion, WorkingCopy

WAITING_INFO = "Task is waiting."


def is_join(spec: WorkflowSpec, name: str) -> bool:
    return bool(spec.tasks[name].join)


def needed(spec: WorkflowSpec, name: str) -> int:
    """How many inbound tasks must arrive."""
    join = spec.tasks[name].join
    return len(spec.inbound[name]) if join == "all" else int(join or 0)


# --- arrivals and deaths ---------------------------------------------------------------------


def arrive_at(run: WorkingCopy, names: Sequence[str], source: Task) -> None:
    """*source* led to the joins *names*."""
    # All of them are there before one is decided on: a join that looks at its other branches
    # must find those that begin at the same time.
    new = [name for name in names if run.find_unique(name) is None]
    for name in new:
        task = run.add_task(name, unique=True, state=State.WAITING)
        task.state_info = WAITING_INFO
        task.join = Join()
    for name in names:
        found = run.find_unique(name)
        assert found is not None
        if name in new:
            recount(run, run.edit(found.id))
        else:
            _arrive(run, name, found, source)


def _arrive(run: WorkingCopy, name: str, found: Task, source: Task) -> None:
    task = run.edit(found.id)
    join = task.join = task.join or Join()
    simple = source.name in run.spec.graph.once and not source.revisited
    if task.state is State.WAITING:
        if simple:
            join.arrived += 1
            decide(run, task)
        else:
            recount(run, task)
        return
    if join.failed:
        # What made it fail may have been run again, or skipped, and lead here now.
        _, dead = _count(run, task)
        if len(run.spec.inbound[name]) - dead >= needed(run.spec, name):
            _rearm(run, task)
        else:
            # Too late for the join to pass on what it published; it counts at the end all the same.
            run.edit(source.id).has_next_tasks = False
        return
    if simple:
        join.arrived += 1  # Late: the join is satisfied already, and runs once.
    elif _led_before(run, name, source):
        if task.state.terminal:
            _rearm(run, task)
        else:
            join.again = True
    else:
        join.arrived += 1


def _led_before(run: WorkingCopy, name: str, source: Task) -> bool:
    """True when *source*, or an earlier turn of it in a loop, has led to this join already."""
    if source.revisited:
        return True
    return any(
        task.id != source.id and leads_to(task, name) for task in run.tasks_named((source.name,))
    )


def _rearm(run: WorkingCopy, task: Task) -> None:
    """Let a join that has ended wait again; it may run at once."""
    task = run.edit(task.id)
    run.set_state(task, State.WAITING, WAITING_INFO)
    task.join = Join()
    task.processed = False
    task.held = False
    task.error_handled = False
    task.finished_at = None
    recount(run, task)


def rearm_if_again(run: WorkingCopy, task: Task) -> None:
    """A loop came back to the join while it ran: run it once more."""
    if task.join is not None and task.join.again and task.state.terminal:
        _rearm(run, task)


#: A task with more inbound tasks than this is not examined each time one of them passes it by.
#: Joins behind it learn of it when everything else has come to rest.
MANY_INBOUND = 32


def miss(run: WorkingCopy, source: Task) -> None:
    """*source* is completed: tell the joins that it did not lead to, directly or further on."""
    led = {each[0] for each in source.next_tasks or ()}
    for name in run.spec.successors[source.name]:
        if name in led:
            continue
        if is_join(run.spec, name):
            _die(run, name, source)
        if run.execution.counts.waiting and _is_lost(run, name):
            for beyond in run.spec.graph.joins_beyond(name):
                _look_again(run, beyond)


def _is_lost(run: WorkingCopy, name: str) -> bool:
    """True when the task *name* does not exist and no inbound task can lead to it any more.

    Tasks further back are not examined: what they cause is seen at the latest when everything
    else has come to rest (``resolve_quiet``).
    """
    sources = run.spec.inbound[name]
    if len(sources) > MANY_INBOUND:
        return False
    latest = run.latest((name, *sources))
    return name not in latest and not any(
        source in latest and _pending(latest[source]) for source in sources
    )


def _die(run: WorkingCopy, name: str, source: Task) -> None:
    found = run.find_unique(name)
    if found is None or found.state is not State.WAITING:
        return
    task = run.edit(found.id)
    if source.name in run.spec.graph.once and not source.revisited and task.join is not None:
        task.join.dead += 1
        decide(run, task)
    else:
        recount(run, task)


def _look_again(run: WorkingCopy, name: str) -> None:
    found = run.find_unique(name)
    if found is not None and found.state is State.WAITING:
        recount(run, run.edit(found.id))


def leads_to(task: Task, name: str) -> bool:
    return any(each[0] == name for each in task.next_tasks or ())


# --- the decision ----------------------------------------------------------------------------


def recount(
    run: WorkingCopy,
    task: Task,
    *,
    seeds: Collection[str] | None = None,
    among_joins: bool = False,
) -> None:
    """Take the counts of a waiting join from the tasks, and decide.

    With *among_joins* other joins that wait are not waited for.
    """
    join = task.join = task.join or Join()
    join.arrived, join.dead = _count(run, task, seeds=seeds, among_joins=among_joins)
    decide(run, task)


def _count(
    run: WorkingCopy,
    task: Task,
    *,
    seeds: Collection[str] | None = None,
    among_joins: bool = False,
) -> tuple[int, int]:
    """How many inbound tasks led to a join, and how many can do so no more."""
    sources = run.spec.inbound[task.name]
    latest = run.latest(sources)
    missing = [name for name in sources if name not in latest]
    possible: Collection[str] = ()
    if missing:
        possible = _possible(run, task, seeds)
    arrived = dead = 0
    for name in sources:
        source = latest.get(name)
        if source is None:
            dead += name not in possible
        elif _pending(source):
            dead += among_joins and source.state is State.WAITING
        elif leads_to(source, task.name):
            arrived += 1
        else:
            # A loop may bring it back, but only as a new task that will count then.
            dead += 1
    return arrived, dead


def _pending(task: Task) -> bool:
    """True while it is open where *task* leads."""
    return not task.state.terminal or task.held


def _possible(run: WorkingCopy, join: Task, seeds: Collection[str] | None) -> set[str]:
    """Tasks that may still come to be, without help of the join itself."""
    if seeds is None:
        seeds = {t.name for t in run.all_tasks() if _pending(t) and t.id != join.id}
    backlog = {entry[0] for entry in run.execution.backlog if entry[0]}
    starts = [name for name in {*seeds, *backlog} if name in run.spec.tasks]
    return run.spec.graph.reachable(starts, without={join.name}) | backlog


def decide(run: WorkingCopy, task: Task) -> None:
    """Start or fail a waiting join if its counts say so."""
    join = task.join
    assert join is not None
    if task.state is not State.WAITING:
        return
    total = len(run.spec.inbound[task.name])
    wanted = needed(run.spec, task.name)
    if join.arrived >= wanted:
        _start(run, task)
    elif total - join.dead < wanted:
        _fail(run, task)


def _start(run: WorkingCopy, task: Task) -> None:
    assert task.join is not None
    sources = _arrived(run, task)
    join_context(run, task, sources.values())
    task.triggered_by = [
        {"task_id": source.id, "event": _clause_to(source, task.name)}
        for source in sources.values()
    ]
    run.to_start.append(task.id)


def _fail(run: WorkingCopy, task: Task) -> None:
    assert task.join is not None
    sources = run.spec.inbound[task.name]
    latest = run.latest(sources)
    task.join.failed = True
    join_context(run, task, _arrived(run, task).values())
    guilty = [
        name
        for name in sources
        if name not in latest or not (_pending(latest[name]) or leads_to(latest[name], task.name))
    ]
    task.triggered_by = [
        {
            "task_id": latest[name].id if name in latest else None,
            "event": "not triggered" if name in latest else "impossible route",
        }
        for name in guilty
    ]
    run.to_complete.append(
        Completion(task.id, State.ERROR, f"Failed by tasks: {guilty}", late=True)
    )


def _arrived(run: WorkingCopy, task: Task) -> Mapping[str, Task]:
    """Completed inbound tasks that led to the join; of a loop's turns the latest of them."""
    return {
        source.name: source
        for source in run.tasks_named(run.spec.inbound[task.name])
        if source.state.terminal and leads_to(source, task.name)
    }


def join_context(run: WorkingCopy, task: Task, sources: Iterable[Task]) -> None:
    """Let *task* see what all *sources* see."""
    found = list(sources)
    context = merge([run.context(s.outbound_id) for s in found], id=run.context_id())
    task.inbound_id = run.add_context(context)
    if task.join is not None:
        task.join.merged = len(found)


def refresh_context(run: WorkingCopy, task: Task) -> None:
    """When a join completes: branches that came while it ran are part of what it passes on."""
    join = task.join
    if join is not None and not join.failed and join.arrived > join.merged:
        join_context(run, task, _arrived(run, task).values())


def _clause_to(source: Task, name: str) -> str | None:
    return next((each[1] for each in source.next_tasks or () if each[0] == name), None)


def resolve_quiet(run: WorkingCopy) -> None:
    """Nothing but joins is left, waiting for each other or for nobody: decide one of them.

    Where branches died far from their join the counts may not know; now that nothing else runs,
    what has not arrived never will.
    """
    waiting = [t for t in run.open_tasks() if t.state is State.WAITING]
    for task in waiting:
        others = {t.name for t in waiting if t.id != task.id}
        recount(run, run.edit(task.id), seeds=others)
        if run.to_start or run.to_complete:
            return
    for task in waiting[:1]:
        # They wait for each other.
        recount(run, run.edit(task.id), seeds=(), among_joins=True)
