"""Finding the action that a name means, and what it is given.

A name may mean an ad-hoc action, which stands on another one and so on down to an action that
executors can run. Ad-hoc actions shape the input on the way down and the result on the way up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InvalidInput
from .evaluation import evaluate, functions, workflow_context
from .execution import ActionInfo, Task
from .expressions import View, evaluate_recursively
from .language.specs import ActionSpec, InputParameter
from .states import State
from .working_copy import WorkingCopy

#: Under this name error texts speak of ad-hoc actions (as Mistral's do).
ADHOC_CLASS = "mistral.actions.adhoc.AdHocAction"


class UnknownAction(Exception):
    """No action has this name."""


class BrokenAction(Exception):
    """An ad-hoc action stands on nothing, or on itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """What a run of an action will be."""

    #: The name that was found, and the input to be recorded under it.
    name: str
    input: Mapping[str, Any]
    #: What really runs.
    base: ActionInfo
    base_input: Mapping[str, Any]


def plan_action(run: WorkingCopy, task: Task, name: str, given: Mapping[str, Any]) -> PlannedAction:
    """Find the action *name* and work out its input; raises what is wrong with either."""
    full_name, found = _find(run, name)
    if found is None:
        raise UnknownAction(f"Failed to find action [action_name={name}]")
    defaults = _environment_defaults(run, name, full_name)
    value = {**{k: v for k, v in defaults.items() if k not in given}, **given}
    if not isinstance(found, ActionSpec):
        found.check_input(value)
        return PlannedAction(name=found.name, input=value, base=found, base_input=value)
    recorded: dict[str, Any] | None = None
    seen = [full_name]
    while isinstance(found, ActionSpec):
        value = fill_input(found.name, ADHOC_CLASS, found.input, value)
        recorded = value if recorded is None else recorded
        view = View(value, *_base_layers(run, task))
        value = dict(evaluate(run, found.base_input, view, task))
        base_name, base = _find(run, found.base)
        if base is None:
            raise BrokenAction(
                f"Failed to find base action [action_name={found.base} "
                f"namespace={run.execution.namespace}] "
            )
        if base_name in seen:
            raise BrokenAction(f"Found a cycle in an ad-hoc action chain {[*seen, base_name]}")
        seen.append(base_name)
        found = base
    found.check_input(value)
    return PlannedAction(name=seen[0], input=recorded or {}, base=found, base_input=value)


def _find(run: WorkingCopy, name: str) -> tuple[str, ActionSpec | ActionInfo | None]:
    found = run.lookup.find_action(
        name, namespace=run.execution.namespace, workbook=run.execution.workbook
    )
    return (found.name if found is not None else name), found


def _environment_defaults(run: WorkingCopy, *names: str) -> Mapping[str, Any]:
    """Input values that the environment has for an action, under ``__actions``."""
    known = run.environment().get("__actions")
    if not isinstance(known, Mapping):
        return {}
    for name in names:
        if isinstance(known.get(name), Mapping):
            values: dict[str, Any] = evaluate_recursively(
                dict(known[name]), View({"__env": run.environment()}), functions(run)
            )
            return values
    return {}


def _base_layers(run: WorkingCopy, task: Task) -> tuple[Mapping[str, Any], ...]:
    context = run.context(task.inbound_id)
    return (
        context.variables if context else {},
        {"__env": run.environment()},
        workflow_context(run),
    )


def fill_input(
    name: str, kind: str, declared: tuple[InputParameter, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """*given* with defaults added; InvalidInput for names missing or unknown."""
    names = {each.name for each in declared}
    missing = [p.name for p in declared if p.required and p.name not in given]
    unexpected = [each for each in given if each not in names]
    if missing or unexpected:
        raise InvalidInput(name, kind, missing=missing, unexpected=unexpected)
    defaults = {p.name: p.default for p in declared if not p.required and p.name not in given}
    return {**given, **defaults}


def transformed(run: WorkingCopy, name: str, state: State, result: Any) -> Any:
    """What an ad-hoc action makes of the result of its base; raises ExpressionError.

    For an error the outputs are evaluated against null, and the error is kept.
    """
    _, found = _find(run, name)
    chain: list[ActionSpec] = []
    while isinstance(found, ActionSpec) and len(chain) < 100:
        chain.append(found)
        _, found = _find(run, found.base)
    value = result if state is State.SUCCESS else None
    for spec in reversed(chain):
        if spec.has_output and state is State.SUCCESS:
            value = evaluate_recursively(spec.output, value, functions(run))
    return value if state is State.SUCCESS else result
