"""Whether a document follows the language: shapes, one-line texts, grammar of expressions.

Each attribute has a checking function; the tables below say which attributes a thing may have.
Nothing here stops at the first mistake. Wording starts as Mistral's does, whose clients compare
it. How tasks hang together is looked at in ``connections``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import shorthand
from .document import Node, is_number
from .findings import Findings, quoted
from .loading import WITH_ITEM

Checker = Callable[[Findings, Node], None]

MAX_NAME = 255
#: A join's unique key, ``join-task-<execution id>-<name>``, must fit into as many characters.
MAX_JOIN_NAME = MAX_NAME - 47

_SINGLE_EXPRESSION = re.compile(r"^<%.*?%>\s*$|^{{(.*?)}}\s*$")
_TARGETS = (
    re.compile(r"^\S+$"),
    re.compile(r"^\w+ \w+=(.*)$"),
    re.compile(r"^\w+\(\w+=(.*)\)$"),
)
_MEMBER = re.compile(r"^[\w-]+$")
_NO_SCHEMA = "is not valid under any of the given schemas"

CLAUSES = ("on-success", "on-error", "on-complete", "on-skip")


@dataclass(slots=True)
class Edge:
    """A transition as written: where it leads and where that stands."""

    target: str
    node: Node
    #: Whether the target stands in a key, with its guard as the value.
    guarded: bool = False


@dataclass(slots=True)
class CheckedTask:
    """What the graph needs to know of a task whose shape has been checked."""

    name: str
    node: Node
    #: By clause; a clause whose shape is wrong is not there.
    edges: dict[str, list[Edge]] = field(default_factory=dict)
    requires: list[Edge] = field(default_factory=list)
    join: Any = None


@dataclass(slots=True)
class CheckedWorkflow:
    """What the graph needs to know of a workflow whose shape has been checked."""

    name: str
    node: Node
    reverse: bool
    tasks: dict[str, CheckedTask] = field(default_factory=dict)
    defaults: CheckedTask | None = None
    #: Whether all clauses could be read, so that what is missing is really missing.
    complete: bool = True


# --- shapes ---------------------------------------------------------------------------------


def _anything(findings: Findings, node: Node) -> None:
    """Accept whatever stands there."""


def _is_filled(findings: Findings, node: Node) -> bool:
    """Whether *node* is a mapping with at least one entry."""
    if not isinstance(node.value, dict):
        findings.invalid(node, f"{quoted(node.value)} is not of type 'object'")
        return False
    if not node.value:
        findings.invalid(node, "{} should be non-empty")
        return False
    return True


def _is_mapping(findings: Findings, node: Node) -> bool:
    """Whether *node* is a mapping with at least one entry, and all its keys are texts."""
    if not _is_filled(findings, node):
        return False
    wrong = [child for child in node.entries.values() if not _has_text_key(findings, child)]
    return not wrong


def _has_text_key(findings: Findings, child: Node) -> bool:
    if child.key_type is None:
        return True
    findings.invalid(
        child,
        f"the key {child.key} is not of type 'string' but {child.key_type}",
        hint="put the key in quotes",
        at_key=True,
    )
    return False


def _text(findings: Findings, node: Node) -> bool:
    if not isinstance(node.value, str):
        findings.invalid(
            node,
            f"{quoted(node.value)} is not of type 'string'",
            hint=f"put it in quotes: '{node.value}'" if is_number(node.value) else None,
        )
        return False
    if not node.value:
        findings.invalid(node, "'' should be non-empty")
        return False
    return True


def _check_text(findings: Findings, node: Node) -> None:
    _text(findings, node)


def _texts(findings: Findings, node: Node) -> bool:
    """Whether *node* is a list of different texts, at least one."""
    if not isinstance(node.value, list):
        findings.invalid(node, f"{quoted(node.value)} is not of type 'array'")
        return False
    if not node.value:
        findings.invalid(node, "[] should be non-empty")
        return False
    wrong = [item for item in node.items if not _text(findings, item)]
    return not wrong and _unique(findings, node)


def _unique(findings: Findings, node: Node, what: str = "has non-unique elements") -> bool:
    seen: set[str] = set()
    for item in node.items:
        value = item.value if isinstance(item.value, str) else _canonical(item.value)
        if value in seen:
            findings.invalid(
                item,
                f"{quoted(node.value)} {what}: {quoted(item.value)} stands there twice",
            )
            return False
        seen.add(value)
    return True


def _canonical(value: Any) -> str:
    """The same text for equal JSON values, and one that no plain text has."""
    return "\0" + json.dumps(value, sort_keys=True)


def _tags(findings: Findings, node: Node) -> None:
    _texts(findings, node)


def _text_or_texts(findings: Findings, node: Node) -> bool:
    return _text(findings, node) if isinstance(node.value, str) else _texts(findings, node)


def _boolean_or_expression(findings: Findings, node: Node) -> None:
    if isinstance(node.value, bool):
        return
    if isinstance(node.value, str) and _SINGLE_EXPRESSION.search(node.value):
        findings.expression(node, node.value)
        return
    findings.invalid(
        node,
        f"{quoted(node.value)} {_NO_SCHEMA}: '{node.key}' must be true, false or one expression",
    )


def _integer_or_expression(findings: Findings, node: Node) -> None:
    value = node.value
    if is_number(value) and value >= 0 and value == int(value):
        return
    if isinstance(value, str) and _SINGLE_EXPRESSION.search(value):
        findings.expression(node, value)
        return
    findings.invalid(
        node,
        f"{quoted(value)} {_NO_SCHEMA}: '{node.key}' must be an integer, 0 or more, "
        "or one expression",
    )


def _single_expression(findings: Findings, node: Node) -> None:
    if isinstance(node.value, str) and _SINGLE_EXPRESSION.search(node.value):
        findings.expression(node, node.value)
        return
    findings.invalid(
        node,
        f"{quoted(node.value)} {_NO_SCHEMA}: '{node.key}' must be one expression, "
        "<% ... %> or {{ ... }}",
    )


def _version(findings: Findings, node: Node) -> None:
    value = node.value
    if value == "":
        findings.invalid(node, "'' should be non-empty")
    elif not (isinstance(value, str) or (is_number(value) and value >= 0)):
        findings.invalid(node, f"{quoted(value)} {_NO_SCHEMA}: write version: '2.0'")
    elif value not in ("2.0", 2.0, "2", 2):
        findings.warn(
            node,
            f"The version {quoted(value)} is not looked at: the language is 2.0",
            kind="DSLParsingException",
            hint="write version: '2.0'",
        )


# --- parts of workflows and actions -----------------------------------------------------------


def _input(findings: Findings, node: Node) -> None:
    """The declaration of parameters: names, and names with defaults."""
    if not isinstance(node.value, list):
        hint = "write a list: [a, {b: 1}]" if isinstance(node.value, dict) else None
        findings.invalid(node, f"{quoted(node.value)} is not of type 'array'", hint=hint)
        return
    if not node.value:
        findings.invalid(node, "[] should be non-empty")
        return
    for item in node.items:
        if isinstance(item.value, dict):
            if _is_mapping(findings, item):
                if len(item.value) > 1:
                    findings.invalid(
                        item,
                        f"{quoted(item.value)} has too many properties",
                        hint="each entry of the list declares one parameter",
                    )
                for default in item.entries.values():
                    _no_expressions_in_default(findings, default)
        elif not isinstance(item.value, str):
            findings.invalid(
                item,
                f"{quoted(item.value)} {_NO_SCHEMA}: a parameter is a name, "
                "or a name with its default",
            )
        elif not item.value:
            findings.invalid(item, f"'' {_NO_SCHEMA}: a parameter needs a name")
    _unique(findings, node)


def _no_expressions_in_default(findings: Findings, default: Node) -> None:
    for text in default.texts():
        if _SINGLE_EXPRESSION.search(text.value):
            findings.warn(
                text,
                f"The default of '{default.key}' is not evaluated: the parameter will hold the "
                f"text {quoted(text.value)}",
                hint="compute it in 'vars'",
            )


def _values(findings: Findings, node: Node) -> None:
    """A mapping whose values may hold expressions."""
    if _is_mapping(findings, node):
        findings.expressions(node)


def _values_unchecked(findings: Findings, node: Node) -> None:
    """Like ``_values``, where Mistral does not look at the expressions."""
    if _is_mapping(findings, node):
        findings.doubtful_expressions(node)


def _doubtful_text(findings: Findings, node: Node) -> None:
    if _text(findings, node):
        findings.doubtful_expression(node, node.value)


def _one_line(findings: Findings, node: Node) -> shorthand.Line | None:
    """Check a command with parameters and return it taken apart."""
    if not _text(findings, node):
        return None
    try:
        line = shorthand.split(node.value)
    except shorthand.NoCommand:
        findings.error(node, f"Invalid action/workflow task property: {node.value}")
        return None
    findings.doubtful_expression(node, line.command)
    for value in line.parameters.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                # Mistral looks at the values themselves, not into lists.
                if value is part:
                    findings.expression(node, part)
                else:
                    findings.doubtful_expression(node, part)
    if line.dropped:
        findings.warn(
            node,
            f"{quoted(' '.join(line.dropped))} in {quoted(node.value)} is ignored",
            hint="put the value in quotes, or write the parameters under 'input'",
        )
    return line


def _command(findings: Findings, node: Node) -> None:
    _one_line(findings, node)


def _task_input(findings: Findings, node: Node) -> None:
    if isinstance(node.value, str):
        if _text(findings, node):
            findings.expression(node, node.value)
            if not _SINGLE_EXPRESSION.search(node.value):
                findings.warn(
                    node,
                    f"The input {quoted(node.value)} is a text, but must give a mapping",
                    hint="write one expression, or a mapping",
                )
    elif isinstance(node.value, dict):
        _values(findings, node)
    else:
        findings.invalid(
            node,
            f"{quoted(node.value)} {_NO_SCHEMA}: 'input' must be a mapping or one expression",
        )


def _with_items(findings: Findings, node: Node) -> None:
    if not isinstance(node.value, (str, list)):
        findings.invalid(
            node,
            f"{quoted(node.value)} {_NO_SCHEMA}: 'with-items' must be a text "
            "'<variable> in <array>' or a list of such",
        )
        return
    if not _text_or_texts(findings, node):
        return
    variables: set[str] = set()
    for item in node.items or [node]:
        variable = _with_item(findings, item)
        if variable in variables:
            findings.warn(item, f"The variable '{variable}' is used for two lists")
        if variable:
            variables.add(variable)


def _with_item(findings: Findings, node: Node) -> str | None:
    match = WITH_ITEM.match(node.value)
    if match is None:
        findings.error(
            node,
            "Wrong format of 'with-items' property. Please use format "
            f"'var in {{[some, list] | <% $.array %> }}: {quoted(node.value)}",
            hint="write '<variable> in <% expression %>' or '<variable> in [1, 2]'",
        )
        return None
    variable, source = match.groups()
    if source[0] != "[":
        findings.expression(node, source)
    else:
        try:
            array = shorthand.json_list(source)
        except ValueError as err:
            findings.error(
                node,
                f"Invalid array in 'with-items' clause: {source[:160]}, error: {err}",
                hint="the array is JSON: texts need double quotes",
            )
            return None
        for element in array:
            if isinstance(element, str):
                findings.expression(node, element)
    rest = node.value[match.end() :].strip()
    if rest:
        findings.warn(node, f"{quoted(rest)} after the array is ignored")
    variable_name: str = variable
    return variable_name


def _retry(findings: Findings, node: Node) -> None:
    if isinstance(node.value, dict):
        _retry_mapping(findings, node)
    elif not isinstance(node.value, str):
        findings.invalid(
            node, f"{quoted(node.value)} {_NO_SCHEMA}: 'retry' must be a mapping or one line"
        )
    else:
        line = _one_line(findings, node)
        if line is not None:
            written = Node(dict(line.parameters), node.line, node.column)
            written.parent, written.key = node.parent, node.key
            written.children = {}
            for key, value in line.parameters.items():
                child = Node(value, node.line, node.column)
                child.parent, child.key = written, key
                written.children[key] = child
            _retry_mapping(findings, written)


def _retry_mapping(findings: Findings, node: Node) -> None:
    _attributes(findings, node, _RETRY)
    for name in ("count", "delay"):
        if name not in node.entries:
            findings.invalid(
                node,
                f"'{name}' is a required property",
                hint="retry needs both count and delay: {count: 3, delay: 1}",
            )


# --- clauses ----------------------------------------------------------------------------------


def _transitions(findings: Findings, node: Node) -> list[Edge] | None:
    """Check what may follow a clause's name or ``next``; None when it cannot be read."""
    value = node.value
    if isinstance(value, list):
        if not value:
            findings.invalid(node, f"[] {_NO_SCHEMA}: it must name at least one task")
            return None
        read = [_transition(findings, item) for item in node.items]
        unique = _unique(findings, node, _NO_SCHEMA)
        edges = [edge for edge in read if edge is not None]
        return edges if unique and len(edges) == len(read) else None
    edge = _transition(findings, node)
    return None if edge is None else [edge]


