"""The functions of YAQL expressions: YAQL's own, bounded, and the shared ones.

What could do much harm in a single call has a guard that is asked before it; what would look
at a clock, at chance or at the machine is replaced; ``call()`` is not there, which reaches
functions by a name made at run time.
"""

from __future__ import annotations

import collections.abc  # noqa: F401 - yaql uses it without importing it
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import regex
import yaql
from dateutil import parser as date_parser
from dateutil import tz
from yaql.language import conventions, exceptions, specs, utils, yaqltypes
from yaql.standard_library import collections as std_collections
from yaql.standard_library import date_time, math, queries, strings, system

from .functions import SHARED, chance, now
from .limits import Budget, Stop, configured, size_of_repetition
from .plain import plain, text_of
from .view import FrozenList, frozen
from .yaql_calls import Library, Scope

_UTC = tz.tzutc()


def build() -> Library:
    """Return the functions of YAQL expressions."""
    standard = yaql.create_context(regex=False, yaqlized=False, delegates=False)
    for level in (standard, standard.parent):
        for definition in _definitions(level):
            if definition.payload in _REPLACED:
                level.delete_function(definition)
    for name, function in _OWN:
        standard.register_function(function, name=name)
    for name, shared in SHARED.items():
        standard.register_function(_shared(name, shared))
    return Library(standard, _GUARDS)


def _definitions(level: Any) -> list[Any]:
    # There is no public way to list the functions of a context.
    return [definition for group in level._functions.values() for definition in group]


def _shared(name: str, function: Callable[..., Any]) -> Any:
    """Return a function of both languages as one of YAQL."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = {p.name for p in parameters}

    def payload(context: Scope, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= names:
            raise exceptions.NoMatchingFunctionException(name)
        budget = context.run.budget
        given = {p.name: arg for p, arg in zip(parameters, args, strict=True)}
        given.update(kwargs)
        made = function(context.run, **{key: plain(arg, budget) for key, arg in given.items()})
        return frozen(made)

    definition = specs.FunctionDefinition(name, payload, {}, function.__doc__)
    slots = definition.parameters
    slots["context"] = specs.ParameterDefinition("context", yaqltypes.Context(), 0)
    anything = yaqltypes.PythonType(object, nullable=True)
    for place, parameter in enumerate(parameters, 1):
        # By Mistral's name or, as YAQL's own functions have it, in camel case. What has two
        # spellings cannot be required of the signature; the function sees to it.
        alias = _CONVENTION.convert_parameter_name(parameter.name)
        default = parameter.default
        if default is inspect.Parameter.empty:
            default = specs.NO_DEFAULT if alias == parameter.name else None
        slots[parameter.name] = specs.ParameterDefinition(
            parameter.name, anything, place, alias, default
        )
    slots["**"] = specs.ParameterDefinition("kwargs", anything, None, None, specs.NO_DEFAULT)
    return definition


_CONVENTION = conventions.CamelCaseConvention()


# --- What is replaced ---------------------------------------------------------------------


@specs.name("now")
@specs.parameter("offset", timedelta)
def _now(context: Scope, offset: timedelta = timedelta()) -> datetime:
    """Return the time of the evaluation, in the zone *offset* away from UTC."""
    return now(context.run).astimezone(date_time._get_tz(offset))


def _localtz() -> timedelta:
    """Return the offset of local time: none, times are UTC."""
    return timedelta()


def _random(context: Scope) -> float:
    """Return a number from 0 up to 1."""
    return chance(context.run, 1 << 53) / (1 << 53)


@specs.parameter("from_", yaqltypes.Integer())
@specs.parameter("to_", yaqltypes.Integer())
def _random_between(context: Scope, from_: int, to_: int) -> int:
    """Return an integer between two, both included."""
    return from_ + chance(context.run, to_ - from_ + 1)


@specs.parameter("string", yaqltypes.String())
@specs.parameter("format__", yaqltypes.String(True))
def _datetime(context: Scope, string: str, format__: str | None = None) -> datetime:
    """Return the time that a text tells."""
    if len(string) > 200 or len(format__ or "") > 200:
        raise ValueError("a time has at most 200 characters")
    if format__:
        result = datetime.strptime(string, format__)  # noqa: DTZ007 - the zone is set below
    else:
        # What the text leaves out is taken from today, or from 1970 where nobody knows.
        today = context.run.functions.now or datetime(1970, 1, 1, tzinfo=_UTC)
        result = date_parser.parse(
            string,
            default=today.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None),
        )
    return result if result.tzinfo else result.replace(tzinfo=_UTC)


@specs.parameter("name", yaqltypes.String())
@specs.parameter("func", yaqltypes.Lambda())
def _def(name: str, func: Callable[..., Any], context: Scope) -> Scope:
    """Define a function for the right side of ``->``."""
    if not name.isidentifier():
        raise ValueError(f"def() needs a name, got '{name[:50]}'")

    @specs.name(name)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    context.register_function(wrapper)
    return context


@specs.parameter("value", nullable=True)
def _str(context: Scope, value: Any) -> str:
    """Return the text of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Iterator):
        value = tuple(value)
    context.run.budget.room(context.run.budget.measure(value))
    return str(value)


