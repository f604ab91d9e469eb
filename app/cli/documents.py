"""Files with definitions, told apart and brought to a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import click
import yaml

from .client import Client, Refused, quoted

Kind = Literal["workflows", "workbooks", "actions"]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file with definitions."""

    #: Name of the file for messages; ``-`` is the standard input.
    path: str
    text: str
    kind: Kind
    #: Names of the workflows, in the order of the document, as the API calls them.
    workflows: tuple[str, ...] = ()
    #: Names under which the API knows what the document defines.
    names: tuple[str, ...] = ()
    #: The parsed mapping, for cutting out single members.
    data: Mapping[str, Any] = field(default_factory=dict)


def read_text(path: str) -> str:
    """The text of a file, of the standard input for ``-``."""
    try:
        if path == "-":
            return sys.stdin.read()
        return Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise click.ClickException(f"{path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise click.ClickException(f"{path}: not UTF-8 text (byte {err.start})") from err


def kind_of(data: Any) -> Kind:
    """What a parsed document holds; ``workflows`` when it does not tell."""
    if not isinstance(data, dict):
        return "workflows"
    # A workbook has its name on the top level, where the other two have mappings.
    if isinstance(data.get("name"), str) and ("workflows" in data or "actions" in data):
        return "workbooks"
    members = [value for key, value in data.items() if key not in ("version", "name")]
    if members and all(isinstance(each, dict) and "base" in each for each in members):
        return "actions"
    return "workflows"


def parse(path: str, text: str) -> Document | None:
    """The document, None when its text is no YAML mapping (the parser says more about it)."""
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    kind = kind_of(data)
    members = tuple(str(key) for key in data if key not in ("version",))
    if kind == "workbooks":
        prefix = data["name"]
        workflows = data.get("workflows")
        inner = [str(key) for key in workflows if key != "version"] if workflows else []
        return Document(
            path=path,
            text=text,
            kind=kind,
            workflows=tuple(f"{prefix}.{name}" for name in inner),
            names=(prefix,),
            data=data,
        )
    return Document(
        path=path,
        text=text,
        kind=kind,
        workflows=members if kind == "workflows" else (),
        names=members,
        data=data,
    )


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of a document on the server."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()


def store(api: Client, document: Document, *, namespace: str = "") -> Stored:
    """Create what the server does not have yet and update the rest."""
    try:
        return _store_once(api, document, namespace=namespace)
    except Refused as err:
        if err.status != HTTPStatus.CONFLICT:
            raise
        # Somebody else created one of them since it was looked for: now it is to be updated.
        return _store_once(api, document, namespace=namespace)


def _store_once(api: Client, document: Document, *, namespace: str) -> Stored:
    path = f"/{document.kind}"
    query = {"namespace": namespace} if namespace else None
    there = {
        name: api.find(f"{path}/{quoted(name)}", **(query or {})) is not None
        for name in document.names
    }
    new = tuple(name for name in there if not there[name])
    old = tuple(name for name in there if there[name])
    if new and old:
        # One request either creates or updates, so the document goes in two parts.
        for method, names in (("POST", new), ("PUT", old)):
            part = {"version": document.data.get("version", "2.0")}
            part.update((name, document.data[name]) for name in names)
            text = yaml.safe_dump(part, sort_keys=False, allow_unicode=True)
            api.request(method, path, query=query, text=text)
    else:
        api.request("POST" if new else "PUT", path, query=query, text=document.text)
    return Stored(created=new, updated=old)