def _transition(findings: Findings, node: Node) -> Edge | None:
    value = node.value
    if isinstance(value, str):
        if not any(pattern.search(value) for pattern in _TARGETS):
            hint = None
            if value.strip() != value:
                hint = "remove the blanks around the name"
            elif "<%" in value or "{{" in value:
                hint = "the name of a task cannot be computed; use guards"
            findings.invalid(
                node,
                f"{quoted(value)} {_NO_SCHEMA}: it must be the name of a task, or a command as in "
                "fail msg='why'",
                hint=hint,
            )
            return None
        return _target(findings, node, value, at_key=False)
    if not isinstance(value, dict):
        findings.invalid(
            node,
            f"{quoted(value)} {_NO_SCHEMA}: it must be a task's name, or a name with a guard",
        )
        return None
    if len(value) != 1:
        findings.invalid(
            node,
            f"{quoted(value)} {_NO_SCHEMA}: a transition has one target",
            hint="write a list: [{b: <% guard %>}, {c: <% guard %>}]",
        )
        return None
    guard = next(iter(node.entries.values()))
    if not _has_text_key(findings, guard):
        return None
    if not isinstance(guard.value, str) or not _SINGLE_EXPRESSION.search(guard.value):
        findings.invalid(
            guard,
            f"{quoted(guard.value)} {_NO_SCHEMA}: a guard must be one expression, "
            "<% ... %> or {{ ... }}",
        )
        return None
    findings.expression(guard, guard.value)
    return _target(findings, guard, str(guard.key), at_key=True)


