"""YAQL: ``<% ... %>``."""

from __future__ import annotations

import collections.abc  # noqa: F401 - yaql uses it without importing it
import copy
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeVar

from yaql.language import exceptions, expressions, yaqltypes
from yaql.language.factory import YaqlFactory

from . import yaql_library
from .errors import YaqlEvaluationError, YaqlGrammarError
from .functions import EXHAUSTED, Failed, Functions, NoSuchFunction, Run
from .limits import Budget, Stop, configured
from .plain import plain, text_of
from .view import View, frozen
from .yaql_calls import ENGINE, NO_VALUE, Library, Scope, described
from .yaql_nodes import Property, Variable, quickened

T = TypeVar("T")


class Yaql:
    """A compiled YAQL expression, without its marks."""

    __slots__ = ("path", "root", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.root = quickened(parsed(text))
        except RecursionError as error:
            raise YaqlGrammarError("The expression is nested too deeply") from error
        #: The names of ``$.a.b``; None when the expression is anything else.
        self.path = _path(self.root)

    def evaluate(self, context: Any, functions: Functions, budget: Budget) -> Any:
        """Return the result as plain data."""
        path = self.path
        if path is not None:
            value = _follow(context, path)
            if value is not _ELSEWHERE:
                return self._guarded(lambda: plain(value, budget))
        return self._guarded(lambda: plain(self._result(context, functions, budget), budget))

    def text_form(self, context: Any, functions: Functions, budget: Budget) -> str:
        """Return the result as it reads inside a text."""
        return self._guarded(lambda: text_of(self._result(context, functions, budget), budget))

    def _result(self, context: Any, functions: Functions, budget: Budget) -> Any:
        scope = Scope(library(), Run(functions, budget))
        scope["$1"] = frozen(context)
        return self.root(NO_VALUE, scope, ENGINE)

    def _guarded(self, evaluate: Callable[[], T]) -> T:
        try:
            return evaluate()
        except Stop as error:
            raise YaqlEvaluationError(self.text, str(error)) from error
        except Failed as error:
            raise error.cause from error.cause.__cause__
        except NoSuchFunction as error:
            raise YaqlEvaluationError(self.text, f'Unknown function "{error}"') from error
        except (RecursionError, MemoryError) as error:
            raise YaqlEvaluationError(self.text, EXHAUSTED[type(error)]) from error
        except Exception as error:
            raise YaqlEvaluationError(self.text, _reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args and not isinstance(error.args[0], _SCALARS):
        return f"{described(error.args[0])} is not a key"
    text = str(error) or type(error).__name__
    return text.replace("'FrozenMap'", "'dict'").replace("'FrozenList'", "'list'")


_SCALARS = (str, int, float, type(None))


@cache
def library() -> Library:
    """Return the functions, made at the first use: importing must stay cheap."""
    return yaql_library.build()


@cache
def _engine() -> Any:
    return YaqlFactory(keyword_operator="=>", allow_delegates=False).create()


def parsed(text: str) -> Any:
    """Return the tree of a YAQL expression, or raise a ``YaqlGrammarError``."""
    longest = configured().text
    if len(text) > longest:
        raise YaqlGrammarError(f"A YAQL expression has at most {longest} characters")
    engine = _engine()
    try:
        # The tables of the parser may be shared by threads, its state may not.
        return copy.copy(engine.parser).parse(text, lexer=engine.lexer.clone())
    except exceptions.YaqlParsingException as error:
        raise YaqlGrammarError(error.message) from error
    except (ValueError, SyntaxError) as error:  # a number or an escape that is none
        raise YaqlGrammarError(f"Parse error: {error}") from error


@lru_cache(maxsize=2048)
def compiled(text: str) -> Yaql:
    """Return the compiled expression."""
    return Yaql(text)


# --- Plain paths --------------------------------------------------------------------------

_ELSEWHERE = object()


def _path(node: Any) -> tuple[str, ...] | None:
    names: list[str] = []
    while type(node) is Property and not node.optional:
        names.append(node.key)
        node = node.left
    if type(node) is Variable and node.name == "$1":
        return tuple(reversed(names))
    return None


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    """Return what *path* leads to, ``_ELSEWHERE`` if it leads through more than mappings."""
    for name in path:
        kind = type(value)
        if (kind is dict or kind is View) and name in value:
            value = value[name]
        else:
            return _ELSEWHERE
    return value


# --- References ---------------------------------------------------------------------------


def _rebinds(name: str) -> bool:
    """Tell whether ``$`` may be something else in the arguments of a method: in a lambda's."""
    return any(
        isinstance(parameter.value_type, yaqltypes.Lambda)
        for level in library().find(name, method=True, convention=False)
        for signature in level
        for parameter in (*signature.visible, signature.extra_items)
        if parameter is not None
    )


def references(text: str) -> frozenset[str]:
    """Return the names read as ``$.name``, as far as can be told."""
    found: set[str] = set()
    try:
        _collect(parsed(text), found)
    except RecursionError as error:
        raise YaqlGrammarError("The expression is nested too deeply") from error
    return frozenset(found)


def _collect(node: Any, found: set[str]) -> None:
    if isinstance(node, expressions.Wrap):
        _collect(node.expr, found)
    elif isinstance(node, expressions.MappingRuleExpression):
        _collect(node.source, found)
        _collect(node.destination, found)
    elif isinstance(node, expressions.BinaryOperator) and node.operator in (".", "?."):
        left, right = node.args
        if _is_root(left) and type(right) is expressions.KeywordConstant:
            found.add(right.value)
        _collect(left, found)
        if isinstance(right, expressions.Function):
            if not _rebinds(right.name):
                for arg in right.args:
                    _collect(arg, found)
        else:
            _collect(right, found)
    elif isinstance(node, expressions.BinaryOperator) and node.operator == "->":
        # The right side sees what the left side says; only let(name => value) leaves $ alone.
        left, right = node.args
        _collect(left, found)
        if getattr(left, "name", "") == "let" and all(
            isinstance(arg, expressions.MappingRuleExpression) for arg in left.args
        ):
            _collect(right, found)
    elif isinstance(node, expressions.Function):
        for arg in node.args:
            _collect(arg, found)


def _is_root(node: Any) -> bool:
    return isinstance(node, expressions.GetContextValue) and node.path.value in ("$", "$1")
