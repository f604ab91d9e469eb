"""The executor: runs actions in the processes of a Celery pool.

It reads no setting of the database and opens none. What it needs to know of an action is in the
message; who may run it is settled in the ledger; how it ended goes to the engine's queue.

What holds whatever happens:

- An action runs only by whoever has claimed it. A message that comes twice finds the claim, or
  the result, which it sends again.
- The result is stored before the message is acknowledged, and sent after it was stored.
- A run ends at its time limit. An exception is raised in it at that moment; a run that does not
  heed it is killed with its process shortly after, and reported by the main process.
- The main process renews the leases of what runs. A process of the pool that dies is noticed
  there: the action runs again if it is safe to, else its end is reported.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
import redis.exceptions
from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery import Celery, bootsteps, signals
from celery.worker import state
from celery.worker.request import Request

from app.actions.context import ActionContext
from app.actions.dynamic import from_code
from app.actions.registry import ActionType, Registry, standard_registry
from app.actions.results import Result
from app.actions.runner import exception_text, run, stored, timeout_text
from app.actions.secrets import SecretNotFound, Secrets
from app.broker import (
    ACTION_QUEUE,
    ACTION_RUN,
    Broker,
    BrokerUnavailable,
    Message,
    engine_message,
    envelope,
)
from app.config import Config
from app.core.states import State
from app.ledger import Claimed, Expired, Finished, Ledger, Stopped
from app.parent import end_with_parent
from workers.pools import Pools
from workers.process import Process

log = logging.getLogger(__name__)

#: Seconds a run may take to end by itself after its time is over, before it is killed.
GRACE = 1.0
#: Seconds between two looks at what runs.
TICK = 0.5
#: Seconds a stored result is kept: longer than the broker may take to deliver a message again.
RESULT_KEPT = 2 * 3600.0
#: Stored as the state of an asynchronous action that has begun: its result is yet to come.
BEGUN = ""
#: How often an action that is safe to run again is begun, when its executors die of it.
MOST_RUNS = 3
#: Seconds that Redis may be away before a message is given back, and a result given up.
CLAIM_PATIENCE = 60.0
RESULT_PATIENCE = 600.0

REDELIVERED = (
    "Request to run an action was redelivered, but it cannot be re-run safely. "
    "The only safe thing to do is fail it [action={action}]."
)
DIED = (
    "The executor died while it ran the action, {runs} times; it is not tried again "
    "[action={action}]."
)

_AWAY = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    BrokerUnavailable,
    ConnectionError,
    TimeoutError,
)

T = TypeVar("T")


class TimeIsUp(BaseException):
    """Raised in a run when its time is over; no ``except Exception`` of an action catches it."""


class Executor:
    """What runs actions, in one process: settings, actions and connections."""

    def __init__(self, app: Celery, config: Config) -> None:
        self.app = app
        self.config = config
        #: Told from all others by what stands in the claims.
        self.name = f"{socket.gethostname()}:{secrets.token_hex(4)}"
        self._registry: Registry | None = None
        self._secrets = Secrets(config.secrets_dir)
        self._ledger: Ledger | None = None
        self._broker: Broker | None = None
        #: Broker and ledger are the same server: storing and sending are one step.
        self._one_redis = config.broker_url == config.redis_url
        self._plain_redis = config.broker_url.startswith(("redis://", "rediss://"))
        self._running = False
        self._alarm_is_ours = False
        #: In the main process: who may run now, of targets with a limit.
        self.pools: Pools | None = None

    @property
    def registry(self) -> Registry:
        """The actions; made before the pool forks, so that its processes share them."""
        if self._registry is None:
            self._registry = standard_registry(self.config)
        return self._registry

    @property
    def ledger(self) -> Ledger:
        """This process's connection to the ledger."""
        if self._ledger is None:
            self._ledger = Ledger(self.config.redis_url)
        return self._ledger

    @property
    def broker(self) -> Broker:
        """This process's way to the engine's queue."""
        if self._broker is None:
            self._broker = Broker(self.config.broker_url)
        return self._broker

    def forget(self) -> None:
        """Leave inherited connections to the process they belong to."""
        self._ledger = None
        self._broker = None
        self._alarm_is_ours = False

    def owner(self, pid: int) -> str:
        """What stands in the claims of a process of this pool."""
        return f"{self.name}:{pid}"

    def time_limit(self, request: Mapping[str, Any]) -> float:
        """Seconds after which a run is stopped."""
        timeout = request.get("timeout")
        limit = self.config.action_time_limit
        return min(timeout, limit) if timeout else limit

    # --- one run ----------------------------------------------------------------------------

    def execute(self, request: Mapping[str, Any]) -> None:
        """Claim an action, run it, store and send its result; or find that others did."""
        action_id, attempt = request["id"], request.get("attempt", 1)
        owner = self.owner(os.getpid())
        claim = insist(
            lambda: self.ledger.claim(
                action_id,
                attempt,
                owner=owner,
                lease=self.config.lease_seconds,
                again=bool(request.get("safe_rerun")),
                max_runs=MOST_RUNS,
            ),
            seconds=CLAIM_PATIENCE,
        )
        match claim:
            case True:
                self.report(request, *self._run(request))
            case Finished(result):
                self._send(request, result["state"], json.dumps(result["result"]))
            case Expired():
                self.report(request, *self.lost(request))
            case Claimed() | Stopped():
                log.info("action %s: nothing to do here (%s)", action_id, type(claim).__name__)

    def _run(self, request: Mapping[str, Any]) -> tuple[str, str]:
        """Run the action within its time; its state and the result as JSON text."""
        name = request["action"]
        context = ActionContext.load(request.get("context") or {})
        code = request.get("code")
        action = (
            from_code(name, code["source"], code["class_name"], allowed=self.config.dynamic_actions)
            if code
            else self.registry.find(name)
        )
        if action is None:
            known = "The executor does not know this action: is its package installed there?"
            return State.ERROR, json.dumps(exception_text(name, context, known))
        limit = self.time_limit(request)
        try:
            given, mask = self._secrets.resolve(request.get("input") or {}, context.project_id)
        except SecretNotFound as err:
            return State.ERROR, json.dumps(exception_text(action, context, str(err)))
        try:
            with self._alarm(limit):
                result = run(action, given, context)
        except TimeIsUp:
            return State.ERROR, json.dumps(timeout_text(action, context, limit))
        except (SystemExit, KeyboardInterrupt) as err:
            # An action that calls sys.exit() ends itself, not its executor.
            text = exception_text(action, context, f"the action ended with {err!r}")
            return State.ERROR, json.dumps(text)
        if request.get("asynchronous") and result.state is State.SUCCESS:
            # It has begun; somebody else will report how it ends.
            return BEGUN, "null"
        if mask is not None:
            result = Result(result.state, mask(result.value))
        return stored(result, action, context, limit=self.config.max_result_bytes)

    @contextmanager
    def _alarm(self, seconds: float) -> Iterator[None]:
        # Signals reach the main thread only; elsewhere (a pool of threads) nothing can stop a
        # run, and the documentation says so.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if not self._alarm_is_ours:
            signal.signal(signal.SIGALRM, self._ring)
            self._alarm_is_ours = True
        self._running = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: Any) -> None:
        if self._running:
            raise TimeIsUp

    # --- results ----------------------------------------------------------------------------

    def lost(self, request: Mapping[str, Any], runs: int = 0) -> tuple[str, str]:
        """The result of a run whose process died."""
        if request.get("safe_rerun"):
            text = DIED.format(runs=runs or MOST_RUNS, action=request["action"])
        else:
            text = REDELIVERED.format(action=request["action"])
        return State.ERROR, json.dumps(text)

    def timed_out(self, request: Mapping[str, Any]) -> tuple[str, str]:
        """The result of a run that had to be killed at its time limit."""
        name = request["action"]
        action: ActionType | str = self.registry.find(name) or name
        context = ActionContext.load(request.get("context") or {})
        return State.ERROR, json.dumps(timeout_text(action, context, self.time_limit(request)))

    def report(self, request: Mapping[str, Any], state: str, text: str) -> None:
        """Store a result, given as JSON text, and tell the engine."""
        result = f'{{"state":"{state}","result":{text}}}'
        message = self._message(request, state, text)
        push = (message.queue, envelope(message)) if message and self._one_redis else None
        insist(
            lambda: self.ledger.finish_text(request["id"], result, keep=RESULT_KEPT, push=push),
            seconds=RESULT_PATIENCE,
        )
        self._send(request, state, text, sent=push is not None)

    def _send(
        self, request: Mapping[str, Any], state: str, text: str, *, sent: bool = False
    ) -> None:
        if request.get("sync_reply"):
            result = f'{{"state":"{state}","result":{text}}}'
            insist(lambda: self.ledger.reply(request["id"], result), seconds=RESULT_PATIENCE)
        message = self._message(request, state, text)
        if message is not None and not sent:
            # If it cannot be sent now, the sweeper finds the stored result.
            insist(lambda: self.broker.send([message]), seconds=RESULT_PATIENCE)

    def _message(self, request: Mapping[str, Any], state: str, text: str) -> Message | None:
        """What the engine is told; None when it need not know."""
        recorded = (request.get("context") or {}).get("action_execution_id") is not None
        if not recorded or state == BEGUN:
            return None
        event = {
            "kind": "ActionCompleted",
            "action_id": request["id"],
            "state": state,
            # Our own way to Redis takes the text as it is; Celery's needs the value.
            "result": orjson.Fragment(text) if self._plain_redis else json.loads(text),
        }
        return engine_message(request.get("execution_id"), event)


