"""Draws the state diagrams of docs/states.md from the transition tables: ``> docs/states.md``."""

from __future__ import annotations

from app.core.states import (
    ACTION_TRANSITIONS,
    EXECUTION_TRANSITIONS,
    TASK_TRANSITIONS,
    TERMINAL,
    State,
)

INTRODUCTION = """# States

Drawn from the tables in `app/core/states.py` by `tools/state_diagrams.py`; a test compares them.
Every change of a state goes through `transition()`, which knows only these arrows. Staying where
one is is always allowed, since a message may come twice.
"""

TABLES = (
    ("Executions", EXECUTION_TRANSITIONS),
    ("Tasks", TASK_TRANSITIONS),
    ("Action executions", ACTION_TRANSITIONS),
)


def diagram(table: dict[State, frozenset[State]]) -> str:
    """A Mermaid state diagram of *table*."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for state, targets in table.items():
        lines += [f"    {state} --> {target}" for target in sorted(targets)]
    lines += [f"    {state} --> [*]" for state in table if state in TERMINAL]
    return "\n".join([*lines, "```"])


def page() -> str:
    """The whole page."""
    parts = [f"## {title}\n\n{diagram(table)}\n" for title, table in TABLES]
    return "\n".join([INTRODUCTION, *parts])


if __name__ == "__main__":
    print(page(), end="")
