"""Jinja: ``{{ ... }}`` and ``{% ... %}``, in a sandbox with limits.

Three things are added to Jinja's own sandbox. Attributes are allowed by a list instead of
refused by one, and none changes what it belongs to. Every operator, call, filter and loop
counts in the budget of the evaluation. And nothing reads chance or the machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache, partial, wraps
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.environment import Template
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from markupsafe import Markup

from .errors import JinjaEvaluationError, JinjaGrammarError
from .functions import EXHAUSTED, SHARED, Failed, Functions, NoSuchFunction, Run, call_extra, chance
from .limits import Budget, Stop, configured, size_of_repetition
from .plain import plain, text_of
from .view import View

#: The evaluation that runs in this thread. Jinja shares its environment among all.
_running: ContextVar[Run | None] = ContextVar("running", default=None)


def _now() -> Run:
    run = _running.get()
    if run is None:
        # Jinja tries filters on constants while it compiles a template; it takes this for
        # an answer and calls them when the template runs.
        raise nodes.Impossible()
    return run


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What may be called on a value of each type; all of it leaves the value as it is.
_METHODS: dict[type[Any], frozenset[str]] = {
    str: _names(
        "capitalize casefold center count endswith expandtabs find format"
        " format_map index isalnum isalpha isascii isdecimal isdigit isidentifier"
        " islower isnumeric isprintable isspace istitle isupper join ljust lower"
        " lstrip partition removeprefix removesuffix replace rfind rindex rjust"
        " rpartition rsplit rstrip split splitlines startswith strip swapcase title"
        " upper zfill"
    ),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    View: frozenset({"get", "items", "keys", "values"}),
    int: frozenset({"bit_length"}),
    float: frozenset({"is_integer"}),
    bool: frozenset(),
    bytes: frozenset({"decode", "hex"}),
    set: frozenset({"difference", "intersection", "isdisjoint", "issubset", "issuperset", "union"}),
    LoopContext: _names(
        "changed cycle depth depth0 first index index0 last length nextitem"
        " previtem revindex revindex0"
    ),
    Cycler: frozenset({"current", "next", "reset"}),
    Macro: frozenset({"arguments", "caller", "catch_kwargs", "catch_varargs", "name"}),
    Mapping: frozenset({"get", "items", "keys", "values"}),
}
_LATER = _names(
    "date day days hour isoformat isoweekday microsecond microseconds minute month"
    " second seconds strftime time timestamp total_seconds weekday year"
)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja as expressions have it."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            finalize=_finalized,
        )
        del self.globals["lipsum"]
        self.globals["range"] = _range
        for name, function in list(self.filters.items()):
            self.filters[name] = _bounded(function, _FILTER_GUARDS.get(name))
        self.filters.update(_FILTERS)
        for name, shared in SHARED.items():
            self.filters[name] = _shared_filter(shared)

    # Attributes ---------------------------------------------------------------------------

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_"):
            return False
        if isinstance(obj, Namespace):
            return True
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        return attr in _LATER and type(obj).__module__ == "datetime"

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is View or type(obj) is dict:
            # Methods before members, as in Jinja; but only those that may be called.
            if attribute not in _METHODS[type(obj)] and attribute in obj:
                return obj[attribute]
            if type(obj) is View and attribute not in _METHODS[View]:
                return self._absent(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if type(obj) is View:
            if argument in obj:
                return obj[argument]
            return self._absent(obj, argument)
        return super().getitem(obj, argument)

    def _absent(self, obj: View, name: Any) -> Undefined:
        if isinstance(name, str) and name.startswith("_") and hasattr(dict, name):
            return self.unsafe_undefined({}, name)
        # As of a dictionary: that is what users know the context to be.
        return self.undefined(obj={}, name=name)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        safe = wrapped

        def bounded(*args: Any, **kwargs: Any) -> str:
            _format(_now().budget, value.__self__, *args, **kwargs)
            return safe(*args, **kwargs)

        return bounded

    # What is counted ----------------------------------------------------------------------

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = _now().budget
        budget.tick()
        method = getattr(obj, "__self__", None)
        if isinstance(method, str):
            if obj.__name__ == "join" and args and not isinstance(args[0], (list, tuple, str)):
                args = (budget.listed(iter(args[0])), *args[1:])
            guard = _METHOD_GUARDS.get(obj.__name__)
            if guard is not None:
                guard(budget, method, *args, **kwargs)
        return _made(super().call(context, obj, *args, **kwargs), budget)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        budget = _now().budget
        _operation(budget, operator, left, right)
        return _made(super().call_binop(context, operator, left, right), budget)

    def made(self, value: Any) -> Any:
        """Account for a list or mapping that is written in a template."""
        return _made(value, _now().budget)

    def passed(self, size: int) -> str:
        """Account for one round of a loop or macro, and the text it has."""
        budget = _now().budget
        budget.tick()
        if size:
            budget.charge(size)
        return ""

    def concatenated(self, *values: Any) -> str:
        """Return what ``~`` makes of its operands."""
        budget = _now().budget
        texts = [value if type(value) is str else _as_text(value, budget) for value in values]
        budget.room(sum(map(len, texts)))
        return budget.made("".join(texts))

    # The tree, before it is compiled --------------------------------------------------------

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        _instrument(source, self)
        return super()._generate(source, name, filename, defer_init)


def _made(value: Any, budget: Budget) -> Any:
    if isinstance(value, Iterator) and not isinstance(value, (LoopContext, Cycler)):
        return budget.counted(value)
    return budget.made(value)


def _finalized(value: Any) -> Any:
    """Return *value* as a template writes it, accounted for."""
    run = _running.get()
    if run is None:
        return value  # a constant, while the template is compiled
    if type(value) is str:
        run.budget.charge(len(value))
        return value
    return _as_text(value, run.budget)


_DICT_VIEWS: tuple[type[Any], ...] = (type({}.keys()), type({}.values()), type({}.items()))


def _as_text(value: Any, budget: Budget) -> Any:
    if isinstance(value, (str, Undefined, range, Macro)):
        text = str(value)
        budget.charge(len(text))
        return value if isinstance(value, Markup) else text
    if isinstance(value, _DICT_VIEWS):
        budget.charge(budget.measure(list(value)))
        return str(value)
    return text_of(value, budget)


def _instrument(tree: nodes.Node, environment: Sandbox) -> None:
    """Make loops, macros, ``~`` and literals count, by calls put into *tree*."""
    blocks: list[Any] = list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)))
    for node in blocks:
        size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        node.body.insert(0, nodes.ExprStmt(_call("passed", [nodes.Const(size)], node)))
    _Rewriter(environment).visit(tree)


class _Rewriter:
    """Replaces expressions of a tree by calls of the environment."""

    def __init__(self, environment: Sandbox) -> None:
        self._environment = environment

    def visit(self, node: nodes.Node) -> nodes.Node:
        for field, value in node.iter_fields():
            if isinstance(value, list):
                value[:] = [
                    self.visit(item) if isinstance(item, nodes.Node) else item for item in value
                ]
            elif isinstance(value, nodes.Node):
                setattr(node, field, self.visit(value))
        if isinstance(node, nodes.Concat):
            return _call("concatenated", node.nodes, node)
        if isinstance(node, (nodes.List, nodes.Tuple, nodes.Dict)):
            if getattr(node, "ctx", "load") == "load" and not _constant(node):
                return _call("made", [node], node)
        return node


def _constant(node: nodes.Node) -> bool:
    return all(isinstance(child, (nodes.Const, nodes.Pair)) for child in node.find_all(nodes.Expr))


def _call(name: str, args: list[Any], like: nodes.Node) -> nodes.Call:
    function = nodes.EnvironmentAttribute(name)
    call = nodes.Call(function, list(args), [], None, None)
    call.set_lineno(like.lineno or 1)
    return call


# --- Guards -----------------------------------------------------------------------------------


_SEQUENCES = (str, list, tuple, bytes)


def _operation(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large."""
    if operator == "*":
        if isinstance(left, int) and isinstance(right, _SEQUENCES):
            left, right = right, left
        if isinstance(left, _SEQUENCES) and isinstance(right, int):
            budget.room(size_of_repetition(left, right, budget))
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and right > 0:
            budget.integer_bits((abs(left).bit_length() if abs(left) > 1 else 1) * right)
    elif operator == "+":
        if isinstance(left, (str, list, tuple)) and type(left) is type(right):
            budget.room(budget.measure(left) + budget.measure(right))
    elif operator == "%" and isinstance(left, (str, bytes)):
        _percent(budget, left, right)