def insist(call: Callable[[], T], *, seconds: float) -> T:
    """What *call* returns, tried again for *seconds* while Redis or the broker is away."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        try:
            return call()
        except _AWAY as err:
            if time.monotonic() + pause > deadline:
                raise
            log.warning("waiting for Redis or the broker: %s", err)
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


# --- in the pool's processes ------------------------------------------------------------------

_executor: Executor | None = None


def current() -> Executor:
    """The executor of this process; there is one once its tasks are registered."""
    assert _executor is not None
    return _executor


def execute(body: Any, content_type: str | None) -> None:
    """Run the action of one message; called in a process of the pool."""
    current().execute(_request_of(body, content_type))


def _request_of(body: Any, content_type: str | None) -> dict[str, Any]:
    payload = body if content_type is None else json.loads(body)
    request: dict[str, Any] = payload[0][0]
    return request


# --- in the main process ----------------------------------------------------------------------


class ActionRequest(Request):
    """A message with an action, from its arrival until it is acknowledged."""

    executor: Executor

    #: True when its result was reported by the main process.
    _settled = False
    _action: dict[str, Any] | None = None

    @property
    def action(self) -> dict[str, Any]:
        """The request that the message carries."""
        if self._action is None:
            self._action = dict(self._args[0])
        return self._action

    def execute_using_pool(self, pool: Any, **_: Any) -> Any:
        """Hand the message to a process of the pool."""
        self._pool = pool
        result = pool.apply_async(
            execute,
            args=(self.body, self.content_type),
            accept_callback=self.on_accepted,
            callback=self.on_success,
            error_callback=self.on_failure,
            correlation_id=self.id,
            lost_worker_timeout=TICK,
        )
        self._apply_result = (lambda: result) if result is not None else None
        return result

    def acknowledge(self) -> None:
        """Tell the broker that the message is done with, and make room in its pool."""
        super().acknowledge()
        self._leave()

    def reject(self, requeue: bool = False) -> None:
        """Give the message back, and make room in its pool."""
        super().reject(requeue)
        self._leave()

    def _leave(self) -> None:
        if self.executor.pools is not None:
            self.executor.pools.leave(self.action["id"])

    def on_success(self, _: Any, **__: Any) -> None:
        """The process has stored and sent the result."""
        state.task_ready(self, successful=True)
        self.acknowledge()

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """The process died, or could not reach Redis; what the action does wrong is no failure."""
        state.task_ready(self)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if self._settled or self._already_revoked:
            self.acknowledge()
        elif state.should_terminate:
            # We are going down: the broker delivers the message to somebody else.
            self.reject(requeue=True)
        elif isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt):
            self.settle_lost()
        else:
            log.error("action %s: %r", self.id, error)
            self.reject(requeue=True)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Stop the run for good: nothing in the process may hold it up."""
        super().terminate(pool, "KILL")

    def settle_lost(self) -> None:
        """Decide on a run whose process has died: once more, or its end."""
        if self._settled or self._already_revoked or state.should_terminate:
            return
        self._settled = True
        executor, action = self.executor, self.action
        try:
            standing = executor.ledger.look([self.action["id"]])[self.action["id"]]
            if isinstance(standing, Finished):
                executor.execute(action)  # it died after it had stored the result: send it
                self.acknowledge()
                return
            runs = executor.ledger.release(
                action["id"], action.get("attempt", 1), executor.owner(self.worker_pid)
            )
            if action.get("safe_rerun") and runs < MOST_RUNS:
                log.warning("action %s: its process died; it runs again", self.id)
                self.reject(requeue=True)
                return
            log.error("action %s: its process died", self.id)
            executor.report(action, *executor.lost(action, runs))
            self.acknowledge()
        except _AWAY:
            # The next delivery finds our claim, or none, and decides by the same rule.
            log.exception("action %s: its process died and Redis is away", self.id)
            self.reject(requeue=True)

    def settle_overdue(self) -> None:
        """Kill a run that did not heed its time limit, and report it."""
        if self._settled:
            return
        self._settled = True
        log.error("action %s: killed at its time limit", self.id)
        self.executor.report(self.action, *self.executor.timed_out(self.action))
        self._pool.terminate_job(self.worker_pid, signal.SIGKILL)
        self.acknowledge()

    @property
    def overdue(self) -> bool:
        """True when the run should have ended by itself."""
        if self._settled or not self.time_start:
            return False
        return time.time() > self.time_start + self.executor.time_limit(self.action) + GRACE


