"""YAML as ``yaml_parse()`` and ``yaml_dump()`` read and write it.

Anchors and aliases are plain text, as in definitions: they are how a few lines of YAML
become gigabytes.
"""

from __future__ import annotations

from typing import Any

import yaml

from .limits import Budget, Stop

#: A YAML text longer than this is refused: it takes seconds to parse.
LONGEST = 1_000_000


def load(text: str, budget: Budget) -> Any:
    """Return what *text* holds; only plain data, no Python objects."""
    if len(text) > LONGEST:
        raise Stop(f"yaml_parse() takes at most {LONGEST} characters")
    if _harmless(text):
        return yaml.load(text, Loader=_FAST)  # noqa: S506 - a safe loader
    loader = _Loader(text, budget)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def dump(data: Any, budget: Budget) -> str:
    """Return *data* as block-style YAML."""
    written = _Written(budget)
    yaml.dump(data, written, Dumper=_Dumper, default_flow_style=False)
    return "".join(written.parts)


def _harmless(text: str) -> bool:
    """Tell whether the fast parser may have *text*.

    It knows anchors, and it recurses in C without a limit. The depth of a block is at most
    the length of a line, the depth of a flow at most the number of its brackets.
    """
    return (
        not any(mark in text for mark in "&*@")
        and text.count("[") + text.count("{") < 500
        and all(len(line) < 1_000 for line in text.splitlines())
    )


_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(yaml.SafeLoader):
    """The safe loader without anchors; it counts what it builds."""

    def __init__(self, text: str, budget: Budget) -> None:
        super().__init__(text)
        self._budget = budget

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._budget.tick()
        return super().compose_node(parent, index)

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return self.peek() == "@" or bool(super().check_plain())


class _Dumper(yaml.SafeDumper):
    """The safe dumper that writes a value again instead of referring to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Written:
    """A stream that knows when enough is enough."""

    def __init__(self, budget: Budget) -> None:
        self.parts: list[str] = []
        self._budget = budget
        self._size = 0

    def write(self, text: str) -> None:
        self._size += len(text)
        self._budget.room(self._size)
        self._budget.tick()
        self.parts.append(text)
