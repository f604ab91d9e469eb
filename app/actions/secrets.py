"""References to secrets in the input of actions: resolved in executors, and only there.

``secret://name`` in a text of the input stands for the secret of that name. Only the executor
that runs the action puts the value in its place; what is stored, shown and sent in messages is
the reference. In what the action gives back, values that it was given are masked again.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.actions.results import map_texts

REFERENCE = re.compile(r"secret://([A-Za-z0-9_-]{1,100})")
MASK = "***"
#: Shorter values are not masked: they would be found everywhere.
_SHORTEST = 4
_PROJECT = re.compile(r"[A-Za-z0-9_<>-]{1,100}")


class SecretNotFound(Exception):
    """The executor does not know a secret of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The executor knows no secret '{name}'.")


class Secrets:
    """A folder with a file for each secret, and a folder for each project that has its own."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None

    def get(self, name: str, project_id: str | None) -> str:
        """The value of a secret: the project's own, or the one for all; SecretNotFound."""
        if self._folder is None or REFERENCE.fullmatch(f"secret://{name}") is None:
            raise SecretNotFound(name)
        places = [self._folder / name]
        if project_id and _PROJECT.fullmatch(project_id):
            places.insert(0, self._folder / project_id / name)
        for place in places:
            try:
                return place.read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                continue
        raise SecretNotFound(name)

    def resolve(
        self, input: Mapping[str, Any], project_id: str | None
    ) -> tuple[Mapping[str, Any], Callable[[Any], Any] | None]:
        """*input* with values for references, and what masks them again; None if there were none.

        SecretNotFound names the first that is not known.
        """
        if not _mentions(input):
            return input, None
        values: dict[str, str] = {}

        def put(text: str) -> str:
            def value(match: re.Match[str]) -> str:
                name = match[1]
                if name not in values:
                    values[name] = self.get(name, project_id)
                return values[name]

            return REFERENCE.sub(value, text)

        resolved: Mapping[str, Any] = map_texts(dict(input), put)
        return resolved, masking(values.values())


def masking(values: Any) -> Callable[[Any], Any]:
    """A function that masks *values*, and what they become on their way, in any JSON value."""
    forms: set[str] = set()
    for value in values:
        if len(value) < _SHORTEST:
            continue
        forms |= {value, quote(value), quote(value, safe=""), repr(value)[1:-1]}
        forms.add(base64.b64encode(value.encode()).decode().rstrip("="))
        forms |= {line for line in value.splitlines() if len(line) >= 16}
    if not forms:
        return lambda value: value
    # The longest first: one may be a part of another.
    pattern = re.compile("|".join(re.escape(each) for each in sorted(forms, key=len, reverse=True)))

    def mask(value: Any) -> Any:
        return map_texts(value, lambda text: pattern.sub(MASK, text))

    return mask


def _mentions(value: Any) -> bool:
    if isinstance(value, str):
        return "secret://" in value
    if isinstance(value, Mapping):
        return any(_mentions(key) or _mentions(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return any(_mentions(each) for each in value)
    return False
