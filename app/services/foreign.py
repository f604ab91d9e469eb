"""Celery tasks of the user's own applications as actions: ``celery.<task name>``.

It knows the messages that go there and what comes back. The task itself knows nothing of us: its
worker calls our engine's task when it is done, which is Celery's own ``link`` and ``link_error``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.actions.registry import CELERY_PREFIX
from app.broker import ENGINE_FOREIGN, ENGINE_QUEUE, Message

#: Where a Celery worker listens that was told nothing else.
DEFAULT_QUEUE = "celery"

#: Options of Celery that an action may set.
OPTIONS = frozenset(
    {
        *("countdown", "eta", "expires", "priority", "time_limit", "soft_time_limit"),
        *("exchange", "routing_key", "headers", "shadow"),
    }
)


class WrongInput(ValueError):
    """The input of a ``celery.`` action is not what it must be."""


def task_name(action: str) -> str:
    """The Celery task that an action stands for."""
    return action.removeprefix(CELERY_PREFIX)


def message_for(request: Mapping[str, Any]) -> Message:
    """The message that starts a user's Celery task; what goes wrong comes back as its result.

    Of the input, ``queue`` names the queue, ``args`` and ``kwargs`` hold the task's arguments,
    and ``options`` what else Celery shall know. Any other name is a keyword argument.
    """
    try:
        queue, args, kwargs, options = arguments_of(request["input"])
    except WrongInput as err:
        # The task is not called; our engine is, as its worker would have.
        return _failure(request, str(err))
    return Message(
        task=task_name(request["action"]),
        queue=queue,
        args=args,
        kwargs=kwargs,
        id=request["id"],
        options={
            **options,
            "link": [callback(request, "SUCCESS")],
            "link_error": [callback(request, "ERROR")],
            "headers": {**options.get("headers", {}), **correlation(request)},
        },
    )


def arguments_of(
    input: Mapping[str, Any],
) -> tuple[str, list[Any], dict[str, Any], dict[str, Any]]:
    """Queue, positional and keyword arguments, and options of a task; WrongInput."""
    rest = dict(input)
    queue = rest.pop("queue", None) or DEFAULT_QUEUE
    args = rest.pop("args", None) or []
    kwargs = rest.pop("kwargs", None) or {}
    options = rest.pop("options", None) or {}
    for name, value, kind, expected in (
        ("queue", queue, str, "a text"),
        ("args", args, list, "a list"),
        ("kwargs", kwargs, dict, "an object"),
        ("options", options, dict, "an object"),
    ):
        if not isinstance(value, kind):
            raise WrongInput(f"{name}: expected {expected}, got {type(value).__name__}")
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        possible = ", ".join(sorted(OPTIONS))
        raise WrongInput(f"options: {', '.join(unknown)} cannot be set; possible are {possible}")
    if not isinstance(options.get("headers") or {}, dict):
        raise WrongInput("options.headers: expected an object")
    return queue, list(args), {**rest, **kwargs}, dict(options)


def correlation(request: Mapping[str, Any]) -> dict[str, Any]:
    """Headers by which the bridge in a user's worker knows what a task belongs to."""
    return {
        "celeriac": {
            "action_id": request["id"],
            "execution_id": request.get("execution_id"),
            "attempt": request.get("attempt", 1),
            "task": ENGINE_FOREIGN,
            "queue": ENGINE_QUEUE,
        }
    }


def callback(request: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    """The Celery signature that a user's worker calls at the end of the task.

    All we need to know later is in its keywords: of a failure the worker tells only the task's
    id. It is always JSON, whatever the user's application writes otherwise.
    """
    kwargs = {
        "action_id": request["id"],
        "execution_id": request.get("execution_id"),
        "outcome": outcome,
    }
    if outcome != "SUCCESS":
        kwargs["task"] = task_name(request["action"])
    return {
        "task": ENGINE_FOREIGN,
        "args": [],
        "kwargs": kwargs,
        "options": {"queue": ENGINE_QUEUE, "serializer": "json", "ignore_result": True},
        "subtask_type": None,
        "immutable": False,
        "chord_size": None,
    }


def check_message(request: Mapping[str, Any], *, age: float) -> Message:
    """The message that has somebody look where a task is that was sent *age* seconds ago."""
    try:
        queue = arguments_of(request["input"])[0]
    except WrongInput:
        queue = DEFAULT_QUEUE
    return Message(
        task=ENGINE_FOREIGN,
        queue=ENGINE_QUEUE,
        kwargs={
            "action_id": request["id"],
            "execution_id": request.get("execution_id"),
            "outcome": "CHECK",
            "task": task_name(request["action"]),
            "queue": queue,
            "age": age,
        },
    )


def _failure(request: Mapping[str, Any], text: str) -> Message:
    kwargs = {**callback(request, "ERROR")["kwargs"], "error": text}
    return Message(task=ENGINE_FOREIGN, queue=ENGINE_QUEUE, kwargs=kwargs)
