"""Standard actions that need nothing but a clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from app.actions.results import Result

#: Most entries of std.test_dict.
_LARGEST = 1_000_000
#: Most entries that the engine makes itself.
_LARGEST_INLINE = 1_000


def noop() -> None:
    """Does nothing and returns null."""


def async_noop() -> None:
    """Does nothing; the result is what somebody reports later."""


def echo(output: Any, delay: Any = 0) -> Any:
    """Returns *output* as it is, after *delay* seconds."""
    seconds = _number(delay)
    if seconds > 0:
        time.sleep(seconds)
    return output


def echo_at_once(input: Mapping[str, Any]) -> bool:
    """True when std.echo with this input does not wait."""
    return _number(input.get("delay", 0)) <= 0


def fail(error_data: Any = None) -> Result:
    """Fails: with *error_data* as the result, or with an exception when there is none."""
    if error_data:
        return Result.failure(error_data)
    raise RuntimeError("Fail action expected exception.")


def sleep(seconds: Any = 1) -> None:
    """Waits some whole seconds and returns null."""
    time.sleep(int(_number(seconds)))


def same_values(size: int = 0, key_prefix: Any = "", val: Any = "") -> dict[str, Any]:
    """Returns an object with *size* keys, each with the same value."""
    if isinstance(size, int) and size > _LARGEST:
        raise ValueError(f"size: expected at most {_LARGEST}, got {size}")
    return {f"{key_prefix}{i}": val for i in range(size)}


def same_values_are_few(input: Mapping[str, Any]) -> bool:
    """True when std.test_dict with this input is quickly made."""
    size = input.get("size", 0)
    return not isinstance(size, int) or size <= _LARGEST_INLINE


def _number(value: Any) -> float:
    # What is negative or no number counts as 0, as in Mistral; so do NaN and infinity.
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 < number < 1e9 else 0.0