@specs.parameter("sequence", yaqltypes.Iterable())
@specs.parameter("separator", yaqltypes.String())
@specs.method
def _join(context: Scope, sequence: Any, separator: str) -> str:
    """Return the items as texts with a separator between them."""
    budget = context.run.budget
    parts: list[str] = []
    size = 0
    for item in sequence:
        part = item if type(item) is str else _str(context, item)
        size += len(part) + len(separator)
        budget.room(size - len(separator))
        parts.append(part)
    return separator.join(parts)


@specs.parameter("separator", yaqltypes.String())
@specs.parameter("sequence", yaqltypes.Iterable())
@specs.method
def _join_by(context: Scope, separator: str, sequence: Any) -> str:
    """Return the items as texts with a separator between them."""
    joined: str = _join(context, sequence, separator)
    return joined


@specs.parameter("string", yaqltypes.String())
@specs.parameter("replacements", utils.MappingType)
@specs.parameter("count", int)
@specs.method
def _replace_all(
    context: Scope, string: str, replacements: Mapping[Any, Any], count: int = -1
) -> str:
    """Return a text with several others replaced in it."""
    budget = context.run.budget
    for key, value in replacements.items():
        old, new = _str(context, key), _str(context, value)
        _replacement(budget, string, old, new, count)
        string = budget.made(string.replace(old, new, count))
    return string


@specs.parameter("left", yaqltypes.Iterable())
@specs.parameter("right", yaqltypes.Iterable())
def _combine(context: Scope, left: Any, right: Any) -> Any:
    """Return the items of two lists, or the members of two sets."""
    if isinstance(left, (tuple, FrozenList)) and isinstance(right, (tuple, FrozenList)):
        budget = context.run.budget
        budget.room(budget.measure(left) + budget.measure(right))
        return tuple(left) + tuple(right)
    if isinstance(left, frozenset) and isinstance(right, frozenset):
        return left | right
    return queries.concat(left, right)


@specs.parameter("producer", yaqltypes.Lambda())
@specs.parameter("selector", yaqltypes.Lambda())
@specs.parameter("decycle", bool)
@specs.parameter("depth_first", bool)
def _generate_many(
    context: Scope,
    initial: Any,
    producer: Callable[..., Any],
    selector: Callable[..., Any] | None = None,
    decycle: bool = False,
    depth_first: bool = False,
) -> Iterator[Any]:
    """Yield a value, what is produced of it, what is produced of that, and so on."""
    budget = context.run.budget
    queue = deque([initial])
    seen: set[Any] = set()
    while queue:
        budget.tick()
        item = queue.popleft()
        if decycle:
            if item in seen:
                continue
            seen.add(item)
        yield item if selector is None else selector(item)
        produced = budget.listed(iter(producer(item)))
        if depth_first:
            queue.extendleft(reversed(produced))
        else:
            queue.extend(produced)