def _target(findings: Findings, node: Node, text: str, *, at_key: bool) -> Edge | None:
    try:
        line = shorthand.split_target(text)
    except shorthand.NoCommand:
        return Edge(text, node, at_key)
    for value in line.parameters.values():
        if isinstance(value, str):
            findings.doubtful_expression(node, value)
    if line.dropped:
        findings.warn(
            node,
            f"{quoted(' '.join(line.dropped))} in {quoted(text)} is ignored",
            hint="put the value in quotes",
            at_key=at_key,
        )
    return Edge(line.command, node, at_key)


def _clause(findings: Findings, node: Node) -> list[Edge] | None:
    """Check an on-clause; None when it cannot be read."""
    value = node.value
    if not isinstance(value, dict) or not {"next", "publish"} & value.keys():
        return _transitions(findings, node)
    edges: list[Edge] | None = []
    for name, child in node.entries.items():
        if name == "next":
            edges = _transitions(findings, child)
        elif name == "publish":
            _scopes(findings, child)
        else:
            findings.unknown(child, ("next", "publish"))
    return edges


def _scopes(findings: Findings, node: Node) -> None:
    if not isinstance(node.value, dict):
        findings.invalid(
            node,
            f"{quoted(node.value)} is not of type 'object'",
            hint="write publish: {branch: {name: value}}",
        )
        return
    _attributes(findings, node, _SCOPES)
    if not node.entries.keys() - _ABOUT_SCOPES:
        findings.error(
            node, f"Either 'branch', 'global' or 'atomic' must be specified: {quoted(node.value)}"
        )