def strategy(task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """The function that Celery calls for each message with an action.

    Celery's own does the same and more: events, rate limits, ETAs, and a trace around the task,
    which together cost more than the action itself.
    """
    hostname, errors = consumer.hostname, consumer.connection_errors
    run_it = consumer.on_task_request
    revoked = consumer.controller.state.revoked
    executor = ActionRequest.executor
    limits = executor.config.limits_of_targets()
    # Those of an earlier connection hold messages that are not ours any more.
    executor.pools = pools = (
        Pools(
            limits,
            ledger=lambda: executor.ledger,
            lease=executor.config.lease_seconds,
            consumer=consumer,
            away=_AWAY,
        )
        if limits
        else None
    )

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **_: Any) -> None:
        request = ActionRequest(
            message,
            on_ack=ack,
            on_reject=reject,
            app=app,
            hostname=hostname,
            task=task,
            connection_errors=errors,
            body=message.body,
            headers=message.headers,
        )
        if request.id in revoked and request.revoked():
            return
        state.task_reserved(request)
        for callback in callbacks or ():
            callback(request)
        if pools is None:
            run_it(request)
        else:
            queue = (message.delivery_info or {}).get("routing_key") or ""
            pools.admit(queue, request.action["id"], lambda: run_it(request))

    return receive


