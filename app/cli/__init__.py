"""The command ``celeriac``: a client of the REST API, and the way to start everything here.

The commands live in modules of their own that are imported when they are asked for, so that
``celeriac --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click


class Command(NamedTuple):
    """Where a command is, and what the list of commands says about it."""

    #: Module in this package and the name of the command in it.
    module: str
    attribute: str
    summary: str


COMMANDS = {
    "up": Command("up", "up", "Start everything here: API, engine, executor, timers."),
    "run": Command("run", "run", "Run a workflow file on a server and show its progress."),
    "validate": Command("validate", "validate", "Check workflow files without a server."),
    "executions": Command("executions", "executions", "List, watch and steer executions."),
    "workflows": Command("definitions", "workflows", "List, show, create and delete workflows."),
    "actions": Command("definitions", "actions", "List actions, and show what they take."),
    "triggers": Command("triggers", "triggers", "List, create and delete triggers."),
    "notifications": Command(
        "notifications", "notifications", "List events not delivered, and send them again."
    ),
    "env": Command("environment", "env", "Print the addresses of what `up` started."),
    "db": Command("database", "db", "Prepare the database."),
    "version": Command("version", "version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by ``COMMANDS`` and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        module = importlib.import_module(f"{__name__}.{command.module}")
        found = getattr(module, command.attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.summary) for name, each in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Celeriac: workflows in YAML, run by Celery.

    `celeriac up` starts everything on this machine; the other commands talk to a server whose
    address is given by --url or CELERIAC_URL (http://127.0.0.1:8989 if neither is there).
    """