def _characters(
    digits: bool = False,
    hexdigits: bool = False,
    ascii_lowercase: bool = False,
    ascii_uppercase: bool = False,
    ascii_letters: bool = False,
    letters: bool = False,
    octdigits: bool = False,
    punctuation: bool = False,
    printable: bool = False,
    lowercase: bool = False,
    uppercase: bool = False,
    whitespace: bool = False,
) -> tuple[str, ...]:
    """Return the characters of some kinds, in the order of their codes."""
    flags = {
        "digits": digits, "hexdigits": hexdigits, "ascii_lowercase": ascii_lowercase,
        "ascii_uppercase": ascii_uppercase, "ascii_letters": ascii_letters,
        "octdigits": octdigits, "punctuation": punctuation, "printable": printable,
        "whitespace": whitespace,
    }  # fmt: skip
    strange = {"letters": letters, "lowercase": lowercase, "uppercase": uppercase}
    for name, wanted in strange.items():
        if wanted:  # these went with Python 2; YAQL still names them
            raise AttributeError(f"characters() does not know '{name}'; try 'ascii_{name}'")
    chosen = "".join(getattr(strings.string_module, name) for name, on in flags.items() if on)
    return tuple(sorted(set(chosen)))


#: What of YAQL's own does not come along; most have another of the same name below.
_REPLACED = frozenset(
    {
        system.call_func,
        system.def_,
        math.random_,
        math.random__,
        date_time.now,
        date_time.localtz,
        date_time.datetime_from_string,
        strings.str_,
        strings.join,
        strings.join_,
        strings.replace_with_dict,
        strings.characters,
        std_collections.combine_lists,
        queries.generate_many,
    }
)


# --- What is asked before a call ----------------------------------------------------------


def _replacement(budget: Budget, string: str, old: str, new: str, count: int = -1) -> None:
    growth = len(new) - len(old)
    if growth > 0:
        found = string.count(old)
        times = found if count < 0 else min(found, count)
        budget.room(len(string) + times * growth)


def _concatenation(budget: Budget, *texts: str) -> None:
    budget.room(sum(map(len, texts)))


def _repetition(budget: Budget, left: Any, right: Any, engine: Any = None) -> None:
    if isinstance(left, int):
        left, right = right, left
    budget.room(size_of_repetition(left, right, budget))


def _power(budget: Budget, base: Any, exponent: Any, modulus: Any = None) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and modulus is None and exponent > 0:
        budget.integer_bits((abs(base).bit_length() if abs(base) > 1 else 1) * exponent)


def _shift(budget: Budget, value: int, bits: int) -> None:
    budget.integer_bits(value.bit_length() + bits)


def _rounding(budget: Budget, number: Any, digits: int = 0) -> None:
    if abs(digits) > budget.limits.digits:
        raise Stop(f"round() takes at most {budget.limits.digits} digits")


def _formatting(budget: Budget, moment: Any, form: str) -> None:
    if len(form) > 1_000:
        raise Stop("A time's format has at most 1000 characters")


_GUARDS: Mapping[Callable[..., Any], Callable[..., None]] = {
    strings.replace: _replacement,
    strings.concat: _concatenation,
    strings.string_by_int: _repetition,
    strings.int_by_string: _repetition,
    std_collections.list_by_int: _repetition,
    std_collections.int_by_list: _repetition,
    math.pow_: _power,
    math.shift_bits_left: _shift,
    math.round_: _rounding,
    date_time.format_: _formatting,
}


# --- Regular expressions ------------------------------------------------------------------
#
# With the `regex` package instead of `re`: it understands the same patterns and gives up
# after a time, so a pattern that backtracks for ever costs a second and not a worker.

_PATTERN: Any = type(regex.compile("."))
_LONGEST_PATTERN = 2_000


def _compiled(pattern: str, flags: int = 0) -> Any:
    if len(pattern) > _LONGEST_PATTERN:
        raise Stop(f"A regular expression has at most {_LONGEST_PATTERN} characters")
    return regex.compile(pattern, flags)


