"""Whether the tasks of a workflow hang together: starts, targets, joins, what can never run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .checks import CLAUSES, CheckedTask, CheckedWorkflow, Edge
from .findings import Findings
from .limits import Limits
from .specs import ENGINE_COMMANDS, WorkflowSpec

_MOST_TASKS = 600
_PARSING = "DSLParsingException"
_UUID = re.compile(r"[0-9a-f]{32}")


def check(findings: Findings, workflow: CheckedWorkflow, limits: Limits) -> None:
    """Check what makes a definition unfit although each of its tasks is well-formed."""
    looks_like_id = workflow.name.replace("urn:", "").replace("uuid:", "").strip("{}")
    if _UUID.fullmatch(looks_like_id.replace("-", "").lower()):
        findings.error(
            workflow.node,
            "Workflow name cannot be in the format of UUID.",
            hint="workflows are looked up by name or id: the two must differ",
            at_key=True,
        )
    if workflow.reverse:
        _requirements(findings, workflow)
    elif _few_enough(findings, workflow, limits):
        _transitions(findings, workflow)


def _few_enough(findings: Findings, workflow: CheckedWorkflow, limits: Limits) -> bool:
    """Whether the transitions can be counted one by one; defaults multiply them."""
    defaults: dict[str, list[Edge]] = {}
    if workflow.defaults is not None:
        defaults = workflow.defaults.edges
    count = sum(
        len(task.edges.get(clause) or defaults.get(clause) or ())
        for task in workflow.tasks.values()
        for clause in CLAUSES
    )
    if count > limits.transitions:
        findings.error(
            workflow.node,
            f"The workflow has {count} transitions, and at most {limits.transitions} are allowed",
            hint="transitions in 'task-defaults' count for every task",
            at_key=True,
        )
    return count <= limits.transitions


def _not_found(findings: Findings, edge: Edge, names: Sequence[str]) -> None:
    findings.error(
        edge.node,
        f"Task '{edge.target}' not found.",
        hint=findings.closest(edge.target, names),
        at_key=bool(edge.guarded),
    )


def _requirements(findings: Findings, workflow: CheckedWorkflow) -> None:
    names = list(workflow.tasks)
    sources = [*workflow.tasks.values()]
    if workflow.defaults is not None:
        sources.insert(0, workflow.defaults)
        for edges in workflow.defaults.edges.values():
            for edge in edges:
                findings.warn(
                    edge.node, "A reverse workflow has no transitions: this default is ignored"
                )
                break
    for task in sources:
        for edge in task.requires:
            if edge.target not in workflow.tasks:
                _not_found(findings, edge, names)


def _transitions(findings: Findings, workflow: CheckedWorkflow) -> None:
    tasks = workflow.tasks
    effective = {name: effective_edges(task, workflow.defaults) for name, task in tasks.items()}
    inbound: dict[str, set[str]] = {name: set() for name in tasks}
    for name, edges in effective.items():
        for edge in edges:
            if edge.target in inbound:
                inbound[edge.target].add(name)
    if workflow.complete and all(inbound.values()):
        findings.error(
            workflow.node.entries["tasks"],
            "Failed to find start tasks in direct workflow. There must be at least one task "
            f"without inbound transition.[workflow_name={workflow.name}]",
            kind=_PARSING,
            hint="every task is the target of some clause, so nothing could begin",
            at_key=True,
        )
    told: set[int] = set()
    names = (*sorted(ENGINE_COMMANDS), *tasks)
    sources = list(tasks.values())
    if workflow.defaults is not None:
        sources.append(workflow.defaults)
    for task in sources:
        for clause in CLAUSES:
            for edge in task.edges.get(clause, ()):
                missing = edge.target not in tasks and edge.target not in ENGINE_COMMANDS
                if missing and id(edge) not in told:
                    told.add(id(edge))
                    _not_found(findings, edge, names)
    if not workflow.complete:
        return
    for name, task in tasks.items():
        # A reference to a command is no inbound task, even when a task has the same name.
        count = 0 if name in ENGINE_COMMANDS else len(inbound[name])
        join = task.join
        node = task.node.entries.get("join", task.node)
        if join == "all" and not count:
            findings.error(
                node,
                f"No inbound tasks for task with 'join: all' [task_name={name}]",
                hint="no clause leads here: remove the join or add a transition",
            )
        elif join is not None and join != "all" and count < (1 if join == "one" else join):
            findings.error(
                node,
                f"Not enough inbound tasks for task with 'join' [task_name={name}, "
                f"join={1 if join == 'one' else join}, inbound_tasks={count}]",
            )


def effective_edges(task: CheckedTask, defaults: CheckedTask | None) -> list[Edge]:
    """Return the transitions of a task, those of the defaults where it has none itself."""
    result: list[Edge] = []
    for clause in CLAUSES:
        own = task.edges.get(clause)
        if own:
            result.extend(own)
        elif defaults is not None:
            result.extend(
                edge for edge in defaults.edges.get(clause, ()) if edge.target != task.name
            )
    return result


def look_for_doubts(findings: Findings, workflow: CheckedWorkflow, spec: WorkflowSpec) -> None:
    """Warn of tasks that can never run and of joins that can never be satisfied."""
    if spec.reverse:
        _cycles(findings, workflow, spec)
        return
    for name in spec.tasks:
        if name in ENGINE_COMMANDS:
            outcome = "it never runs" if name in spec.commanded else "clauses cannot lead to it"
            findings.warn(
                workflow.tasks[name].node,
                f"The task '{name}' is named like an engine command: {outcome}",
                hint="rename the task",
                at_key=True,
            )
    possible = _possible(spec)
    for name, task in spec.tasks.items():
        if name in possible or name in spec.commanded:
            continue
        node = workflow.tasks[name].node
        inbound = spec.inbound[name]
        if task.join is not None and any(source in possible for source in inbound):
            never = [source for source in inbound if source not in possible]
            findings.warn(
                node.entries["join"],
                f"The join of '{name}' can never be satisfied: {', '.join(never)} cannot run "
                "before it",
            )
        else:
            findings.warn(node, f"The task '{name}' can never run", at_key=True)
    for name, reason in _contradictions(spec, possible).items():
        findings.warn(
            workflow.tasks[name].node.entries["join"],
            f"The join of '{name}' can never be satisfied: {reason}",
            hint="use join: one, or lead both ways through on-complete",
        )


def _possible(spec: WorkflowSpec) -> set[str]:
    """The tasks that some run may start."""
    possible: set[str] = set()
    arrived: dict[str, int] = dict.fromkeys(spec.tasks, 0)
    pending = list(spec.start_tasks)
    while pending:
        name = pending.pop()
        if name in possible:
            continue
        possible.add(name)
        for target in spec.successors[name]:
            arrived[target] += 1
            join = spec.tasks[target].join
            needed = len(spec.inbound[target]) if join == "all" else join or 1
            if arrived[target] >= needed:
                pending.append(target)
    return possible


def _contradictions(spec: WorkflowSpec, possible: set[str]) -> dict[str, str]:
    """Joins of all whose branches need one task to succeed and to fail.

    Only workflows without loops are looked at: in a loop a task may do both. Nor are very
    large ones, where looking would take long.
    """
    if len(possible) > _MOST_TASKS or all(task.join != "all" for task in spec.tasks.values()):
        return {}
    order = _topological(spec, possible)
    needs: dict[str, frozenset[tuple[str, str]]] = {}
    found: dict[str, str] = {}
    for name in order:
        ways: dict[str, frozenset[tuple[str, str]]] = {}
        for source in spec.inbound[name]:
            if source not in possible:
                continue
            task = spec.tasks[source]
            outcomes = {
                outcome
                for outcome, clause in (
                    ("succeed", task.on_success),
                    ("fail", task.on_error),
                    ("be skipped", task.on_skip),
                    ("", task.on_complete),
                )
                if any(transition.target == name for transition in clause.transitions)
            }
            sure = frozenset((source, outcomes.pop()) for _ in range(len(outcomes) == 1))
            ways[source] = needs[source] | frozenset(need for need in sure if need[1])
        if spec.tasks[name].join == "all":
            together: frozenset[tuple[str, str]] = frozenset().union(*ways.values())
            clash = _clash(together)
            if clash:
                found[name] = clash
                together = frozenset()
            needs[name] = together
        else:
            needs[name] = frozenset.intersection(*ways.values()) if ways else frozenset()
    return found


def _clash(needs: frozenset[tuple[str, str]]) -> str | None:
    outcomes: dict[str, str] = {}
    for task, outcome in sorted(needs):
        other = outcomes.setdefault(task, outcome)
        if other != outcome:
            return f"'{task}' would have to {other} and to {outcome}"
    return None


def _topological(spec: WorkflowSpec, possible: set[str]) -> list[str]:
    """The possible tasks, each after its inbound ones; nothing if there is a loop."""
    open_: dict[str, int] = {
        name: sum(source in possible for source in spec.inbound[name]) for name in possible
    }
    order = [name for name in spec.tasks if open_.get(name) == 0]
    for name in order:
        for target in spec.successors[name]:
            if target in open_:
                open_[target] -= 1
                if open_[target] == 0:
                    order.append(target)
    return order if len(order) == len(possible) else []


def _cycles(findings: Findings, workflow: CheckedWorkflow, spec: WorkflowSpec) -> None:
    """Warn of tasks of a reverse workflow that require each other."""
    open_ = {name: len(task.requires) for name, task in spec.tasks.items()}
    ready = [name for name, count in open_.items() if not count]
    for name in ready:
        for dependent in spec.dependents[name]:
            open_[dependent] -= 1
            if not open_[dependent]:
                ready.append(dependent)
    stuck = [name for name in spec.tasks if open_[name]]
    if stuck:
        first = workflow.tasks[stuck[0]].node
        findings.warn(
            first.entries.get("requires", first),
            "These tasks can never start, because they wait for each other: "
            + ", ".join(stuck[:20]),
        )
