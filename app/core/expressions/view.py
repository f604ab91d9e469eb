"""The data that expressions see, layered and read-only, without copying any of it.

A ``View`` puts mappings on top of each other. ``FrozenMap`` and ``FrozenList`` are what
YAQL sees of data: its functions expect immutable, hashable values, and making those of a
whole context costs more than the expressions themselves. So a value is wrapped when it is
read, and its parts when they are.

The data must not change while somebody looks at them: nothing is ever copied here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, overload


class View(Mapping[str, Any]):
    """Mappings on top of each other; a name is read from the first that has it."""

    __slots__ = ("layers",)

    def __init__(self, *layers: Mapping[str, Any] | None) -> None:
        #: The mappings, strongest first, without the empty ones.
        self.layers: tuple[Mapping[str, Any], ...] = tuple(layer for layer in layers if layer)

    def __getitem__(self, name: str) -> Any:
        for layer in self.layers:
            if name in layer:
                return layer[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in layer for layer in self.layers)

    def __iter__(self) -> Iterator[str]:
        if len(self.layers) == 1:
            return iter(self.layers[0])
        # A dictionary and not a set: the order must not change from run to run.
        return iter(dict.fromkeys(name for layer in self.layers for name in layer))

    def __len__(self) -> int:
        if len(self.layers) == 1:
            return len(self.layers[0])
        return len({name for layer in self.layers for name in layer})

    def __repr__(self) -> str:
        # Without the data: a repr ends up in logs.
        return f"View({len(self.layers)} layers, {len(self)} names)"


class FrozenMap(Mapping[Any, Any]):
    """A mapping as YAQL sees it: immutable, hashable, its values frozen when read."""

    __slots__ = ("_hash", "raw")

    def __init__(self, raw: Mapping[Any, Any]) -> None:
        self.raw = raw  #: The mapping itself.
        self._hash: int | None = None

    def __getitem__(self, key: Any) -> Any:
        return frozen(self.raw[key])

    def get(self, key: Any, default: Any = None) -> Any:
        raw = self.raw
        return frozen(raw[key]) if key in raw else default

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[Any]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __hash__(self) -> int:
        if self._hash is None:
            result = 0
            for pair in self.items():
                result ^= hash(pair)
            self._hash = result
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class FrozenList(Sequence[Any]):
    """A list as YAQL sees it: like a tuple, its items frozen when read."""

    __slots__ = ("raw",)

    def __init__(self, raw: Sequence[Any]) -> None:
        self.raw = raw  #: The list itself.

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return tuple(map(frozen, self.raw[index]))
        try:
            return frozen(self.raw[index])
        except IndexError:
            # In the words that users of YAQL know.
            raise IndexError("tuple index out of range") from None

    def __iter__(self) -> Iterator[Any]:
        return map(frozen, self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __contains__(self, value: object) -> bool:
        return any(item is value or item == value for item in self)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (FrozenList, tuple)):
            return NotImplemented
        return len(self) == len(other) and tuple(self) == tuple(other)

    def __add__(self, other: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self) + tuple(other)

    def __radd__(self, other: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(other) + tuple(self)

    def __mul__(self, times: int) -> tuple[Any, ...]:
        return tuple(self) * times

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return repr(tuple(self))


def frozen(value: Any) -> Any:
    """Return *value* as an immutable one; scalars as they are, the rest wrapped."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return FrozenMap(value)
    if kind is list or kind is tuple:
        return FrozenList(value)
    if kind is FrozenMap or kind is FrozenList or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return FrozenMap(value)
    if isinstance(value, Set):
        return frozenset(map(frozen, value))
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return FrozenList(value)
    return value


_SCALARS = frozenset({str, int, float, bool, type(None)})
