"""``celeriac db``: the database that the settings name."""

from __future__ import annotations

import click
from sqlalchemy.exc import SQLAlchemyError

from app.config import Config, ConfigError
from app.models import migrate, revision
from app.models.session import Database

from .output import Output, json_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def db() -> None:
    """Prepare the database."""


@db.command()
@json_option
def upgrade(out: Output) -> None:
    """Bring the database of CELERIAC_DATABASE_URL to the newest shape.

    Several may do it at once; all return when it is done.
    """
    try:
        config = Config.from_env()
    except ConfigError as err:
        raise click.ClickException(str(err)) from err
    database = Database(config.database_url)
    try:
        before = revision.is_current(database)
        migrate.upgrade(database)
    except SQLAlchemyError as err:
        # The driver's own words; the rest of SQLAlchemy's message is for us.
        cause = getattr(err, "orig", None) or err
        raise click.ClickException(f"the database does not work: {str(cause).strip()}") from err
    finally:
        database.dispose()
    if out.as_json:
        out.dump({"upgraded": not before})
    else:
        out.say("The database was current." if before else "The database is current now.")
