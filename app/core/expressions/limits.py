"""How much an expression may cost.

Expressions come from users and may never end, or grow without bound. Nothing here can
interrupt a running call, so each evaluation carries a ``Budget`` that is asked at every
function call, every item of an iteration and every value that is made; the operations that
could do much harm in one call (``'a' * 2000000000``) are estimated before they run.

This is the only module of the core that looks at a clock: not to decide anything, only to
give up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from .view import FrozenList, FrozenMap

T = TypeVar("T")

LANGUAGES = ("yaql", "jinja")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What every evaluation is held to."""

    #: Seconds that one evaluation may take.
    seconds: float = 5.0
    #: Function calls, items and lambda calls of one evaluation.
    steps: int = 2_000_000
    #: Characters of the largest value that an expression may make or return, counted
    #: as its JSON text, roughly.
    size: int = 10_000_000
    #: Characters of all the values that one evaluation may make, the intermediate ones too.
    memory: int = 100_000_000
    #: Digits of the largest integer.
    digits: int = 4_000
    #: Characters of the longest expression; a Jinja template may be ten times as long.
    text: int = 100_000
    #: Seconds that a single regular expression may search.
    regex_seconds: float = 1.0
    #: Items of the longest ``range()`` in Jinja.
    jinja_range: int = 100_000
    #: The languages that may be used; Mistral's ``allowed_languages``.
    languages: tuple[str, ...] = LANGUAGES

    def __post_init__(self) -> None:
        for name in ("seconds", "steps", "size", "memory", "digits", "text", "regex_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        unknown = set(self.languages) - set(LANGUAGES)
        if unknown:
            expected, got = ", ".join(LANGUAGES), ", ".join(sorted(unknown))
            raise ValueError(f"languages: expected some of {expected}, got {got}")


_limits = Limits()


def configure(limits: Limits) -> None:
    """Hold every later evaluation of this process to *limits*."""
    global _limits
    _limits = limits


def configured() -> Limits:
    """Return the limits in force."""
    return _limits


class Stop(BaseException):
    """An evaluation went over its budget.

    Not an ``Exception``: YAQL and Jinja swallow some of those and try something else.
    """


class Budget:
    """What is left of one evaluation's limits."""

    __slots__ = ("_deadline", "_measured", "_memory", "_steps", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._steps = limits.steps
        self._memory = limits.memory
        self._deadline = time.monotonic() + limits.seconds
        # By identity; each entry keeps its value alive, so an identity is never reused.
        self._measured: dict[int, tuple[Any, int]] = {}

    def tick(self, steps: int = 1) -> None:
        """Count *steps*; look at the clock now and then."""
        self._steps = left = self._steps - steps
        if not left & 31 or steps > 1:
            self.look()
        if left < 0:
            raise Stop(f"The expression takes more than {self.limits.steps} steps")

    def look(self) -> None:
        """Stop if the time is up."""
        if time.monotonic() > self._deadline:
            raise Stop(f"The expression takes longer than {self.limits.seconds:g} seconds")

    def remaining_seconds(self) -> float:
        """Return the seconds left, never less than a hundredth."""
        return max(0.01, self._deadline - time.monotonic())

    def room(self, size: int) -> None:
        """Stop unless a value of *size* characters may be made; to be asked beforehand."""
        if size > self.limits.size:
            raise Stop(f"The expression makes a value of more than {self.limits.size} characters")
        if size > self._memory:
            raise Stop(
                "The expression consumed too much memory: all its values together are more"
                f" than {self.limits.memory} characters"
            )

    def charge(self, size: int) -> None:
        """Account for a value of *size* characters that was made."""
        self.room(size)
        self._memory -= size

    def integer_bits(self, bits: int) -> None:
        """Stop unless an integer of *bits* may be made."""
        # A digit has 3.32 bits; 10/3 is a little more, so no integer with few enough
        # digits is refused.
        if bits > self.limits.digits * 10 // 3:
            raise Stop(f"The expression makes an integer of more than {self.limits.digits} digits")

    def made(self, value: T) -> T:
        """Account for *value*, which a function or an operator has just made."""
        kind = type(value)
        if kind is str:
            size = len(value)  # type: ignore[arg-type]
            if size > 64:
                self.charge(size)
        elif kind is bool or value is None or kind is float:
            pass
        elif kind is int:
            if value > _SMALL or value < -_SMALL:  # type: ignore[operator]
                self.integer_bits(value.bit_length())  # type: ignore[attr-defined]
        elif kind is FrozenMap or kind is FrozenList:
            pass  # data, not made by the expression
        elif isinstance(value, (Mapping, Set, tuple, list)):
            size = self.measure(value)
            self.room(size)
            self.charge(min(size, 16 + 8 * len(value)))
        return value

    def counted(self, items: Iterator[T]) -> Iterator[T]:
        """Yield *items*, counting each."""
        for item in items:
            self.tick()
            yield item

    def measure(self, value: Any) -> int:
        """Return the size of *value* written out, nearly.

        Written out, because a value may hold another many times: thirty doublings of
        ``[x, x]`` are thirty small lists and a text of gigabytes.
        """
        if isinstance(value, str):
            return len(value) + 2
        if isinstance(value, (FrozenMap, FrozenList)):
            value = value.raw
        if not isinstance(value, (Mapping, Set, tuple, list)):
            return 8
        known = self._measured.get(id(value))
        if known is not None:
            return known[1]
        size = 16
        limit = self.limits.size
        items: Iterable[Any] = value
        if isinstance(value, Mapping):
            items = (part for pair in value.items() for part in pair)
        try:
            for item in items:
                kind = type(item)
                if kind is str:
                    size += len(item) + 2
                elif kind is int or kind is bool or item is None or kind is float:
                    size += 8
                else:
                    size += self.measure(item)
                if size > limit:
                    break
        except RecursionError:
            raise Stop("The expression makes a value that is nested too deeply") from None
        if size > 100_000:
            self.look()  # that took its time
        if size > 512:
            # Smaller ones are measured again sooner than remembered.
            self._measured[id(value)] = (value, size)
        return size

    def listed(self, items: Iterator[T]) -> list[T]:
        """Return a list of *items*, stopping when there are too many."""
        return list(islice(self.counted(items), self.limits.steps))


_SMALL = 1 << 62


def size_of_repetition(value: str | Sequence[Any], times: int, budget: Budget) -> int:
    """Return the size of *value* repeated *times*, before it is made."""
    if isinstance(value, str):
        return len(value) * max(times, 0)
    return budget.measure(value) * max(times, 0)