# --- tables -----------------------------------------------------------------------------------


def _attributes(findings: Findings, node: Node, table: Mapping[str, Checker]) -> None:
    """Check every entry of a mapping by the table's function for it."""
    for name, child in node.entries.items():
        checker = table.get(name)
        if checker is not None:
            checker(findings, child)
        elif _has_text_key(findings, child):
            findings.unknown(child, table)


_ABOUT: Mapping[str, Checker] = {"description": _check_text, "tags": _tags}

_RETRY: Mapping[str, Checker] = {
    "count": _integer_or_expression,
    "delay": _integer_or_expression,
    "break-on": _single_expression,
    "continue-on": _single_expression,
}

_SCOPES: Mapping[str, Checker] = {
    "branch": _values,
    "global": _values,
    "atomic": _values,
    "name": _check_text,
    "version": _anything,
    **_ABOUT,
}

_ABOUT_SCOPES = frozenset({"name", "version", "description", "tags"})

_POLICIES: Mapping[str, Checker] = {
    "retry": _retry,
    "wait-before": _integer_or_expression,
    "wait-after": _integer_or_expression,
    "timeout": _integer_or_expression,
    "concurrency": _integer_or_expression,
    "pause-before": _boolean_or_expression,
    "fail-on": _boolean_or_expression,
    "safe-rerun": _boolean_or_expression,
}