def _seconds(budget: Budget) -> float:
    return min(budget.limits.regex_seconds, budget.remaining_seconds())


class _Slow(Exception):
    """A regular expression took too long."""

    def __init__(self) -> None:
        seconds = configured().regex_seconds
        super().__init__(f"The regular expression takes longer than {seconds:g} seconds")


def _search(context: Scope, pattern: Any, text: str) -> Any:
    if isinstance(pattern, str):
        pattern = _compiled(pattern)
    try:
        return pattern.search(text, timeout=_seconds(context.run.budget))
    except TimeoutError:
        raise _Slow() from None


@specs.parameter("pattern", yaqltypes.String())
def _regex(
    pattern: str, ignore_case: bool = False, multi_line: bool = False, dot_all: bool = False
) -> Any:
    """Return a regular expression."""
    flags = 0
    if ignore_case:
        flags |= regex.IGNORECASE
    if multi_line:
        flags |= regex.MULTILINE
    if dot_all:
        flags |= regex.DOTALL
    return _compiled(pattern, flags)


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.method
def _matches(context: Scope, regexp: Any, string: str) -> bool:
    """Tell whether a regular expression is found in a text."""
    return _search(context, regexp, string) is not None


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", yaqltypes.String())
@specs.method
def _matches_text(context: Scope, string: str, regexp: str) -> bool:
    """Tell whether a regular expression is found in a text."""
    return _search(context, regexp, string) is not None


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", _PATTERN)
def _found(context: Scope, string: str, regexp: Any) -> bool:
    """Tell whether a regular expression is found in a text."""
    return _search(context, regexp, string) is not None


@specs.parameter("string", yaqltypes.String())
@specs.parameter("pattern", yaqltypes.String())
def _found_text(context: Scope, string: str, pattern: str) -> bool:
    """Tell whether a regular expression is found in a text."""
    return _search(context, pattern, string) is not None


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", _PATTERN)
def _not_found(context: Scope, string: str, regexp: Any) -> bool:
    """Tell whether a regular expression is not found in a text."""
    return _search(context, regexp, string) is None


@specs.parameter("string", yaqltypes.String())
@specs.parameter("pattern", yaqltypes.String())
def _not_found_text(context: Scope, string: str, pattern: str) -> bool:
    """Tell whether a regular expression is not found in a text."""
    return _search(context, pattern, string) is None


def _publish(scope: Scope, match: Any) -> None:
    """Set the variables of a match: ``$`` the whole, ``$2`` the first group, and names."""

    def part(group: int | str) -> Any:
        return utils.FrozenDict(
            value=match.group(group), start=match.start(group), end=match.end(group)
        )

    scope["$1"] = part(0)
    for index in range(1, len(match.groups()) + 1):
        scope[f"${index + 1}"] = part(index)
    for name in match.groupdict():
        scope[f"${name}"] = part(name)


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.parameter("selector", yaqltypes.Lambda(with_context=True))
@specs.method
def _first_match(context: Scope, regexp: Any, string: str, selector: Any = None) -> Any:
    """Return the first match, or what a selector makes of it."""
    match = _search(context, regexp, string)
    if match is None:
        return None
    return _selected(context, match, selector)


def _selected(context: Scope, match: Any, selector: Any) -> Any:
    if selector is None:
        return match.group()
    inner = context.create_child_context()
    _publish(inner, match)
    return selector(inner)


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.parameter("selector", yaqltypes.Lambda(with_context=True))
@specs.method
def _all_matches(context: Scope, regexp: Any, string: str, selector: Any = None) -> Iterator[Any]:
    """Yield all matches, or what a selector makes of them."""
    budget = context.run.budget
    try:
        for match in regexp.finditer(string, timeout=_seconds(budget)):
            budget.tick()
            yield _selected(context, match, selector)
    except TimeoutError:
        raise _Slow() from None


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.parameter("max_split", int)
@specs.method
def _split(context: Scope, regexp: Any, string: str, max_split: int = 0) -> list[str]:
    """Return a text split where a regular expression matches."""
    try:
        parts: list[str] = regexp.split(string, max_split, timeout=_seconds(context.run.budget))
    except TimeoutError:
        raise _Slow() from None
    return parts


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", _PATTERN)
@specs.parameter("max_split", int)
@specs.method
def _split_text(context: Scope, string: str, regexp: Any, max_split: int = 0) -> list[str]:
    """Return a text split where a regular expression matches."""
    parts: list[str] = _split(context, regexp, string, max_split)
    return parts


