"""What comes back from tasks in the user's own Celery workers, and the search for those that
do not come back.

A worker calls ``celeriac.engine.foreign`` at the end of a task, because the message that started
the task says so (``link`` and ``link_error``). Every call may come twice, and late: it becomes an
ordinary event of the engine, which stands that.

Celery drops a task without a word when its worker does not know the name, or when no worker
listens. So the sweeper has us look for tasks that are out for long, by asking the workers.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from uuid import UUID

import redis
from celery import Celery

from app.actions.results import NotJSON, to_json
from app.broker import ENGINE_FOREIGN, engine_message
from app.ledger import Claimed, Expired
from workers.process import Process

log = logging.getLogger(__name__)

#: Seconds until a task in a queue without workers is given up.
DISPATCH_TIMEOUT = 60.0
#: How often in a row nobody must know of a task until it is taken for lost.
MISSES = 3
#: Seconds that what the workers have told is good for.
FRESH = 5.0
#: Most messages of a queue that are searched for one.
SEARCHED = 20_000
#: Names that a text lists at most.
LISTED = 30


def register(app: Celery, process: Process) -> None:
    """Add the task that foreign workers call."""
    workers = Workers(app)

    @app.task(name=ENGINE_FOREIGN, acks_late=True, ignore_result=True)
    def foreign(
        value: Any = None,
        *,
        action_id: str,
        execution_id: str | None = None,
        outcome: str,
        **more: Any,
    ) -> None:
        """Take a word from a user's worker about one of its tasks."""
        report = Report(process, action_id=action_id, execution_id=execution_id)
        match outcome:
            case "SUCCESS":
                report.succeeded(value)
            case "ERROR":
                report.failed(more.get("error") or no_detail(more.get("task"), action_id))
            case "BEAT":
                report.alive(**more)
            case "CHECK":
                problem = look_for(process, workers, action_id=action_id, **more)
                if problem is not None:
                    app.control.revoke(action_id, terminate=True)
                    report.failed(problem)
            case _:
                log.warning("action %s: a word we do not know: %s", action_id, outcome)


class Report:
    """Tells the engine how a task of somebody else ended."""

    def __init__(self, process: Process, *, action_id: str, execution_id: str | None) -> None:
        self._process = process
        self._action_id = action_id
        self._execution_id = execution_id

    def succeeded(self, value: Any) -> None:
        """The task returned *value*."""
        limit = self._process.config.max_result_bytes
        try:
            text = to_json(plain(value))
        except NotJSON as err:
            self.failed(f"The result of the Celery task cannot be stored as JSON: {err}.")
            return
        if len(text) > limit:
            self.failed(f"The result is too large ({len(text)} bytes, limit={limit} bytes).")
            return
        self._tell("SUCCESS", json.loads(text))

    def failed(self, error: Any) -> None:
        """The task failed with *error*, a text or what the bridge told."""
        self._tell("ERROR", plain(error))

    def alive(self, *, owner: str = "", lease: float = 30.0, progress: Any = None) -> None:
        """A worker with the bridge works on the task."""
        ledger = self._process.platform.ledger
        ledger.beat(self._action_id, owner=owner, lease=lease)
        if progress is not None:
            ledger.set_progress(self._action_id, plain(progress))

    def _tell(self, state: str, result: Any) -> None:
        event = {
            "kind": "ActionCompleted",
            "action_id": self._action_id,
            "state": state,
            "result": result,
        }
        self._process.platform.broker.send([engine_message(self._execution_id, event)])


def no_detail(task: str | None, action_id: str) -> str:
    """What can be said of a failure when the worker told only which task it was."""
    return (
        f"The Celery task '{task}' failed (task id {action_id}). Its worker gave no detail: "
        "install celeriac-bridge there to have the exception and its traceback here."
    )


def plain(value: Any) -> Any:
    """*value* without the types that Celery's JSON knows and ours does not: they become texts."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


# --- where a task is --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What one worker told of itself; None: it did not answer in time."""

    queues: frozenset[str]
    #: Names of the tasks that it can run.
    tasks: frozenset[str] | None
    #: Of tasks that it runs, holds, or has planned.
    ids: frozenset[str] | None


