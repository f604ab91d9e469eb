"""``celeriac executions``: look at executions and steer them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from . import live, progress
from .arguments import Environment
from .client import Client, decoded, quoted
from .output import STYLES, Output, api_options, duration

_LIST_FIELDS = "workflow_name,description,state,created_at,updated_at,task_execution_id"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def executions() -> None:
    """List, watch and steer executions."""


@executions.command("list")
@click.option("--state", help="Only those in this state, e.g. ERROR.")
@click.option("--workflow", help="Only those of this workflow.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--all", "everything", is_flag=True, help="Also those started by other executions.")
@api_options
def list_(
    state: str | None,
    workflow: str | None,
    limit: int,
    everything: bool,
    api: Client,
    out: Output,
) -> None:
    """List executions, the latest first."""
    query: dict[str, Any] = {
        "fields": _LIST_FIELDS,
        "sort_keys": "created_at",
        "sort_dirs": "desc",
    }
    if state:
        query["state"] = state.upper()
    if workflow:
        query["workflow_name"] = workflow
    if not everything:
        query["nulls"] = "task_execution_id"
    rows = [decoded(each) for each in api.pages("/executions", most=limit, **query)]
    if out.as_json:
        out.dump(rows)
        return
    out.table(
        ("ID", "WORKFLOW", "STATE", "CREATED", "TOOK", "DESCRIPTION"),
        (
            (
                row["id"],
                row["workflow_name"],
                row["state"],
                row["created_at"],
                _took(row),
                row.get("description") or "",
            )
            for row in rows
        ),
    )


def _took(execution: dict[str, Any]) -> str:
    over = execution["state"] in progress.TERMINAL
    return duration(execution["created_at"], execution.get("updated_at") if over else None)


@executions.command()
@click.argument("execution_id", metavar="ID")
@api_options
def show(execution_id: str, api: Client, out: Output) -> None:
    """Show an execution with its input, output and tasks."""
    _print(out, progress.look(api, execution_id))


def _print(out: Output, seen: progress.Look) -> None:
    execution = seen.execution
    if out.as_json:
        out.dump({**execution, "tasks": seen.tasks})
        return
    out.record(
        {
            "id": execution["id"],
            "workflow": execution["workflow_name"],
            "state": execution["state"],
            "state info": execution.get("state_info"),
            "description": execution.get("description"),
            "created": execution["created_at"],
            "updated": execution.get("updated_at"),
            "took": _took(execution),
            "parent task": execution.get("task_execution_id"),
            "input": execution.get("input"),
            "output": execution.get("output"),
        }
    )
    if seen.tasks:
        out.say()
        out.table(
            ("TASK", "STATE", "TOOK", "ID", "STATE INFO"),
            (
                (
                    task["name"],
                    task["state"],
                    duration(task.get("started_at"), task.get("finished_at")),
                    task["id"],
                    progress.first_line(task["state_info"]) if task.get("state_info") else "",
                )
                for task in seen.tasks
            ),
        )


@executions.command()
@click.argument("execution_id", metavar="ID")
@api_options
def watch(execution_id: str, api: Client, out: Output) -> None:
    """Show an execution live until it ends.

    With --json a line is printed for each task that changes its state, and the execution as
    the last line. Exits with 0 if it ends in SUCCESS, else with 1; Ctrl-C only stops watching.
    """
    try:
        if out.as_json:
            seen = _watch_lines(api, out, execution_id)
        else:
            seen = progress.follow(api, out, execution_id)
            progress.finish(out, seen)
    except KeyboardInterrupt:
        progress.leave(execution_id)
    else:
        raise SystemExit(0 if seen.state == "SUCCESS" else 1)


@executions.command("events")
@click.argument("execution_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on until the execution ends.")
@api_options
def events_(execution_id: str, follow: bool, api: Client, out: Output) -> None:
    """List what happened to an execution."""
    path = f"/executions/{quoted(execution_id)}/events"
    for event in live.events(api, path) if follow else _all_events(api, path):
        if out.as_json:
            out.line(event)
            continue
        data = event["data"]
        name = event["event"] or data["state"]
        style = STYLES.get(data["state"])
        out.say(f"{event['number']:>6}  {event['created_at']}  {name:<20}  {data['name']}", style)


@executions.command()
@click.argument("execution_id", metavar="ID")
@click.option("-o", "--output", "file", type=click.File("w"), default="-", help="Where to write.")
@api_options
def export(execution_id: str, file: Any, api: Client, out: Output) -> None:
    """Write a recording of an execution: all that `replay` needs."""
    json.dump(api.get(f"/executions/{quoted(execution_id)}/journal"), file, indent=1)
    file.write("\n")


@executions.command()
@click.argument("recording", metavar="ID|FILE")
@api_options
def replay(recording: str, api: Client, out: Output) -> None:
    """Decide on an execution again, and compare.

    Takes an execution of the server, or a file that `export` wrote; nothing is run and nothing is
    changed. Exits with 1 at the first decision that is not as it was.
    """
    # The engine's own code, which no other command needs.
    from app.actions.registry import standard_registry
    from app.config import Config
    from app.services import journal

    path = Path(recording)
    try:
        data = (
            json.loads(path.read_text())
            if path.is_file()
            else api.get(f"/executions/{quoted(recording)}/journal")
        )
        known = journal.Recorded(data, standard_registry(Config()))
        count = 0
        for outcome in journal.play(data, known):
            count += 1
            _tell_outcome(out, outcome)
            if not outcome.same:
                raise click.ClickException(
                    f"Transaction {outcome.step.revision} led to something else than recorded."
                )
    except (ValueError, KeyError) as err:
        raise click.ClickException(f"{recording}: {err}") from err
    out.say(f"{count} transactions, all as recorded.")


def _tell_outcome(out: Output, outcome: Any) -> None:
    step = outcome.step
    happened = [type(event).__name__ for batch in step.rounds for event in batch]
    decided = [type(command).__name__ for command in outcome.commands]
    if out.as_json:
        out.line(
            {
                "revision": step.revision,
                "events": happened,
                "commands": decided,
                "state": outcome.execution.state,
                "same": outcome.same,
            }
        )
        return
    mark = "" if outcome.same else "  DIFFERENT"
    out.say(f"{step.revision:>5}  {outcome.execution.state:<9}  {_counted(happened)}{mark}")
    out.say(f"{'':>16}  -> {_counted(decided) or 'nothing'}")


def _counted(names: Sequence[str]) -> str:
    return ", ".join(
        f"{count} {name}" if count > 1 else name for name, count in Counter(names).items()
    )


def _all_events(api: Client, path: str) -> Iterator[dict[str, Any]]:
    after = 0
    while page := api.get(path, after=after, limit=1000)["events"]:
        yield from page
        after = page[-1]["number"]


def _watch_lines(api: Client, out: Output, execution_id: str) -> progress.Look:
    seen = None
    for each, changed in progress.changes(progress.looks(api, execution_id)):
        seen = each
        for task in changed:
            out.line({"task": task["name"], **task})
    assert seen is not None
    out.line(seen.execution)
    return seen


def _set_state(
    api: Client, out: Output, execution_id: str, state: str, body: dict[str, Any] | None = None
) -> None:
    answer = decoded(
        api.request(
            "PUT", f"/executions/{quoted(execution_id)}", body={"state": state, **(body or {})}
        )
    )
    if out.as_json:
        out.dump(answer)
    else:
        out.say(f"{answer['id']}  {answer['state']}")


@executions.command()
@click.argument("execution_id", metavar="ID")
@api_options
def pause(execution_id: str, api: Client, out: Output) -> None:
    """Pause an execution: what runs ends, nothing new starts."""
    _set_state(api, out, execution_id, "PAUSED")


@executions.command()
@click.argument("execution_id", metavar="ID")
@click.option("--env", type=Environment(), help="Values to merge into the environment.")
@api_options
def resume(execution_id: str, env: Any, api: Client, out: Output) -> None:
    """Let a paused execution go on."""
    body = {"params": {"env": env}} if env is not None else None
    _set_state(api, out, execution_id, "RUNNING", body)


@executions.command()
@click.argument("execution_id", metavar="ID")
@click.option("--message", default="", help="Why; becomes the state info.")
@click.option(
    "--state",
    type=click.Choice(["CANCELLED", "ERROR", "SUCCESS"], case_sensitive=False),
    default="CANCELLED",
    show_default=True,
    help="The state to end it with.",
)
@api_options
def cancel(execution_id: str, message: str, state: str, api: Client, out: Output) -> None:
    """End an execution now; its running actions are told to stop."""
    _set_state(api, out, execution_id, state.upper(), {"state_info": message} if message else {})


def _failed_tasks(api: Client, execution_id: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The failed tasks of an execution, those in *names* if there are names."""
    found = list(
        api.pages(
            f"/executions/{quoted(execution_id)}/tasks", state="ERROR", sort_keys="created_at"
        )
    )
    if not names:
        if not found:
            raise click.ClickException(f"No task of execution {execution_id} is in ERROR.")
        return found
    chosen = [task for task in found if task["name"] in names or task["id"] in names]
    missing = set(names) - {task["name"] for task in chosen} - {task["id"] for task in chosen}
    if missing:
        raise click.ClickException(
            f"Not in ERROR: {', '.join(sorted(missing))}. "
            f"In ERROR: {', '.join(task['name'] for task in found) or 'none'}."
        )
    return chosen


