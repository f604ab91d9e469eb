"""Contexts: immutable, shared, versioned; how they grow by publishing and merge at joins.

A context holds only what one publish (or one merge) added on top of its parent. Tasks that see
the same variables point to the same context, so five hundred parallel tasks cost no copies.

Merging follows Mistral's context versioning: along a branch each publication of a *leaf* (a value
reached through mappings) counts one; at a join the value published more often wins. Where Mistral
leaves a tie undefined, the later publication wins here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

#: Count of publications along the branch, then the order of publication in the execution.
Version = tuple[int, int]

#: A context is written out whole once this many layers lie under it.
MAX_LAYERS = 48
NEVER: Version = (0, 0)


@dataclass(frozen=True)
class Context:
    """Variables as a branch sees them."""

    id: str
    parent: Context | None
    #: Names and values that this layer sets; a name replaces the parent's value whole.
    data: Mapping[str, Any]
    #: Version of each leaf in ``data``, by path; the path's parts are joined by ``\\x1f``.
    versions: Mapping[str, Version] = field(default_factory=dict)

    @cached_property
    def layers(self) -> int:
        return 1 if self.parent is None else self.parent.layers + 1

    @cached_property
    def variables(self) -> dict[str, Any]:
        """All variables. Shared: do not change it."""
        if self.parent is None:
            return dict(self.data)
        return {**self.parent.variables, **self.data}

    def version(self, path: str) -> Version:
        """How often, and when last, the leaf at *path* was published along the branch."""
        for layer in self.lineage():
            found = layer.versions.get(path)
            if found is not None:
                return found
        return NEVER

    def all_versions(self) -> dict[str, Version]:
        """Versions of all leaves ever published along the branch."""
        result: dict[str, Version] = {}
        for layer in self.lineage():
            for path, version in layer.versions.items():
                result.setdefault(path, version)
        return result

    def lineage(self) -> Iterator[Context]:
        """This layer and all below it."""
        layer: Context | None = self
        while layer is not None:
            yield layer
            layer = layer.parent


SEPARATOR = "\x1f"


def leaves(value: Any, path: str) -> Iterator[str]:
    """Paths of the leaves in *value*; an empty mapping is a leaf."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}{SEPARATOR}{name}")
    else:
        yield path


def publish(
    inbound: Context | None, published: Mapping[str, Any], *, id: str, sequence: int
) -> Context | None:
    """The context after *published* was put on top of *inbound*.

    *sequence* orders publications within an execution.
    """
    if not published:
        return inbound
    versions = {
        path: (inbound.version(path)[0] + 1 if inbound else 1, sequence)
        for name, value in published.items()
        for path in leaves(value, name)
    }
    return _layer(id, inbound, dict(published), versions)


def _layer(
    id: str, parent: Context | None, data: Mapping[str, Any], versions: Mapping[str, Version]
) -> Context:
    if parent is not None and parent.layers >= MAX_LAYERS:
        # Written out whole now and then, so that reading a context never walks far.
        return Context(
            id=id,
            parent=None,
            data={**parent.variables, **data},
            versions={**parent.all_versions(), **versions},
        )
    return Context(id=id, parent=parent, data=data, versions=versions)


def merge(contexts: Sequence[Context | None], *, id: str) -> Context | None:
    """What a join sees: the variables of all *contexts*.

    A key that only some have is taken; mappings merge key by key; of two values for a leaf the
    one published more often wins, then the one published later.
    """
    distinct = list({c.id: c for c in contexts if c is not None}.values())
    if not distinct:
        return None
    if len(distinct) == 1:
        return distinct[0]
    base = _common_layer(distinct)
    shared = base.variables if base else {}
    #: Names that some branch set above the common layer, and the branches that set them.
    touched: dict[str, list[Context]] = {}
    for context in distinct:
        names: dict[str, None] = {}
        for layer in context.lineage():
            if layer is base:
                break
            names.update(dict.fromkeys(layer.data))
        for name in names:
            touched.setdefault(name, []).append(context)
    data: dict[str, Any] = {}
    versions: dict[str, Version] = {}
    for name, branches in touched.items():
        merged = _Leaves()
        if name in shared and len(branches) < len(distinct) and base is not None:
            merged.add(shared[name], base, name)
        for branch in branches:
            merged.add(branch.variables[name], branch, name)
        data[name] = merged.value
        versions.update(merged.versions)
    if base is not None and all(name in shared and shared[name] is data[name] for name in data):
        return base
    return _layer(id, base, data, versions)


def _common_layer(contexts: Sequence[Context]) -> Context | None:
    """The nearest layer that lies under all *contexts*."""
    candidates = list(contexts[0].lineage())
    common = {layer.id for layer in candidates}
    for context in contexts[1:]:
        common &= {layer.id for layer in context.lineage()}
        if not common:
            return None
    return next(layer for layer in candidates if layer.id in common)


class _Leaves:
    """One variable while the branches' values for it are merged."""

    def __init__(self) -> None:
        self.value: Any = None
        self.versions: dict[str, Version] = {}
        self.empty = True

    def add(self, value: Any, source: Context, path: str) -> None:
        if self.empty:
            self.value = value
            self._take(value, source, path)
            self.empty = False
        else:
            self.value = self._merge(self.value, value, source, path)

    def _take(self, value: Any, source: Context, path: str) -> None:
        for leaf in leaves(value, path):
            self.versions[leaf] = source.version(leaf)

    def _merge(self, mine: Any, other: Any, source: Context, path: str) -> Any:
        if isinstance(mine, Mapping) and isinstance(other, Mapping) and mine and other:
            result = dict(mine)
            for name, value in other.items():
                inner = f"{path}{SEPARATOR}{name}"
                if name in mine:
                    result[name] = self._merge(mine[name], value, source, inner)
                else:
                    result[name] = value
                    self._take(value, source, inner)
            return result
        newest = max((source.version(leaf) for leaf in leaves(other, path)), default=NEVER)
        known = max((self.versions.get(leaf, NEVER) for leaf in leaves(mine, path)), default=NEVER)
        if newest > known:
            for leaf in leaves(mine, path):
                self.versions.pop(leaf, None)
            self._take(other, source, path)
            return other
        return mine


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """*over* laid on *base*: mappings merge key by key, any other value of *over* wins."""
    result = dict(base)
    for name, value in over.items():
        mine = result.get(name)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[name] = deep_merge(mine, value)
        else:
            result[name] = value
    return result


def text_size_kb(value: Any) -> int:
    """Size of *value* in KiB as Mistral measures it: that of its Python text."""
    return len(str(value)) // 1024


def first_oversized(values: Iterable[tuple[str, Any]], limit_kb: int) -> str | None:
    """What to say of the first of the named *values* that exceeds the limit; None if none does."""
    if limit_kb < 0:
        return None
    for name, value in values:
        size = text_size_kb(value)
        if size > limit_kb:
            return (
                "Field size limit exceeded "
                f"[class=TaskExecution, field={name}, size={size}KB, limit={limit_kb}KB]"
            )
    return None
