"""``celeriac up``: everything on this machine, and an example to see it work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from app.supervisor import AlreadyRunning, NotStarted, Options, Supervisor

from . import progress
from .arguments import input_option, merged
from .client import Client
from .documents import Document
from .output import Output, console, json_option
from .run import choose, load, register, start

#: Where `up` keeps everything unless told otherwise; `env` looks there too.
DATA = Path(".celeriac")

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA,
    show_default=True,
    help="Where database, queue, logs and addresses are kept.",
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option("--port", default=8989, show_default=True, type=click.IntRange(1, 65535))
@data_option
@click.option("--run", "file", metavar="FILE", help="Run this file's first workflow at once.")
@input_option
@click.option("--exit", "leave", is_flag=True, help="Stop after that run, with its result.")
@click.option(
    "--executors",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many actions run at a time.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show what the processes log.")
@json_option
def up(
    host: str,
    port: int,
    data: Path,
    file: str | None,
    inputs: Sequence[dict[str, Any]],
    leave: bool,
    executors: int,
    verbose: bool,
    out: Output,
) -> None:
    """Start everything here: API, engine, executor, notifier, timers, and what they need.

    Runs until Ctrl-C or SIGTERM. A process that dies is started again. The database is SQLite,
    the queue a Redis-compatible server that comes along; both keep their data in --data.
    """
    if file is None and (inputs or leave):
        raise click.UsageError("--input and --exit belong to a run: give --run FILE as well.")
    # What is wrong with the file is told before anything is started.
    document = load(file) if file else None
    if document:
        choose(document, None)
    errors = console(stderr=True)
    supervisor = Supervisor(
        Options(data=data, host=host, port=port, executors=executors, verbose=verbose),
        notice=lambda text: errors.print(f"celeriac: {text}"),
    )
    out.say(f"Starting Celeriac, data in {data} ...")

    def when_ready(addresses: dict[str, str]) -> int:
        return _when_ready(out, addresses, document, merged(inputs), leave=leave)

    try:
        status = supervisor.run(then=when_ready, stay=not leave)
    except (AlreadyRunning, NotStarted) as err:
        raise click.ClickException(str(err)) from err
    # Told to stop, it has done as told: how the example ended counts only with --exit.
    raise SystemExit(status if leave else 0)


def _when_ready(
    out: Output,
    addresses: dict[str, str],
    document: Document | None,
    input: dict[str, Any],
    *,
    leave: bool,
) -> int:
    """Say where everything is, and run the example if there is one; an exit status."""
    url = addresses["CELERIAC_URL"]
    status = 0
    try:
        if document:
            api = Client(url)
            out.say()
            register(api, out, document)
            execution_id = start(api, choose(document, None), input=input)
            status = progress.finish(out, progress.follow(api, out, execution_id))
        if not leave:
            out.say()
            out.say("Celeriac is up.", "bold green")
            out.say(f"  API   {url}/v2")
            out.say(f"  docs  {url}/docs")
            out.say(f"  page  {url}/ui/")
            out.say(f'Addresses for other shells: eval "$(celeriac env --data {_data(addresses)})"')
            out.say("Ctrl-C stops everything; what was not finished goes on at the next start.")
    except click.ClickException as err:
        err.show()
        status = err.exit_code
    except KeyboardInterrupt:
        # The supervisor has been told as well, and ends everything.
        status = 130
    return status


def _data(addresses: dict[str, str]) -> str:
    """The data directory as one would type it."""
    path = Path(addresses["CELERIAC_DATA"])
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
