"""What can be wrong, as the core sees it.

    CoreError
    ├── InvalidDefinition       a text does not follow the workflow language
    ├── InvalidTransition       a state cannot follow another
    └── RequestRefused          what was asked cannot be done now
        ├── InvalidInput        the input of a workflow or action does not fit
        └── StateRefused        the state does not allow it

``RequestRefused`` is for whoever asks (the API answers 400 or 403). A user's mistake inside
a running workflow is not an exception that leaves the core: it is a result, and the task or
execution goes to ERROR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .states import State


class CoreError(Exception):
    """The base of all errors of the core."""


class InvalidTransition(CoreError):
    """A state cannot follow another."""

    def __init__(self, current: State, target: State) -> None:
        super().__init__(f"Invalid state transition from {current} to {target}.")
        self.current = current
        self.target = target


class RequestRefused(CoreError):
    """What was asked cannot be done."""


class InvalidInput(RequestRefused):
    """Names given as input do not match the names declared."""

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
    ) -> None:
        parts = [f"name={name}", f"class={kind}"]
        if missing:
            parts.append(f"missing={list(missing)}")
        if unexpected:
            parts.append(f"unexpected={list(unexpected)}")
        super().__init__(f"Invalid input [{', '.join(parts)}]")
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)


class StateRefused(RequestRefused):
    """The state of the execution, task or action does not allow what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or doubtful, in a definition."""

    #: A sentence that says what was found and what was expected.
    message: str
    #: Where in the document: ``w.tasks.t1.join``. Empty for the document itself.
    path: str = ""
    #: From 1; None when the place is not known.
    line: int | None = None
    column: int | None = None
    #: ``error`` or ``warning``. Warnings never stop a definition from being stored.
    severity: str = "error"
    #: The class Mistral would have raised, e.g. ``DSLParsingException``.
    kind: str = "InvalidModelException"
    #: What to do about it, when there is an obvious answer.
    hint: str | None = None


class InvalidDefinition(CoreError):
    """A definition does not follow the workflow language; carries every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(p.message for p in self.problems))
