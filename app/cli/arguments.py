"""What people type: input as JSON, as ``@file`` or as ``name=value``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


class Input(click.ParamType):
    """A mapping: ``{"a": 1}``, ``@file.json`` or ``a=1``."""

    name = "JSON"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        text = str(value).strip()
        if text.startswith("@"):
            try:
                text = Path(text[1:]).read_text()
            except OSError as err:
                self.fail(f"{text[1:]}: {err.strerror}", param, ctx)
        elif "=" in text and not text.startswith("{"):
            name, _, right = text.partition("=")
            try:
                return {name.strip(): json.loads(right)}
            except ValueError:
                return {name.strip(): right}
        try:
            found = json.loads(text)
        except ValueError as err:
            self.fail(f'{err}. Expected {{"name": value}}, name=value or @file.', param, ctx)
        if not isinstance(found, dict):
            self.fail(f"expected a JSON object, got {text[:60]}", param, ctx)
        return found


def merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All *parts* in one mapping, later ones first in rank."""
    result: dict[str, Any] = {}
    for part in parts:
        result.update(part)
    return result


input_option = click.option(
    "--input",
    "-i",
    "inputs",
    type=Input(),
    multiple=True,
    help="Input: '{\"name\": value}', name=value or @file.json; may be repeated.",
)


class Environment(click.ParamType):
    """The name of a stored environment, or a mapping."""

    name = "NAME|JSON"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | dict[str, Any]:
        if isinstance(value, dict):
            return value
        text = str(value).strip()
        if text.startswith(("{", "@")) or "=" in text:
            return Input().convert(text, param, ctx)
        return text
