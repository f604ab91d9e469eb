"""Pools: of actions with some targets only so many run at once, in all executors together.

A place is taken in Redis before an action is handed to a process, and given back when its message
is acknowledged or returned. An executor that dies keeps its places until their leases end. An
action without a place waits here, its message not acknowledged; other messages pass it by.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from app.broker import ACTION_QUEUE
from app.ledger import Ledger
from workers import places

log = logging.getLogger(__name__)

#: Most messages that wait here without taking up the place of one that could run.
MOST_WAITING = 100


class Pools:
    """The limited targets of one connection to the broker."""

    def __init__(
        self,
        limits: Mapping[str, int],
        *,
        ledger: Callable[[], Ledger],
        lease: float,
        consumer: Any,
        away: tuple[type[BaseException], ...],
    ) -> None:
        self._limits = limits
        self._ledger = ledger
        self._lease = lease
        self._consumer = consumer
        self._away = away
        #: Actions that have a place, by id, with the target.
        self._inside: dict[str, str] = {}
        self._waiting: dict[str, deque[tuple[str, bool, Callable[[], None]]]] = defaultdict(deque)

    def admit(self, queue: str, action_id: str, start: Callable[[], None]) -> None:
        """Call *start* as soon as the action, which came by *queue*, may run."""
        target = queue.removeprefix(f"{ACTION_QUEUE}.") if queue else ""
        if target not in self._limits or self._enter(target, action_id):
            start()
            return
        lent = len(self._waiting[target]) < MOST_WAITING and places.lend(self._consumer)
        self._waiting[target].append((action_id, lent, start))

    def leave(self, action_id: str) -> None:
        """Give back the place of an action, if it has one."""
        target = self._inside.pop(action_id, None)
        if target is None:
            return
        try:
            self._ledger().leave(target, action_id)
        except self._away as err:
            log.warning("a place of the pool %s is free only when its lease ends: %s", target, err)
        self._advance(target)

    def look(self) -> None:
        """Start what may run by now; to be called from time to time."""
        for target in [each for each, waiting in self._waiting.items() if waiting]:
            self._advance(target)

    def renew(self) -> None:
        """Extend the leases of the places; well before they end."""
        for action_id, target in list(self._inside.items()):
            self._enter(target, action_id)

    def _advance(self, target: str) -> None:
        waiting = self._waiting[target]
        while waiting and self._enter(target, waiting[0][0]):
            _, lent, start = waiting.popleft()
            places.take_back(self._consumer, lent)
            start()

    def _enter(self, target: str, action_id: str) -> bool:
        try:
            entered = self._ledger().enter(
                target, action_id, limit=self._limits[target], lease=self._lease
            )
        except self._away as err:
            log.warning("no place of the pool %s can be had: %s", target, err)
            return False
        if entered:
            self._inside[action_id] = target
        return entered
