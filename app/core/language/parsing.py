"""Texts of definitions made into specs.

The only way in for what users write. Everything that is wrong is told at once, with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..errors import InvalidDefinition, Problem
from . import checks, connections, undefined
from .document import Node, read
from .findings import Findings
from .limits import DEFAULT, Limits
from .loading import load_action, load_workflow, stored_action, stored_workflow
from .specs import ActionSpec, WorkbookSpec, WorkflowSpec

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowList:
    """The workflows of one document, in its order."""

    workflows: tuple[WorkflowSpec, ...]
    warnings: tuple[Problem, ...]
    #: The document as plain values.
    document: Mapping[str, Any]
    #: The text it was read from.
    text: str = field(repr=False)

    def __iter__(self) -> Iterator[WorkflowSpec]:
        return iter(self.workflows)

    def __len__(self) -> int:
        return len(self.workflows)

    def definition_of(self, name: str) -> str:
        """Return the text to store for one workflow.

        What the author wrote if the document holds nothing else, the workflow written anew if
        it holds several.
        """
        if len(self.workflows) == 1 and self.workflows[0].name == name:
            return self.text
        return _dump({"version": self.document["version"], name: self.document[name]})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionList:
    """The ad-hoc actions of one document, in its order."""

    actions: tuple[ActionSpec, ...]
    warnings: tuple[Problem, ...]
    document: Mapping[str, Any]
    text: str = field(repr=False)

    def __iter__(self) -> Iterator[ActionSpec]:
        return iter(self.actions)

    def __len__(self) -> int:
        return len(self.actions)

    def definition_of(self, name: str) -> str:
        """Return the text to store for one action: that of the whole document."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbook:
    """A workbook, and what is doubtful in it."""

    spec: WorkbookSpec
    warnings: tuple[Problem, ...]


def parse_workflows(
    text: str | bytes, *, limits: Limits = DEFAULT, lint: bool = False
) -> WorkflowList:
    """Return the workflows that *text* defines.

    With *lint* the warnings also tell of variables that nothing defines. Raises
    ``InvalidDefinition`` with all that is wrong, first what Mistral would have named.
    """
    root, warnings = read(text, limits=limits)
    findings = Findings(warnings)
    workflows = [
        _workflow(findings, name, node, limits, lint=lint)
        for name, node in checks.document_list(findings, root).items()
    ]
    for name, node in root.entries.items():
        _warn_of_spaces(findings, name, node)
    _raise_errors(findings)
    return WorkflowList(
        workflows=tuple(spec for spec in workflows if spec is not None),
        warnings=tuple(findings.warnings),
        document=root.value,
        text=_text(text),
    )


def parse_actions(text: str | bytes, *, limits: Limits = DEFAULT) -> ActionList:
    """Return the ad-hoc actions that *text* defines. Raises ``InvalidDefinition``."""
    root, warnings = read(text, limits=limits)
    findings = Findings(warnings)
    items = checks.document_list(findings, root)
    for name, node in items.items():
        checks.action(findings, node)
        _warn_of_spaces(findings, name, node)
    _raise_errors(findings)
    return ActionList(
        actions=tuple(load_action(stored_action(name, node.value)) for name, node in items.items()),
        warnings=tuple(findings.warnings),
        document=root.value,
        text=_text(text),
    )


def parse_workbook(text: str | bytes, *, limits: Limits = DEFAULT, lint: bool = False) -> Workbook:
    """Return the workbook that *text* defines. Raises ``InvalidDefinition``."""
    root, warnings = read(text, limits=limits)
    findings = Findings(warnings)
    workflow_nodes, action_nodes = checks.workbook(findings, root)
    for node in action_nodes.values():
        checks.action(findings, node)
    workflows = {
        name: _workflow(findings, name, node, limits, lint=lint, member=True)
        for name, node in workflow_nodes.items()
    }
    _raise_errors(findings)
    nodes = {("workflows", name): node for name, node in workflow_nodes.items()}
    nodes.update({("actions", name): node for name, node in action_nodes.items()})
    return Workbook(
        spec=WorkbookSpec(
            name=root.value["name"],
            raw={**root.value, "version": "2.0"},
            description=root.value.get("description"),
            tags=tuple(root.value.get("tags", ())),
            workflows={name: spec for name, spec in workflows.items() if spec is not None},
            actions={
                name: load_action(stored_action(name, node.value))
                for name, node in action_nodes.items()
            },
        ),
        warnings=tuple(findings.warnings),
    )


def lint(text: str | bytes, *, limits: Limits = DEFAULT) -> tuple[Problem, ...]:
    """Return all that is doubtful in a document of any kind. Raises ``InvalidDefinition``."""
    root, _ = read(text, limits=limits)
    written = root.entries
    name = written.get("name")
    if name is not None and not isinstance(name.value, dict):
        return parse_workbook(text, limits=limits, lint=True).warnings
    items = [node.value for key, node in written.items() if key != "version"]
    if items and all(isinstance(item, dict) and "base" in item for item in items):
        return parse_actions(text, limits=limits).warnings
    return parse_workflows(text, limits=limits, lint=True).warnings


def check_names(names: Iterable[str]) -> None:
    """Raise ``InvalidDefinition`` if one of *names* cannot be stored.

    Whoever stores definitions asks this; as in Mistral a document may be validated without.
    """
    problems = []
    for name in names:
        if not name:
            problems.append("The name must not be empty")
        elif " " in name:
            problems.append(f"Name '{name}' must not contain spaces")
        elif len(name) > checks.MAX_NAME:
            problems.append(f"The name '{name}' is longer than {checks.MAX_NAME} characters")
    if problems:
        raise InvalidDefinition([Problem(message=message) for message in problems])


def _workflow(
    findings: Findings, name: str, node: Node, limits: Limits, *, lint: bool, member: bool = False
) -> WorkflowSpec | None:
    errors_before = len(findings.errors)
    checked = checks.workflow(findings, name, node, member=member)
    if checked is None:
        return None
    connections.check(findings, checked, limits)
    if len(findings.errors) > errors_before:
        return None
    spec = load_workflow(stored_workflow(name, node.value))
    connections.look_for_doubts(findings, checked, spec)
    if lint:
        undefined.look(findings, checked, spec)
    return spec


def _warn_of_spaces(findings: Findings, name: str, node: Node) -> None:
    if " " in name and node.key_type is None:
        findings.warn(node, f"Name '{name}' must not contain spaces to be stored", at_key=True)


def _raise_errors(findings: Findings) -> None:
    if findings.errors:
        problems = list(findings.errors)
        if findings.more:
            problems.append(Problem(message=f"... and {findings.more} more mistakes"))
        raise InvalidDefinition(problems)


def _text(text: str | bytes) -> str:
    return text.decode("utf-8") if isinstance(text, bytes) else text


def _dump(document: Mapping[str, Any]) -> str:
    dumped: str = yaml.dump(
        document,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
    )
    return dumped
