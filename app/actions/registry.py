"""All actions by name: the standard ones, those of plug-ins, and Celery tasks.

It knows what an action takes and what to call; how a run is bounded and reported is told in
``runner``.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from app.actions.context import ActionContext
from app.config import Config
from app.core.errors import InvalidInput, RequestRefused

logger = logging.getLogger(__name__)

#: Entry point groups that plug-ins register actions under.
PLUGIN_GROUPS = ("celeriac.actions", "mistral.actions")
#: Names under this prefix are Celery tasks of the user's own applications.
CELERY_PREFIX = "celery."
#: No plug-in may take a name under this prefix.
RESERVED_PREFIXES = ("std.", CELERY_PREFIX)

Run = Callable[[Mapping[str, Any], ActionContext], Any]


class ActionRegistrationError(Exception):
    """An action cannot be added to the registry; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name that an action takes as input."""

    name: str
    required: bool = True
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionType:
    """An action that can be run: what it takes, and what to call."""

    name: str
    #: Called with the input and the context; what it returns is the result.
    run: Run
    parameters: tuple[Parameter, ...] = ()
    #: Any name is taken as input.
    accepts_any: bool = False
    #: It does no I/O and returns at once: the engine may run it itself.
    inline: bool = False
    #: Its result comes later, from outside; what it returns means nothing unless it is an error.
    asynchronous: bool = False
    description: str = ""
    #: Shown in the text of a wrong input.
    class_name: str = ""
    #: Shown in the text of an exception.
    shown_as: str = ""
    #: More that must be true of the input before it is accepted; raises RequestRefused.
    check: Callable[[Mapping[str, Any]], None] | None = None
    #: Whether this input may run in the engine; None: every input, if ``inline``.
    inline_when: Callable[[Mapping[str, Any]], bool] | None = None

    @property
    def input_summary(self) -> str:
        """The parameters as the API shows them: ``output, delay=0``."""
        parts = [
            each.name if each.required else f"{each.name}={_default_text(each.default)}"
            for each in self.parameters
        ]
        if self.accepts_any:
            parts.append("**kwargs")
        return ", ".join(parts)

    def check_input(self, input: Mapping[str, Any]) -> None:
        """Raise InvalidInput unless all required names are there and no others."""
        if not self.accepts_any:
            names = [each.name for each in self.parameters]
            missing = [p.name for p in self.parameters if p.required and p.name not in input]
            unexpected = [name for name in input if name not in names]
            if missing or unexpected:
                raise InvalidInput(
                    self.name, self.class_name, missing=missing, unexpected=unexpected
                )
        if self.check is not None:
            self.check(input)

    def may_run_inline(self, input: Mapping[str, Any]) -> bool:
        """True when a run with this input does no I/O and does not wait."""
        return self.inline and (self.inline_when is None or self.inline_when(input))


@dataclass
class Registry:
    """Actions by name."""

    #: What could not be loaded, one sentence each, naming the plug-in.
    problems: list[str] = field(default_factory=list)
    _actions: dict[str, ActionType] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> ActionType | None:
        """The action called *name*; None when there is none.

        Every name under ``celery.`` is found: only the worker that will run the task knows
        whether it exists.
        """
        found = self._actions.get(name)
        if found is None and name.startswith(CELERY_PREFIX) and len(name) > len(CELERY_PREFIX):
            return ActionType(
                name=name,
                run=_not_here,
                accepts_any=True,
                asynchronous=True,
                description=f"The Celery task {name.removeprefix(CELERY_PREFIX)}.",
                class_name="celery",
                shown_as=name,
            )
        return found

    def get(self, name: str) -> ActionType:
        """The action called *name*; RequestRefused when there is none."""
        found = self.find(name)
        if found is None:
            raise RequestRefused(f"Failed to find action [action_name={name}]")
        return found

    def all(self) -> list[ActionType]:
        """Every action that has a place here, by name."""
        return [self._actions[name] for name in sorted(self._actions)]

    def register(self, action: ActionType, *, source: str = "celeriac") -> None:
        """Add *action*, which came from *source*; ActionRegistrationError if its name is taken."""
        if action.name in self._actions:
            raise ActionRegistrationError(
                f"the action {action.name!r} of {source} is already registered by "
                f"{self._sources[action.name]}"
            )
        self._actions[action.name] = action
        self._sources[action.name] = source

    def load_plugins(self, points: list[EntryPoint] | None = None) -> None:
        """Add the actions of all installed plug-ins.

        A plug-in that cannot be loaded is told in ``problems`` and in the log, and left out.
        """
        if points is None:
            points = [each for group in PLUGIN_GROUPS for each in entry_points(group=group)]
        for point in points:
            source = f"{point.value} ({point.dist.name if point.dist else 'unknown package'})"
            try:
                if point.name.startswith(RESERVED_PREFIXES):
                    raise ActionRegistrationError(f"names like {point.name!r} are reserved")
                self.register(action_of(point.name, point.load()), source=source)
            except Exception as err:  # a plug-in may raise anything while it is imported
                problem = f"action {point.name!r} of {source} was left out: {err!r}"
                self.problems.append(problem)
                logger.error(problem)


def standard_registry(config: Config | None = None, *, plugins: bool = True) -> Registry:
    """A registry with the standard actions, and those of installed plug-ins."""
    from app.actions import std  # the standard actions are built with the types of this module

    registry = Registry()
    for action in std.actions(config or Config()):
        registry.register(action)
    if plugins:
        registry.load_plugins()
    return registry


def action_of(name: str, target: Any) -> ActionType:
    """The action that a plug-in's function or class makes; ActionRegistrationError if neither."""
    if inspect.isclass(target):
        return _from_class(name, target)
    if callable(target):
        return from_function(name, target)
    raise ActionRegistrationError(
        f"expected a function, or a class with run(), got {type(target).__name__}"
    )


