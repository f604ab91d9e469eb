"""Where expressions are found in data, and what comes of them.

Knows that there are two languages and which text is of which; not what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from . import jinja_language, yaql_language
from .errors import (
    EvaluationError,
    GrammarError,
    JinjaEvaluationError,
    MixedLanguagesError,
    YaqlEvaluationError,
)
from .functions import NO_FUNCTIONS, Functions
from .limits import Budget, Limits, configured

#: Data nested deeper than this are refused.
_DEEPEST = 500


def language_of(text: str) -> str | None:
    """Return the language that evaluates *text*: ``jinja``, ``yaql`` or None.

    Jinja is asked first. An expression that is broken over lines is none.
    """
    if "{{" in text or "{%" in text:
        if _marked(text, "{{", "}}") or _marked(text, "{%", "%}"):
            return "jinja"
    if "<%" in text and _marked(text, "<%", "%>"):
        return "yaql"
    return None


def is_expression(text: str) -> bool:
    """Tell whether *text* contains an expression of either language."""
    return language_of(text) is not None


def check(text: str) -> None:
    """Raise a ``GrammarError`` if *text* contains what is not an expression."""
    language = language_of(text)
    if language is None:
        return
    _allow(language)
    if language == "jinja":
        if _marked(text, "<%", "%>"):
            raise MixedLanguagesError(
                "The line already contains an expression of type 'jinja'. Mixing expression"
                " types in a single line is not allowed."
            )
        jinja_language.parsed(text)
    else:
        for start, end in _spans(text, "<%", "%>"):
            # Compiled, not only parsed: it will soon be needed, and is kept.
            yaql_language.compiled(text[start + 2 : end - 2].strip())


def check_all(value: object, *, depth: int | None = None) -> None:
    """Check every text in *value*, or those at most *depth* levels down (0: *value* itself)."""
    for text in texts(value, depth=depth):
        check(text)


def texts(value: object, *, depth: int | None = None) -> Iterator[str]:
    """Yield the texts in *value*; not the keys of mappings, which are never evaluated."""
    if isinstance(value, str):
        yield value
    elif depth is None or depth > 0:
        deeper = None if depth is None else depth - 1
        if isinstance(value, Mapping):
            for item in value.values():
                yield from texts(item, depth=deeper)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from texts(item, depth=deeper)


def references(text: str) -> frozenset[str]:
    """Return the names of variables that *text* reads, as far as can be told without data."""
    language = language_of(text)
    if language == "jinja":
        return jinja_language.references(text)
    if language == "yaql":
        return frozenset().union(
            *(
                yaql_language.references(text[start + 2 : end - 2].strip())
                for start, end in _spans(text, "<%", "%>")
            )
        )
    return frozenset()


def evaluate(text: str, context: Any, functions: Functions = NO_FUNCTIONS) -> Any:
    """Return what *text* stands for in *context*; itself if it contains no expression.

    A text that is one expression and nothing else has the expression's value, any other is a
    text. The result is plain JSON data, and may be a part of *context*: do not change it.
    """
    language = language_of(text)
    if language is None:
        return text
    limits = configured()
    if language not in limits.languages:
        _refuse(language, text)
    if language == "jinja":
        return jinja_language.compiled(text).evaluate(context, functions, Budget(limits))
    return _evaluate_yaql(text, context, functions, limits)


def evaluate_recursively(value: Any, context: Any, functions: Functions = NO_FUNCTIONS) -> Any:
    """Return *value* with every text in it evaluated.

    Keys of mappings stay as they are. A value that contains no expression comes back as the
    same object.
    """
    return _evaluated(value, context, functions, _DEEPEST)


def truthy(value: object) -> bool:
    """Tell whether a guard that gave *value* lets through."""
    return bool(value)


def _evaluated(value: Any, context: Any, functions: Functions, depth: int) -> Any:
    if isinstance(value, str):
        return evaluate(value, context, functions)
    if isinstance(value, (dict, Mapping)):  # A dict is told at once, a Mapping by its bases.
        if not depth:
            raise EvaluationError(f"The value is nested more than {_DEEPEST} levels deep")
        made: dict[Any, Any] | None = None
        for key, item in value.items():
            result = _evaluated(item, context, functions, depth - 1)
            if result is not item:
                if made is None:
                    made = dict(value)
                made[key] = result
        return value if made is None else made
    if isinstance(value, (list, tuple)):
        if not depth:
            raise EvaluationError(f"The value is nested more than {_DEEPEST} levels deep")
        items: list[Any] | None = None
        for index, item in enumerate(value):
            result = _evaluated(item, context, functions, depth - 1)
            if result is not item:
                if items is None:
                    items = list(value)
                items[index] = result
        return value if items is None else items
    return value


def _evaluate_yaql(text: str, context: Any, functions: Functions, limits: Limits) -> Any:
    budget = Budget(limits)
    pieces = _yaql_pieces(text)
    if len(pieces) == 1:
        return _yaql(pieces[0]).evaluate(context, functions, budget)
    parts = [
        _yaql(piece).text_form(context, functions, budget) if place % 2 else piece
        for place, piece in enumerate(pieces)
    ]
    return "".join(parts)


@lru_cache(maxsize=1024)
def _yaql_pieces(text: str) -> tuple[str, ...]:
    """The one expression that a text is; or, in turns, what is text in it and what is not."""
    spans = list(_spans(text, "<%", "%>"))
    if spans == [(0, len(text))]:
        return (text[2:-2].strip(),)
    pieces = []
    at = 0
    for start, end in spans:
        pieces += [text[at:start], text[start + 2 : end - 2].strip()]
        at = end
    return (*pieces, text[at:])


def _yaql(inner: str) -> yaql_language.Yaql:
    try:
        return yaql_language.compiled(inner)
    except GrammarError as error:
        raise YaqlEvaluationError(inner, error.message) from error


def _allow(language: str) -> None:
    if language not in configured().languages:
        raise GrammarError(_disabled(language), language=language)


def _refuse(language: str, text: str) -> None:
    kind = JinjaEvaluationError if language == "jinja" else YaqlEvaluationError
    raise kind(text, _disabled(language))


def _disabled(language: str) -> str:
    return f"The '{language}' expression language is disabled by the operator."


def _spans(text: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """Yield where the expressions between two marks begin and end.

    An opening mark, the nearest closing mark, and no line break between them. By hand and not
    with a regular expression, which takes quadratic time over many opening marks.
    """
    at = 0
    while True:
        start = text.find(opening, at)
        if start < 0:
            return
        end = text.find(closing, start + 2)
        if end < 0:
            return
        broken = text.rfind("\n", start, end)
        if broken >= 0:
            at = broken + 1
            continue
        yield start, end + 2
        at = end + 2


def _marked(text: str, opening: str, closing: str) -> bool:
    return next(_spans(text, opening, closing), None) is not None
