"""Celery tasks that the clock sends: due timers and the sweep."""

from __future__ import annotations

from celery import Celery

from app.broker import SCHEDULER_QUEUE, SCHEDULER_RUN_DUE, SCHEDULER_SWEEP
from app.services import sweeper, timers
from workers.process import Process


def register(app: Celery, process: Process) -> None:
    """Add the scheduler's tasks to *app*, and their entries to beat's schedule."""

    @app.task(name=SCHEDULER_RUN_DUE, acks_late=False, ignore_result=True)
    def run_due() -> None:
        """Send the timers that are due, or will be before the next tick."""
        timers.run_due(process.platform, horizon=timers.HORIZON)
        process.ticks.mark()

    @app.task(name=SCHEDULER_SWEEP, acks_late=False, ignore_result=True)
    def sweep() -> None:
        """Look after what was left behind."""
        sweeper.sweep(process.platform)

    interval = process.config.sweep_interval
    app.conf.beat_schedule = {
        "timers": {
            "task": SCHEDULER_RUN_DUE,
            "schedule": timers.TICK,
            # A tick that waited for long has been overtaken by another.
            "options": {"queue": SCHEDULER_QUEUE, "expires": 2 * timers.TICK},
        },
        "sweep": {
            "task": SCHEDULER_SWEEP,
            "schedule": interval,
            "options": {"queue": SCHEDULER_QUEUE, "expires": max(2.0, interval)},
        },
    }