def _set_tasks(
    api: Client, out: Output, tasks: Sequence[dict[str, Any]], body: dict[str, Any]
) -> None:
    answers = [
        decoded(api.request("PUT", f"/tasks/{task['id']}", body={"id": task["id"], **body}))
        for task in tasks
    ]
    if out.as_json:
        out.dump(answers)
        return
    word = "runs again" if body["state"] == "RUNNING" else "skipped"
    for answer in answers:
        out.say(f"{answer['name']}  {word}")


@executions.command()
@click.argument("execution_id", metavar="ID")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option(
    "--reset/--no-reset",
    default=True,
    show_default=True,
    help="Of a with-items task: run all items again, or only those that failed.",
)
@click.option("--env", type=Environment(), help="Values to merge into the environment.")
@api_options
def rerun(
    execution_id: str, tasks: Sequence[str], reset: bool, env: Any, api: Client, out: Output
) -> None:
    """Run failed tasks of an execution again: all of them, or those named."""
    body: dict[str, Any] = {"state": "RUNNING", "reset": reset}
    if env is not None:
        body["env"] = env
    _set_tasks(api, out, _failed_tasks(api, execution_id, tasks), body)


@executions.command()
@click.argument("execution_id", metavar="ID")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@api_options
def skip(execution_id: str, tasks: Sequence[str], api: Client, out: Output) -> None:
    """Pass over failed tasks: the execution goes on as their on-skip says."""
    _set_tasks(api, out, _failed_tasks(api, execution_id, tasks), {"state": "SKIPPED"})


@executions.command()
@click.argument("execution_ids", nargs=-1, required=True, metavar="ID...")
@click.option("--force", is_flag=True, help="Also executions that have not ended.")
@api_options
def delete(execution_ids: Sequence[str], force: bool, api: Client, out: Output) -> None:
    """Delete executions with their tasks, actions and sub-workflow executions."""
    for execution_id in execution_ids:
        api.request(
            "DELETE",
            f"/executions/{quoted(execution_id)}",
            query={"force": "true"} if force else None,
        )
        out.say(f"deleted {execution_id}")
    if out.as_json:
        out.dump({"deleted": list(execution_ids)})
