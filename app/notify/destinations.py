"""Which destinations take events now: one that hangs or fails must not hold up the others.

Each process knows what it saw itself; nothing is shared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Deliveries to one destination that may be under way at once.
AT_ONCE = 4
#: The same for all destinations of one host: a part of what a process delivers at once.
AT_ONCE_PER_HOST = 8
#: Failures in a row after which a destination is left alone for a while.
FAILURES = 5
#: Longest seconds it is left alone before one delivery tries again.
LONGEST_REST = 30.0
#: Seconds after which a delivery asks again when enough are under way.
_SOON = 1.0
#: Destinations remembered before idle ones are forgotten.
_MOST = 1000


@dataclass(slots=True)
class _Destination:
    under_way: int = 0
    failures: int = 0
    closed_until: float = 0.0


class Destinations:
    """Counts what is under way and what failed, per destination and per host."""

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        at_once_per_host: int = AT_ONCE_PER_HOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_once = at_once
        self._at_once_per_host = at_once_per_host
        self._clock = clock
        self._known: dict[str, _Destination] = {}
        self._hosts: dict[str, int] = {}
        self._lock = threading.Lock()

    def enter(self, name: str | None) -> float:
        """0 when a delivery to *name* may begin, else the seconds to wait before asking again.

        Whoever may begin says ``leave`` afterwards.
        """
        if name is None:
            return 0.0
        with self._lock:
            known = self._known.setdefault(name, _Destination())
            rest = known.closed_until - self._clock()
            if rest > 0:
                return rest
            # After a rest, one goes first.
            allowed = 1 if known.failures >= FAILURES else self._at_once
            host = _host(name)
            if known.under_way >= allowed or self._hosts.get(host, 0) >= self._at_once_per_host:
                return _SOON
            known.under_way += 1
            self._hosts[host] = self._hosts.get(host, 0) + 1
            return 0.0

    def leave(self, name: str | None, *, taken: bool) -> None:
        """A delivery to *name* has ended."""
        if name is None:
            return
        with self._lock:
            host = _host(name)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            known = self._known[name]
            known.under_way -= 1
            if taken:
                known.failures = 0
                known.closed_until = 0.0
            else:
                known.failures += 1
                if known.failures >= FAILURES:
                    rest = min(LONGEST_REST, 2.0 ** (known.failures - FAILURES))
                    known.closed_until = self._clock() + rest
            self._forget()

    def _forget(self) -> None:
        """Keep the table small, however many destinations were ever seen."""
        if len(self._known) > _MOST:
            now = self._clock()
            self._known = {
                name: each
                for name, each in self._known.items()
                if each.under_way or each.closed_until > now
            }


def _host(name: str) -> str:
    return "/".join(name.split("/", 3)[:3])