def _substituted(context: Scope, regexp: Any, string: str, make: Any, count: int) -> str:
    """Return a text with the matches replaced, counting what it grows to."""
    budget = context.run.budget
    size = len(string)

    def replacement(match: Any) -> str:
        nonlocal size
        budget.tick()
        text: str = make(match)
        size += max(0, len(text) - len(match.group()))
        budget.room(size)
        return text

    try:
        result: str = regexp.sub(replacement, string, count, timeout=_seconds(budget))
    except TimeoutError:
        raise _Slow() from None
    return result


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.parameter("repl", yaqltypes.String())
@specs.parameter("count", int)
@specs.method
def _replace(context: Scope, regexp: Any, string: str, repl: str, count: int = 0) -> str:
    """Return a text with the matches replaced by another text, which may name groups."""
    return _substituted(context, regexp, string, lambda match: match.expand(repl), count)


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", _PATTERN)
@specs.parameter("repl", yaqltypes.String())
@specs.parameter("count", int)
@specs.method
def _replace_text(context: Scope, string: str, regexp: Any, repl: str, count: int = 0) -> str:
    """Return a text with the matches replaced by another text, which may name groups."""
    replaced: str = _replace(context, regexp, string, repl, count)
    return replaced


@specs.parameter("regexp", _PATTERN)
@specs.parameter("string", yaqltypes.String())
@specs.parameter("repl", yaqltypes.Lambda(with_context=True))
@specs.parameter("count", int)
@specs.method
def _replace_by(context: Scope, regexp: Any, string: str, repl: Any, count: int = 0) -> str:
    """Return a text with the matches replaced by what is made of each."""

    def make(match: Any) -> str:
        made = _selected(context, match, repl)
        if not isinstance(made, str):
            raise TypeError(f"replaceBy() needs texts, got {text_of(made, context.run.budget)}")
        return made

    return _substituted(context, regexp, string, make, count)


@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", _PATTERN)
@specs.parameter("repl", yaqltypes.Lambda(with_context=True))
@specs.parameter("count", int)
@specs.method
def _replace_text_by(context: Scope, string: str, regexp: Any, repl: Any, count: int = 0) -> str:
    """Return a text with the matches replaced by what is made of each."""
    replaced: str = _replace_by(context, regexp, string, repl, count)
    return replaced


@specs.parameter("string", yaqltypes.String())
def _escape_regex(string: str) -> str:
    """Return a text as a regular expression that matches it."""
    return str(regex.escape(string))


def _is_regex(value: Any) -> bool:
    """Tell whether a value is a regular expression."""
    return isinstance(value, _PATTERN)


_OWN: Sequence[tuple[str, Any]] = (
    ("now", _now),
    ("localtz", _localtz),
    ("random", _random),
    ("random", _random_between),
    ("datetime", _datetime),
    ("def", _def),
    ("str", _str),
    ("join", _join),
    ("join", _join_by),
    ("replace", _replace_all),
    ("characters", _characters),
    ("#operator_+", _combine),
    ("generateMany", _generate_many),
    ("regex", _regex),
    ("matches", _matches),
    ("matches", _matches_text),
    ("#operator_=~", _found),
    ("#operator_=~", _found_text),
    ("#operator_!~", _not_found),
    ("#operator_!~", _not_found_text),
    ("search", _first_match),
    ("searchAll", _all_matches),
    ("split", _split),
    ("split", _split_text),
    ("replace", _replace),
    ("replace", _replace_text),
    ("replaceBy", _replace_by),
    ("replaceBy", _replace_text_by),
    ("escapeRegex", _escape_regex),
    ("isRegex", _is_regex),
)
