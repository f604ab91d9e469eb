"""Runs an action and tells how it ended; the one home of ``except Exception``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from app.actions.context import ActionContext
from app.actions.registry import ActionType
from app.actions.results import NotJSON, Result, to_json
from app.core.states import State

__all__ = ["ActionContext", "Result", "exception_text", "run", "timeout_text"]

logger = logging.getLogger(__name__)


def run(action: ActionType, input: Mapping[str, Any], context: ActionContext) -> Result:
    """Run *action* and return how it ended. What goes wrong in the action is a result."""
    try:
        returned = action.run(input, context)
    except Exception as err:
        logger.debug("action %s failed", action.name, exc_info=True)
        return Result(State.ERROR, exception_text(action, context, _message(err)))
    if isinstance(returned, Result):
        return returned
    if _is_mistral_result(returned):
        return _from_mistral(returned)
    return Result(State.SUCCESS, returned)


def stored(
    result: Result, action: ActionType | None, context: ActionContext, *, limit: int
) -> tuple[State, str]:
    """State and JSON text of *result* as they are reported; ERROR if it cannot be stored."""
    try:
        text = to_json(result.value)
    except NotJSON as err:
        message = f"The result cannot be stored as JSON: {err}."
        return State.ERROR, to_json(exception_text(action, context, message))
    if len(text) > limit:
        message = f"The result is too large ({len(text)} bytes, limit={limit} bytes)."
        return State.ERROR, to_json(exception_text(action, context, message))
    return result.state, text


def exception_text(action: ActionType | str | None, context: ActionContext, message: str) -> str:
    """The text that stands as result when a run raised."""
    if isinstance(action, ActionType):
        action = action.shown_as or action.name
    return (
        f"The action raised an exception [action={action}, "
        f"action_ex_id={context.action_execution_id}, msg='{message}']"
    )


def timeout_text(action: ActionType | str | None, context: ActionContext, seconds: float) -> str:
    """The text that stands as result when a run was stopped after *seconds*."""
    return exception_text(action, context, f"Timeout after {seconds:g} seconds")


def _message(err: Exception) -> str:
    try:
        return str(err)
    except Exception:
        return type(err).__name__


def _is_mistral_result(value: Any) -> bool:
    # mistral-lib's Result, or one of its look-alikes: known by shape, so that the library need
    # not be installed.
    kind = type(value)
    return kind.__name__ == "Result" and all(
        hasattr(value, name) for name in ("data", "error", "cancel")
    )


def _from_mistral(value: Any) -> Result:
    if value.cancel:
        return Result.cancelled()
    if value.error is not None:
        return Result.failure(value.error)
    return Result.success(value.data)
