"""A definition's text read as YAML: plain values, and where each of them stands.

This module knows YAML and nothing of the workflow language. Values come out as JSON would hold
them: mappings with text keys, lists, texts, numbers, booleans and null. It reads the parser's
events one by one instead of composing a tree recursively, so that neither depth nor size can
crash it, and so that every value keeps its line and column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import ScalarNode
from yaml.reader import Reader

from ..errors import InvalidDefinition, Problem
from .limits import DEFAULT, Limits

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Characters that begin anchors, aliases and reserved text. The language has neither, so they
#: are hidden from the YAML parser behind characters that mean nothing to it.
_INDICATORS = "&*@"

_NOT_PRINTABLE: re.Pattern[str] = Reader.NON_PRINTABLE
#: Characters of a key that are shown in a path.
_LONGEST_STEP = 255
_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_SAFE_TAGS = frozenset({"str", "int", "float", "bool", "null", "timestamp", "map", "seq"})


class Node:
    """One value of a document and its place."""

    __slots__ = (
        "children",
        "column",
        "key",
        "key_column",
        "key_line",
        "key_type",
        "last_line",
        "line",
        "parent",
        "quoted",
        "value",
    )

    def __init__(self, value: Any, line: int, column: int, quoted: bool = False) -> None:
        self.value = value  #: The plain value, the values of its children in it.
        self.line = line
        self.column = column
        self.last_line = line  #: The line in which the text of the value ends.
        self.quoted = quoted  #: A text that was written in quotes or as a block.
        #: By key, or in order; empty for scalars.
        self.children: dict[str, Node] | list[Node] = []
        self.parent: Node | None = None
        self.key: str | int = ""  #: Under which the parent holds it.
        #: What the key was before it became text: ``integer``, ``boolean``, ...; None for text.
        self.key_type: str | None = None
        self.key_line = line
        self.key_column = column

    @property
    def path(self) -> str:
        """The way from the root: ``w.tasks.t1.on-success[0]``."""
        steps: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            steps.append(
                f"[{node.key}]" if isinstance(node.key, int) else f".{node.key[:_LONGEST_STEP]}"
            )
            node = node.parent
        return "".join(reversed(steps)).removeprefix(".")

    @property
    def entries(self) -> dict[str, Node]:
        """The children of a mapping; nothing for anything else."""
        return self.children if isinstance(self.children, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The children of a list; nothing for anything else."""
        return self.children if isinstance(self.children, list) else []

    def texts(self) -> Iterator[Node]:
        """Every text inside, however deep, this node included."""
        pending = [self]
        while pending:
            node = pending.pop()
            if isinstance(node.value, str):
                yield node
            elif isinstance(node.children, dict):
                pending.extend(reversed(node.children.values()))
            else:
                pending.extend(reversed(node.children))


def read(text: str | bytes, *, limits: Limits = DEFAULT) -> tuple[Node, list[Problem]]:
    """Return the root of the document in *text* and what is doubtful in its YAML.

    An empty document is an empty mapping. Raises ``InvalidDefinition``.
    """
    characters = _decode(text, limits)
    unprintable = _NOT_PRINTABLE.search(characters)
    if unprintable:
        raise _refusal(
            f"the character #x{ord(unprintable.group()):04x} is not allowed",
            *_place_at(characters, unprintable.start()),
        )
    hidden = _Hidden(characters)
    reader = _Events(hidden, limits)
    loader = _Loader(hidden.text)
    try:
        root = reader.build(iter(loader.get_event, None))
    except yaml.reader.ReaderError as err:
        offset = err.position if isinstance(err.position, int) else 0
        raise _refusal(
            str(err.reason), *_place_at(characters, min(offset, len(characters)))
        ) from err
    except yaml.MarkedYAMLError as err:
        raise InvalidDefinition([_syntax_problem(err, hidden)]) from err
    except RecursionError as err:  # the pure-Python parser, where no C library is installed
        raise _refusal("it is nested too deeply", 1, 1) from err
    finally:
        loader.dispose()
    errors = [problem for problem in reader.problems if problem.severity == "error"]
    if errors:
        raise InvalidDefinition(errors)
    return root, reader.problems