class Keeper(bootsteps.StartStopStep):
    """Looks after what runs: renews leases, kills what is overdue, stops what is to stop."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._to_renew: queue.SimpleQueue[list[tuple[str, int, int]] | None] = queue.SimpleQueue()
        self._to_stop: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._renewed = 0.0

    def include_if(self, parent: Any) -> bool:
        queues = parent.app.amqp.queues.consume_from
        return any(each.split(".")[0] == ACTION_QUEUE for each in queues)

    def start(self, parent: Any) -> None:
        """Begin to look after what runs."""
        self._executor = current()
        self._pool = parent.pool
        self._stopping = threading.Event()
        self._to_renew = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=each, name=each.__name__.strip("_"), daemon=True)
            for each in (self._renew, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        self._timer = parent.timer.call_repeatedly(TICK, self._look)

    def stop(self, parent: Any) -> None:
        """Leave what runs to itself: the connection is gone, or we are."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._stopping.set()
            self._to_renew.put(None)

    def _look(self) -> None:
        active = [each for each in state.active_requests if isinstance(each, ActionRequest)]
        stopped = set()
        while not self._to_stop.empty():
            stopped.add(self._to_stop.get())
        for request in active:
            if request.action["id"] in stopped:
                log.info("action %s: stopped", request.id)
                request.terminate(self._pool)
            elif request.overdue:
                request.settle_overdue()
            elif request.time_start and not _alive(request.worker_pid):
                # The pool takes its time to tell.
                request.settle_lost()
        now = time.monotonic()
        pools = self._executor.pools
        if pools is not None:
            pools.look()
        if active and now - self._renewed > self._executor.config.lease_seconds / 3:
            self._renewed = now
            if pools is not None:
                pools.renew()
            started = time.time() - TICK
            self._to_renew.put(
                [
                    (each.action["id"], each.action.get("attempt", 1), each.worker_pid)
                    for each in active
                    # One that has only just begun may not have claimed yet.
                    if each.time_start and each.time_start < started
                ]
            )

    def _renew(self) -> None:
        # A thread of its own, so that a Redis that hangs does not hold up the messages.
        executor = self._executor
        ledger = Ledger(executor.config.redis_url)
        to_renew = self._to_renew
        while (running := to_renew.get()) is not None:
            try:
                for action_id, attempt, pid in running:
                    [answer] = ledger.renew_all(
                        [(action_id, attempt)], executor.owner(pid), executor.config.lease_seconds
                    )
                    if answer == "S":
                        self._to_stop.put(action_id)
            except _AWAY as err:
                log.warning("leases could not be renewed: %s", err)
        ledger.close()

    def _listen(self) -> None:
        # Quicker than waiting for the next renewal; what is missed here, that finds.
        ledger = Ledger(self._executor.config.redis_url)
        stopping = self._stopping
        while not stopping.is_set():
            try:
                with ledger.client.pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(ledger.stop_channel)
                    while not stopping.is_set():
                        message = channel.get_message(timeout=1.0)
                        for action_id in json.loads(message["data"]) if message else ():
                            self._to_stop.put(action_id)
            except _AWAY as err:
                log.warning("orders to stop cannot be heard: %s", err)
                stopping.wait(1.0)
        ledger.close()


