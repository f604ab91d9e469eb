"""What an expression may return: plain JSON data, or the text of it.

YAQL and Jinja make tuples, sets, iterators, dates; what is stored is JSON.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from jinja2 import Undefined

from .limits import Budget, Stop
from .view import FrozenList, FrozenMap

_DATE_TIME = "%Y-%m-%dT%H:%M:%S.%f"


class NotPlain(Exception):
    """A value cannot be written as JSON."""


def plain(value: Any, budget: Budget) -> Any:
    """Return *value* as JSON data; data that are already so come back as the same object."""
    kind = type(value)
    if kind is str:
        budget.room(len(value))
        return value
    if kind is bool or value is None:
        return value
    if kind is FrozenMap or kind is FrozenList:
        value = value.raw
    try:
        size = _size_if_plain(value)
        if size is not None:
            _fit(size, budget)
            return value
        return _Plain(budget).convert(value)
    except RecursionError:
        raise NotPlain("The result is nested too deeply") from None


def _size_if_plain(value: Any) -> int | None:
    """Return the size of JSON data, None if *value* may be something else.

    Most results are parts of the context, which are JSON data already. This finds out in a
    third of the time that a conversion takes.
    """
    size = 2
    kind = type(value)
    items: Any
    if kind is dict:
        for name in value:
            if type(name) is not str:
                return None
            size += len(name) + 4
        items = value.values()
    elif kind is list:
        items = value
    else:
        return None
    for item in items:
        kind = type(item)
        if kind is str:
            size += len(item) + 2
        elif kind is bool or item is None:
            size += 5
        elif kind is int:
            if not -_LARGE < item < _LARGE:
                return None
            size += 3
        elif kind is dict or kind is list:
            inner = _size_if_plain(item)
            if inner is None:
                return None
            size += inner
        elif kind is float and math.isfinite(item):
            size += 8
        else:
            return None
    return size


_LARGE = 1 << 62


def _fit(size: int, budget: Budget) -> None:
    if size > budget.limits.size:
        raise Stop(f"The expression returns more than {budget.limits.size} characters")


def text_of(value: Any, budget: Budget) -> str:
    """Return *value* as it reads inside a text: Python's form, ``None`` and ``True`` included."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, int, float)) or value is None:
        return str(value)
    try:
        readable = _Readable(budget).convert(value)
        budget.charge(budget.measure(readable))
        return str(readable)
    except RecursionError:
        raise NotPlain("The result is nested too deeply") from None


class _Plain:
    """One conversion; it counts what it has written."""

    __slots__ = ("_budget", "_left")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._left = budget.limits.size

    def convert(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            self._spend(len(value) + 2)
            return value
        if kind is bool or value is None:
            self._left -= 5
            return value
        if kind is int:
            self._left -= 3
            if not -_LARGE < value < _LARGE:
                self._budget.integer_bits(value.bit_length())
            return value
        if kind is FrozenMap or kind is FrozenList:
            value = value.raw
            kind = type(value)
        if kind is dict:
            return self._dict(value)
        if kind is list:
            return self._list(value)
        if kind is float:
            self._left -= 8
            return self.number(value)
        return self._other(value)

    def _dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        self._spend(2)
        made: dict[str, Any] | None = None
        for name, item in value.items():
            if type(name) is str:
                self._left -= len(name) + 4
                key = name
            else:
                key = self.key(name)
            plain_item = self.convert(item)
            if made is None and (plain_item is not item or key is not name):
                made = {}
                for other in value:
                    if other is name:
                        break
                    made[other] = value[other]
            if made is not None:
                made[key] = plain_item
        self._spend(0)
        return value if made is None else made

    def _list(self, value: list[Any]) -> list[Any]:
        self._spend(2 + len(value))
        made: list[Any] | None = None
        for index, item in enumerate(value):
            plain_item = self.convert(item)
            if made is None and plain_item is not item:
                made = value[:index]
            if made is not None:
                made.append(plain_item)
        return value if made is None else made

    def _other(self, value: Any) -> Any:
        if isinstance(value, str):
            self._spend(len(value) + 2)
            return str(value)
        if isinstance(value, Mapping):
            self._spend(2)
            return {self.key(key): self.convert(item) for key, item in value.items()}
        if isinstance(value, Set):
            return self.unordered([self.convert(item) for item in value], value)
        if isinstance(value, Iterator):
            return [self.convert(item) for item in self._budget.counted(value)]
        if isinstance(value, (bytes, bytearray)):
            return self.foreign(value)
        if isinstance(value, Sequence):
            self._spend(2 + len(value))
            return [self.convert(item) for item in value]
        if isinstance(value, (datetime.datetime, datetime.date)):
            self._spend(28)
            return self.date(value)
        if isinstance(value, Iterable) and not callable(value):
            return [self.convert(item) for item in self._budget.counted(iter(value))]
        return self.foreign(value)

    def key(self, key: Any) -> Any:
        """Return the name of a member, as JSON writes it."""
        if isinstance(key, str):
            self._spend(len(key) + 4)
            return str(key)
        if key is None:
            return "null"
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, (int, float)):
            return str(self.convert(key))
        if isinstance(key, (datetime.datetime, datetime.date)):
            return self.date(key)
        raise NotPlain(f"The result has {name_of(key)} as a key, which JSON does not allow")

    def number(self, value: float) -> Any:
        if math.isfinite(value):
            return value
        raise NotPlain(f"The result holds the number {value}, which is not JSON")

    def date(self, value: datetime.date) -> Any:
        if isinstance(value, datetime.datetime):
            return value.strftime(_DATE_TIME)
        return value.isoformat()

    def unordered(self, items: list[Any], value: Set[Any]) -> Any:
        try:
            items.sort()
        except TypeError:  # of several types; any order will do that is always the same
            items.sort(key=repr)
        return items

    def foreign(self, value: Any) -> Any:
        # Jinja's undefined values raise when they are looked at, with the right words.
        if isinstance(value, Undefined):
            str(value)
            raise NotPlain("The result is undefined")
        raise NotPlain(f"The result holds {name_of(value)}, which is not JSON")

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            _fit(self._budget.limits.size - self._left, self._budget)


class _Readable(_Plain):
    """The conversion for texts: what Python shows stays as Python shows it."""

    __slots__ = ()

    def key(self, key: Any) -> Any:
        return key

    def number(self, value: float) -> Any:
        return value

    def date(self, value: datetime.date) -> Any:
        return value

    def unordered(self, items: list[Any], value: Set[Any]) -> Any:
        return _SetText(super().unordered(items, value))

    def foreign(self, value: Any) -> Any:
        return value


class _SetText(list[Any]):
    """A set in a text: braces, and an order that does not change from run to run."""

    def __repr__(self) -> str:
        return "{" + ", ".join(map(repr, self)) + "}" if self else "set()"


def name_of(value: Any) -> str:
    """Return what *value* is, in a user's words."""
    for kinds, name in _NAMES:
        if isinstance(value, kinds):
            return name
    kind = type(value).__name__
    return _NAMES_BY_CLASS.get(kind) or f"a value of type {kind}"


#: Of classes that other modules and packages keep to themselves.
_NAMES_BY_CLASS = {
    "OrderingIterable": "a sorted list",
    "Pattern": "a regular expression",
    "Scope": "a context, as let() and with() make it",
}


_NAMES: tuple[tuple[Any, str], ...] = (
    (datetime.timedelta, "a timespan"),
    ((bytes, bytearray), "bytes"),
    (Mapping, "a mapping"),
    (Set, "a set"),
    ((list, tuple, FrozenList), "a list"),
)
