"""What one worker process has for itself.

Connections must not be shared with the process one was forked from, so everything that opens
one is made here on first use, and forgotten in a new child.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from app.broker import Broker
from app.config import Config
from app.services.ticks import Ticks

if TYPE_CHECKING:
    from app.services.platform import Platform


class Process:
    """The settings and, once somebody asks for them, the connections of this process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._platform: Platform | None = None
        self._ticks: Ticks | None = None
        self._broker: Broker | None = None

    @property
    def platform(self) -> Platform:
        """Database, broker, ledger and actions, made by the first who asks."""
        with self._lock:
            if self._platform is None:
                # An executor never asks for it, and does without all that it needs.
                from app.services.platform import Platform

                platform = Platform.from_config(self.config)
                platform.database.prefer_indexes()
                # Every decision relies on it; better no worker than a wrong one.
                platform.database.check_isolation()
                self._platform = platform
            return self._platform

    @property
    def ticks(self) -> Ticks:
        """The mark that tells when timers were last looked at."""
        with self._lock:
            if self._ticks is None:
                self._ticks = Ticks(self.config.redis_url)
            return self._ticks

    @property
    def broker(self) -> Broker:
        """A sender of messages that needs no database."""
        with self._lock:
            if self._broker is None:
                self._broker = Broker(self.config.broker_url)
            return self._broker

    def __reduce__(self) -> tuple[type[Process], tuple[Config]]:
        """Pickled, it is a process with the same settings that has opened nothing."""
        return Process, (self.config,)

    def forget(self) -> None:
        """Leave inherited connections to the process they belong to."""
        self._lock = threading.Lock()
        if self._platform is not None:
            self._platform.database.dispose()
        self._platform = None
        self._ticks = None
        self._broker = None
