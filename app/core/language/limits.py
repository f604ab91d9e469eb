"""How large a definition may be.

The figures guard the server against texts made to hurt it; honest workflows of two thousand
tasks stay an order of magnitude below them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest definition that is accepted."""

    #: Bytes of the text in UTF-8.
    size: int = 1024 * 1024
    #: Mappings and lists inside one another.
    depth: int = 64
    #: Mappings, lists and scalars altogether.
    nodes: int = 200_000
    #: Transitions of a workflow, those of ``task-defaults`` counted for every task.
    transitions: int = 200_000


DEFAULT = Limits()
