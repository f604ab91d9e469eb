"""``celeriac triggers``: what starts executions by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from .arguments import input_option, merged
from .client import Client, decoded, quoted
from .output import Output, api_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def triggers() -> None:
    """List, create and delete triggers."""


@triggers.command("list")
@api_options
def list_(api: Client, out: Output) -> None:
    """List the triggers by time (cron) and by event."""
    cron = [decoded(each) for each in api.pages("/cron_triggers")]
    event = [decoded(each) for each in api.pages("/event_triggers")]
    if out.as_json:
        out.dump({"cron_triggers": cron, "event_triggers": event})
        return
    rows: list[Sequence[Any]] = [
        (
            row["name"],
            "cron",
            row["workflow_name"],
            row.get("pattern"),
            row.get("next_execution_time"),
            row.get("remaining_executions"),
            row["id"],
        )
        for row in cron
    ]
    rows += [
        (
            row.get("name"),
            "event",
            row["workflow_id"],
            "/".join((row["exchange"], row["topic"], row["event"])),
            None,
            None,
            row["id"],
        )
        for row in event
    ]
    out.table(("NAME", "KIND", "WORKFLOW", "WHEN", "NEXT", "LEFT", "ID"), rows)


@triggers.command()
@click.argument("name")
@api_options
def show(name: str, api: Client, out: Output) -> None:
    """Show a cron trigger; NAME may be its id."""
    found = decoded(api.get(f"/cron_triggers/{quoted(name)}"))
    if out.as_json:
        out.dump(found)
    else:
        out.record(found)


@triggers.command()
@click.argument("name")
@click.argument("workflow")
@click.option("--pattern", help="When, in the five fields of cron, e.g. '0 4 * * *' (UTC).")
@click.option("--first", help="First time, YYYY-MM-DD HH:MM (UTC).")
@click.option("--count", type=click.IntRange(min=1), help="How many times; no end if not given.")
@input_option
@api_options
def create(
    name: str,
    workflow: str,
    pattern: str | None,
    first: str | None,
    count: int | None,
    inputs: Sequence[dict[str, Any]],
    api: Client,
    out: Output,
) -> None:
    """Create the cron trigger NAME, which starts WORKFLOW."""
    body: dict[str, Any] = {
        "name": name,
        "workflow_name": workflow,
        "workflow_input": merged(inputs),
    }
    if pattern:
        body["pattern"] = pattern
    if first:
        body["first_execution_time"] = first
    if count:
        body["remaining_executions"] = count
    found = decoded(api.request("POST", "/cron_triggers", body=body))
    if out.as_json:
        out.dump(found)
    else:
        out.say(f"{name} starts {workflow}, next at {found.get('next_execution_time')} UTC")


@triggers.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--event", is_flag=True, help="NAMEs are ids of event triggers.")
@api_options
def delete(names: Sequence[str], event: bool, api: Client, out: Output) -> None:
    """Delete triggers; NAME may be an id."""
    for name in names:
        path = "event_triggers" if event else "cron_triggers"
        api.request("DELETE", f"/{path}/{quoted(name)}")
        out.say(f"deleted {name}")
    if out.as_json:
        out.dump({"deleted": list(names)})
