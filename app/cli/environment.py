"""``celeriac env``: the addresses of what ``celeriac up`` has started."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from .output import Output, json_option
from .up import data_option


@click.command("env")
@data_option
@json_option
def env(data: Path, out: Output) -> None:
    """Print the addresses of what `celeriac up` has started, to be read by a shell.

    eval "$(celeriac env)" lets this shell's clients and workers find it.
    """
    try:
        lines = (data / "celeriac.env").read_text().splitlines()
    except OSError as err:
        raise click.ClickException(
            f"Nothing runs with its data in {data}. Start it with `celeriac up`, or say where "
            "its data is with --data."
        ) from err
    if out.as_json:
        pairs = (shlex.split(line)[1].partition("=") for line in lines if line)
        out.dump({name: value for name, _, value in pairs})
        return
    for line in lines:
        click.echo(line)
