"""Stored mappings made into specs.

What is read here was checked when it was stored, so nothing is checked again. What the
attributes mean together - inline parameters over ``input``, defaults under a task's own
policies and clauses - is decided here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..data_flow import deep_merge
from . import shorthand
from .specs import (
    ActionSpec,
    Clause,
    InputParameter,
    Policies,
    Publish,
    Retry,
    TaskSpec,
    Transition,
    WithItem,
    WorkflowSpec,
)

VERSION = "2.0"

#: ``<variable> in <array>``; what follows the array is ignored.
WITH_ITEM = re.compile(rf"\s*([\w\-]+)\s*in\s*(\[.+\]|{shorthand.EXPRESSION})")

_NOTHING: Mapping[str, Any] = {}


def load_workflow(raw: Mapping[str, Any]) -> WorkflowSpec:
    """Return the spec that was stored as *raw*."""
    defaults = raw.get("task-defaults", _NOTHING)
    default_policies = _policies(defaults, Policies())
    default_clauses = {name: _clause(defaults.get(name)) for name in _CLAUSES}
    reverse = raw.get("type") == "reverse"
    description = raw.get("description")
    tasks = {
        name: _task(name, position, task, defaults, default_policies, default_clauses, reverse)
        for position, (name, task) in enumerate(raw["tasks"].items())
    }
    return WorkflowSpec(
        name=raw["name"],
        type="reverse" if reverse else "direct",
        raw=raw,
        description=description if isinstance(description, str) else None,
        tags=tuple(raw.get("tags", ())),
        input=_input(raw.get("input", ())),
        output=raw.get("output"),
        output_on_error=raw.get("output-on-error"),
        vars=raw.get("vars", _NOTHING),
        tasks=tasks,
    )


def load_action(raw: Mapping[str, Any]) -> ActionSpec:
    """Return the ad-hoc action that was stored as *raw*."""
    line = shorthand.split(raw["base"])
    return ActionSpec(
        name=raw["name"],
        raw=raw,
        base=line.command,
        base_input=deep_merge(raw.get("base-input", _NOTHING), line.parameters),
        input=_input(raw.get("input", ())),
        output=raw.get("output"),
        has_output="output" in raw,
        description=raw.get("description"),
        tags=tuple(raw.get("tags", ())),
    )


def stored_workflow(name: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping to store for a workflow that passed the checks.

    As in Mistral each task also tells its name, version and type, and inline parameters
    already stand in its ``input`` when it has one.
    """
    kind = written.get("type", "direct")
    raw = dict(written)
    raw["tasks"] = {
        task_name: _stored_task(task_name, task, kind)
        for task_name, task in written["tasks"].items()
    }
    raw["name"] = name
    raw["version"] = VERSION
    return raw


