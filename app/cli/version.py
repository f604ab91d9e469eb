"""``celeriac version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from .output import Output, json_option

#: What a report of a problem should name.
_TELLING = ("celery", "flask", "redis", "sqlalchemy", "yaql")


@click.command()
@json_option
def version(out: Output) -> None:
    """Print the version, and those of what it stands on."""
    versions = {"celeriac": _version("celeriac"), "python": platform.python_version()}
    versions.update((name, _version(name)) for name in _TELLING)
    if out.as_json:
        out.dump(versions)
        return
    for name, number in versions.items():
        click.echo(f"{name} {number}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"
