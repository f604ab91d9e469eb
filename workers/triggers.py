"""Celery tasks of cron triggers and of expiration, and the triggers' mirror in RedBeat.

The row of a trigger is the truth, and the scheduler's tick fires what is due by it. The mirror is
one entry per trigger in RedBeat's schedule: its tools show what will run, and what beat sends
from it is one more hint that a trigger may be due.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import Any

from celery import Celery
from celery.schedules import ParseException, crontab
from redbeat import RedBeatSchedulerEntry
from redbeat.schedulers import ensure_conf, get_redis
from redbeat.schedules import rrule
from sqlalchemy import select

from app.broker import (
    SCHEDULER_EXPIRE,
    SCHEDULER_FIRE_CRON,
    SCHEDULER_MIRROR_CRON,
    SCHEDULER_QUEUE,
)
from app.core import cron
from app.models import CronTrigger, Database, utcnow
from app.services import expiration, triggers
from workers.process import Process
from workers.schedule import MIRROR

#: Names of mirrored entries begin so; the id of the trigger follows.
PREFIX = "cron-trigger:"


def register(app: Celery, process: Process) -> None:
    """Add the tasks to *app*."""

    @app.task(name=SCHEDULER_FIRE_CRON, acks_late=False, ignore_result=True)
    def fire_cron(trigger_id: str) -> None:
        """Fire one cron trigger, if it is due."""
        if process.config.cron_triggers:
            triggers.fire(process.platform, trigger_id)

    @app.task(name=SCHEDULER_MIRROR_CRON, acks_late=False, ignore_result=True)
    def mirror_cron() -> None:
        """Make RedBeat's schedule show what the rows say."""
        mirror(app, process.platform.database, enabled=process.config.cron_triggers)

    @app.task(name=SCHEDULER_EXPIRE, acks_late=False, ignore_result=True)
    def expire() -> None:
        """Delete what is old enough."""
        expiration.expire(process.platform)


def mirror(app: Celery, database: Database, *, enabled: bool = True) -> tuple[int, int]:
    """Create, change and delete entries until they are as the rows; how many written, deleted."""
    with database.read() as session:
        rows = session.scalars(
            select(CronTrigger).where(CronTrigger.next_execution_time.is_not(None))
        ).all()
    wanted = {PREFIX + row.id: row for row in rows} if enabled else {}
    settings = ensure_conf(app)
    present = _entries(get_redis(app), settings)
    written = deleted = 0
    for name in present.keys() - wanted.keys():
        entry = RedBeatSchedulerEntry(name, SCHEDULER_FIRE_CRON, _schedule_once(utcnow()), app=app)
        # The entry's own method takes both the entry and its place in line.
        entry.delete()
        deleted += 1
    for name, row in wanted.items():
        schedule, text = _schedule(row)
        if present.get(name) == text:
            continue
        RedBeatSchedulerEntry(
            name,
            SCHEDULER_FIRE_CRON,
            schedule,
            args=[row.id],
            # RedBeat keeps options with the entry, so the text tells whether it is still right.
            options={"queue": SCHEDULER_QUEUE, "expires": MIRROR, "headers": {_MADE_FROM: text}},
            app=app,
        ).save()
        written += 1
    return written, deleted


_MADE_FROM = "celeriac-mirror"


def _entries(client: Any, settings: Any) -> dict[str, str | None]:
    """Name -> the text it was made from, of every mirrored entry."""
    prefix = settings.key_prefix + PREFIX
    keys = [key for key in client.zrange(settings.schedule_key, 0, -1) if key.startswith(prefix)]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hget(key, "definition")
        definitions = pipe.execute()
    found: dict[str, str | None] = {}
    for key, definition in zip(keys, definitions, strict=True):
        options = (json.loads(definition) if definition else {}).get("options") or {}
        found[key.removeprefix(settings.key_prefix)] = (options.get("headers") or {}).get(
            _MADE_FROM
        )
    return found


def _schedule(row: CronTrigger) -> tuple[Any, str]:
    """RedBeat's schedule for a trigger, and the text that changes when it has to change.

    A crontab where Celery's means the same as the pattern; else one run at the next time, which
    is written anew after each.
    """
    assert row.next_execution_time is not None
    zone, fields = cron.split(row.pattern)
    if _means_the_same(row, zone or row.time_zone, fields.split()):
        with contextlib.suppress(ParseException, ValueError):
            return crontab.from_string(fields), fields
    return _schedule_once(row.next_execution_time), row.next_execution_time.isoformat()


def _means_the_same(row: CronTrigger, zone: str, fields: list[str]) -> bool:
    # Celery's crontab has five fields and one zone for all; where both days are given it wants
    # both to match, cron either.
    if len(fields) != 5 or zone != "UTC" or (fields[2] != "*" and fields[4] != "*"):
        return False
    first = row.first_execution_time
    return first is None or first != row.next_execution_time


def _schedule_once(moment: datetime) -> rrule:
    return rrule("SECONDLY", dtstart=moment, count=1)
