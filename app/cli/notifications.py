"""``celeriac notifications``: events that publishers have not taken."""

from __future__ import annotations

from typing import Any

import click

from .client import Client, quoted
from .output import Output, api_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def notifications() -> None:
    """List events that publishers have not taken, and send them again."""


@notifications.command("list")
@click.option("--dead", is_flag=True, help="Only those that were given up.")
@click.option("--execution", help="Only those of this execution.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1, max=1000))
@api_options
def list_(dead: bool, execution: str | None, limit: int, api: Client, out: Output) -> None:
    """List events that wait or were given up, the oldest first."""
    query: dict[str, Any] = {"limit": limit}
    if dead:
        query["state"] = "dead"
    if execution:
        query["workflow_execution_id"] = execution
    rows = api.get("/notifications", **query)["notifications"]
    if out.as_json:
        out.dump(rows)
        return
    out.table(
        ("ID", "STATE", "EVENT", "PUBLISHER", "ATTEMPTS", "EXECUTION", "LAST ERROR"),
        (
            (
                row["id"],
                row["state"],
                row["event"],
                row["publisher"].get("url") or row["publisher"].get("type"),
                row["attempts"],
                row["workflow_execution_id"],
                row["last_error"],
            )
            for row in rows
        ),
    )


@notifications.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@click.option("--execution", help="All of this execution that were given up.")
@api_options
def resend(
    ids: tuple[str, ...], everything: bool, execution: str | None, api: Client, out: Output
) -> None:
    """Try events again that were given up."""
    if not (ids or everything or execution):
        raise click.UsageError("Give ids, --execution or --all.")
    resent = 0
    for each in ids:
        api.request("POST", f"/notifications/{quoted(each)}/resend")
        resent += 1
    if everything or execution:
        query = {"workflow_execution_id": execution} if execution else None
        resent += api.request("POST", "/notifications/resend", query=query)["resent"]
    if out.as_json:
        out.dump({"resent": resent})
    else:
        out.say(f"{resent} events are tried again.")
