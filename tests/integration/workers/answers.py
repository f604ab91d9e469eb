"""What the tests have a process beside them do; it imports little, so that it starts at once."""

from __future__ import annotations

import os
import re
import signal
from typing import Any


def answer(given: str) -> Any:
    """What the tests have a process do."""
    match given:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("told to fail")
        case "hang":
            # In a library that does not look up, as a bad regular expression does not.
            re.match("(a+)+b", "a" * 60)
        case "leave":
            os._exit(0)
    return given, os.getpid()


class Unreadable:
    """Something to call that the process cannot make out."""

    def __reduce__(self) -> Any:
        return int, ("no number",)

    def __call__(self, given: str) -> str:
        return given