@dataclass
class Workers:
    """All Celery workers on the broker, asked not too often."""

    app: Celery
    seen: dict[str, Seen] = field(default_factory=dict)
    asked_at: float = float("-inf")

    def ask(self) -> Mapping[str, Seen]:
        """What each worker that answers tells of itself, at most a few seconds old."""
        if time.monotonic() - self.asked_at > FRESH:
            self.seen = self._ask()
            self.asked_at = time.monotonic()
        return self.seen

    def _ask(self) -> dict[str, Seen]:
        # The first question waits for all who may answer, the others only for those who did.
        queues = self.app.control.inspect(timeout=1.0).active_queues() or {}
        if not queues:
            return {}
        inspect = self.app.control.inspect(list(queues), timeout=1.0, limit=len(queues))
        registered = inspect.registered() or {}
        tasks = {
            name: frozenset(each.split(" ")[0] for each in told)
            for name, told in registered.items()
        }
        held = [inspect.active() or {}, inspect.reserved() or {}, inspect.scheduled() or {}]
        ids = {
            name: frozenset(
                (each.get("request") or each)["id"] for answer in held for each in answer[name]
            )
            for name in queues
            if all(name in answer for answer in held)
        }
        return {
            name: Seen(
                queues=frozenset(each["name"] for each in listens),
                tasks=tasks.get(name),
                ids=ids.get(name),
            )
            for name, listens in queues.items()
        }


def look_for(
    process: Process, workers: Workers, *, action_id: str, task: str, queue: str, age: float
) -> str | None:
    """Why a task that is out for *age* seconds will not come back; None if it still may."""
    ledger = process.platform.ledger
    standing = ledger.look([action_id])[action_id]
    if isinstance(standing, Claimed):
        ledger.found(action_id)
        return None
    seen = workers.ask()
    listeners = {name: each for name, each in seen.items() if queue in each.queues}
    if any(action_id in (each.ids or ()) for each in seen.values()):
        ledger.found(action_id)
        return None
    known = [each.tasks for each in listeners.values()]
    if known and all(tasks is not None and task not in tasks for tasks in known):
        return (
            f"The Celery task '{task}' is not registered on the workers of queue '{queue}' "
            f"({', '.join(sorted(listeners))}). They know: {_listed(known)}."
        )
    waiting = _waits(process, queue, action_id)
    if waiting and not listeners and age >= DISPATCH_TIMEOUT:
        others = [worker.queues for worker in seen.values()]
        _take_back(process, queue, action_id)
        return (
            f"No worker listens on the queue '{queue}' for the Celery task '{task}'; waited "
            f"{age:.0f} seconds. Queues with workers: {_listed(others)}."
        )
    if waiting:
        ledger.found(action_id)
        return None
    if not isinstance(standing, Expired):
        # It may have ended this moment, be with somebody who did not answer in time, or with a
        # worker that does not answer while it works (a solo pool): only time tells.
        if any(each.ids is None for each in seen.values()):
            return None
        if ledger.miss(action_id) < MISSES:
            return None
    return (
        f"The Celery task '{task}' was taken from the queue '{queue}' and no worker knows of "
        "it any more: its worker died, or dropped it."
    )


def _listed(sets: Iterable[frozenset[str] | None]) -> str:
    names = frozenset[str]().union(*(each for each in sets if each))
    shown = sorted(name for name in names if not name.startswith("celery."))
    more = len(shown) - LISTED
    return ", ".join(shown[:LISTED]) + (f" and {more} more" if more > 0 else "") or "none"


def _waits(process: Process, queue: str, action_id: str) -> bool:
    """True when the task's message is still in its queue, as far as can be known."""
    broker = process.platform.broker
    if broker.redis is not None:
        return _message(broker.redis, queue, action_id) is not None
    with broker.celery.connection_for_read() as connection:
        try:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return True
        return bool(declared.message_count)


def _take_back(process: Process, queue: str, action_id: str) -> None:
    """Remove a message that nobody took, so that nobody takes it later; from Redis only."""
    client = process.platform.broker.redis
    message = _message(client, queue, action_id) if client is not None else None
    if client is not None and message is not None:
        client.lrem(queue, 1, message)  # type: ignore[arg-type]


def _message(client: redis.Redis, queue: str, action_id: str) -> bytes | None:
    quoted = f'"{action_id}"'.encode()
    found: Any = client.lrange(queue, -SEARCHED, -1)
    return next((each for each in found if quoted in each), None)
