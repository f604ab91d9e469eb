"""How the engine's messages become batches: a Celery strategy that gathers while the pool works.

Celery calls a task's ``Strategy`` for each message of that task. Ours does not hand the message
to the pool at once: it waits until the pool has a free process, and then all that has gathered
goes there as one call, which is one transaction. An idle engine so adds no delay, a busy one
batches by itself.

What holds whatever happens:

- A message is acknowledged only after the call that it was part of has returned, that is after
  the commit. If this process dies, the broker gives the messages to another.
- A call that fails, or whose process dies or hangs, is repeated message by message. The one that
  fails again alone is parked: recorded, told, acknowledged.
- With the solo pool calls run in the main process, which dies of what they die of. So messages that
  come a second time, because whoever had them died or lost its connection, are called in another.
- While something that everybody needs is away (database, broker, Redis), nothing is parked and
  nothing acknowledged; the messages wait here and are tried again, ever less often.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Literal

import orjson
import redis.exceptions
import sqlalchemy.exc
from celery.bootsteps import RUN
from celery.worker import state
from kombu.serialization import loads

from app.broker import DELAY, BrokerUnavailable
from workers import places, solo
from workers.apart import Apart, ChildLost, NotStarted

log = logging.getLogger(__name__)

#: Failures that say nothing about the messages: what we need is not there right now.
NOT_NOW = (
    BrokerUnavailable,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
)
#: Longest seconds between two tries while something we need is away.
LONGEST_PAUSE = 15.0
#: How often a message may fail alone before it is parked.
ATTEMPTS = 2
#: Seconds after which a process of the pool that ended without a word is taken to be lost.
LOST = 0.5
#: Longest seconds that a message is held here before its time; later ones were not meant for us.
LONGEST_DELAY = 5.0

Batch = Mapping[str | None, Sequence[dict[str, Any]]]
Run = Callable[[Batch], None]
Body = tuple[Any, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call."""

    kind: Literal["done", "not now", "failed"]
    cause: str = ""
    #: Messages, by their place, that are no events of an execution at all.
    refused: Mapping[int, str] = field(default_factory=dict)


#: The batches of each task, by its name: a pool process finds its own here.
_BATCHES: dict[str, Batches] = {}


def apply_batch(name: str, bodies: Sequence[Body]) -> Outcome:
    """Apply messages as one transaction; runs in a process of the pool and never raises."""
    return _apply_with(name, _BATCHES[name].run, bodies)


def _apply_with(name: str, run: Run, bodies: Sequence[Body]) -> Outcome:
    try:
        return _apply(run, bodies)
    except NOT_NOW as err:
        log.warning("%s: %d messages have to wait: %s", name, len(bodies), err)
        return Outcome("not now", str(err))
    except Exception as err:
        log.exception("%s: a batch of %d messages failed", name, len(bodies))
        return Outcome("failed", f"{type(err).__name__}: {err}")


def apply_apart(name: str, bodies: Sequence[Body], seconds: float) -> Outcome:
    """The same in a process beside this one, which may die of it or take too long."""
    solo.sign_of_life()
    try:
        return _BATCHES[name].apart(bodies, seconds=seconds)
    except NotStarted as err:
        return Outcome("not now", f"a process beside this one could not be started: {err}")
    except ChildLost as err:
        log.error("%s: a batch of %d messages failed: %s", name, len(bodies), err)
        return Outcome("failed", f"{type(err).__name__}: {err}")
    finally:
        solo.sign_of_life()


def _apply(run: Run, bodies: Sequence[Body]) -> Outcome:
    """Decode messages and apply what they say."""
    batch: dict[str | None, list[dict[str, Any]]] = {}
    refused = {}
    for place, body in enumerate(bodies):
        try:
            execution_id, event = read(body)
        except Exception as err:
            refused[place] = f"not an event: {err}"
            continue
        batch.setdefault(execution_id, []).append(event)
    if batch:
        run(batch)
    return Outcome("done", refused=refused)


