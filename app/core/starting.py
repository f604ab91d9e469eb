"""Beginning an execution: its input, params, environment and vars are worked out and checked.

Used for what clients start and for sub-workflows alike. Whatever is wrong is known before
anything is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .actions import fill_input
from .data_flow import first_oversized
from .errors import RequestRefused
from .evaluation import text_of_time
from .execution import FoundWorkflow, Task
from .expressions import Functions, View, evaluate_recursively
from .language.specs import WorkflowSpec
from .working_copy import Limits, WorkingCopy


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An execution about to be created."""

    definition: FoundWorkflow
    #: Given input with defaults.
    input: Mapping[str, Any]
    params: Mapping[str, Any]
    #: What vars gave.
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Facts about the new execution that its vars may ask for."""

    execution_id: str
    now: datetime
    new_uuid: Callable[[], str]
    root_id: str | None = None
    #: The root's environment; None for a root, whose own it is.
    environment: Mapping[str, Any] | None = None


def prepare(
    definition: FoundWorkflow,
    *,
    input: Mapping[str, Any],
    params: Mapping[str, Any],
    surroundings: Surroundings,
    limits: Limits,
) -> Start:
    """Check and complete what an execution of *definition* starts with.

    Raises InvalidInput, RequestRefused or ExpressionError; nothing has happened then.
    ``params["env"]`` must be a mapping already (stored environments are looked up before).
    """
    spec = definition.spec
    given = fill_input(definition.name, spec.class_name, spec.input, input)
    _check_target(spec, params)
    oversized = first_oversized((("input", given), ("params", params)), limits.field_size_kb)
    if oversized:
        raise RequestRefused(oversized)
    own_env = params.get("env") or {}
    if not isinstance(own_env, Mapping):
        raise RequestRefused(f"Unexpected value type for environment [{type(own_env).__name__}]")
    env: Mapping[str, Any] = own_env
    functions = _functions(definition, given, params, surroundings, env)
    if own_env and params.get("evaluate_env", True):
        env = evaluate_recursively(dict(own_env), View({"__env": own_env}), functions)
    visible = env if surroundings.environment is None else surroundings.environment
    variables: Mapping[str, Any] = {}
    if spec.vars:
        functions = _functions(definition, given, params, surroundings, visible)
        view = View({"__env": visible}, {"__execution": {"id": surroundings.execution_id}}, given)
        variables = evaluate_recursively(spec.vars, view, functions)
    return Start(
        definition=definition,
        input=given,
        params={**params, "env": dict(env)},
        variables=variables,
    )


def _check_target(spec: WorkflowSpec, params: Mapping[str, Any]) -> None:
    if spec.reverse and params.get("task_name") not in spec.tasks:
        raise RequestRefused(
            f"Invalid task name [wf_spec={spec.name}, task_name={params.get('task_name')}]"
        )


def _functions(
    definition: FoundWorkflow,
    given: Mapping[str, Any],
    params: Mapping[str, Any],
    surroundings: Surroundings,
    env: Mapping[str, Any],
) -> Functions:
    record = {
        "id": surroundings.execution_id,
        "name": definition.name,
        "spec": dict(definition.spec.raw),
        "input": dict(given),
        "params": dict(params),
        "created_at": text_of_time(surroundings.now),
        "updated_at": None,
        "root_execution_id": surroundings.root_id,
    }
    return Functions(
        env=env,
        execution=lambda: record,
        executions=lambda **criteria: [],
        task=_no_task,
        tasks=lambda **criteria: [],
        workflow_context=lambda name: None,
        new_uuid=surroundings.new_uuid,
        now=surroundings.now,
    )


def _no_task(name: str | None = None) -> None:
    """What ``task()`` gives before there are tasks."""


def plan_child(
    run: WorkingCopy, task: Task, name: str, given: Mapping[str, Any], *, index: int, child_id: str
) -> Start:
    """Find the workflow *name* for a sub-workflow of *task* and work out what it starts with.

    Declared names of *given* are its input; all others become its params (as in Mistral).
    """
    execution = run.execution
    # Not the namespace of the definition: it is that of the root even below a workflow that was
    # found in the default one.
    namespace = str(execution.params.get("namespace", execution.namespace))
    found = run.lookup.find_workflow(name, namespace=namespace, workbook=execution.workbook)
    if found is None:
        raise RequestRefused(f"Failed to find workflow [name={name}] [namespace={namespace}]")
    if execution.depth + 1 > run.limits.depth:
        raise RequestRefused(
            f"Sub-workflows are nested too deep: at most {run.limits.depth} levels, "
            f"workflow {name} would be one more"
        )
    declared = {each.name for each in found.spec.input}
    root_id = execution.root_id or execution.id
    params: dict[str, Any] = {
        "root_execution_id": root_id,
        "task_execution_id": task.id,
        "index": index,
        "namespace": namespace,
    }
    if execution.params.get("notify"):
        params["notify"] = execution.params["notify"]
    params.update({key: value for key, value in given.items() if key not in declared})
    return prepare(
        found,
        input={key: value for key, value in given.items() if key in declared},
        params=params,
        surroundings=Surroundings(
            execution_id=child_id,
            now=run.now,
            new_uuid=run.new_id,
            root_id=root_id,
            environment=run.environment(),
        ),
        limits=run.limits,
    )
