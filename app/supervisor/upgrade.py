"""Brings the database of the settings to its newest shape; a process of its own."""

from __future__ import annotations

from app.config import Config
from app.models import Database
from app.models.migrate import upgrade


def main() -> int:
    """Upgrade; raises if that is not possible."""
    database = Database(Config.from_env().database_url)
    upgrade(database)
    database.engine.dispose()
    return 0


if __name__ == "__main__":
    main()