#: What a task of either type may have. Its name, version and type are overwritten.
_TASK: Mapping[str, Checker] = {
    **_ABOUT,
    **_POLICIES,
    "name": _anything,
    "version": _anything,
    "type": _anything,
    "action": _command,
    "workflow": _command,
    "input": _task_input,
    "with-items": _with_items,
    "publish": _values,
    "publish-on-error": _values,
    "publish-on-skip": _values,
    "keep-result": _boolean_or_expression,
    "target": _doubtful_text,
}


def _workflow_description(findings: Findings, node: Node) -> None:
    """Mistral looks at descriptions of tasks and actions, not at those of workflows."""
    if not isinstance(node.value, str):
        findings.warn(node, f"The description {quoted(node.value)} is not a text")


_WORKFLOW: Mapping[str, Checker] = {
    "description": _workflow_description,
    "tags": _tags,
    "name": _anything,
    "version": _anything,
    "type": _anything,
    "input": _input,
    "output": _values,
    "output-on-error": _values_unchecked,
    "vars": _values,
}


def _action_output(findings: Findings, node: Node) -> None:
    if isinstance(node.value, str):
        findings.expression(node, node.value)
    else:
        findings.doubtful_expressions(node)


_ACTION: Mapping[str, Checker] = {
    **_ABOUT,
    "name": _anything,
    "version": _anything,
    "base": _command,
    "base-input": _values,
    "input": _input,
    "output": _action_output,
}


# --- documents --------------------------------------------------------------------------------


def document_list(findings: Findings, root: Node) -> dict[str, Node]:
    """Check the frame of a list of workflows or actions and return the items by name."""
    if not isinstance(root.value, dict):
        findings.invalid(root, f"{quoted(root.value)} is not of type 'object'")
        return {}
    version = root.entries.get("version")
    if version is None:
        findings.invalid(root, "'version' is a required property", hint="begin with version: '2.0'")
    else:
        _version(findings, version)
    items = {name: node for name, node in root.entries.items() if name != "version"}
    sound = {name: node for name, node in items.items() if _has_text_key(findings, node)}
    if not items and version is not None:
        findings.error(root, f"At least one item must be in the list [data={quoted(root.value)}].")
    return sound


