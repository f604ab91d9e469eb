"""Beat's schedule: which of our tasks the clock sends, and how often.

Beat itself needs nothing else of ours, so nothing that is heavy is imported here.
"""

from __future__ import annotations

from typing import Any

from app.broker import (
    NOTIFIER_TICK,
    NOTIFY_QUEUE,
    SCHEDULER_EXPIRE,
    SCHEDULER_MIRROR_CRON,
    SCHEDULER_QUEUE,
    SCHEDULER_RUN_DUE,
    SCHEDULER_SWEEP,
)
from app.config import Config
from app.services.ticks import TICK

#: Seconds between two looks for deliveries that are to be tried again.
NOTIFY = 2.0
#: Seconds between two repairs of the cron triggers' mirror in RedBeat.
MIRROR = 30.0
#: Seconds between two looks for what is old enough to be deleted.
EXPIRE = 60.0


def entries(config: Config) -> dict[str, dict[str, Any]]:
    """The entries by name, in the form of Celery's ``beat_schedule``."""
    return {
        name: {
            "task": task,
            "schedule": seconds,
            # A tick that waited for long has been overtaken by another.
            "options": {"queue": queue, "expires": max(2.0, seconds)},
        }
        for name, task, queue, seconds in (
            ("due", SCHEDULER_RUN_DUE, SCHEDULER_QUEUE, TICK),
            ("sweep", SCHEDULER_SWEEP, SCHEDULER_QUEUE, config.sweep_interval),
            ("cron-mirror", SCHEDULER_MIRROR_CRON, SCHEDULER_QUEUE, MIRROR),
            ("expiration", SCHEDULER_EXPIRE, SCHEDULER_QUEUE, EXPIRE),
            ("notifications", NOTIFIER_TICK, NOTIFY_QUEUE, NOTIFY),
        )
    }
