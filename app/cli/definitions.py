"""``celeriac workflows`` and ``celeriac actions``: what a server knows."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .client import Client, decoded, quoted
from .output import Output, api_options
from .run import load, register

_HELP = {"help_option_names": ["-h", "--help"]}

namespace_option = click.option("--namespace", default="", help="Namespace of the definitions.")


def _query(namespace: str) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}


@click.group(context_settings=_HELP)
def workflows() -> None:
    """List, show, create and delete workflows."""


@workflows.command("list")
@click.option("--name", help="Only those whose name holds this text.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@api_options
def list_workflows(name: str | None, limit: int | None, api: Client, out: Output) -> None:
    """List workflows by name."""
    query = {
        "fields": "name,namespace,input,tags,scope,created_at,updated_at",
        "sort_keys": "name",
    }
    if name:
        query["name"] = f"has:{name}"
    rows = [decoded(each) for each in api.pages("/workflows", most=limit, **query)]
    if out.as_json:
        out.dump(rows)
        return
    out.table(
        ("NAME", "NAMESPACE", "INPUT", "TAGS", "CHANGED"),
        (
            (
                row["name"],
                row.get("namespace") or "",
                row.get("input") or "",
                ", ".join(row.get("tags") or ()),
                row.get("updated_at") or row["created_at"],
            )
            for row in rows
        ),
    )


@workflows.command("show")
@click.argument("name")
@namespace_option
@api_options
def show_workflow(name: str, namespace: str, api: Client, out: Output) -> None:
    """Print a workflow's definition; NAME may be its id."""
    found = decoded(api.get(f"/workflows/{quoted(name)}", **_query(namespace)))
    if out.as_json:
        out.dump(found)
    else:
        click.echo(found["definition"].rstrip("\n"))


@workflows.command("create")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@namespace_option
@api_options
def create_workflows(files: Sequence[str], namespace: str, api: Client, out: Output) -> None:
    """Store the workflows, workbooks and actions of FILEs; those already there are updated."""
    documents = [load(path) for path in files]
    for document in documents:
        register(api, out, document, namespace=namespace)
    if out.as_json:
        out.dump(
            [
                {"file": document.path, "kind": document.kind, "names": list(document.names)}
                for document in documents
            ]
        )


@workflows.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@namespace_option
@api_options
def delete_workflows(names: Sequence[str], namespace: str, api: Client, out: Output) -> None:
    """Delete workflows; their executions stay."""
    for name in names:
        api.request("DELETE", f"/workflows/{quoted(name)}", query=_query(namespace))
        out.say(f"deleted {name}")
    if out.as_json:
        out.dump({"deleted": list(names)})


@click.group(context_settings=_HELP)
def actions() -> None:
    """List actions, and show what they take."""


@actions.command("list")
@click.option("--name", help="Only those whose name holds this text.")
@namespace_option
@api_options
def list_actions(name: str | None, namespace: str, api: Client, out: Output) -> None:
    """List the actions that workflows may use, with their parameters."""
    query = _query(namespace)
    if name:
        query["name"] = f"has:{name}"
    # This list takes names as markers and is not cut by the server: one page holds it.
    rows = api.get("/actions", **query)["actions"]
    if out.as_json:
        out.dump(rows)
        return
    out.table(("NAME", "INPUT"), ((row["name"], row.get("input") or "") for row in rows))


@actions.command("show")
@click.argument("name")
@namespace_option
@api_options
def show_action(name: str, namespace: str, api: Client, out: Output) -> None:
    """Show an action's parameters, description and definition."""
    found = api.get(f"/actions/{quoted(name)}", **_query(namespace))
    if out.as_json:
        out.dump(found)
        return
    out.say(f"{found['name']}({found.get('input') or ''})", "bold")
    if found.get("description"):
        out.say()
        out.say(found["description"].strip())
    if found.get("definition"):
        out.say()
        out.say(found["definition"].rstrip())
