"""The functions that expressions have beyond those of their language.

What they look at is handed in, for one evaluation, as ``Functions``: nothing here reads a
database, a clock or chance.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from . import yaml_text
from .errors import ExpressionError
from .limits import Budget, Stop
from .plain import plain

_SECRET_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """What the functions of one evaluation may look at.

    A function whose part is None does not exist in that evaluation. The callables may raise
    an ``ExpressionError`` for what the user did wrong; anything else they raise leaves
    ``evaluate()`` as it is.
    """

    #: ``env()``: the environment of the root workflow execution.
    env: Mapping[str, Any] = field(default_factory=_nothing)
    #: ``execution()``: the current workflow execution.
    execution: Callable[[], Mapping[str, Any] | None] | None = None
    #: ``executions()``, called with the keywords id, root_execution_id, state, from_time
    #: and to_time.
    executions: Callable[..., list[Mapping[str, Any]]] | None = None
    #: ``task(name)``; without a name the current task.
    task: Callable[[str | None], Mapping[str, Any] | None] | None = None
    #: ``tasks()``, called with the keywords workflow_execution_id, recursive, state and flat.
    tasks: Callable[..., list[Mapping[str, Any]]] | None = None
    #: ``global(name)``: a variable of the workflow's own context.
    workflow_context: Callable[[str], Any] | None = None
    #: ``uuid()``, and where ``random()`` gets its chance from.
    new_uuid: Callable[[], str] | None = None
    #: ``now()``; with a time zone.
    now: datetime | None = None
    #: Functions of plug-ins by name. They get and return plain data.
    extra: Mapping[str, Callable[..., Any]] = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        if self.now is not None and self.now.tzinfo is None:
            raise ValueError("now: expected a time with a zone")


NO_FUNCTIONS = Functions()


class NoSuchFunction(Exception):
    """A function does not exist in this evaluation."""


class Failed(BaseException):
    """What was asked of the engine failed, which is not the expression's fault.

    Not an ``Exception``, so that neither language takes it for one of the user's.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


#: What Python ran out of, in a user's words.
EXHAUSTED: Mapping[type[BaseException], str] = MappingProxyType(
    {
        RecursionError: "The expression recurses too deeply",
        MemoryError: "The expression consumed too much memory",
    }
)


class Run:
    """One evaluation: what it may look at and what it may still cost."""

    __slots__ = ("budget", "defines", "functions")

    def __init__(self, functions: Functions, budget: Budget) -> None:
        self.functions = functions
        self.budget = budget
        #: Whether the expression defines functions of its own.
        self.defines = False

    def ask(self, name: str, source: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> Any:
        """Return what *source* answers."""
        if source is None:
            raise NoSuchFunction(name)
        self.budget.tick()
        try:
            return source(*args, **kwargs)
        except ExpressionError:
            raise
        except Exception as error:
            raise Failed(error) from error


def env(run: Run) -> Mapping[str, Any]:
    """Return the environment."""
    return run.functions.env


def execution(run: Run) -> Any:
    """Return the current workflow execution."""
    return run.ask("execution", run.functions.execution)


def executions(
    run: Run,
    id: str | None = None,
    root_execution_id: str | None = None,
    state: str | None = None,
    from_time: str | None = None,
    to_time: str | None = None,
) -> Any:
    """Return the workflow executions of the project."""
    return run.ask(
        "executions",
        run.functions.executions,
        id=id,
        root_execution_id=root_execution_id,
        state=state,
        from_time=from_time,
        to_time=to_time,
    )


def task(run: Run, task_name: str | None = None) -> Any:
    """Return a task by its name, or the current one, or None."""
    return run.ask("task", run.functions.task, task_name or None)


def tasks(
    run: Run,
    workflow_execution_id: str | None = None,
    recursive: bool = False,
    state: str | None = None,
    flat: bool = False,
) -> Any:
    """Return the tasks of a workflow execution."""
    return run.ask(
        "tasks",
        run.functions.tasks,
        workflow_execution_id=workflow_execution_id,
        recursive=recursive,
        state=state,
        flat=flat,
    )


def global_(run: Run, var_name: str) -> Any:
    """Return a variable of the workflow's context, None when there is none."""
    if not isinstance(var_name, str):
        raise TypeError("global() needs the name of a variable")
    return run.ask("global", run.functions.workflow_context, var_name)


def uuid(run: Run) -> str:
    """Return a new UUID."""
    return str(run.ask("uuid", run.functions.new_uuid))


def json_dump(run: Run, data: Any) -> str:
    """Return *data* as JSON text, indented by four."""
    parts: list[str] = []
    size = 0
    for part in _JSON.iterencode(plain(data, run.budget)):
        size += len(part)
        run.budget.room(size)
        run.budget.tick()
        parts.append(part)
    return run.budget.made("".join(parts))


_JSON = json.JSONEncoder(indent=4)


def json_parse(run: Run, data: str) -> Any:
    """Return what a JSON text holds."""
    run.budget.charge(len(data))
    return json.loads(data)


def yaml_dump(run: Run, data: Any) -> str:
    """Return *data* as block-style YAML."""
    return run.budget.made(yaml_text.dump(plain(data, run.budget), run.budget))


def yaml_parse(run: Run, data: str) -> Any:
    """Return what a YAML text holds; anchors and aliases are plain text."""
    run.budget.charge(len(data))
    return yaml_text.load(data, run.budget)


def secret(run: Run, name: str) -> str:
    """Return the reference to a secret: only the executor that runs the action knows its value."""
    if not isinstance(name, str) or not _SECRET_NAME.fullmatch(name):
        raise ExpressionError(
            f"secret(): expected a name of letters, digits, '-' and '_', got {name!r}"
        )
    return f"secret://{name}"


def now(run: Run) -> datetime:
    """Return the time of the evaluation."""
    if run.functions.now is None:
        raise NoSuchFunction("now")
    return run.functions.now


def chance(run: Run, below: int) -> int:
    """Return an integer from 0 up to, not including, *below*."""
    if below <= 0:
        raise ValueError(f"expected a positive number, got {below}")
    if below.bit_length() > 128:
        raise Stop("random() takes numbers of at most 128 bits")
    # The digits of a UUID are not all random, those of its hash are.
    drawn = hashlib.sha256(uuid(run).encode()).digest()
    return int.from_bytes(drawn, "big") % below


def call_extra(run: Run, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what a plug-in's function makes of plain data."""
    budget = run.budget
    result = function(
        *(plain(arg, budget) for arg in args),
        **{name: plain(arg, budget) for name, arg in kwargs.items()},
    )
    budget.look()
    return plain(result, budget)


#: The functions of both languages. ``now`` and ``random`` are YAQL's own.
SHARED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "env": env,
        "execution": execution,
        "executions": executions,
        "global": global_,
        "json_dump": json_dump,
        "json_parse": json_parse,
        "secret": secret,
        "task": task,
        "tasks": tasks,
        "uuid": uuid,
        "yaml_dump": yaml_dump,
        "yaml_parse": yaml_parse,
    }
)