def _alive(pid: int) -> bool:
    """False when a process of the pool has ended, even if nobody has asked for its status yet."""
    try:
        if hasattr(os, "waitid"):
            asked = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, pid, asked) is None
        os.kill(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        return False
    return True


# --- putting it together ----------------------------------------------------------------------


def register(app: Celery, process: Process) -> None:
    """Add the executor's tasks to *app*."""
    global _executor
    _executor = executor = Executor(app, process.config)
    ActionRequest.executor = executor

    @app.task(
        name=ACTION_RUN,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
        Strategy=staticmethod(strategy),
    )
    def run_action(request: dict[str, Any]) -> None:
        """Run one action: how a plain Celery worker does it."""
        executor.execute(request)

    app.steps["consumer"].add(Keeper)

    @signals.celeryd_after_setup.connect(weak=False)
    def load_actions(instance: Any, **_: Any) -> None:
        # Before the pool forks, so that its processes share what was imported.
        if any(each.split(".")[0] == ACTION_QUEUE for each in app.amqp.queues.consume_from):
            for problem in executor.registry.problems:
                log.error(problem)

    @signals.worker_process_init.connect(weak=False)
    def begin(**_: Any) -> None:
        executor.forget()
        # A process of the pool must not outlive the one that renews its leases.
        end_with_parent()
