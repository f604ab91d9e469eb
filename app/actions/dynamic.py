"""Actions that are classes in code sources: texts of Python modules that administrators store.

Such a text is parsed here, never run, so the API and the engine may use this module freely.
Executors run it, in a process of its own with limits, and only where ``dynamic_actions`` is on.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.actions.context import ActionContext
from app.actions.registry import ActionType, Parameter
from app.actions.results import Result

TURNED_OFF = (
    "Dynamic actions are turned off: CELERIAC_DYNAMIC_ACTIONS=true in the executors turns them "
    "on. Whoever may store code sources can then run any program there."
)
#: Stands among the parameters of a class that takes any name.
ANY = "**"
#: Bytes of the longest answer.
LARGEST_ANSWER = 64 * 1024 * 1024


class DynamicActionFailed(Exception):
    """The class could not be run, or what it did went wrong."""


def parameters_of(source: str, class_name: str) -> list[dict[str, Any]]:
    """What the constructor of a class in a module's text takes; ValueError if there is no such.

    Each is ``{"name": .., "required": ..}`` with a ``default`` where that is a plain value.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        line = getattr(err, "lineno", None)
        where = f" (line {line})" if line else ""
        raise ValueError(f"The code source is not valid Python{where}: {err}") from None
    classes = {each.name: each for each in module.body if isinstance(each, ast.ClassDef)}
    found = classes.get(class_name)
    if found is None:
        known = ", ".join(sorted(classes)) or "none"
        raise ValueError(
            f"The code source has no class '{class_name}' at its top level; it has: {known}"
        )
    constructor = _constructor(found, classes, set())
    if constructor is None:
        return []
    arguments = constructor.args
    named = [*arguments.posonlyargs, *arguments.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(arguments.defaults))
    defaults += arguments.defaults[-len(named) :] if named else []
    parameters = [
        _parameter(each.arg, default)
        for each, default in [
            *zip(named, defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
    ]
    if arguments.kwarg is not None:
        parameters.append({"name": ANY, "required": False})
    return parameters


def action_type(name: str, parameters: Sequence[Mapping[str, Any]] | None) -> ActionType:
    """The action called *name*, whose parameters were found earlier; it cannot be run from here."""
    given = parameters or ()
    return ActionType(
        name=name,
        run=_elsewhere,
        parameters=tuple(
            Parameter(each["name"], required=each["required"], default=each.get("default"))
            for each in given
            if each["name"] != ANY
        ),
        # Nothing is known of a class whose text could not be read.
        accepts_any=parameters is None or any(each["name"] == ANY for each in given),
        class_name=name,
        shown_as=name,
    )


def from_code(name: str, source: str, class_name: str, *, allowed: bool) -> ActionType:
    """The action called *name* as an executor runs it."""

    def run(input: Mapping[str, Any], context: ActionContext) -> Any:
        if not allowed:
            raise DynamicActionFailed(TURNED_OFF)
        return _run_apart(
            {
                "source": source,
                "class_name": class_name,
                "input": dict(input),
                "context": {key: getattr(context, key) for key in ActionContext.__slots__},
            }
        )

    return ActionType(name=name, run=run, accepts_any=True, class_name=class_name, shown_as=name)


def _constructor(
    found: ast.ClassDef, classes: Mapping[str, ast.ClassDef], seen: set[str]
) -> ast.FunctionDef | None:
    for each in found.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return each
    for base in found.bases:
        if isinstance(base, ast.Name) and base.id in classes and base.id not in seen:
            inherited = _constructor(classes[base.id], classes, seen | {found.name})
            if inherited is not None:
                return inherited
    return None


def _parameter(name: str, default: ast.expr | None) -> dict[str, Any]:
    if default is None:
        return {"name": name, "required": True}
    try:
        value = ast.literal_eval(default)
        json.dumps(value)
    except (ValueError, TypeError):
        return {"name": name, "required": False}
    return {"name": name, "required": False, "default": value}


def _elsewhere(input: Mapping[str, Any], context: ActionContext) -> Any:
    raise DynamicActionFailed("the text of this action is not at hand here")


def _run_apart(question: Mapping[str, Any]) -> Any:
    """Run a class in a new process and return what it gave."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", str(Path(__file__).with_name("sandbox.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/tmp" if Path("/tmp").is_dir() else "/",  # noqa: S108 - it only starts there
        # Nothing of the executor's settings: they hold the broker's password.
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        start_new_session=True,
    ) as process:
        try:
            answer = _talk(process, json.dumps(question).encode())
        finally:
            # Whatever it started goes with it; also when our own time is up.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if answer is None:
        raise DynamicActionFailed("the process of the action ended without a result")
    if "raised" in answer:
        raise DynamicActionFailed(answer["raised"])
    if answer["cancel"]:
        return Result.cancelled()
    return Result.failure(answer["error"]) if answer["failed"] else answer["value"]


def _talk(process: subprocess.Popen[bytes], question: bytes) -> dict[str, Any] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question)
        process.stdin.close()
    except BrokenPipeError:
        return None
    parts, size = [], 0
    while part := os.read(process.stdout.fileno(), 65536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise DynamicActionFailed("the result is too large")
    try:
        answer = json.loads(b"".join(parts))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