def _decode(text: str | bytes, limits: Limits) -> str:
    if isinstance(text, bytes):
        if len(text) > limits.size:
            raise _too_large(len(text), limits)
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as err:
            before = err.object[: err.start].decode("utf-8")
            raise _refusal(
                f"the text is not UTF-8: byte 0x{err.object[err.start]:02x} cannot stand here",
                *_place_at(before, len(before)),
            ) from err
    elif len(text) > limits.size or len(text) * 4 > limits.size < _utf8_length(text):
        raise _too_large(_utf8_length(text), limits)
    return text.removeprefix("\ufeff")


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _too_large(size: int, limits: Limits) -> InvalidDefinition:
    return _refusal(f"it has {size} bytes, and at most {limits.size} are allowed", None, None)


def _refusal(reason: str, line: int | None, column: int | None) -> InvalidDefinition:
    return InvalidDefinition([_parsing_problem(reason, line, column)])


def _parsing_problem(
    reason: str, line: int | None, column: int | None, path: str = "", hint: str | None = None
) -> Problem:
    place = f" (line {line}, column {column})" if line is not None else ""
    return Problem(
        message=f"Definition could not be parsed: {reason}{place}",
        path=path,
        line=line,
        column=column,
        kind="DSLParsingException",
        hint=hint,
    )


def _syntax_problem(err: yaml.MarkedYAMLError, hidden: _Hidden) -> Problem:
    mark = err.problem_mark or err.context_mark
    reason = ", ".join(part for part in (err.context, err.problem) if part)
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    hint = None
    if line is not None:
        lines = hidden.original.splitlines()
        written = lines[line - 1] if line <= len(lines) else ""
        if "<%" in written or "{{" in written:
            hint = "put the value that holds the expression in quotes"
        elif "\t" in written:
            hint = "YAML does not indent with tabs: use blanks"
    return _parsing_problem(hidden.restore(reason), line, column, hint=hint)


