"""What a publisher gets, and how it says that it could not take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class DeliveryFailed(Exception):
    """The event was not taken; trying again later may help."""


class Undeliverable(DeliveryFailed):
    """The event will never be taken like this: trying again is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one publisher."""

    #: The same whenever this event is delivered to this publisher again.
    key: str
    execution_id: str
    project_id: str
    #: Position of the event in its execution, from 1. What is filtered out leaves gaps.
    number: int
    #: ``WORKFLOW_SUCCEEDED``, ...; None for a change without a name.
    event: str | None
    #: The payload.
    data: Mapping[str, Any]
    #: The publisher object as the user wrote it.
    publisher: Mapping[str, Any]
    #: From 1; more than 1 when it was tried before.
    attempt: int
    created_at: datetime


class Publisher(Protocol):
    """Takes events to somewhere. Called by several threads at once."""

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        """What fails together, e.g. a URL without its query: one that is down is left alone.

        Of a text with slashes, what stands before the third is shared with others (a host), and
        only part of what is delivered at once goes there.
        """

    def publish(self, delivery: Delivery) -> None:
        """Return when the event was taken for good; raise when it was not."""
