"""Whether everything that is needed is there."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from app.models import revision

from .platform import Platform
from .ticks import Ticks

#: Seconds without a tick after which timers are late.
_TICK = 15.0


def problems(platform: Platform) -> dict[str, str]:
    """What is not right, by part; empty when all is."""
    checks: dict[str, Callable[[], str | None]] = {
        "database": lambda: _database(platform),
        "migrations": lambda: _migrations(platform),
        "broker": lambda: _broker(platform),
        "tick": lambda: _tick(platform),
    }
    found: dict[str, str] = {}
    for part, check in checks.items():
        if part == "migrations" and "database" in found:
            continue
        try:
            problem = check()
        except Exception as err:  # whatever it is, it is what is wrong
            problem = f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}"
        if problem:
            found[part] = problem
    return found


def _database(platform: Platform) -> str | None:
    with platform.database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return None


def _migrations(platform: Platform) -> str | None:
    if revision.is_current(platform.database):
        return None
    return "the database does not have the newest shape; run: celeriac db upgrade"


def _broker(platform: Platform) -> str | None:
    platform.broker.check()
    return None


def _tick(platform: Platform) -> str | None:
    age = Ticks(platform.config.redis_url).age()
    if age is None:
        return "timers have not been looked at in the last day: is beat running?"
    if age > _TICK:
        return f"timers were last looked at {age:.0f} seconds ago: are beat and an engine running?"
    return None