def _place_at(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


class _Hidden:
    """A text whose anchors, aliases and ``@`` the YAML parser cannot see."""

    def __init__(self, text: str) -> None:
        self.original = text
        self.text = text
        self._back: dict[int, str] = {}
        if any(indicator in text for indicator in _INDICATORS):
            unused = (c for c in map(chr, range(0xE000, 0xF8FF)) if c not in text)
            there = dict(zip(_INDICATORS, unused, strict=False))
            if len(there) == len(_INDICATORS):
                self.text = text.translate({ord(k): v for k, v in there.items()})
                self._back = {ord(v): k for k, v in there.items()}

    def restore(self, text: str) -> str:
        if self._back and not text.isascii():
            return text.translate(self._back)
        return text


class _Open:
    """A mapping or list whose end has not come yet."""

    __slots__ = ("flow", "key", "merged", "node", "wants_key")

    def __init__(self, node: Node, flow: bool) -> None:
        self.node = node
        self.flow = flow
        self.wants_key = isinstance(node.value, dict)
        #: The key whose value is awaited.
        self.key: _Key | None = None
        self.merged: list[Node] = []


class _Key:
    __slots__ = ("column", "line", "merge", "text", "type")

    def __init__(self, text: str, type_: str | None, line: int, column: int, merge: bool) -> None:
        self.text = text
        self.type = type_
        self.line = line
        self.column = column
        self.merge = merge


class _Events:
    """Builds the tree from the parser's events."""

    def __init__(self, hidden: _Hidden, limits: Limits) -> None:
        self._hidden = hidden
        self._limits = limits
        self._count = 0
        self._open: list[_Open] = []
        self.problems: list[Problem] = []

    def build(self, events: Iterable[Any]) -> Node:
        root: Node | None = None
        documents = 0
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                mark = event.start_mark
                top = self._open[-1] if self._open else None
                if top is not None and top.wants_key:
                    self._key(top, event, mark.line + 1, mark.column + 1)
                    continue
                node = self._scalar(event, mark.line + 1, mark.column + 1)
                node.last_line = event.end_mark.line + 1
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                node = self._begin(event, {} if kind is yaml.MappingStartEvent else [])
                if len(self._open) > 1 and self._open[-2].wants_key:
                    self._collection_as_key(event, self._open[-2])
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                node = self._end(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise yaml.composer.ComposerError(
                        "expected a single document in the stream",
                        None,
                        "but found another document",
                        event.start_mark,
                    )
                continue
            else:
                continue
            if self._open:
                self._put(self._open[-1], node)
            else:
                root = node
        if root is None or (root.value is None and not root.quoted):
            root = Node({}, 1, 1)
            root.children = {}
        return root

    def _counted(self, mark: Any) -> None:
        self._count += 1
        if self._count > self._limits.nodes:
            raise _refusal(
                f"it has more than {self._limits.nodes} values", mark.line + 1, mark.column + 1
            )

    def _path(self, *last: str) -> str:
        """The way to what is being read; nodes know theirs only when all is read."""
        steps: list[str] = []
        for place in self._open:
            if isinstance(place.node.value, list):
                steps.append(f"[{len(place.node.value)}]")
            elif place.key is not None:
                steps.append(f".{place.key.text[:_LONGEST_STEP]}")
        steps.extend(f".{name[:_LONGEST_STEP]}" for name in last)
        return "".join(steps).removeprefix(".")

    def _begin(self, event: Any, value: Any) -> Node:
        mark = event.start_mark
        self._counted(mark)
        if len(self._open) >= self._limits.depth:
            raise _refusal(
                f"it is nested more than {self._limits.depth} levels deep",
                mark.line + 1,
                mark.column + 1,
            )
        node = Node(value, mark.line + 1, mark.column + 1)
        if isinstance(value, dict):
            node.children = {}
        if event.tag not in (None, "!"):
            expected = "map" if isinstance(value, dict) else "seq"
            if event.tag != _TAG + expected:
                self._bad_tag(event.tag, mark)
        self._open.append(_Open(node, bool(event.flow_style)))
        return node

    def _end(self, event: Any) -> Node:
        done = self._open.pop()
        node = done.node
        mark = event.end_mark
        # The end of a block collection is marked where the next thing begins.
        node.last_line = mark.line + 1 if done.flow else max(node.line, mark.line)
        if done.merged:
            self._merge(node, done.merged)
        return node

    def _put(self, top: _Open, node: Node) -> None:
        if isinstance(top.node.children, list):
            node.key = len(top.node.children)
            node.parent = top.node
            top.node.children.append(node)
            top.node.value.append(node.value)
            return
        if top.wants_key:  # the end of a collection that stood as a key, already reported
            top.key = _Key("", None, node.line, node.column, False)
            top.wants_key = False
            return
        key = top.key
        assert key is not None
        top.key = None
        top.wants_key = True
        if key.merge:
            top.merged.append(node)
            return
        self._set(top.node, key, node)

    def _set(self, mapping: Node, key: _Key, node: Node) -> None:
        node.key = key.text
        node.key_type = key.type
        node.key_line = key.line
        node.key_column = key.column
        node.parent = mapping
        entries = mapping.entries
        earlier = entries.get(key.text)
        if earlier is not None:
            self.problems.append(
                Problem(
                    message=f"The key '{key.text[:_LONGEST_STEP]}' stands here twice; "
                    f"the first, in line {earlier.key_line}, is ignored "
                    f"(line {key.line}, column {key.column})",
                    path=self._path(key.text),
                    line=key.line,
                    column=key.column,
                    severity="warning",
                    kind="DSLParsingException",
                    hint="remove or rename one of the two",
                )
            )
        entries[key.text] = node
        mapping.value[key.text] = node.value

    def _key(self, top: _Open, event: Any, line: int, column: int) -> None:
        self._counted(event.start_mark)
        node = self._scalar(event, line, column, counted=True)
        value = node.value
        merge = value == "<<" and not node.quoted
        if isinstance(value, str):
            if "\0" in value:
                self.problems.append(
                    _parsing_problem(
                        "a name cannot hold a NUL character", line, column, self._path()
                    )
                )
            top.key = _Key(value, None, line, column, merge)
        else:
            top.key = _Key(json.dumps(value), _type_name(value), line, column, False)
        top.wants_key = False

    def _collection_as_key(self, event: Any, parent: _Open) -> None:
        mark = event.start_mark
        jinja = parent.flow and isinstance(self._open[-1].node.value, dict)
        hint = (
            "a value that begins with {{ must be put in quotes"
            if jinja
            else "keys of mappings must be texts"
        )
        self.problems.append(
            _parsing_problem(
                "while constructing a mapping, found unhashable key",
                mark.line + 1,
                mark.column + 1,
                self._path(),
                hint,
            )
        )

    def _merge(self, node: Node, merged: list[Node]) -> None:
        """Apply ``<<`` keys: what the mapping says itself is stronger."""
        sources: list[Node] = []
        for source in merged:
            candidates = source.items if isinstance(source.value, list) else [source]
            for candidate in candidates:
                if isinstance(candidate.value, dict):
                    sources.append(candidate)
                else:
                    self.problems.append(
                        _parsing_problem(
                            "expected a mapping or list of mappings for merging, "
                            f"but found {candidate.value!r}",
                            candidate.line,
                            candidate.column,
                            self._path(),
                            "aliases (*name) are not available in definitions",
                        )
                    )
        own = dict(node.entries)
        entries: dict[str, Node] = {}
        for source in reversed(sources):
            entries.update(source.entries)
        entries.update(own)
        for key, child in entries.items():
            child.parent, child.key = node, key
        node.children = entries
        # The mapping itself stays: its parent may hold it already.
        node.value.clear()
        node.value.update((key, child.value) for key, child in entries.items())

    def _scalar(self, event: Any, line: int, column: int, counted: bool = False) -> Node:
        if not counted:
            self._counted(event.start_mark)
        text = self._hidden.restore(event.value)
        tag = event.tag
        plain = event.implicit[0]
        if plain and tag in (None, "!") and not event.style:
            tag = _implicit_tag(text)
            if tag is None:
                return Node(text, line, column)
        elif tag in (None, "!"):
            return Node(text, line, column, quoted=True)
        try:
            value = self._construct(tag, text, event.start_mark)
        except (ValueError, OverflowError, TypeError) as err:
            self.problems.append(
                _parsing_problem(f"{text[:80]!r} cannot be read: {err}", line, column, self._path())
            )
            value = None
        return Node(value, line, column)

    def _construct(self, tag: str, text: str, mark: Any) -> Any:
        kind = tag.removeprefix(_TAG)
        if tag == kind or kind not in _SAFE_TAGS or kind in ("map", "seq"):
            self._bad_tag(tag, mark)
            return None
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return _BOOLEANS[text.lower()] if text.lower() in _BOOLEANS else bool(text)
        node = ScalarNode(tag, text)
        if kind == "int":
            return SafeConstructor().construct_yaml_int(node)
        if kind == "timestamp":
            # A date is kept as text: JSON, and so every stored context, has none.
            return SafeConstructor().construct_yaml_timestamp(node).isoformat()
        number = SafeConstructor().construct_yaml_float(node)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError("JSON cannot hold it, so no execution could store it")
        return number

    def _bad_tag(self, tag: str, mark: Any) -> None:
        shown = "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
        self.problems.append(
            _parsing_problem(
                f"could not determine a constructor for the tag '{shown[:80]}'",
                mark.line + 1,
                mark.column + 1,
                self._path(),
                "only the plain types of YAML are allowed",
            )
        )


_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers


def _implicit_tag(text: str) -> str | None:
    """The tag of a plain scalar; None for text, which most are."""
    candidates = _RESOLVERS.get(text[0] if text else "")
    if candidates:
        for tag, pattern in candidates:
            if pattern.match(text):
                return None if tag in _TEXT_LIKE else tag
    return None


#: ``<<`` is looked at by whoever reads keys; ``=`` means nothing here.
_TEXT_LIKE = frozenset({_TAG + "merge", _TAG + "value"})


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number"


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether *value* is a number in the sense of JSON, where true is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
