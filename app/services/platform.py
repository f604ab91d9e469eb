"""What a process works with: settings, database, broker, ledger and actions, put together once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.actions.registry import Registry, standard_registry
from app.broker import Broker
from app.config import Config
from app.core import expressions
from app.core.execution import FoundWorkflow
from app.core.working_copy import Limits
from app.ledger import Ledger
from app.models import Database
from app.services import outbox
from app.services.kept import Kept
from app.services.remembered import Remembered
from app.services.together import Together


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts that services need; one per process, made after a fork."""

    config: Config
    database: Database
    broker: Broker
    ledger: Ledger
    registry: Registry
    remembered: Remembered = field(default_factory=Remembered)
    #: Workflows that projects started last of their own, by project and what they called them: a
    #: name, or an id, and a namespace. A project has one of a name in a namespace, so as long as
    #: its row is what it was, it is what the name means.
    workflows: Kept[tuple[str, str, str], FoundWorkflow] = field(default_factory=lambda: Kept(200))
    #: Executions of those that are being started right now.
    starts: Together[Any] = field(default_factory=Together)

    @classmethod
    def from_config(cls, config: Config) -> Platform:
        """The parts that *config* describes; no connection is opened yet."""
        expressions.configure(
            expressions.Limits(
                seconds=config.expression_seconds, languages=config.allowed_languages
            )
        )
        return cls(
            config=config,
            database=Database(config.database_url, pool_size=config.database_pool_size),
            broker=Broker(config.broker_url),
            ledger=Ledger(config.redis_url),
            registry=standard_registry(config),
        )

    def close(self) -> None:
        """Close all connections. Those that are made later are whoever's who makes them."""
        outbox.close(self.database)
        self.ledger.close()
        self.broker.close()
        self.database.engine.dispose()

    @property
    def limits(self) -> Limits:
        """The bounds that decisions obey."""
        return Limits(field_size_kb=self.config.field_size_limit_kb, depth=self.config.max_depth)