def stored_action(name: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping to store for an ad-hoc action that passed the checks."""
    return {**written, "name": name, "version": VERSION}


def entries(value: Any) -> list[tuple[str, str | None]]:
    """Return the targets and guards of what may stand in a list of transitions."""
    if isinstance(value, str):
        return [(value, None)]
    if isinstance(value, Mapping):
        return list(value.items())
    return [entry for item in value for entry in entries(item)]


def _stored_task(name: str, written: Mapping[str, Any], kind: str) -> dict[str, Any]:
    raw = dict(written)
    parameters = raw.get("input")
    if isinstance(parameters, Mapping):
        line = shorthand.split(raw.get("action") or raw.get("workflow") or "")
        raw["input"] = deep_merge(parameters, line.parameters)
    raw["type"] = kind
    raw["name"] = name
    raw["version"] = VERSION
    return raw


def _task(
    name: str,
    position: int,
    raw: Mapping[str, Any],
    defaults: Mapping[str, Any],
    default_policies: Policies,
    default_clauses: Mapping[str, Clause],
    reverse: bool,
) -> TaskSpec:
    action = workflow = None
    inline: Mapping[str, Any] = _NOTHING
    if "workflow" in raw:
        line = shorthand.split(raw["workflow"])
        workflow, inline = line.command, line.parameters
    elif "action" in raw:
        line = shorthand.split(raw["action"])
        action, inline = line.command, line.parameters
    else:
        action = "std.noop"
    given = raw.get("input", _NOTHING)
    clauses = {
        clause: _effective_clause(name, _clause(raw.get(clause)), default_clauses[clause])
        for clause in (() if reverse else _CLAUSES)
    }
    return TaskSpec(
        name=name,
        position=position,
        raw=raw,
        description=raw.get("description"),
        tags=tuple(raw.get("tags", ())),
        action=action,
        workflow=workflow,
        input=given if isinstance(given, str) else deep_merge(given, inline),
        with_items=_with_items(raw.get("with-items", ())),
        publish=raw.get("publish", _NOTHING),
        publish_on_error=raw.get("publish-on-error", _NOTHING),
        publish_on_skip=raw.get("publish-on-skip", _NOTHING),
        keep_result=raw.get("keep-result", True),
        safe_rerun=raw.get("safe-rerun", defaults.get("safe-rerun", False)),
        target=raw.get("target"),
        policies=_policies(raw, default_policies),
        join=_join(raw.get("join")),
        on_success=clauses.get("on-success", _NO_CLAUSE),
        on_error=clauses.get("on-error", _NO_CLAUSE),
        on_complete=clauses.get("on-complete", _NO_CLAUSE),
        on_skip=clauses.get("on-skip", _NO_CLAUSE),
        requires=_requires(name, raw, defaults) if reverse else (),
    )


_CLAUSES = ("on-success", "on-error", "on-complete", "on-skip")
_NO_CLAUSE = Clause()


def _clause(value: Any) -> Clause:
    if value is None:
        return _NO_CLAUSE
    if isinstance(value, Mapping) and ("next" in value or "publish" in value):
        scopes = value.get("publish")
        return Clause(
            transitions=_transitions(value.get("next", ())),
            publish=None
            if scopes is None
            else Publish(
                branch=scopes.get("branch", _NOTHING),
                global_=scopes.get("global", _NOTHING),
                atomic=scopes.get("atomic", _NOTHING),
            ),
        )
    return Clause(transitions=_transitions(value))


def _transitions(value: Any) -> tuple[Transition, ...]:
    result = []
    for text, guard in entries(value):
        line = shorthand.split_target(text)
        result.append(
            Transition(target=line.command, guard=guard, arguments=line.parameters)
            if line.parameters
            else Transition(target=line.command, guard=guard)
        )
    return tuple(result)


def _effective_clause(task: str, own: Clause, default: Clause) -> Clause:
    """The clause that applies: the default one stands in where a task leads nowhere itself."""
    if own.transitions or default is _NO_CLAUSE:
        return own
    if own.publish is None and all(t.target != task for t in default.transitions):
        return default
    publish = own.publish
    if default.publish is not None:
        publish = default.publish if publish is None else _over(default.publish, publish)
    return Clause(
        transitions=tuple(t for t in default.transitions if t.target != task), publish=publish
    )


def _over(under: Publish, over: Publish) -> Publish:
    return Publish(
        branch=deep_merge(under.branch, over.branch),
        global_=deep_merge(under.global_, over.global_),
        atomic=deep_merge(under.atomic, over.atomic),
    )


def _policies(raw: Mapping[str, Any], defaults: Policies) -> Policies:
    # A task's 0 or false does not switch a default off, as in Mistral.
    if not _POLICIES & raw.keys():
        return defaults
    return Policies(
        wait_before=_number(raw.get("wait-before")) or defaults.wait_before,
        wait_after=_number(raw.get("wait-after")) or defaults.wait_after,
        timeout=_number(raw.get("timeout")) or defaults.timeout,
        concurrency=_number(raw.get("concurrency")) or defaults.concurrency,
        pause_before=raw.get("pause-before") or defaults.pause_before,
        fail_on=raw.get("fail-on") or defaults.fail_on,
        retry=_retry(raw["retry"]) if "retry" in raw else defaults.retry,
    )


_POLICIES = frozenset(
    {"wait-before", "wait-after", "timeout", "concurrency", "pause-before", "fail-on", "retry"}
)


def _retry(value: Any) -> Retry:
    written = shorthand.split(value).parameters if isinstance(value, str) else value
    return Retry(
        count=_number(written["count"]),
        delay=_number(written["delay"]),
        break_on=written.get("break-on"),
        continue_on=written.get("continue-on"),
    )


def _number(value: Any) -> int | str:
    """An expression stays a text; ``2.0`` is the integer it says it is."""
    return value if isinstance(value, str) else int(value or 0)


def _join(value: Any) -> Literal["all"] | int | None:
    if value == "all":
        return "all"
    if value == "one":
        return 1
    return int(value or 0) or None


def _requires(name: str, raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[str, ...]:
    names = dict.fromkeys((*_names(raw.get("requires")), *_names(defaults.get("requires"))))
    names.pop(name, None)
    return tuple(names)


def _names(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _input(written: Sequence[Any]) -> tuple[InputParameter, ...]:
    parameters: dict[str, InputParameter] = {}
    for entry in written:
        if isinstance(entry, str):
            parameters[entry] = InputParameter(name=entry)
        else:
            for name, default in entry.items():
                parameters[name] = InputParameter(name=name, required=False, default=default)
    return tuple(parameters.values())


def _with_items(written: Any) -> tuple[WithItem, ...]:
    result = []
    for text in _names(written):
        match = WITH_ITEM.match(text)
        assert match is not None, text
        variable, source = match.groups()
        result.append(
            WithItem(
                variable=variable,
                source=shorthand.json_list(source) if source[0] == "[" else source,
            )
        )
    return tuple(result)
