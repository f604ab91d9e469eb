"""The engine's Celery task: advance executions by events."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from app.broker import ENGINE_APPLY
from app.services import engine
from workers.batching import NOT_NOW, Batch, Batches
from workers.parking import park
from workers.process import Process

#: What a process of the pool loads at its first transaction; loaded before the pool forks, it is
#: shared with the main process.
_PRELOADED = ("app.services.platform", "app.actions.std")
_DRIVERS = {"postgresql": ("psycopg", "sqlalchemy.dialects.postgresql.psycopg")}

#: Seconds after which a transaction is taken to hang, and its process is replaced.
TIME_LIMIT = 120.0


def register(app: Celery, process: Process) -> None:
    """Add the engine's task to *app*."""
    kind = process.config.database_url.partition("+")[0]
    for name in (*_PRELOADED, *_DRIVERS.get(kind, ())):
        importlib.import_module(name)
    batches = Batches(
        name=ENGINE_APPLY,
        run=partial(_apply, process),
        park=lambda execution_id, event, cause: park(process, execution_id, event, cause),
        size=process.config.batch_size,
        time_limit=TIME_LIMIT,
    )

    @app.task(
        name=ENGINE_APPLY,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
        time_limit=TIME_LIMIT,
        Strategy=batches.strategy,
    )
    def apply(execution_id: str | None, event: dict[str, Any]) -> None:
        """Advance an execution by one event; how it runs where messages are not gathered."""
        try:
            engine.apply(process.platform, {execution_id: [event]})
        except NOT_NOW as err:
            raise Reject(str(err), requeue=True) from err


def _apply(process: Process, batch: Batch) -> None:
    engine.apply(process.platform, batch)
