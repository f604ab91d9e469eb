"""The engine's services under random schedules, on a real database.

Broker, executors and Redis are simulated; rows, transactions, outbox, timers and the sweeper are
the real ones. Transactions fail before their commit, processes die between the commit and the
publishing, messages come twice, in another order or not at all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import yaml
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.actions.registry import ActionType, standard_registry
from app.broker import (
    ACTION_RUN,
    ENGINE_APPLY,
    Broker,
    BrokerUnavailable,
    Message,
    engine_message,
)
from app.config import Config
from app.core.states import State
from app.ledger import Absent, Finished, Ledger, Standing
from app.models import (
    ActionExecution,
    Database,
    DelayedCall,
    LogEvent,
    OutboxMessage,
    TaskExecution,
    WorkflowExecution,
    utcnow,
)
from app.services import definitions, engine, executions, outbox, sweeper, timers
from app.services.actors import Actor
from app.services.executions import Wanted
from app.services.outbox import unit_of_work
from app.services.platform import Platform
from tests.simulation import workflows
from tests.simulation.simulator import Violation

#: Steps after which the world becomes quiet, so that everything can come to an end.
WILD_STEPS = 60
MOST_STEPS = 3000
_PAST = timedelta(days=1)


class SimulatedBroker(Broker):
    """Keeps messages in a list; sometimes it is away, sometimes it sends twice."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.wild = False
        self.messages: list[Message] = []

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if self.wild and self.chance.random() < 0.06:
                raise BrokerUnavailable("simulated")
            # What is sent is data: nobody shares objects with a process elsewhere.
            message = Message.load(message.dump())
            if self.wild and self.chance.random() < 0.04:
                continue  # Taken, and lost with the broker's memory.
            self.messages.append(message)
            if self.wild and self.chance.random() < 0.08:
                self.messages.append(message)

    def send_later(self, execution_id: str | None, event: Mapping[str, Any]) -> None:
        """Send an event to the engine, from elsewhere."""
        with suppress(BrokerUnavailable):  # The sweeper finds the result, or it is asked for again.
            self.send([engine_message(execution_id, dict(event))])


class SimulatedLedger(Ledger):
    """Knows the results of actions."""

    def __init__(self) -> None:
        self.results: dict[str, Mapping[str, Any]] = {}

    def look(self, action_ids: Sequence[str]) -> dict[str, Standing]:
        return {
            each: Finished(self.results[each]) if each in self.results else Absent()
            for each in action_ids
        }

    def stop(self, action_ids: Iterable[str]) -> None:
        pass  # Whatever still comes of them is late, which everybody stands.

    def epoch(self) -> str:
        return "the same"