def _percent(budget: Budget, form: Any, values: Any) -> None:
    if not isinstance(form, str):
        raise TypeError("only texts can be formatted")
    _widths(budget, form)
    if re.search(r"%[^%a-zA-Z]*\*", form):
        raise SecurityError("a width may not be taken from the values")
    budget.room(len(form) + form.count("%") * budget.measure(values))


def _widths(budget: Budget, form: str) -> None:
    """Refuse a format with a large width or precision: ``{:1000000000}``."""
    for digits in re.findall(r"[0-9]{4,}", form):
        if len(digits) > 9:
            raise Stop("The width of a format is too large")
        budget.charge(int(digits))


def _format(budget: Budget, form: str, *args: Any, **kwargs: Any) -> None:
    _widths(budget, form)
    if re.search(r":[^{}]*\{", form):
        raise SecurityError("a format may not be taken from the values")
    budget.room(len(form) + form.count("{") * (budget.measure(args) + budget.measure(kwargs)))


def _padding(budget: Budget, text: Any, width: Any = 80, *_: Any, **kwargs: Any) -> None:
    width = kwargs.get("width", width)
    if isinstance(width, int):
        budget.room(width)


def _replacing(
    budget: Budget, text: Any, old: Any, new: Any, count: Any = None, *_: Any, **__: Any
) -> None:
    text, old, new = _short(text), str(old), str(new)
    growth = len(new) - len(old)
    if growth > 0:
        budget.room(len(text) + text.count(old) * growth)


