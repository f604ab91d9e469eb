"""``celeriac run``: a file's workflow on a server, from upload to result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from . import progress
from .arguments import Environment, input_option, merged
from .client import Client, Refused
from .documents import Document, parse, read_text, store
from .output import Output, api_options
from .validate import problems, report


def load(path: str) -> Document:
    """The document in the file; its faults are told as `validate` tells them."""
    text = read_text(path)
    document = parse(path, text)
    if document is None:
        raise _not_valid(path, text, None)
    return document


def register(api: Client, out: Output, document: Document, *, namespace: str = "") -> None:
    """Bring the definitions of *document* to the server and say which are new."""
    try:
        stored = store(api, document, namespace=namespace)
    except Refused as err:
        if err.status == 400:
            raise _not_valid(document.path, document.text, err) from err
        raise
    for word, names in (("created", stored.created), ("updated", stored.updated)):
        if names:
            out.say(f"{word} {', '.join(names)}", "dim")


def _not_valid(path: str, text: str, err: Refused | None) -> click.ClickException:
    """What is wrong with the text: with lines if we see it, else as the server put it."""
    document = parse(path, text)
    found = problems(text, kind=document.kind if document else "workflows")
    if found:
        told = report(path, text, found).plain.rstrip()
        return click.ClickException(f"the definition is not valid\n{told}")
    return err or click.ClickException(f"{path}: not a mapping of definitions")


def choose(document: Document, workflow: str | None) -> str:
    """The workflow to start: *workflow*, else the first of the document."""
    if not document.workflows:
        raise click.ClickException(f"{document.path} defines no workflow, so nothing can be run.")
    if workflow is None:
        return document.workflows[0]
    for name in document.workflows:
        if workflow in (name, name.partition(".")[2]):
            return name
    raise click.ClickException(
        f"{document.path} has no workflow {workflow!r}; it has {', '.join(document.workflows)}."
    )


def start(
    api: Client,
    workflow: str,
    *,
    input: dict[str, Any],
    namespace: str = "",
    env: str | dict[str, Any] | None = None,
    description: str = "",
    execution_id: str | None = None,
) -> str:
    """The id of a new execution of *workflow*."""
    body: dict[str, Any] = {
        "workflow_name": workflow,
        "workflow_namespace": namespace,
        "input": input,
        "params": {} if env is None else {"env": env},
        "description": description,
    }
    if execution_id:
        body["id"] = execution_id
    return str(api.request("POST", "/executions", body=body)["id"])


@click.command()
@click.argument("file")
@click.option("--workflow", "-w", help="Which workflow of the file; the first if not given.")
@input_option
@click.option("--env", type=Environment(), help="A stored environment's name, or values.")
@click.option("--namespace", default="", help="Namespace of the definitions.")
@click.option("--description", default="", help="A note to find the execution by.")
@click.option("--detach", is_flag=True, help="Start it, print its id and leave.")
@api_options
def run(
    file: str,
    workflow: str | None,
    inputs: Sequence[dict[str, Any]],
    env: str | dict[str, Any] | None,
    namespace: str,
    description: str,
    detach: bool,
    api: Client,
    out: Output,
) -> None:
    """Store the definitions of FILE on a server, run a workflow and show it until it ends.

    Exits with 0 if the execution ends in SUCCESS, else with 1. Ctrl-C leaves it running.
    """
    document = load(file)
    name = choose(document, workflow)
    register(api, out, document, namespace=namespace)
    execution_id = start(
        api, name, input=merged(inputs), namespace=namespace, env=env, description=description
    )
    if detach:
        if out.as_json:
            out.dump({"id": execution_id})
        else:
            click.echo(execution_id)
        return
    try:
        seen = progress.follow(api, out, execution_id)
    except KeyboardInterrupt:
        progress.leave(execution_id)
    else:
        raise SystemExit(progress.finish(out, seen))
