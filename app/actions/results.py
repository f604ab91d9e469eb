"""How a run of an action ended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.core.states import State

#: What JSON text of PostgreSQL cannot hold: NUL, and half of a surrogate pair.
_SUSPECT = re.compile(r"\\u0000|\\u[dD][89a-fA-F]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class NotJSON(Exception):
    """A value that cannot be written as JSON."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, and what it gave: the value, or the error.

    An action may return one to fail with a value (``Result.failure({...})``) instead of raising.
    """

    state: State
    value: Any = None

    @classmethod
    def success(cls, value: Any = None) -> Result:
        """The run did what it should and gave *value*."""
        return cls(State.SUCCESS, value)

    @classmethod
    def failure(cls, error: Any) -> Result:
        """The run failed; *error* is what the workflow sees as the result."""
        return cls(State.ERROR, error)

    @classmethod
    def cancelled(cls) -> Result:
        """The run was given up; its task becomes CANCELLED."""
        return cls(State.CANCELLED)


def to_json(value: Any) -> str:
    """*value* as JSON text that every database of ours can hold; NotJSON if it is none.

    Bytes are taken as UTF-8, tuples as lists. NUL characters and lone surrogates become U+FFFD.
    """
    try:
        text = json.dumps(value, allow_nan=False, default=_default, separators=(",", ":"))
        if _SUSPECT.search(text):
            clean = _clean(json.loads(text))
            text = json.dumps(clean, separators=(",", ":"))
        return text
    except RecursionError:
        raise NotJSON("the value is nested too deeply, or contains itself") from None
    except (TypeError, ValueError) as err:
        raise NotJSON(str(err)) from err


def _default(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise NotJSON(
                "it holds bytes that are not UTF-8 text; encode them, for instance as base64"
            ) from None
    raise NotJSON(f"it holds a {type(value).__name__}, which JSON does not know")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    return value


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of *value* whose texts, the keys included, went through *change*."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [map_texts(each, change) for each in value]
    if isinstance(value, dict):
        return {map_texts(key, change): map_texts(each, change) for key, each in value.items()}
    return value
