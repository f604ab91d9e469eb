"""How YAQL's functions are found and called.

YAQL chooses among the overloads of a function by the types of the arguments. Its own runner
does so anew for each call, in about a tenth of a millisecond, and knows no limits. ``Scope``
takes its place: the same rules, with what can be known beforehand worked out once, and with
every call and result counted in the budget.
"""

from __future__ import annotations

import collections.abc  # noqa: F401 - yaql uses it without importing it
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from yaql.language import contexts, conventions, exceptions, expressions, specs, utils, yaqltypes

from .functions import Run, call_extra
from .limits import Budget
from .plain import name_of
from .view import FrozenList, FrozenMap, frozen

NO_VALUE = utils.NO_VALUE
Expression = expressions.Expression
Constant = expressions.Constant

_PLAIN_TYPES = frozenset(
    {yaqltypes.PythonType, yaqltypes.Integer, yaqltypes.Number, yaqltypes.Sequence}
)
_ITERABLES = frozenset({yaqltypes.Iterable, yaqltypes.Iterator})


class Engine:
    """What YAQL's functions know as their engine: only its options are looked at.

    All limits are off: they are the budget's.
    """

    options: Mapping[str, Any] = {"yaql.limitIterators": -1, "yaql.memoryQuota": -1}


ENGINE = Engine()


class NoItem(Exception):
    """A function found nothing where it needed an item."""


