"""An execution followed to its end: live on a terminal, line by line elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .client import Client, decoded
from .live import Wake
from .output import STYLES, Output, cell, duration

TERMINAL = frozenset({"SUCCESS", "ERROR", "CANCELLED"})
#: What a followed execution waits in until somebody does something.
RESTING = TERMINAL | {"PAUSED", "IDLE"}

_TASK_FIELDS = "name,type,state,state_info,started_at,finished_at,created_at"
#: Seconds between two looks: quick at first, since most executions are short.
_FIRST_LOOK, _LAST_LOOK = 0.1, 1.0
#: The same while the server tells when something happens.
_LOOK_ANYWAY = 5.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one moment."""

    execution: dict[str, Any]
    tasks: list[dict[str, Any]]

    @property
    def state(self) -> str:
        return str(self.execution["state"])

    @property
    def counts(self) -> Counter[str]:
        return Counter(task["state"] for task in self.tasks)


def look(api: Client, execution_id: str) -> Look:
    """The execution and its tasks as they are now."""
    # The execution first: once it is over its tasks no longer change, so the last look agrees.
    execution = decoded(api.get(f"/executions/{execution_id}"))
    tasks = list(
        api.pages(
            f"/executions/{execution_id}/tasks",
            fields=_TASK_FIELDS,
            sort_keys="created_at",
        )
    )
    return Look(execution=execution, tasks=tasks)


def looks(api: Client, execution_id: str, *, until: frozenset[str] = TERMINAL) -> Iterator[Look]:
    """Looks at an execution until its state is one of *until*; the last one has it."""
    pause = _FIRST_LOOK
    wake: Wake | None = None
    while True:
        began = time.monotonic()
        seen = look(api, execution_id)
        yield seen
        if seen.state in until:
            return
        wake = wake or Wake(api, execution_id)
        # A large execution is costly to look at: leave the server at least as much time.
        time.sleep(time.monotonic() - began)
        wake.wait(_LOOK_ANYWAY if wake.live else pause)
        pause = min(pause * 1.3, _LAST_LOOK)


def follow(
    api: Client, out: Output, execution_id: str, *, until: frozenset[str] = TERMINAL
) -> Look:
    """Show the execution until its state is one of *until*; the last look."""
    if out.as_json:
        return deque(looks(api, execution_id, until=until), maxlen=1)[0]
    if out.console.is_terminal:
        return _follow_live(api, out, execution_id, until)
    return _follow_lines(api, out, execution_id, until)


def changes(seen: Iterator[Look]) -> Iterator[tuple[Look, list[dict[str, Any]]]]:
    """Each look with the tasks whose state is another than at the look before."""
    known: dict[str, str] = {}
    for each in seen:
        changed = [task for task in each.tasks if known.get(task["id"]) != task["state"]]
        known.update((task["id"], task["state"]) for task in changed)
        yield each, changed


def _follow_lines(api: Client, out: Output, execution_id: str, until: frozenset[str]) -> Look:
    last = None
    state = ""
    for last, changed in changes(looks(api, execution_id, until=until)):
        if last.state not in (state, *TERMINAL):
            out.say(f"execution {execution_id}  {last.state}", STYLES.get(last.state))
        state = last.state
        for task in changed:
            out.say(_task_line(task), STYLES.get(task["state"]))
    assert last is not None
    return last


def _task_line(task: dict[str, Any]) -> str:
    line = f"  {task['state']:<9}  {task['name']}"
    took = duration(task.get("started_at"), task.get("finished_at"))
    if took and task["state"] in TERMINAL:
        line += f"  {took}"
    if task["state"] == "ERROR" and task.get("state_info"):
        line += f"  {first_line(task['state_info'])}"
    return line


def _follow_live(api: Client, out: Output, execution_id: str, until: frozenset[str]) -> Look:
    seen: Look | None = None
    with Live(console=out.console, refresh_per_second=8, transient=False) as live:
        for seen in looks(api, execution_id, until=until):
            live.update(_picture(seen, rows=max(5, out.console.height - 6)))
    assert seen is not None
    return seen


def _picture(seen: Look, *, rows: int) -> RenderableType:
    title = Text.assemble(
        (str(seen.execution["workflow_name"]), "bold"),
        f"  {seen.execution['id']}  ",
        (seen.state, STYLES.get(seen.state, "")),
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis")
    for task in shown(seen.tasks, rows):
        info = first_line(task["state_info"]) if task.get("state_info") else ""
        table.add_row(
            Text("  " + task["name"] + (" (workflow)" if task["type"] == "WORKFLOW" else "")),
            cell(task["state"]),
            Text(duration(task.get("started_at"), task.get("finished_at")), style="dim"),
            Text(info, style="dim"),
        )
    parts: list[RenderableType] = [title, table]
    if len(seen.tasks) > rows:
        parts.append(Text("  " + summary(seen), style="dim"))
    return Group(*parts)


def shown(tasks: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """The *rows* tasks most worth seeing, in their own order: failed, then busy, then latest."""
    if len(tasks) <= rows:
        return tasks
    rank = {"ERROR": 0, "RUNNING": 1, "DELAYED": 1, "PAUSED": 1}
    places = sorted(
        range(len(tasks)), key=lambda place: (rank.get(tasks[place]["state"], 2), -place)
    )
    return [tasks[place] for place in sorted(places[:rows])]


def summary(seen: Look) -> str:
    """How many tasks are in which state."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(seen.counts.items()))
    return f"{len(seen.tasks)} tasks: {counts}"


def first_line(text: str) -> str:
    """The first line of *text*, with a mark when there is more."""
    lines = str(text).strip().splitlines()
    if not lines:
        return ""
    return lines[0] + (" ..." if len(lines) > 1 else "")


def finish(out: Output, seen: Look) -> int:
    """Print how the execution ended; the exit code of a command that ran it."""
    execution = seen.execution
    succeeded = seen.state == "SUCCESS"
    if out.as_json:
        out.dump({**execution, "tasks": seen.tasks})
        return 0 if succeeded else 1
    took = duration(execution.get("created_at"), execution.get("updated_at"))
    out.say()
    out.say(f"{seen.state} in {took}, {summary(seen)}", STYLES.get(seen.state))
    if execution.get("state_info"):
        out.say(str(execution["state_info"]).rstrip())
    if execution.get("output") not in (None, {}):
        out.say("Output:")
        out.dump(execution["output"])
    return 0 if succeeded else 1


def left_running(execution_id: str) -> str:
    """What to say when somebody no longer wants to watch."""
    return (
        f"\nThe execution goes on: {execution_id}\n"
        f"  watch it again:  celeriac executions watch {execution_id}\n"
        f"  stop it:         celeriac executions cancel {execution_id}"
    )


def leave(execution_id: str) -> None:
    """End the command after Ctrl-C; the execution is none of its business any more."""
    click.echo(left_running(execution_id), err=True)
    raise SystemExit(130)
