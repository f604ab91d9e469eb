"""What a workflow is told of an event: definitions that turn messages into properties.

- event_types: [compute.instance.*]
  properties:
    instance: <% $.payload.instance_id %>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .expressions import NO_FUNCTIONS, View, check_all, evaluate_recursively


class InvalidEventDefinitions(ValueError):
    """The definitions of events do not have the form they should have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDefinition:
    """How messages of some types become properties."""

    #: Globs of event types.
    event_types: tuple[str, ...]
    #: Name -> expression over the message.
    properties: Mapping[str, Any]


def parse(data: Any) -> tuple[EventDefinition, ...]:
    """The definitions that *data*, a list of objects, describes."""
    if data is None:
        return ()
    if not isinstance(data, list):
        raise InvalidEventDefinitions(f"expected a list of event definitions, got {_kind(data)}")
    return tuple(_definition(each, f"item {number}") for number, each in enumerate(data, 1))


def _definition(data: Any, place: str) -> EventDefinition:
    if not isinstance(data, Mapping):
        raise InvalidEventDefinitions(f"{place}: expected an object, got {_kind(data)}")
    unknown = sorted(set(data) - {"event_types", "properties"})
    if unknown:
        raise InvalidEventDefinitions(
            f"{place}: expected event_types and properties, got {', '.join(map(str, unknown))}"
        )
    types = data.get("event_types")
    types = [types] if isinstance(types, str) else types
    if not isinstance(types, list) or not types or not all(isinstance(t, str) for t in types):
        raise InvalidEventDefinitions(f"{place}: event_types: expected a list of texts")
    properties = data.get("properties", {})
    if not isinstance(properties, Mapping):
        raise InvalidEventDefinitions(f"{place}: properties: expected an object")
    check_all(properties)
    return EventDefinition(event_types=tuple(types), properties=dict(properties))


def convert(definitions: Sequence[EventDefinition], event: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of *event*: of the last definition that matches, or the usual four."""
    for definition in reversed(definitions):
        if any(matches(glob, event["event_type"]) for glob in definition.event_types):
            found = evaluate_recursively(definition.properties, View(event), NO_FUNCTIONS)
            return dict(found)
    context = event.get("context") or {}
    return {
        "service": event.get("publisher"),
        "project_id": context.get("project_id"),
        "user_id": context.get("user_id"),
        "timestamp": event.get("timestamp"),
    }


def matches(glob: str, event_type: str) -> bool:
    """Whether *event_type* is *glob*, or fits it: ``*``, ``?`` and ``[...]`` as in file names."""
    return glob == event_type or fnmatchcase(event_type, glob)


def _kind(value: Any) -> str:
    return type(value).__name__