class Signature:
    """A YAQL function definition, taken apart once."""

    __slots__ = (
        "_bound", "_order", "definition", "extra_items", "extra_names", "guard", "no_kwargs",
        "payload", "visible",
    )  # fmt: skip

    def __init__(self, definition: Any, guard: Callable[..., None] | None = None) -> None:
        self.definition = definition
        self.payload = definition.payload
        self.guard = guard  #: Asked with the budget and the arguments, before the call.
        self.no_kwargs: bool = definition.no_kwargs
        parameters = definition.parameters
        self.extra_items = parameters.get("*")
        self.extra_names = parameters.get("**")
        named = [p for key, p in parameters.items() if key not in ("*", "**")]
        if any(p.position is None for p in named):
            raise TypeError(f"{definition.name}: keyword-only parameters are not supported")
        self._order = sorted(named, key=lambda p: int(p.position))
        self.visible = [p for p in self._order if not _hidden(p)]
        self._bound: dict[int, tuple[Any, ...] | None] = {}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the parameters that *args* and *kwargs* go to, or None if they do not fit."""
        if kwargs or NO_VALUE in args:
            return self._bind(args, kwargs)
        count = len(args)
        try:
            return self._bound[count]
        except KeyError:
            self._bound[count] = bound = self._bind(args, kwargs)
            return bound

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        positional: list[Any] = []
        keyword: dict[str, Any] = {}
        left = dict(kwargs)
        for index, parameter in enumerate(self.visible):
            name = parameter.alias or parameter.name
            given = index < len(args)
            if given and args[index] is not NO_VALUE:
                if name in left:
                    return None
            elif name in left:
                keyword[name] = parameter
                del left[name]
            elif parameter.default is specs.NO_DEFAULT:
                return None
            if given:
                positional.append(parameter)
        more = len(args) - len(self.visible)
        if more > 0:
            if self.extra_items is None:
                return None
            positional.extend([self.extra_items] * more)
        if left:
            if self.extra_names is None:
                return None
            keyword.update(dict.fromkeys(left, self.extra_names))
        lazy = frozenset(
            key
            for key, parameter in (*enumerate(positional), *keyword.items())
            if isinstance(parameter.value_type, yaqltypes.LazyParameterType)
        )
        return tuple(positional), keyword, lazy

    def fits(
        self, bound: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], scope: Any
    ) -> bool:
        """Tell whether the arguments have the types of the parameters."""
        positional, keyword, _ = bound
        for parameter, value in zip(positional, args, strict=True):
            if value is NO_VALUE:
                value = parameter.default
            if not parameter.value_type.check(value, scope, ENGINE):
                return False
        return all(
            parameter.value_type.check(kwargs[name], scope, ENGINE)
            for name, parameter in keyword.items()
        )

    def call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], receiver: Any, scope: Scope
    ) -> Any:
        """Call the function; the arguments fit."""
        inner = scope.create_child_context()
        values: list[Any] = []
        index = 0
        for parameter in self._order:
            if _hidden(parameter):
                value = None
            else:
                value = args[index] if index < len(args) else NO_VALUE
                index += 1
                if value is NO_VALUE:
                    value = kwargs.get(parameter.alias or parameter.name, parameter.default)
            values.append(self._converted(parameter, value, receiver, inner))
        for value in args[index:]:
            values.append(self._converted(self.extra_items, value, receiver, inner))
        named: dict[str, Any] = {}
        if self.extra_names is not None and kwargs:
            known = {p.alias or p.name for p in self.visible}
            for name, value in kwargs.items():
                if name not in known:
                    named[name] = self._converted(self.extra_names, value, receiver, inner)
        if self.guard is not None:
            self.guard(scope.run.budget, *values)
        return self.payload(*values, **named)

    def _converted(self, parameter: Any, value: Any, receiver: Any, scope: Scope) -> Any:
        value_type = parameter.value_type
        kind = type(value_type)
        if kind in _PLAIN_TYPES or kind in _ITERABLES:
            # What conversion would do: take a constant's value. An iterable is not wrapped
            # in a counting one, since every iterator that a call returned is counted.
            if isinstance(value, Constant):
                value = value.value
            if value is None and not value_type.nullable:
                raise exceptions.ArgumentException(parameter.name)
            return value
        try:
            return value_type.convert(value, receiver, scope, self.definition, ENGINE)
        except exceptions.ArgumentValueException:
            raise exceptions.ArgumentException(parameter.name) from None


def _hidden(parameter: Any) -> bool:
    return isinstance(parameter.value_type, yaqltypes.HiddenParameterType)


#: Overloads of one name, the nearest level first.
Levels = tuple[tuple[Signature, ...], ...]


class Library:
    """Functions by name, as levels of overloads."""

    def __init__(self, base: Any, guards: Mapping[Callable[..., Any], Callable[..., None]]) -> None:
        self._base = base
        self._guards = guards
        self._found: dict[tuple[str, bool, bool], Levels] = {}
        self._extra: dict[Any, Levels] = {}

    def find(self, name: str, *, method: bool, convention: bool) -> Levels:
        """Return the overloads of *name*."""
        key = (name, method, convention)
        levels = self._found.get(key)
        if levels is None:
            wanted = (lambda f, _: f.is_method) if method else (lambda f, _: f.is_function)
            levels = tuple(
                # A set, which has another order in every process. The order decides
                # nothing but which of two errors is told.
                tuple(
                    Signature(definition, self._guards.get(definition.payload))
                    for definition in sorted(level, key=_place)
                )
                for level in self._base.collect_functions(name, wanted, use_convention=convention)
            )
            if levels or len(self._found) < 5_000:  # users may ask for any name
                self._found[key] = levels
        return levels

    def extra(self, function: Callable[..., Any]) -> Levels:
        """Return a plug-in's function as YAQL sees it."""
        levels = self._extra.get(function)
        if levels is None:

            def payload(context: Scope, *args: Any, **kwargs: Any) -> Any:
                return frozen(call_extra(context.run, function, args, kwargs))

            definition = specs.get_function_definition(payload, name="#extra")
            if len(self._extra) > 500:  # somebody makes new functions for each evaluation
                self._extra.clear()
            levels = self._extra[function] = ((Signature(definition),),)
        return levels


