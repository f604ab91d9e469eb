"""The one-line syntax: ``std.echo output="hi" delay=1`` as a command and its parameters.

It is read as leniently as Mistral reads it: a parameter whose value has none of the known forms
is left out. ``dropped`` tells what was left out, so that the author can be warned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from .limits import DEFAULT

#: One expression of either language on one line.
EXPRESSION = r"<%.*?%>|\{\{.*?\}\}"

_COMMAND = re.compile(rf"[\w.]+[^=(\s\"]*|{EXPRESSION}|\{{%.*?%\}}")
_NAME = re.compile(r"[-\w]+")
_BARE = re.compile(r"true|false|null|\d+")
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
    for parameter in _Parameters(text, start):
        parameters[parameter.name] = _value(parameter.value)
        rest.append(text[end : parameter.start])
        end = parameter.end
    rest.append(text[end:])
    if start == 0:
        rest[0] = rest[0].removeprefix(name)
    words = (piece for part in rest for piece in _PUNCTUATION.split(part))
    return Line(command=name, parameters=parameters, dropped=tuple(word for word in words if word))


class _Parameter(NamedTuple):
    name: str
    value: str
    start: int
    end: int


class _Parameters:
    """Every ``name=value`` of a text.

    A regular expression could say the same, but would take quadratic time over texts made for
    that; here nothing is looked for twice.
    """

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start
        #: The next place of each closing mark, as last found; beyond the end if there is none.
        self._next: dict[str, int] = {}
        #: The last ``]`` before each end of a line.
        self._brackets: dict[int, int] = {}

    def __iter__(self) -> Iterator[_Parameter]:
        text = self._text
        position = self._start
        while name := _NAME.search(text, position):
            position = name.end()
            if text.startswith("=", position):
                position += 1
                end = self._end_of_value(position)
                if end:
                    yield _Parameter(name.group(), text[position:end], name.start(), end)
                    position = end

    def _end_of_value(self, start: int) -> int:
        """Where the value that begins at *start* ends; 0 if none does."""
        text = self._text
        first = text[start : start + 1]
        if first in ("'", '"') and first:
            return text.find(first, start + 1) + 1
        for opening, closing in (("<%", "%>"), ("{{", "}}")):
            if text.startswith(opening, start):
                found = self._find(closing, start + 2)
                return found + 2 if found < self._find("\n", start) else 0
        if first == "[":
            line_end = min(self._find("\n", start), len(text))
            if line_end not in self._brackets:
                self._brackets[line_end] = text.rfind("]", 0, line_end)
            bracket = self._brackets[line_end]
            return bracket + 1 if bracket > start else 0
        bare = _BARE.match(text, start)
        return bare.end() if bare else 0

    def _find(self, mark: str, start: int) -> int:
        found = self._next.get(mark, -1)
        if found < start:
            found = self._text.find(mark, start)
            if found < 0:
                found = len(self._text) + 1
            self._next[mark] = found
        return found


def json_list(text: str) -> list[Any]:
    """Return the JSON array in *text*; raises ``ValueError``."""
    try:
        result = json.loads(text, parse_constant=_refuse)
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err
    assert isinstance(result, list)
    _refuse_depth(result)
    return result


def _value(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text[0] in "<{":
        return text
    try:
        return json_list(text) if text[0] == "[" else json.loads(text)
    except ValueError:
        return text


def _refuse_depth(value: Any) -> None:
    """Raise ``ValueError`` for what is nested deeper than a document may be."""
    level = [value]
    for _ in range(DEFAULT.depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
