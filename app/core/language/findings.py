"""What the checks of a definition have found so far, each thing with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ..errors import Problem
from ..expressions import GrammarError, check, is_expression
from .document import Node

_LONGEST_QUOTE = 160
#: Nobody reads more, and looking for what was meant costs time.
_MOST_PROBLEMS = 100
_LONGEST_NAME = 64
_MOST_NAMES = 500
_MOST_HINTS = 20
_LONGEST_MESSAGE = 1_000


class Findings:
    """Errors and warnings, in the order in which Mistral would look for them."""

    def __init__(self, warnings: Iterable[Problem] = ()) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = list(warnings)
        #: How many errors were found beyond those that are told.
        self.more = 0
        self._grammar: list[Problem] = []

    def invalid(
        self, node: Node, what: str, *, hint: str | None = None, at_key: bool = False
    ) -> None:
        """Note that *node* has the wrong shape."""
        self.error(node, f"Invalid DSL: {what}", hint=hint, at_key=at_key)

    def error(
        self,
        node: Node,
        message: str,
        *,
        kind: str = "InvalidModelException",
        hint: str | None = None,
        at_key: bool = False,
    ) -> None:
        """Note what keeps the definition from being stored."""
        if len(self.errors) < _MOST_PROBLEMS:
            self.errors.append(_problem(node, message, "error", kind, hint, at_key))
        else:
            self.more += 1

    def warn(
        self,
        node: Node,
        message: str,
        *,
        kind: str = "InvalidModelException",
        hint: str | None = None,
        at_key: bool = False,
    ) -> None:
        """Note what is probably not meant."""
        if len(self.warnings) < _MOST_PROBLEMS:
            self.warnings.append(_problem(node, message, "warning", kind, hint, at_key))

    def unknown(self, node: Node, known: Iterable[str]) -> None:
        """Note an attribute that does not exist here."""
        self.invalid(
            node,
            f"Additional properties are not allowed ({str(node.key)!r} was unexpected)",
            hint=self.closest(str(node.key), known) or _hint(str(node.key)),
            at_key=True,
        )

    def closest(self, name: str, known: Iterable[str]) -> str | None:
        """Return a hint naming what *name* may have been meant to be."""
        if len(self.errors) >= _MOST_HINTS or len(name) > _LONGEST_NAME:
            return None
        names = [each for each in known if len(each) <= _LONGEST_NAME][:_MOST_NAMES]
        matches = difflib.get_close_matches(name, names, 1, 0.7)
        return f"did you mean '{matches[0]}'?" if matches else None

    def expressions(self, node: Node) -> None:
        """Check the expressions in a value: its own text, and the texts directly in it.

        Deeper ones are looked at too, but a mistake there is only a warning: Mistral finds it
        when the expression is evaluated, if ever.
        """
        if isinstance(node.value, str):
            self.expression(node, node.value)
            return
        for child in node.entries.values() or node.items:
            if isinstance(child.value, str):
                self.expression(child, child.value)
            else:
                self.doubtful_expressions(child)

    def expression(self, node: Node, text: str) -> None:
        """Check the grammar of the expressions in *text*; told after the shape's mistakes."""
        self._look_at_delimiters(node, text)
        problem = _grammar_problem(node, text, "error")
        if problem:
            self._grammar.append(problem)

    def doubtful_expression(self, node: Node, text: str) -> None:
        """Like ``expression``, where Mistral does not check: what is wrong is a warning."""
        self._look_at_delimiters(node, text)
        problem = _grammar_problem(node, text, "warning")
        if problem and len(self.warnings) < _MOST_PROBLEMS:
            self.warnings.append(problem)

    def doubtful_expressions(self, node: Node) -> None:
        """``doubtful_expression`` for every text in *node*."""
        for text in node.texts():
            self.doubtful_expression(text, text.value)

    def tell_grammar(self) -> None:
        """Put the mistakes of expressions found so far behind the other errors."""
        room = max(0, _MOST_PROBLEMS - len(self.errors))
        self.errors.extend(self._grammar[:room])
        self.more += len(self._grammar[room:])
        self._grammar.clear()

    def _look_at_delimiters(self, node: Node, text: str) -> None:
        for opening, closing in (("<%", "%>"), ("{{", "}}")):
            begins = text.find(opening)
            if begins < 0:
                if opening == "<%" and closing in text:
                    self._broken_delimiters(node, opening, closing, text)
                continue
            ends = text.find(closing, begins)
            if ends < 0:
                self._broken_delimiters(node, opening, closing, text)
            elif "\n" in text[begins:ends]:
                self.warn(
                    node,
                    f"The expression beginning with {opening} goes over several lines and is "
                    "taken as text, not evaluated",
                    kind="ExpressionGrammarException",
                    hint=f"write all from {opening} to {closing} on one line",
                )

    def _broken_delimiters(self, node: Node, opening: str, closing: str, text: str) -> None:
        self.warn(
            node,
            f"{opening} and {closing} do not pair up in {quoted(text)}: it is taken as text",
            kind="ExpressionGrammarException",
            hint="in {...} and [...] a comma ends a value: put the expression in quotes",
        )


def _problem(
    node: Node, message: str, severity: str, kind: str, hint: str | None, at_key: bool
) -> Problem:
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "..."
    line, column = (node.key_line, node.key_column) if at_key else (node.line, node.column)
    return Problem(
        message=f"{message} (line {line}, column {column})",
        path=node.path,
        line=line,
        column=column,
        severity=severity,
        kind=kind,
        hint=hint,
    )


def _grammar_problem(node: Node, text: str, severity: str) -> Problem | None:
    if not is_expression(text):
        return None
    try:
        check(text)
    except GrammarError as err:
        hint = None
        if err.language == "yaql" and "==" in text:
            hint = "YAQL compares with a single ="
        return _problem(
            node, f"{err.message} [text={quoted(text)}]", severity, err.mistral_name, hint, False
        )
    return None


def quoted(value: Any) -> str:
    """Return how *value* is shown in a message: as Mistral does, but cut when it is long."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[:_LONGEST_QUOTE] + "..."


_OF_DIRECT = "it belongs to direct workflows; a reverse one orders its tasks by 'requires'"
_ELSEWHERE = {
    "requires": "it belongs to reverse workflows: type: reverse",
    "join": _OF_DIRECT,
    "on-success": _OF_DIRECT,
    "on-error": _OF_DIRECT,
    "on-complete": _OF_DIRECT,
    "on-skip": _OF_DIRECT,
}


def _hint(name: str) -> str | None:
    if "%>" in name or "}}" in name:
        return "in {...} a comma ends a value: put the expression in quotes"
    return _ELSEWHERE.get(name)
