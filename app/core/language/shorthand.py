"""The one-line syntax: ``std.echo output="hi" delay=1`` as a command and its parameters.

It is read as leniently as Mistral reads it: a parameter whose value has none of the known forms
is left out. ``dropped`` tells what was left out, so that the author can be warned.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

#: One expression of either language on one line.
EXPRESSION = r"<%.*?%>|\{\{.*?\}\}"

_COMMAND = re.compile(rf"[\w.]+[^=(\s\"]*|{EXPRESSION}|\{{%.*?%\}}")
_PARAMETER = re.compile(rf"""([-_\w]+)=("[^"]*"|'[^']*'|{EXPRESSION}|\[.*\]|true|false|null|\d+)""")
_PUNCTUATION = re.compile(r"[\s,()]+")
_CALL = re.compile(r"\w+\(\w+=(.*)\)$")


class NoCommand(ValueError):
    """The text does not begin with a name or an expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A one-line text taken apart."""

    command: str
    parameters: dict[str, Any] = field(default_factory=dict)
    #: What stands in the text and means nothing, such as ``delay=-1``.
    dropped: tuple[str, ...] = ()


def split(text: str) -> Line:
    """Return the command and the parameters of *text*.

    A text without a blank is a command and nothing else.
    """
    if " " not in text:
        return Line(command=text)
    return _split(text)


def split_target(text: str) -> Line:
    """Like ``split``, for targets of on-clauses, where ``fail(msg='a')`` needs no blank."""
    if " " not in text and not _CALL.match(text):
        return Line(command=text)
    return _split(text)


def _split(text: str) -> Line:
    command = _COMMAND.match(text)
    if command is None:
        raise NoCommand(text)
    name = command.group()
    # ``<% f(x=1) %>`` has no parameters, but ``count=3 delay=1`` begins with one.
    start = command.end() if name[0] in "<{" else 0
    parameters: dict[str, Any] = {}
    rest: list[str] = []
    end = start
    for match in _PARAMETER.finditer(text, start):
        parameters[match[1]] = _value(match[2])
        rest.append(text[end : match.start()])
        end = match.end()
    rest.append(text[end:])
    if start == 0 and rest[0].startswith(name):
        rest[0] = rest[0][len(name) :]
    elif start == 0 and name not in parameters:
        rest[0] = rest[0].removeprefix(name)
    words = (piece for part in rest for piece in _PUNCTUATION.split(part))
    return Line(command=name, parameters=parameters, dropped=tuple(word for word in words if word))


def json_list(text: str) -> list[Any]:
    """Return the JSON array in *text*; raises ``ValueError``."""
    result = json.loads(text, parse_constant=_refuse)
    assert isinstance(result, list)
    return result


def _value(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text[0] in "<{":
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