def _place(definition: Any) -> tuple[str, int]:
    code = getattr(definition.payload, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


class Scope(contexts.ContextBase):
    """Variables, the functions that ``def()`` made, and the library behind them."""

    __slots__ = ("_convention", "_data", "_functions", "_parent_context", "library", "run")

    def __init__(self, library: Library, run: Run, parent: Scope | None = None) -> None:
        self._parent_context = parent
        self._convention = _CONVENTION
        self._data: dict[str, Any] | None = None
        self._functions: dict[str, list[Signature]] | None = None
        self.library = library
        self.run = run

    def create_child_context(self) -> Scope:
        self.run.budget.tick()
        return Scope(self.library, self.run, self)

    def get_data(self, name: str, default: Any = None, ask_parent: bool = True) -> Any:
        name = _variable(name)
        scope: Scope | None = self
        while scope is not None:
            data = scope._data
            if data is not None and name in data:
                return data[name]
            if not ask_parent:
                break
            scope = scope._parent_context
        return default

    def __setitem__(self, name: str, value: Any) -> None:
        if self._data is None:
            self._data = {}
        self._data[_variable(name)] = value

    def __delitem__(self, name: str) -> None:
        if self._data is not None:
            self._data.pop(_variable(name), None)

    def __contains__(self, item: Any) -> bool:
        return isinstance(item, str) and self._data is not None and _variable(item) in self._data

    def keys(self) -> Any:
        return (self._data or {}).keys()

    def register_function(self, spec: Any, *args: Any, **kwargs: Any) -> None:
        definition = specs.get_function_definition(
            spec, *args, convention=self._convention, **kwargs
        )
        if self._functions is None:
            self._functions = {}
        self.run.defines = True
        self._functions.setdefault(definition.name, []).append(Signature(definition))

    def delete_function(self, spec: Any) -> None:
        raise NotImplementedError("functions of an expression are not deleted")

    def get_functions(self, name: str, predicate: Any = None, use_convention: bool = False) -> Any:
        raise NotImplementedError("functions are found by Scope.find()")

    def find(self, name: str, *, method: bool, convention: bool) -> Levels:
        """Return the overloads of *name*: the nearest ``def()`` first, plug-ins last."""
        levels = self.library.find(name, method=method, convention=convention)
        if self.run.defines and not method:
            levels = (*self._defined(name.rstrip("_")), *levels)
        if not levels and not method:
            function = self.run.functions.extra.get(name)
            if function is not None:
                return self.library.extra(function)
        return levels

    def _defined(self, name: str) -> Iterator[tuple[Signature, ...]]:
        scope: Scope | None = self
        while scope is not None:
            if scope._functions is not None and name in scope._functions:
                yield tuple(scope._functions[name])
            scope = scope._parent_context

    def __call__(
        self,
        name: str,
        engine: Any,
        receiver: Any = NO_VALUE,
        data_context: Scope | None = None,
        use_convention: bool = False,
        function_filter: Any = None,
    ) -> Callable[..., Any]:
        scope = self if data_context is None else data_context

        def function(*args: Any) -> Any:
            return call(name, scope, args, receiver, convention=use_convention)

        return function


_CONVENTION = conventions.CamelCaseConvention()


def _variable(name: str) -> str:
    if name == "$":
        return "$1"
    if not name.startswith("$"):
        return "$" + name
    return name


def call(
    name: str, scope: Scope, args: tuple[Any, ...], receiver: Any, *, convention: bool = False
) -> Any:
    """Return what the function or method called *name* makes of *args*."""
    budget = scope.run.budget
    budget.tick()
    method = receiver is not NO_VALUE
    levels = scope.find(name, method=method, convention=convention)
    if not levels:
        if method:
            raise exceptions.NoMethodRegisteredException(name, described(receiver))
        raise exceptions.NoFunctionRegisteredException(name)
    if method:
        args = (receiver, *args)
    try:
        signature, args, kwargs = _choose(name, levels, args, receiver, scope)
        return counted(signature.call(args, kwargs, receiver, scope), budget)
    except StopIteration as error:
        # Not to be seen by a generator that this runs in, which would end quietly.
        raise NoItem(str(error) or "The collection is empty") from error


def _choose(
    name: str, levels: Levels, args: tuple[Any, ...], receiver: Any, scope: Scope
) -> tuple[Signature, tuple[Any, ...], dict[str, Any]]:
    """Return the overload to call and its arguments, evaluated where it wants values."""
    no_kwargs = levels[0][0].no_kwargs
    kwargs: dict[str, Any] = {}
    if not no_kwargs and any(isinstance(arg, expressions.MappingRuleExpression) for arg in args):
        args, kwargs = _split(args)

    candidates: list[list[tuple[Signature, Any]]] = []
    lazy: frozenset[int | str] | None = None
    for level in levels:
        fitting: list[tuple[Signature, Any]] = []
        for signature in level:
            if signature.no_kwargs != no_kwargs:
                raise _ambiguous(name, receiver)
            bound = signature.bind(args, kwargs)
            if bound is None or not signature.fits(bound, args, kwargs, scope):
                continue
            if lazy is None:
                lazy = bound[2]
            elif lazy != bound[2]:
                raise _ambiguous(name, receiver)
            fitting.append((signature, bound))
        if fitting:
            candidates.append(fitting)
    if lazy is None:
        raise _unmatched(name, receiver)

    args = tuple(
        arg(NO_VALUE, scope, ENGINE)
        if isinstance(arg, Expression) and index not in lazy and not isinstance(arg, Constant)
        else arg
        for index, arg in enumerate(args)
    )
    for key, arg in kwargs.items():
        if isinstance(arg, Expression) and key not in lazy and not isinstance(arg, Constant):
            kwargs[key] = arg(NO_VALUE, scope, ENGINE)

    for fitting in candidates:
        chosen: tuple[Signature, Any] | None = None
        for signature, bound in fitting:
            if not signature.fits(bound, args, kwargs, scope):
                continue
            if chosen is not None:
                if _narrower(chosen[1], bound):
                    continue
                if not _narrower(bound, chosen[1]):
                    raise _ambiguous(name, receiver)
            chosen = signature, bound
        if chosen is not None:
            return chosen[0], args, kwargs
    raise _unmatched(name, receiver)


def _split(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments by position and those by name (``name => value``)."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for arg in args:
        if isinstance(arg, expressions.MappingRuleExpression):
            if not isinstance(arg.source, expressions.KeywordConstant):
                raise exceptions.MappingTranslationException()
            named[arg.source.value] = arg.destination
        else:
            positional.append(arg)
    return tuple(positional), named


def _narrower(one: Any, other: Any) -> bool:
    """Tell whether the parameters of *one* are of narrower types than those of *other*."""
    narrower = False
    pairs = [*zip(one[0], other[0], strict=True)]
    pairs += [(parameter, other[1][key]) for key, parameter in one[1].items()]
    for mine, theirs in pairs:
        if theirs.value_type.is_specialization_of(mine.value_type):
            return False
        if mine.value_type.is_specialization_of(theirs.value_type):
            narrower = True
    return narrower


def _ambiguous(name: str, receiver: Any) -> Exception:
    if receiver is NO_VALUE:
        return exceptions.AmbiguousFunctionException(name)  # type: ignore[no-any-return]
    return exceptions.AmbiguousMethodException(name, described(receiver))  # type: ignore[no-any-return]


def _unmatched(name: str, receiver: Any) -> Exception:
    if receiver is NO_VALUE:
        return exceptions.NoMatchingFunctionException(name)  # type: ignore[no-any-return]
    return exceptions.NoMatchingMethodException(name, described(receiver))  # type: ignore[no-any-return]


def described(receiver: Any) -> str:
    """Return *receiver* for an error message: never the data of a mapping or a list."""
    if isinstance(receiver, (str, int, float)) or receiver is None:
        text = str(receiver)
        return text if len(text) <= 50 else text[:50] + "..."
    if isinstance(receiver, Iterator):
        return "a list"
    return name_of(receiver)


def counted(result: Any, budget: Budget) -> Any:
    """Return *result* of a call, accounted for; an iterator as one that counts its items."""
    kind = type(result)
    if kind is str or kind is int:
        return budget.made(result)
    if kind is bool or result is None or kind is FrozenMap or kind is FrozenList:
        return result
    if isinstance(result, Iterator):
        # What memorize() returns can be iterated again and must stay what it is; what it
        # remembers was counted when it came.
        if kind.__name__ == "RememberingIterator":
            return result
        return budget.counted(result)
    return budget.made(result)
