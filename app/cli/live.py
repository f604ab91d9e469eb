"""What a server tells by itself: its event streams, and the wish to look again when it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from .client import Client, Refused, Unreachable, quoted

#: The name of the last event of a stream that is over.
END = "end"
#: Seconds before a stream that broke is asked for again.
_AGAIN = 1.0


def events(api: Client, path: str, *, after: str | None = None) -> Iterator[dict[str, Any]]:
    """Events of the stream at *path*, from where it broke if it breaks, until it is over.

    Raises Refused when there is no such stream, or no place for one more client.
    """
    last, waiting = after, threading.Event()
    while True:
        try:
            for event_id, name, data in api.stream(path, last_event_id=last):
                if name == END:
                    return
                last = event_id or last
                yield json.loads(data)
        except Unreachable:
            if last == after:
                raise
        waiting.wait(_AGAIN)


class Wake:
    """Tells when it is worth looking at an execution again, if the server streams its events."""

    def __init__(self, api: Client, execution_id: str) -> None:
        self._happened = threading.Event()
        #: False when there is no stream: then whoever waits has to look from time to time.
        self.live = False
        threading.Thread(target=self._listen, args=[api, execution_id], daemon=True).start()

    def _listen(self, api: Client, execution_id: str) -> None:
        try:
            for _ in events(api, f"/executions/{quoted(execution_id)}/events"):
                self.live = True
                self._happened.set()
        except (Refused, Unreachable, ValueError):
            pass  # Looking from time to time does as well.
        self.live = False
        self._happened.set()

    def wait(self, seconds: float) -> None:
        """Return when something happened, after so many *seconds* at the latest."""
        self._happened.wait(seconds)
        self._happened.clear()
