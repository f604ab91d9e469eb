"""The work that is measured: workflow texts in any size.

Every workflow's name starts with ``bench_``; the driver puts a fresh name in its place, so that
each run has workflows of its own. A *target* makes each action travel to the executors of that
target; without one the engine runs such actions itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable


def _document(*lines: str) -> str:
    return "\n".join(("version: '2.0'", "", *lines)) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _target(target: str | None) -> list[str]:
    return [f"  target: {target}"] if target else []


def chain(length: int, *, target: str | None = None) -> str:
    """Tasks in a row; each adds one to what the one before has published."""
    tasks: list[str] = []
    for place in range(length):
        tasks += [
            f"t{place:05d}:",
            "  action: std.echo output=<% $.n + 1 %>",
            *_target(target),
            "  publish:",
            "    n: <% task().result %>",
        ]
        if place + 1 < length:
            tasks.append(f"  on-success: t{place + 1:05d}")
    return _document(
        "bench_chain:",
        "  input:",
        "    - n: 0",
        "  output:",
        "    n: <% $.n %>",
        "  tasks:",
        *_indented(tasks),
    )


def fan(width: int, *, target: str | None = None) -> str:
    """Parallel tasks that publish a variable each, and a join of all."""
    tasks: list[str] = []
    for place in range(width):
        tasks += [
            f"t{place:05d}:",
            f"  action: std.echo output=<% $.base + {place} %>",
            *_target(target),
            "  publish:",
            f"    v{place:05d}: <% task().result %>",
            "  on-success: done",
        ]
    tasks += [
        "done:",
        "  join: all",
        "  action: std.noop",
        *_target(target),
        "  publish:",
        "    joined: true",
    ]
    return _document(
        "bench_fan:",
        "  input:",
        "    - base: 0",
        "  output:",
        f"    first: <% $.v{0:05d} %>",
        f"    last: <% $.v{width - 1:05d} %>",
        "    joined: <% $.joined %>",
        "  tasks:",
        *_indented(tasks),
    )


def items(*, target: str | None = None) -> str:
    """One task over the list that is the input."""
    tasks = [
        "each:",
        "  with-items: i in <% $.items %>",
        "  action: std.echo output=<% $.i %>",
        *_target(target),
        "  publish:",
        "    results: <% task().result %>",
    ]
    return _document(
        "bench_items:",
        "  input:",
        "    - items",
        "  output:",
        "    results: <% $.results %>",
        "  tasks:",
        *_indented(tasks),
    )


def diamond(*, target: str | None = None) -> str:
    """Five tasks: start, two branches, their join, an end. For n the total is 8 n + 1."""
    tasks: list[str] = []
    for name, action, published, after in (
        ("start", "std.echo output=<% $.n * 2 %>", "base", "[left, right]"),
        ("left", "std.echo output=<% $.base + 1 %>", "left", "merge"),
        ("right", "std.echo output=<% $.base * 3 %>", "right", "merge"),
        ("merge", "std.echo output=<% $.left + $.right %>", "total", "finish"),
        ("finish", "std.noop", "last", ""),
    ):
        tasks += [f"{name}:", f"  action: {action}", *_target(target)]
        tasks += ["  join: all"] if name == "merge" else []
        tasks += ["  publish:", f"    {published}: <% task().result %>"]
        tasks += [f"  on-success: {after}"] if after else []
    return _document(
        "bench_diamond:",
        "  input:",
        "    - n: 1",
        "  output:",
        "    total: <% $.total %>",
        "    last: <% $.last %>",
        "  tasks:",
        *_indented(tasks),
    )


def tree(depth: int) -> str:
    """Workflows in *depth* levels; each runs the one below it for ten items."""
    lines: list[str] = []
    for level in range(depth):
        name = f"bench_tree{'_below' * level}"
        last = level == depth - 1
        lines += [
            f"{name}:",
            "  output:",
            "    n: <% $.n %>",
            "  tasks:",
            "    each:",
            "      with-items: i in <% range(10) %>",
            "      action: std.noop"
            if last
            else f"      workflow: bench_tree{'_below' * (level + 1)}",
            "      publish:",
            f"        n: <% {'10' if last else 'task().result.select($.n).sum()'} %>",
        ]
    return _document(*lines)


def laden(text: str) -> str:
    """The workflow of *text*, with a megabyte that goes along in the context."""
    first = text.index("  tasks:\n")
    # Ten values, since each of them is limited to about a megabyte.
    values = "".join(f"    big{n}: <% 'x' * 100000 %>\n" for n in range(10))
    return f"{text[:first]}  vars:\n{values}{text[first:]}"


def waiting(width: int) -> str:
    """Parallel tasks that wait for a day before they do nothing."""
    tasks: list[str] = []
    for place in range(width):
        tasks += [f"t{place:05d}:", "  wait-before: 86400", "  action: std.noop"]
    return _document("bench_waiting:", "  tasks:", *_indented(tasks))


SINGLE = textwrap.dedent(
    """\
    version: '2.0'

    bench_single:
      input:
        - n: 0
      output:
        n: <% $.n %>
      tasks:
        t:
          action: std.noop
    """
)

TIMER = textwrap.dedent(
    """\
    version: '2.0'

    bench_timer:
      input:
        - wait: 1
      output:
        done: <% $.done %>
      tasks:
        t:
          wait-before: <% $.wait %>
          action: std.noop
          publish:
            done: true
    """
)
