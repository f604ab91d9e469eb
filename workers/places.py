"""Places: how many messages a worker may have in hand, and more for those that only wait."""

from __future__ import annotations

from typing import Any


def lend(consumer: Any) -> bool:
    """Have a message that waits take up no place of those that can be worked on.

    False when so many wait already that there is no more to lend: what was not lent must not be
    given back by ``take_back``, or the worker ends with a single place.
    """
    before = consumer.qos.value
    return bool(consumer.qos.increment_eventually() > before)


def take_back(consumer: Any, lent: bool) -> None:
    """The message can be worked on now: its place is an ordinary one again."""
    if lent:
        consumer.qos.decrement_eventually()
