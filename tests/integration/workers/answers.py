"""What the tests have a process beside them do; it imports little, so that it starts at once."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def answer(given: str) -> Any:
    """What the tests have a process do."""
    match given:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("told to fail")
        case "sleep":
            time.sleep(60)
        case "leave":
            os._exit(0)
    return given, os.getpid()


class Unreadable:
    """Something to call that the process cannot make out."""

    def __reduce__(self) -> Any:
        return int, ("no number",)

    def __call__(self, given: str) -> str:
        return given