def workbook(findings: Findings, root: Node) -> tuple[dict[str, Node], dict[str, Node]]:
    """Check the frame of a workbook and return its workflows and actions by short name."""
    if not isinstance(root.value, dict):
        findings.invalid(root, f"{quoted(root.value)} is not of type 'object'")
        return {}, {}
    version = root.entries.get("version")
    if version is None:
        findings.invalid(root, "'version' is a required property", hint="begin with version: '2.0'")
    elif not _is_two(version.value):
        findings.error(
            version,
            f"Unsupported DSL version: {version.value}",
            kind="DSLParsingException",
            hint="write version: '2.0'",
        )
    if "name" not in root.entries:
        findings.invalid(root, "'name' is a required property")
    members: dict[str, dict[str, Node]] = {"workflows": {}, "actions": {}}

    def collect(findings: Findings, node: Node) -> None:
        members[str(node.key)] = _members(findings, node)

    _attributes(
        findings,
        root,
        {
            **_ABOUT,
            "version": _anything,
            "name": _check_text,
            "workflows": collect,
            "actions": collect,
        },
    )
    return members["workflows"], members["actions"]


def _is_two(version: Any) -> bool:
    if isinstance(version, bool) or not isinstance(version, (str, int, float)):
        return False
    try:
        return float(version) == 2.0
    except (ValueError, OverflowError):
        return False


def _members(findings: Findings, node: Node) -> dict[str, Node]:
    if not _is_filled(findings, node):
        return {}
    result: dict[str, Node] = {}
    for name, child in node.entries.items():
        if not _has_text_key(findings, child):
            continue
        if name == "version":
            if not _is_two(child.value):
                findings.invalid(child, f"{quoted(child.value)} is not one of ['2.0', 2.0]")
        elif not _MEMBER.search(name):
            findings.invalid(
                child,
                f"{name!r} does not match any of the regexes: '^(?!version$)[\\\\w-]+$'",
                hint="names in a workbook have letters, digits, _ and - only",
                at_key=True,
            )
        else:
            result[name] = child
    return result


def action(findings: Findings, node: Node) -> None:
    """Check an ad-hoc action."""
    if not _is_filled(findings, node):
        return
    if "base" not in node.entries:
        findings.invalid(node, "'base' is a required property", hint="base names the action to run")
    _attributes(findings, node, _ACTION)
    findings.tell_grammar()


def workflow(
    findings: Findings, name: str, node: Node, *, member: bool = False
) -> CheckedWorkflow | None:
    """Check a workflow and return what the graph needs; None when it has no tasks to look at."""
    if not isinstance(node.value, dict) and member:
        findings.error(
            node,
            "A specification with polymorphic key must be backed by a dictionary "
            f"[name={name}, data={quoted(node.value)}]",
            kind="DSLParsingException",
        )
        return None
    if not _is_filled(findings, node):
        return None
    kind = node.value.get("type", "direct")
    known = kind in ("direct", "reverse") if isinstance(kind, str) else False
    if not known:
        findings.error(
            node.entries["type"],
            f"Failed to find a specification class to instantiate [type={quoted(kind)}]: "
            "'type' must be 'direct' or 'reverse'",
            kind="DSLParsingException",
        )
    result = CheckedWorkflow(name=name, node=node, reverse=kind == "reverse", complete=known)
    for key, child in node.entries.items():
        checker = _WORKFLOW.get(key)
        if checker is not None:
            checker(findings, child)
        elif key not in ("tasks", "task-defaults") and _has_text_key(findings, child):
            findings.warn(
                child,
                f"A workflow has no attribute '{key}': it is ignored",
                hint=findings.closest(key, (*_WORKFLOW, "tasks", "task-defaults")),
                at_key=True,
            )
    tasks = node.entries.get("tasks")
    if tasks is None:
        findings.invalid(node, "'tasks' is a required property", at_key=True)
    shaped = tasks is not None and _is_filled(findings, tasks)
    findings.tell_grammar()
    defaults = node.entries.get("task-defaults")
    if defaults is not None:
        result.defaults = _task_defaults(findings, defaults, result)
    if tasks is None or not shaped:
        return None
    for task_name, child in tasks.entries.items():
        if _has_text_key(findings, child):
            _task(findings, task_name, child, result)
        else:
            result.complete = False
    return result


def _task_defaults(findings: Findings, node: Node, workflow: CheckedWorkflow) -> CheckedTask | None:
    if not _is_filled(findings, node):
        workflow.complete = False
        return None
    task = CheckedTask("task-defaults", node)
    _attributes(findings, node, _TaskTable.defaults(task, workflow))
    findings.tell_grammar()
    return task