def from_function(name: str, function: Callable[..., Any], **options: Any) -> ActionType:
    """An action that calls *function* with the input as keywords.

    It gets the run's context if it has a parameter of that name. A function whose attribute
    ``asynchronous`` is true reports its result later.
    """
    parameters, accepts_any = parameters_of(function)
    wants_context = options.pop("wants_context", None)
    if wants_context is None:
        wants_context = any(each.name == "context" for each in parameters)
    if wants_context:
        parameters = tuple(each for each in parameters if each.name != "context")

        def run(input: Mapping[str, Any], context: ActionContext) -> Any:
            return function(**input, context=context)
    else:

        def run(input: Mapping[str, Any], context: ActionContext) -> Any:
            return function(**input)

    path = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', name)}"
    values: dict[str, Any] = {
        "description": inspect.getdoc(function) or "",
        "class_name": path,
        "shown_as": name,
        "asynchronous": bool(getattr(function, "asynchronous", False)),
        **options,
    }
    return ActionType(name=name, run=run, parameters=parameters, accepts_any=accepts_any, **values)


def _from_class(name: str, cls: type) -> ActionType:
    method = getattr(cls, "run", None)
    if not callable(method):
        raise ActionRegistrationError(f"the class {cls.__name__} has no method run(context)")
    init_parameters, accepts_any = parameters_of(
        inspect.getattr_static(cls, "__init__"), skip_first=True
    )
    taken, takes_any = parameters_of(method, skip_first=True)
    takes_context = bool(taken) or takes_any

    def run(input: Mapping[str, Any], context: ActionContext) -> Any:
        instance = cls(**input)
        return instance.run(context) if takes_context else instance.run()

    return ActionType(
        name=name,
        run=run,
        parameters=init_parameters,
        accepts_any=accepts_any,
        asynchronous=not _is_sync(cls),
        description=inspect.getdoc(cls) or "",
        class_name=f"{cls.__module__}.{cls.__qualname__}",
        shown_as=name,
    )


def _is_sync(cls: type) -> bool:
    # It is a method, so that it could depend on the input; in every package we know of it
    # returns a constant. It is asked without a constructor, for which there is no input yet.
    ask = getattr(cls, "is_sync", None)
    if ask is None:
        return True
    try:
        return bool(ask(object.__new__(cls)))
    except Exception:
        return True


def parameters_of(
    function: Callable[..., Any], *, skip_first: bool = False
) -> tuple[tuple[Parameter, ...], bool]:
    """The parameters of *function* that can be given by name, and whether it takes any name."""
    if function is object.__init__:
        return (), False
    found = list(inspect.signature(function).parameters.values())
    if skip_first:
        found = found[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = tuple(
        Parameter(
            each.name,
            required=each.default is inspect.Parameter.empty,
            default=None if each.default is inspect.Parameter.empty else each.default,
        )
        for each in found
        if each.kind in named
    )
    return parameters, any(each.kind is inspect.Parameter.VAR_KEYWORD for each in found)


def _default_text(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return json.dumps(repr(value))


def _not_here(input: Mapping[str, Any], context: ActionContext) -> Any:
    raise RuntimeError("a Celery task runs in the user's own worker, not in an executor")
