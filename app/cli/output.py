"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .client import DEFAULT_URL, Client

STYLES = {
    "SUCCESS": "green",
    "ERROR": "red",
    "CANCELLED": "magenta",
    "SKIPPED": "magenta",
    "RUNNING": "cyan",
    "DELAYED": "yellow",
    "PAUSED": "yellow",
    "WAITING": "dim",
    "IDLE": "dim",
}


def console(*, stderr: bool = False) -> Console:
    """A console; one that is not a terminal is wide, so that nothing is cut or wrapped."""
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else 1000,
        highlight=False,
        emoji=False,
        markup=False,
    )


class Output:
    """Where a command's answer goes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = console()

    def dump(self, value: Any) -> None:
        """Print *value* as JSON."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def line(self, value: Any) -> None:
        """Print *value* as JSON in one line."""
        click.echo(json.dumps(value, ensure_ascii=False))

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line for people; nothing when the answer is JSON."""
        if not self.as_json:
            self.console.print(Text(text, style=style or ""), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print *rows* under *columns*."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            # An identifier is there to be copied: let other columns give way.
            table.add_column(name, no_wrap=name in ("ID", "STATE"), overflow="fold")
        for row in rows:
            table.add_row(*(cell(value) for value in row))
        self._print(table)

    def record(self, pairs: Mapping[str, Any]) -> None:
        """Print names and values under each other."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in pairs.items():
            table.add_row(name, cell(value))
        self._print(table)

    def _print(self, table: Table) -> None:
        if self.console.is_terminal:
            self.console.print(table)
            return
        # Tables fill their columns with blanks, which nobody wants in a file.
        with self.console.capture() as capture:
            self.console.print(table)
        click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def cell(value: Any) -> Text:
    """*value* as it stands in a table."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, dict | list):
        return Text(json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(str(value), style=STYLES.get(str(value), ""))


def duration(start: str | None, end: str | None) -> str:
    """How long it was from *start* to *end*, to now when there is no end."""
    if not start:
        return ""
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    last = datetime.fromisoformat(end).replace(tzinfo=UTC) if end else datetime.now(UTC)
    seconds = max(0, round((last - first).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the option ``--json``; it gets an ``out``."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    def with_output(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        return command(*args, out=Output(as_json=as_json), **kwargs)

    return _like(command, with_output)


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of every client; it gets an ``api`` and an ``out``."""

    @click.option(
        "--url",
        envvar="CELERIAC_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the server.",
    )
    @click.option(
        "--token", envvar="CELERIAC_TOKEN", show_envvar=True, help="Token, if the server asks."
    )
    def with_api(*args: Any, url: str, token: str | None, **kwargs: Any) -> Any:
        return command(*args, api=Client(url, token=token), **kwargs)

    return json_option(_like(command, with_api))


def _like(command: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """*wrapper* with the name, the help and the options that *command* already has."""
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    mine = getattr(wrapper, "__click_params__", [])
    wrapper.__click_params__ = [  # type: ignore[attr-defined]
        *mine,
        *getattr(command, "__click_params__", []),
    ]
    return wrapper