def _task(findings: Findings, name: str, node: Node, workflow: CheckedWorkflow) -> None:
    task = CheckedTask(name, node)
    if not name:
        findings.invalid(node, "'' should be non-empty: a task needs a name", at_key=True)
    if name == "version":
        findings.invalid(
            node,
            "'version' cannot be the name of a task: Mistral would ignore it",
            hint="rename the task",
            at_key=True,
        )
    if not _is_filled(findings, node):
        workflow.complete = False
        workflow.tasks[name] = task
        return
    _attributes(findings, node, _TaskTable.task(task, workflow))
    if "action" in node.entries and "workflow" in node.entries:
        findings.invalid(
            node.entries["workflow"],
            f"{quoted(node.value)} is valid under each of {{'required': ['workflow']}}, "
            "{'required': ['action']}: a task has either an action or a workflow",
            at_key=True,
        )
    limit, what = (MAX_JOIN_NAME, "join task") if task.join else (MAX_NAME, "task")
    if len(name) > limit:
        findings.error(
            node,
            f"The length of a '{name}' {what} name must not exceed {limit} symbols",
            at_key=True,
        )
    _inline_over_text(findings, node)
    findings.tell_grammar()
    workflow.tasks[name] = task


def _inline_over_text(findings: Findings, node: Node) -> None:
    """Parameters on the line cannot be merged into an ``input`` that is an expression."""
    given = node.entries.get("input")
    command = node.entries.get("action") or node.entries.get("workflow")
    if given is None or command is None or not isinstance(given.value, str):
        return
    if not isinstance(command.value, str):
        return
    try:
        parameters = shorthand.split(command.value).parameters
    except shorthand.NoCommand:
        return
    if parameters:
        findings.invalid(
            given,
            f"{quoted(given.value)} is not of type 'object': parameters also stand in "
            f"'{command.key}', and cannot be merged with an expression",
            hint="write all parameters under 'input'",
        )


class _TaskTable:
    """The tables of tasks whose checkers also collect transitions."""

    @staticmethod
    def task(task: CheckedTask, workflow: CheckedWorkflow) -> Mapping[str, Checker]:
        known = workflow.node.value.get("type", "direct")
        own: dict[str, Checker] = {}
        if known != "reverse":
            own.update(_TaskTable._clauses(task, workflow))
            own["join"] = _TaskTable._join(task, workflow)
        if known != "direct":
            own["requires"] = _TaskTable._requires(task)
        return {**_TASK, **own}

    @staticmethod
    def defaults(task: CheckedTask, workflow: CheckedWorkflow) -> Mapping[str, Checker]:
        return {
            **_POLICIES,
            **_ABOUT,
            "name": _check_text,
            "version": _anything,
            **_TaskTable._clauses(task, workflow),
            "requires": _TaskTable._requires(task),
        }

    @staticmethod
    def _clauses(task: CheckedTask, workflow: CheckedWorkflow) -> Mapping[str, Checker]:
        def clause(findings: Findings, node: Node) -> None:
            edges = _clause(findings, node)
            if edges is None:
                workflow.complete = False
            else:
                task.edges[str(node.key)] = edges

        return dict.fromkeys(CLAUSES, clause)

    @staticmethod
    def _join(task: CheckedTask, workflow: CheckedWorkflow) -> Checker:
        def join(findings: Findings, node: Node) -> None:
            value = node.value
            if value in ("all", "one") or (is_number(value) and value >= 0 and value == int(value)):
                task.join = value
            else:
                workflow.complete = False
                negative = is_number(value) and value == int(value)
                what = "is less than the minimum of 0" if negative else _NO_SCHEMA
                findings.invalid(
                    node,
                    f"{quoted(value)} {what}: 'join' must be all, one, or an integer, 0 or more",
                )

        return join

    @staticmethod
    def _requires(task: CheckedTask) -> Checker:
        def requires(findings: Findings, node: Node) -> None:
            if _text_or_texts(findings, node):
                task.requires = [Edge(item.value, item) for item in node.items or [node]]

        return requires