class Batches:
    """One task whose messages are worked on in batches."""

    def __init__(
        self,
        *,
        name: str,
        run: Run,
        park: Callable[[str | None, Mapping[str, Any], str], None],
        size: int,
        time_limit: float,
    ) -> None:
        self.name = name
        #: Applies a batch in one transaction; can be pickled, for a process beside this one.
        self.run = run
        self.apart: Apart[Sequence[Body], Outcome] = Apart(partial(_apply_with, name, run))
        #: Records a message that cannot be applied, and why; runs in the worker's main process.
        self.park = park
        self.size = size
        self.time_limit = time_limit
        self._gatherer: Gatherer | None = None
        _BATCHES[name] = self

    def strategy(self, task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
        """The function that Celery shall call for each message; asked for at each connection."""
        if self._gatherer is not None:
            self._gatherer.close()
        self._gatherer = Gatherer(self, task, consumer)
        return self._gatherer.receive


def read(body: Body) -> tuple[str | None, dict[str, Any]]:
    """The execution and the event that a message's body names; raises for anything else."""
    content, content_type, encoding = body
    if content_type is None:
        payload = content
    elif b"__type__" in (content.encode() if isinstance(content, str) else content):
        # Kombu writes times and the like in a form of its own.
        payload = loads(content, content_type, encoding, accept={"json"})
    else:
        payload = orjson.loads(content)
    args, kwargs = payload[0], payload[1]
    values = dict(zip(("execution_id", "event"), args, strict=False)) | dict(kwargs)
    execution_id, event = values["execution_id"], values["event"]
    if not (execution_id is None or isinstance(execution_id, str)) or not isinstance(event, dict):
        raise ValueError(f"expected an id and an object, got {str(values)[:200]}")
    return execution_id, event


@dataclass(eq=False, slots=True)
class Received:
    """A message in hand, not yet acknowledged."""

    message: Any
    body: Body
    acknowledge: Callable[..., None]
    #: True when it may have taken a process with it before, and there is only this one.
    apart: bool = False
    #: How often it failed alone; None: not yet to be tried alone.
    failed_alone: int | None = None


class Call:
    """A batch at work in the pool; for Celery it is one request that is active."""

    #: Read by Celery when it ends in haste.
    acknowledged = False

    def __init__(self, task: Any, messages: list[Received]) -> None:
        self.task = task
        self.name = task.name
        self.messages = messages
        self.id = str(messages[0].message.headers.get("id"))
        self.settled = False

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect active`` shows."""
        return {"id": self.id, "name": self.name, "type": self.name, "messages": len(self.messages)}

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Nothing: the messages are not acknowledged and will come again.

        Unless the call runs in this process: then it goes on as soon as we return.
        """
        self.settled = not solo.is_solo(pool)


class Gatherer:
    """The messages of one connection to the broker, from arrival to acknowledgement."""

    def __init__(self, batches: Batches, task: Any, consumer: Any) -> None:
        self.batches = batches
        self.task = task
        self.consumer = consumer
        self.waiting: deque[Received] = deque()
        #: Those whose time is yet to come, as a heap: the time, a number, and if a place was lent.
        self.held: list[tuple[float, int, Received, bool]] = []
        self._numbers = count()
        #: When held messages are looked at next.
        self._look_at = float("inf")
        self._solo = solo.is_solo(consumer.pool)
        self.running: set[Call] = set()
        self.open = True
        self.pause = 0.0
        self.paused = False
        self._flush_is_due = False
        #: True while a place in the pool is asked for but not given.
        self._asked = False
        self._flushing = False

    # --- arrival ---------------------------------------------------------------------------

    def receive(
        self, message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **_: Any
    ) -> None:
        """Take a message; Celery calls this."""
        content: Body
        if body is not None:
            content = ((body.get("args", ()), body.get("kwargs", {})), None, None)
        else:
            content = (message.body, message.content_type, message.content_encoding)
        redelivered = bool((message.delivery_info or {}).get("redelivered"))
        received = Received(message, content, ack, apart=self._solo and redelivered)
        state.all_total_count[0] += 1
        delay = (message.headers or {}).get(DELAY)
        if delay:
            self._hold(received, min(float(delay), LONGEST_DELAY))
            return
        self.waiting.append(received)
        self._flush_soon()

    def _hold(self, received: Received, seconds: float) -> None:
        due = time.monotonic() + seconds
        lent = places.lend(self.consumer)
        heapq.heappush(self.held, (due, next(self._numbers), received, lent))
        self._look_at_held()

    def _look_at_held(self) -> None:
        # One timer for all of them: the loop fires ten between two looks at the connection.
        if self.held and self.held[0][0] < self._look_at:
            self._look_at = self.held[0][0]
            seconds = max(0.0, self._look_at - time.monotonic())
            self.consumer.timer.call_after(seconds, self._ripen, ())

    def _ripen(self) -> None:
        self._look_at = float("inf")
        now = time.monotonic()
        while self.held and self.held[0][0] <= now:
            _, _, received, lent = heapq.heappop(self.held)
            places.take_back(self.consumer, lent)
            self.waiting.append(received)
        self._look_at_held()
        # Now: what is to come soon comes after the loop has waited for the connection.
        self._flush()

    def close(self) -> None:
        """Forget the messages in hand: the connection they belong to is gone."""
        self.open = False
        self.waiting.clear()
        self.held.clear()

    # --- departure -------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        """Flush once all messages that arrive together are here."""
        if self._flush_is_due:
            return
        self._flush_is_due = True
        if self.consumer.hub is not None:
            self.consumer.hub.call_soon(self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._flushing:  # the solo pool calls back from within
            return
        self._flushing = True
        try:
            while self._may_launch():
                self._launch()
        finally:
            self._flushing = False

    def _may_launch(self) -> bool:
        if not self.waiting or not self.open or self.paused or self._asked:
            return False
        return self.consumer.blueprint.state == RUN

    def _launch(self) -> None:
        semaphore = getattr(self.consumer.controller, "semaphore", None)
        if semaphore is not None and self.consumer.pool.uses_semaphore:
            # The same semaphore as for other tasks: it is given when a process is free.
            self._asked = True
            semaphore.acquire(self._start)
        elif len(self.running) < self.consumer.pool.num_processes:
            self._start()
        else:
            self._asked = True  # until a call comes back

    def _start(self) -> None:
        """Give the pool all that may go together; there is a place for it."""
        self._asked = False
        messages = self._take()
        if not messages:
            self._release()
            return
        call = Call(self.task, messages)
        self.running.add(call)
        state.active_requests.add(call)
        bodies = [each.body for each in messages]
        limit = self.batches.time_limit
        apart = messages[0].apart
        self.consumer.pool.apply_async(
            apply_apart if apart else apply_batch,
            (self.batches.name, bodies, limit) if apart else (self.batches.name, bodies),
            callback=lambda outcome: self._returned(call, outcome),
            error_callback=lambda info: self._returned(call, _lost(info)),
            accept_callback=_ignore,
            timeout=limit,
            lost_worker_timeout=LOST,
            correlation_id=call.id,
        )

    def _take(self) -> list[Received]:
        if not self._can_take():
            return []
        first = self.waiting.popleft()
        messages = [first]
        while (
            first.failed_alone is None
            and self.waiting
            and len(messages) < self.batches.size
            and self.waiting[0].failed_alone is None
            and self.waiting[0].apart == first.apart
        ):
            messages.append(self.waiting.popleft())
        return messages

    def _can_take(self) -> bool:
        return bool(self.waiting) and self.open and not self.paused

    def _release(self) -> None:
        semaphore = getattr(self.consumer.controller, "semaphore", None)
        if semaphore is not None and self.consumer.pool.uses_semaphore:
            semaphore.release()

    # --- return ----------------------------------------------------------------------------

    def _returned(self, call: Call, outcome: Outcome) -> None:
        hub = self.consumer.hub
        if hub is not None and not self.consumer.pool.signal_safe:
            # A pool of threads calls from one of them.
            hub.call_soon(self._settle, call, outcome)
        else:
            self._settle(call, outcome)

    def _settle(self, call: Call, outcome: Outcome) -> None:
        self.running.discard(call)
        state.active_requests.discard(call)
        if call.settled:
            return
        call.settled = True
        if not self.consumer.pool.uses_semaphore:
            self._asked = False
        if outcome.kind == "done":
            self._succeeded(call, outcome)
        elif outcome.kind == "not now":
            self._put_off(call, outcome)
        else:
            self._failed(call, outcome)
        self._flush_soon()

    def _succeeded(self, call: Call, outcome: Outcome) -> None:
        self.pause = 0.0
        for place, cause in outcome.refused.items():
            self._record(call.messages[place], cause)
        call.acknowledged = True
        self._acknowledge(call.messages)

    def _put_off(self, call: Call, outcome: Outcome) -> None:
        self.waiting.extendleft(reversed(call.messages))
        if not self.open:
            self.waiting.clear()
            return
        self.pause = min(LONGEST_PAUSE, self.pause * 2 or 0.5)
        if not self.paused:
            self.paused = True
            log.warning("trying again in %g s: %s", self.pause, outcome.cause)
            self.consumer.timer.call_after(self.pause, self._resume, ())

    def _resume(self) -> None:
        self.paused = False
        self._flush_soon()

    def _failed(self, call: Call, outcome: Outcome) -> None:
        if not self.open:
            return
        if len(call.messages) > 1:
            log.warning("trying %d messages one by one: %s", len(call.messages), outcome.cause)
        for received in reversed(call.messages):
            if len(call.messages) > 1:
                received.failed_alone = 0
            else:
                received.failed_alone = (received.failed_alone or 0) + 1
            if received.failed_alone < ATTEMPTS:
                self.waiting.appendleft(received)
            else:
                self._record(received, outcome.cause)
                self._acknowledge([received])

    def _acknowledge(self, messages: Sequence[Received]) -> None:
        for each in messages:
            each.acknowledge(log, self.consumer.connection_errors)

    def _record(self, received: Received, cause: str) -> None:
        execution_id: str | None = None
        event: dict[str, Any] = {}
        try:
            execution_id, event = read(received.body)
        except Exception:
            event = {"unreadable": repr(received.body)[:2000]}
        log.error("parked a message for execution %s: %s", execution_id, cause)
        try:
            self.batches.park(execution_id, event, cause)
        except Exception:
            log.exception("could not record the parked message")


def _lost(info: Any) -> Outcome:
    """The outcome of a call whose process ended or was ended."""
    error = getattr(info, "exception", info)
    error = getattr(error, "exc", error)
    return Outcome("failed", f"{type(error).__name__}: {error}")


def _ignore(*_: Any, **__: Any) -> None:
    """The pool insists on telling that a call was accepted."""
