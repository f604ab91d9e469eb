"""Variables that are read although nothing defines them; looked for on demand."""

from __future__ import annotations

from collections.abc import Iterable

from ..expressions import GrammarError, is_expression, references
from .checks import CheckedWorkflow
from .document import Node
from .findings import Findings
from .specs import WorkflowSpec

#: Names that every context has.
_ALWAYS = frozenset({"openstack", "__env", "__execution", "__task_execution", "__versions"})


def look(findings: Findings, workflow: CheckedWorkflow, spec: WorkflowSpec) -> None:
    """Warn of variables that are read but neither declared, published nor computed anywhere.

    What an environment holds cannot be known here, but it is read through ``env()``. Where a
    variable is defined is not followed along the branches: only names that exist nowhere count.
    """
    known = {*_ALWAYS, *spec.vars, *(parameter.name for parameter in spec.input)}
    for task in spec.tasks.values():
        known.update(task.publish, task.publish_on_error, task.publish_on_skip)
        for clause in task.clauses:
            if clause.publish is not None:
                known.update(clause.publish.branch, clause.publish.global_, clause.publish.atomic)
    entries = workflow.node.entries
    for part in ("vars", "output", "output-on-error", "task-defaults"):
        if part in entries:
            _look(findings, entries[part].texts(), known)
    for name, checked in workflow.tasks.items():
        task = spec.tasks[name]
        items = {item.variable for item in task.with_items}
        target_sees = task.input if isinstance(task.input, dict) else {}
        for attribute, node in checked.node.entries.items():
            seen = known
            if attribute in ("input", "action", "workflow"):
                seen = known | items
            elif attribute == "target":
                seen = known.union(target_sees)
            if attribute not in ("name", "version", "type", "description", "tags"):
                _look(findings, node.texts(), seen)


def _look(findings: Findings, texts: Iterable[Node], known: set[str]) -> None:
    for node in texts:
        if not is_expression(node.value):
            continue
        try:
            names = references(node.value)
        except GrammarError:
            continue
        for name in sorted(names - known):
            findings.warn(
                node,
                f"Nothing defines the variable '{name}'",
                kind="YaqlEvaluationException",
                hint=findings.closest(name, known)
                or "declare it in 'input' or 'vars', or publish it",
            )
