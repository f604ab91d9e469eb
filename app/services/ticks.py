"""The tick mark: when timers were last looked at, wherever that was.

It is a Redis key that lives long and is set anew at each tick; what is left of its life tells
its age. So the age is measured by one clock, Redis's own, whatever the hosts' clocks say.
"""

from __future__ import annotations

import redis

#: Seconds between two looks for what is due.
TICK = 2.0
KEY = "celeriac:tick"
ELECTION = "celeriac:stand-in:"
LIFE = 24 * 3600.0


class Ticks:
    """Reads and sets the tick mark. Making one opens no connection."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)

    def mark(self) -> None:
        """Say that timers were looked at just now."""
        self.redis.set(KEY, 1, px=int(LIFE * 1000))

    def age(self) -> float | None:
        """Seconds since the last tick; None when there was none in the last day."""
        left = self.redis.pttl(KEY)
        if not isinstance(left, int) or left < 0:
            return None
        return max(0.0, LIFE - left / 1000)

    def stand_in(self, task: str, *, seconds: float) -> bool:
        """True for one caller in any period of *seconds*: that one may send *task* for beat."""
        return bool(self.redis.set(ELECTION + task, 1, px=int(seconds * 1000), nx=True))

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