class Installation:
    """Services on one database, and what is on its way between them."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self.chance = chance
        self.broker = SimulatedBroker(chance)
        self.ledger = SimulatedLedger()
        config = Config(database_url=database.url, strict=True)
        registry = standard_registry(config, plugins=False)
        for name in (workflows.WORKS, workflows.BREAKS, workflows.FLAKY):
            registry.register(ActionType(name=name, run=_elsewhere), source="the simulator")
        self.platform = Platform(
            config=config,
            database=database,
            broker=self.broker,
            ledger=self.ledger,
            registry=registry,
        )

    def play(self, story: workflows.Story, *, wild: bool) -> Any:
        """Run the workflow ``w`` to its end; what it came to."""
        self.broker.wild = False
        namespace = str(uuid4())
        with self._unit() as session:
            text = yaml.safe_dump({"version": "2.0", **story.definitions})
            definitions.create_workflows(session, Actor(), text=text, namespace=namespace)
        with self._unit() as session:
            root = executions.create(
                session,
                self.platform,
                Actor(),
                Wanted(
                    workflow="w",
                    id=str(UUID(int=self.chance.getrandbits(128), version=4)),
                    namespace=namespace,
                    params=story.params,
                ),
            ).id
        self.broker.wild = wild
        steps = 0
        while not self._over(root):
            steps += 1
            if steps > MOST_STEPS:
                raise Violation(f"no end after {MOST_STEPS} steps: {self._picture(root)}")
            if steps > WILD_STEPS:
                self.broker.wild = False
            self._step(root)
        self._check(root)
        return self._outcome(root)

    @contextmanager
    def _unit(self) -> Iterator[Session]:
        with unit_of_work(self.platform.database, self.platform.broker) as session:
            yield session

    def _over(self, root: str) -> bool:
        if self.broker.messages:
            return False
        with self.platform.database.read() as session:
            state = session.scalar(
                select(WorkflowExecution.state).where(WorkflowExecution.id == root)
            )
        return state in ("SUCCESS", "ERROR", "CANCELLED")

    def _step(self, root: str) -> None:
        messages, wild = self.broker.messages, self.broker.wild
        if not messages:
            self._let_time_pass(root)
            return
        message = messages.pop(self.chance.randrange(len(messages)) if wild else 0)
        if message.task == ACTION_RUN:
            self._execute(message.args[0])
        elif message.task == ENGINE_APPLY:
            self._apply(message)

    def _apply(self, message: Message) -> None:
        batch = [message]
        if self.chance.random() < 0.5:
            batch += [m for m in self.broker.messages if m.task == ENGINE_APPLY]
            self.broker.messages = [m for m in self.broker.messages if m.task != ENGINE_APPLY]
        events: dict[str | None, list[dict[str, Any]]] = {}
        for each in batch:
            execution_id, data = each.args
            events.setdefault(execution_id, []).append(data)
        fails = self.broker.wild and self.chance.random() < 0.05
        try:
            with _failing_commit(self.platform.database) if fails else nullcontext():
                engine.apply(self.platform, events)
        except OperationalError:
            self.broker.messages.extend(batch)  # Not acknowledged: they come again.
            return
        if self.broker.wild and self.chance.random() < 0.05:
            self.broker.messages.extend(batch)  # Died before the acknowledgement.

    def _execute(self, request: Mapping[str, Any]) -> None:
        """Run an action as an executor does: once, whoever asks."""
        if request["id"] not in self.ledger.results:
            with self.platform.database.read() as session:
                row = session.get(ActionExecution, request["id"])
                if row is None:
                    return
                task = session.get(TaskExecution, row.task_execution_id)
                name = task.name if task else ""
            fails = request["action"] == workflows.BREAKS or (
                request["action"] == workflows.FLAKY and row.attempt <= workflows.FLAKES
            )
            self.ledger.results[request["id"]] = {
                "state": "ERROR" if fails else "SUCCESS",
                "result": f"{'broken' if fails else 'fine'} {name} {row.item_index}",
            }
        event = sweeper.completion(request["id"], self.ledger.results[request["id"]])
        assert event is not None
        self.broker.send_later(request["execution_id"], event)

    def _let_time_pass(self, root: str) -> None:
        """Nothing is on its way: timers come due, and the sweeper looks after the rest."""
        with self.platform.database.sessions.begin() as session:
            session.execute(update(DelayedCall).values(due_at=utcnow() - _PAST))
            session.execute(update(OutboxMessage).values(created_at=utcnow() - _PAST))
        sent = timers.run_due(self.platform)
        try:
            sent += outbox.resend(
                self.platform.database, self.broker, older_than=timedelta(0), limit=1000
            )
        except BrokerUnavailable:
            return
        if sent or self.broker.messages:
            return
        with self.platform.database.sessions.begin() as session:
            for model in (ActionExecution, WorkflowExecution):
                session.execute(
                    update(model)
                    .where(model.check_at.is_not(None))
                    .values(check_at=utcnow() - _PAST)
                )
        self._answer_from_outside(root)
        try:
            sweeper.sweep(self.platform)
        except BrokerUnavailable:
            return

    def _answer_from_outside(self, root: str) -> None:
        """Complete what waits for a word from outside, and resume what is paused."""
        with self.platform.database.read() as session:
            waiting = session.scalars(
                select(ActionExecution).where(
                    ActionExecution.state == "RUNNING", ActionExecution.name == workflows.ASYNC
                )
            ).all()
            paused = session.scalars(
                select(WorkflowExecution.id).where(WorkflowExecution.state == "PAUSED")
            ).all()
        for row in waiting:
            data = {
                "kind": "ActionCompleted",
                "action_id": row.id,
                "state": "SUCCESS",
                "result": f"fine {row.item_index}",
            }
            self.broker.send_later(row.workflow_execution_id, data)
        for execution_id in paused:
            with self._unit() as session:
                executions.resume(session, self.platform, Actor(), execution_id)

    # --- what must be true --------------------------------------------------------------------

    def _check(self, root: str) -> None:
        with self.platform.database.read() as session:
            below = session.scalars(
                select(WorkflowExecution).where(
                    (WorkflowExecution.id == root) | (WorkflowExecution.root_execution_id == root)
                )
            ).all()
            for row in below:
                numbers = session.scalars(
                    select(LogEvent.number)
                    .where(LogEvent.workflow_execution_id == row.id)
                    .order_by(LogEvent.number)
                ).all()
                if list(numbers) != list(range(1, len(numbers) + 1)):
                    raise Violation(f"{row.workflow_name}: the event log has gaps: {numbers}")
                joins = Counter(
                    session.scalars(
                        select(TaskExecution.unique_key).where(
                            TaskExecution.workflow_execution_id == row.id,
                            TaskExecution.unique_key.is_not(None),
                        )
                    )
                )
                if joins and max(joins.values()) > 1:
                    raise Violation(f"{row.workflow_name}: a join has several rows: {joins}")
                if row.state_info and "celeriac's log" in row.state_info.lower():
                    raise Violation(f"{row.workflow_name}: {row.state_info}")

    def _outcome(self, root: str) -> Any:
        with self.platform.database.read() as session:
            row = session.get_one(WorkflowExecution, root)
            tasks = Counter(
                (name, state)
                for name, state in session.execute(
                    select(TaskExecution.name, TaskExecution.state).where(
                        TaskExecution.workflow_execution_id == root
                    )
                )
            )
            output = row.output if row.state == State.SUCCESS else None
            return row.state, output, sorted(tasks.items())

    def _picture(self, root: str) -> str:
        with self.platform.database.read() as session:
            rows = session.execute(
                select(TaskExecution.name, TaskExecution.state).where(
                    TaskExecution.state.not_in(["SUCCESS", "ERROR", "CANCELLED", "SKIPPED"])
                )
            )
            return str(rows.all())


def _elsewhere(*_: Any) -> Any:
    raise AssertionError("the simulator runs no action")


@contextmanager
def _failing_commit(database: Database) -> Iterator[None]:
    """Let the next commit fail, as when the database goes away at that moment."""
    failed = False

    def fail(session: Session) -> None:
        nonlocal failed
        if not failed and session.get_bind() is database.engine:
            failed = True
            raise OperationalError("COMMIT", None, Exception("the database went away"))

    event.listen(Session, "before_commit", fail)
    try:
        yield
    finally:
        event.remove(Session, "before_commit", fail)


def run(database: Database, seed: int) -> None:
    """One workflow in a quiet and in a wild installation; raises Violation."""
    story = workflows.draw(random.Random(seed))
    expected, found = (
        Installation(database, random.Random(f"{seed} {kind}")).play(story, wild=kind == "wild")
        for kind in ("quiet", "wild")
    )
    if story.certain and found != expected:
        raise Violation(f"expected {expected}, got {found}")