def _joining(budget: Budget, separator: str, items: Any) -> None:
    if isinstance(items, (list, tuple)):
        budget.room(budget.measure(items) + len(separator) * len(items))


def _tabs(budget: Budget, text: str, tabsize: Any = 8) -> None:
    if isinstance(tabsize, int):
        budget.room(len(text) + text.count("\t") * tabsize)


def _indenting(budget: Budget, text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    step = len(width) if isinstance(width, str) else width
    text = _short(text)
    budget.room(len(text) + (text.count("\n") + 1) * step)


def _wrapping(budget: Budget, text: Any, *args: Any, **kwargs: Any) -> None:
    _searching(budget, text)
    between = max((len(a) for a in (*args, *kwargs.values()) if isinstance(a, str)), default=1)
    budget.room(len(_short(text)) * (1 + between))


def _pieces(budget: Budget, items: Any, *args: Any, **kwargs: Any) -> None:
    # Both filters fill up to the given number.
    for value in (*args, *kwargs.values()):
        if isinstance(value, int):
            budget.room(value * (16 + budget.measure(args) + budget.measure(kwargs)))


def _decimals(budget: Budget, value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    if isinstance(precision, int) and abs(precision) > 1_000:
        raise Stop("round takes at most 1000 digits")


def _searching(budget: Budget, text: Any, *_: Any, **__: Any) -> None:
    # These search their text again and again.
    if len(_short(text)) > 100_000:
        raise Stop("urlize, striptags and wordwrap take at most 100000 characters")


def _format_filter(budget: Budget, form: Any, *args: Any, **kwargs: Any) -> None:
    _percent(budget, str(form), kwargs or args)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


_METHOD_GUARDS: Mapping[str, Callable[..., None]] = {
    "center": _padding,
    "expandtabs": _tabs,
    "join": _joining,
    "ljust": _padding,
    "replace": _replacing,
    "rjust": _padding,
    "zfill": _padding,
}
_FILTER_GUARDS: Mapping[str, Callable[..., None]] = {
    "batch": _pieces,
    "center": _padding,
    "format": _format_filter,
    "indent": _indenting,
    "replace": _replacing,
    "round": _decimals,
    "slice": _pieces,
    "striptags": _searching,
    "urlize": _searching,
    "wordwrap": _wrapping,
}


# --- Filters and functions ------------------------------------------------------------------


def _bounded(function: Callable[..., Any], guard: Callable[..., None] | None) -> Callable[..., Any]:
    """Return a filter that counts in the budget."""
    passes = getattr(function, "jinja_pass_arg", None)

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        budget = _now().budget
        budget.tick()
        budget.look()
        first = 1 if passes else 0
        if guard is not None:
            guard(budget, *args[first:], **kwargs)
        return _made(function(*args, **kwargs), budget)

    return filtered


def _shared_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(*args: Any, **kwargs: Any) -> Any:
        return function(_now(), *args, **kwargs)

    return filtered


def _random(items: Any) -> Any:
    """Return an item, any."""
    run = _now()
    items = list(items)
    if not items:
        raise UndefinedError("No random item, sequence was empty.")
    return items[chance(run, len(items))]


def _tojson(value: Any, indent: int | None = None) -> Markup:
    """Return *value* as JSON in one line, or indented."""
    run = _now()
    parts: list[str] = []
    size = 0
    if indent is not None and not 0 <= indent <= 32:
        raise ValueError("indent: expected a number from 0 to 32")
    encoder = json.JSONEncoder(indent=indent, sort_keys=True)
    for part in encoder.iterencode(plain(value, run.budget)):
        size += len(part)
        run.budget.room(size)
        parts.append(part)
    text = "".join(parts)
    for mark, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027")):
        text = text.replace(mark, escape)
    return Markup(run.budget.made(text))  # noqa: S704 - escaped above


def _pprint(value: Any) -> str:
    """Return *value* as Python writes it."""
    run = _now()
    return text_of([value], run.budget)[1:-1]  # As an item it is written with its quotes.


@jinja2.pass_environment
def _join(environment: Sandbox, value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    """Return the items as texts with a separator between them."""
    budget = _now().budget
    separator = str(d)
    parts: list[str] = []
    size = 0
    for item in _attributes(environment, value, attribute):
        budget.tick()
        part = item if type(item) is str else str(_as_text(item, budget))
        size += len(part) + len(separator)
        budget.room(size - len(separator))
        parts.append(part)
    return budget.made(separator.join(parts))


@jinja2.pass_environment
def _sum(
    environment: Sandbox, iterable: Any, attribute: str | int | None = None, start: Any = 0
) -> Any:
    """Return the sum of numbers, or the items of several lists after those of *start*."""
    budget = _now().budget
    total = list(start) if isinstance(start, (list, tuple)) else start
    for item in _attributes(environment, iterable, attribute):
        budget.tick()
        if isinstance(total, list):
            total.extend(item)
            budget.room(len(total) * 8)
        elif isinstance(item, str):
            raise TypeError("sum adds numbers or lists, not texts")
        else:
            total = budget.made(total + item)
    return budget.made(total)


def _attributes(environment: Sandbox, items: Any, attribute: str | int | None) -> Iterator[Any]:
    if attribute is None:
        yield from items
        return
    names = attribute.split(".") if isinstance(attribute, str) else [attribute]
    for item in items:
        for name in names:
            item = environment.getitem(item, int(name) if str(name).isdigit() else name)
        yield item


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "join": _join,
    "pprint": _pprint,
    "random": _random,
    "sum": _sum,
    "tojson": _tojson,
}


def _range(*args: int) -> range:
    """Return a range of numbers, not too long."""
    numbers = range(*args)
    longest = configured().jinja_range
    if len(numbers) > longest:
        raise OverflowError(
            f"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({longest})."
        )
    return numbers


# --- The language -----------------------------------------------------------------------------

#: Names of the context that are names of a template too.
_SPECIAL = ("__env", "__execution", "__task_execution")
#: Functions that exist only where the evaluation has what they look at.
_PARTS = {
    "execution": "execution",
    "executions": "executions",
    "global": "workflow_context",
    "task": "task",
    "tasks": "tasks",
    "uuid": "new_uuid",
}


class Jinja:
    """A compiled text with Jinja in it."""

    __slots__ = ("_names", "_render", "_single", "_template", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        tree, self._single = _parsed(text)
        self._names = meta.find_undeclared_variables(tree)
        token = _running.set(None)
        try:
            self._template: Template = _sandbox().from_string(tree)
        finally:
            _running.reset(token)
        self._render: Callable[..., Iterator[str]] = self._template.root_render_func

    def evaluate(self, context: Any, functions: Functions, budget: Budget) -> Any:
        """Return the result as plain data; a text unless the whole is one expression."""
        run = Run(functions, budget)
        token = _running.set(run)
        try:
            scope = self._template.new_context(self._variables(context, run))
            if self._single:
                for _ in self._render(scope):
                    pass
                return plain(scope.vars["result"], budget)
            return self._joined(scope, budget)
        except Stop as error:
            raise JinjaEvaluationError(self.text, str(error)) from error
        except Failed as error:
            raise error.cause from error.cause.__cause__
        except NoSuchFunction as error:
            raise JinjaEvaluationError(self.text, f"'{error}' is undefined") from error
        except (RecursionError, MemoryError) as error:
            raise JinjaEvaluationError(self.text, EXHAUSTED[type(error)]) from error
        except Exception as error:
            raise JinjaEvaluationError(self.text, str(error) or type(error).__name__) from error
        finally:
            _running.reset(token)

    def _joined(self, scope: Any, budget: Budget) -> str:
        parts: list[str] = []
        size = 0
        for part in self._render(scope):
            size += len(part)
            budget.room(size)
            parts.append(part)
        return "".join(parts)

    def _variables(self, context: Any, run: Run) -> dict[str, Any]:
        """Return the variables that the template asks for, as far as they exist."""
        variables: dict[str, Any] = {}
        functions = run.functions
        for name in self._names:
            if name == "_":
                variables[name] = context
            elif name in SHARED:
                part = _PARTS.get(name)
                if part is None or getattr(functions, part) is not None:
                    variables[name] = partial(SHARED[name], run)
            elif name in _SPECIAL:
                if isinstance(context, Mapping):
                    variables[name] = context.get(name)
            elif name in functions.extra:
                variables[name] = partial(_extra, run, functions.extra[name])
        return variables


def _extra(run: Run, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return call_extra(run, function, args, kwargs)


@cache
def _sandbox() -> Sandbox:
    return Sandbox()


def _parsed(text: str) -> tuple[nodes.Template, bool]:
    """Return the tree of *text*, and whether it is one expression and nothing else."""
    _fit(text)
    source = _single(text)
    if source is None:
        return parsed(text), False
    try:
        expression = _expression(source)
    except TemplateSyntaxError:
        # `{{- x -}}` has marks that are not part of the expression.
        inner = source[1:] if source[:1] in "-+" else source
        inner = inner[:-1] if inner[-1:] in "-+" else inner
        if inner == source:
            raise
        expression = _expression(inner)
    result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
    tree = nodes.Template([result], lineno=1)
    tree.set_environment(_sandbox())
    return tree, True


def _expression(source: str) -> nodes.Expr:
    parser = Parser(_sandbox(), source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError("chunk after expression", parser.stream.current.lineno)
    return expression


def _single(text: str) -> str | None:
    """Return the inside of ``{{ ... }}`` when that is the whole of *text*.

    The first end mark must be the last, as in Mistral: ``{{ {'a': {'b': 1}} }}`` is a text.
    """
    if text.startswith("{{") and text.endswith("}}") and "\n" not in text:
        if text.find("}}", 2) == len(text) - 2:
            return text[2:-2]
    return None


def parsed(text: str) -> nodes.Template:
    """Return the tree of a template, or raise a ``JinjaGrammarError``."""
    _fit(text)
    try:
        return _sandbox().parse(text)
    except TemplateSyntaxError as error:
        raise JinjaGrammarError(f"Syntax error '{error.message}'.") from error
    except RecursionError as error:
        raise JinjaGrammarError("The template is nested too deeply") from error


def _fit(text: str) -> None:
    longest = configured().text * 10
    if len(text) > longest:
        raise JinjaGrammarError(f"A Jinja template has at most {longest} characters")


@lru_cache(maxsize=2048)
def compiled(text: str) -> Jinja:
    """Return the compiled text; what is wrong with it is told as when it is evaluated."""
    try:
        return Jinja(text)
    except JinjaGrammarError as error:
        cause = error.__cause__
        reason = cause.message if isinstance(cause, TemplateSyntaxError) else error.message
        raise JinjaEvaluationError(text, reason or "") from error
    except TemplateSyntaxError as error:
        raise JinjaEvaluationError(text, error.message or str(error)) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        # Of Python's compiler: too many brackets, too many blocks in each other.
        raise JinjaEvaluationError(text, f"The template is too complex: {error}") from error


def references(text: str) -> frozenset[str]:
    """Return the names read as ``_.name`` or ``_['name']``, as far as can be told.

    Not those whose absence is provided for, by ``default`` or ``is defined``.
    """
    found: set[str] = set()
    try:
        _collect(parsed(text), found)
    except RecursionError as error:
        raise JinjaGrammarError("The template is nested too deeply") from error
    return frozenset(found)


def _collect(node: nodes.Node, found: set[str]) -> None:
    name = _reference(node)
    if name is not None:
        found.add(name)
    for child in node.iter_child_nodes():
        if isinstance(node, (nodes.Filter, nodes.Test)) and node.name in _OPTIONAL:
            if child is node.node and _reference(child) is not None:
                continue
        _collect(child, found)


_OPTIONAL = frozenset({"default", "d", "defined", "undefined"})


def _reference(node: nodes.Node) -> str | None:
    if isinstance(node, (nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name == "_":
            if isinstance(node, nodes.Getattr):
                return None if node.attr in _METHODS[View] else node.attr
            if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                return node.arg.value
    return None
