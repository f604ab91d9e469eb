"""When a cron pattern matches next: pure arithmetic on patterns, zones and times given.

A pattern has five fields, or six with seconds last, or is an alias such as ``@hourly``. It is
read in a time zone, which may stand before it: ``CRON_TZ=Europe/Berlin 0 9 * * *``. What happens
where a zone's clock jumps is decided as cron has done it for decades:

- A pattern whose hours are ``*`` or ``*/n`` means "every so often": it follows the time that
  really passes. An hour that the clock shows twice counts twice, one that it leaves out not at
  all.
- Any other pattern means "at that time of day": it matches once a day. A time that is left out
  is made up for after the jump (02:30 becomes 03:30), one that comes twice matches the first time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from .errors import RequestRefused

#: Stored for a trigger that has only a first time: shown by the API, never asked for a next time.
NO_PATTERN = "0 0 30 2 0"

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_ZONE = re.compile(r"\s*(?:CRON_TZ|TZ)=(\S*)\s+")
#: croniter draws a random value for these, so two servers would not agree.
_RANDOM = re.compile(r"^r([(/,]|$)", re.IGNORECASE)


class InvalidPattern(RequestRefused):
    """A text is no cron pattern, or one that never matches."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"The specified pattern is not valid: {pattern}")
        self.pattern = pattern


class UnknownZone(RequestRefused):
    """There is no time zone of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The specified time zone is not known: {name}")
        self.name = name


def find_zone(name: str) -> ZoneInfo:
    """The time zone called *name*, e.g. ``Europe/Berlin``; raise UnknownZone if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # A name may also be a path that leads out of the database, or to a directory in it.
        raise UnknownZone(name) from None


def split(pattern: str) -> tuple[str | None, str]:
    """The name of the zone that *pattern* begins with, if any, and its fields."""
    found = _ZONE.match(pattern)
    return (found[1], pattern[found.end() :]) if found else (None, pattern)


def next_time(pattern: str, *, after: datetime, zone: str = "UTC") -> datetime:
    """The first time later than *after* at which *pattern* matches, in UTC.

    *zone* is for patterns that name none.

    Raises InvalidPattern when the pattern cannot be read, or never matches; UnknownZone.
    """
    own_zone, fields = split(pattern)
    place = find_zone(own_zone if own_zone is not None else zone)
    after = after.astimezone(UTC).replace(microsecond=0)
    try:
        if _follows_elapsed_time(fields):
            return _next_elapsed(fields, place, after)
        return _next_of_day(fields, place, after)
    except (InvalidPattern, CroniterBadDateError, OverflowError):
        raise InvalidPattern(pattern) from None


def next_slot(pattern: str, *, slot: datetime, now: datetime, zone: str = "UTC") -> datetime:
    """The slot that follows *slot* when it is fired at *now*.

    Slots that were missed in between collapse into the one that is being fired.
    """
    return next_time(pattern, after=max(slot, now), zone=zone)


def _read(pattern: str, start: datetime) -> croniter:
    try:
        found = croniter(pattern, start)
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
        # croniter's own errors are ValueErrors; some strange texts trip it in other ways.
        raise InvalidPattern(pattern) from None
    if len(found.expressions) > 6 or any(_RANDOM.match(each) for each in found.expressions):
        raise InvalidPattern(pattern)
    return found


def _follows_elapsed_time(pattern: str) -> bool:
    hours: str = _read(pattern, datetime(2000, 1, 1)).expressions[1]  # noqa: DTZ001
    return hours.startswith("*")


def _next_of_day(pattern: str, zone: ZoneInfo, after: datetime) -> datetime:
    candidates = _read(pattern, after.astimezone(zone).replace(tzinfo=None))
    while True:
        wall: datetime = candidates.get_next(datetime)
        # Of a time that comes twice this is the first; a time that is left out is read with the
        # offset before the jump, and so lands as much later.
        found = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if found > after:
            return found


def _next_elapsed(pattern: str, zone: ZoneInfo, after: datetime) -> datetime:
    since = start = after
    while True:
        # As long as the offset stays, wall-clock time and elapsed time are the same.
        offset = _offset(zone, since)
        wall: datetime = _read(pattern, (start + offset).replace(tzinfo=None)).get_next(datetime)
        found = wall.replace(tzinfo=UTC) - offset
        change = _next_change(zone, since, found)
        if change is None:
            return found
        # Look again from the change on, which itself may match.
        since, start = change, change - _SECOND


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _next_change(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """The first moment in (begin, end] with another offset than the one before it, if any."""
    offset = _offset(zone, begin)
    low = begin
    while low < end:
        high = min(low + _DAY, end)
        if _offset(zone, high) != offset:
            while high - low > _SECOND:
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                if _offset(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return None


__all__ = [
    "NO_PATTERN",
    "InvalidPattern",
    "UnknownZone",
    "find_zone",
    "next_slot",
    "next_time",
    "split",
]
