"""A whole Celeriac for tests: its worker processes, a database, and actions that leave traces."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from app.config import Config
from app.models import ActionExecution, Setting, TaskExecution, WorkflowExecution
from app.services import definitions, executions
from app.services.actors import Actor
from app.services.executions import Wanted
from app.services.outbox import unit_of_work
from app.services.platform import Platform
from tests.processes import Worker, wait_for

ACTIONS = '''
"""Actions that write down that they ran."""

import os
import time

import redis


def note(key, seconds=0, context=None):
    """Write down that we ran, wait if told to, and write down that we ended."""
    with redis.Redis.from_url(os.environ["TRACES_URL"]) as client:
        client.rpush("began", key)
        if seconds:
            time.sleep(seconds)
        client.rpush("ended", key)
    return key


def hold(key, until, context=None):
    """Write down that we began, and end when a key is there."""
    with redis.Redis.from_url(os.environ["TRACES_URL"]) as client:
        client.rpush("began", key)
        while not client.exists(until):
            time.sleep(0.02)
        client.rpush("ended", key)
    return key
'''
ENTRY_POINTS = "[celeriac.actions]\ntest.note = traces:note\ntest.hold = traces:hold\n"

_WORKER = ["worker", "-O", "fair", "--without-gossip", "--without-mingle"]
#: What comes after ``celery -A workers.celery:<role>``, as in the Procfile.
ROLES = {
    "engine": [
        *(*_WORKER, "-Q", "engine,scheduler"),
        *("--pool", "solo", "--prefetch-multiplier", "500"),
    ],
    "executor": [*_WORKER, "-Q", "actions", "-c", "4", "--prefetch-multiplier", "1"],
    "notifier": [*_WORKER, "-Q", "notify", "--pool", "threads", "-c", "8"],
    "beat": ["beat"],
}


class System:
    """The processes of one installation, and what is needed to look at it."""

    def __init__(
        self, directory: Path, *, database_url: str, redis_url: str, **settings: str
    ) -> None:
        self.directory = directory
        plugin = directory / "plugin"
        info = plugin / "traces-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (plugin / "traces.py").write_text(ACTIONS)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: traces\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
        self.environment = {
            "CELERIAC_DATABASE_URL": database_url,
            "CELERIAC_BROKER_URL": redis_url,
            "CELERIAC_SWEEP_INTERVAL": "1",
            "CELERIAC_DISPATCH_CHECK_SECONDS": "3",
            "CELERIAC_LEASE_SECONDS": "4",
            "CELERIAC_STRICT": "1",
            "TRACES_URL": redis_url,
            "PYTHONPATH": str(plugin),
            **settings,
        }
        self.config = Config.from_env(self.environment)
        self.platform = Platform.from_config(self.config)
        self.client = redis.Redis.from_url(redis_url, decode_responses=True)
        self.workers: dict[str, Worker] = {}
        self._count = 0

    # --- processes -------------------------------------------------------------------------

    def start(self, *roles: str) -> None:
        """Start processes, and return when they are at work."""
        for role in roles:
            self._count += 1
            if role in self.workers:
                self.workers[role].file.close()
            log = self.directory / f"{role}-{self._count}.log"
            name = ["-n", f"{role}{self._count}@%h"] if role != "beat" else []
            celery = ["celery", "-A", f"workers.celery:{role}"]
            arguments = [*celery, *ROLES[role], "-l", "INFO", *name]
            self.workers[role] = Worker(arguments, self.environment, log, fork=True)
        for role in roles:
            if role != "beat":
                self.workers[role].ready()

    def kill(self, *roles: str) -> None:
        """Kill processes, each with its pool."""
        for role in roles:
            self.workers[role].kill_all()

    def stop(self) -> None:
        """End everything."""
        for worker in self.workers.values():
            worker.kill_all()
            worker.file.close()
        self.client.close()
        self.platform.close()

    def logs(self) -> str:
        """The end of what each process said."""
        return "\n\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text().splitlines()[-25:])
            for path in sorted(self.directory.glob("*.log"))
        )

    def report(self) -> str:
        """What is in hand, what each process said, and what the living ones are doing."""
        said, stacks = self.logs(), []
        for role, worker in self.workers.items():
            # Before it is ready the signal would end it, and beat at any time.
            if role != "beat" and worker.popen.poll() is None and " ready." in worker.output():
                # Celery's workers answer it with the stack of each thread.
                worker.popen.send_signal(signal.SIGUSR1)
                with suppress(AssertionError):
                    wait_for(partial(_has_told, worker), seconds=2.0)
                stacks.append(_LOCALS.sub("", worker.output())[-10_000:])
        return "\n\n".join([said, *stacks, f"in hand: {self.in_hand()}"])

    def in_hand(self) -> list[str]:
        """Messages that workers have, and how many seconds ago they last said so."""
        seconds, microseconds = self.client.time()  # type: ignore[misc]
        now = seconds + microseconds / 1e6
        notes: Any = self.client.hgetall("celeriac.in_hand")
        since: Any = self.client.zrange("celeriac.in_hand.since", 0, -1, withscores=True)
        ages = {tag: now - then for tag, then in since}
        return [
            f"{json.loads(note)[0]['headers'].get('task')} {tag} {ages.get(tag, '?'):.4} s"
            for tag, note in notes.items()
        ]

    # --- executions ------------------------------------------------------------------------

    def define(self, text: str) -> None:
        """Store workflows."""
        with unit_of_work(self.platform.database, self.platform.broker) as session:
            definitions.create_workflows(session, Actor(), text=text)

    def run(self, workflow: str, input: Mapping[str, Any] | None = None) -> str:
        """Start an execution; its id."""
        with unit_of_work(self.platform.database, self.platform.broker) as session:
            return executions.create(
                session, self.platform, Actor(), Wanted(workflow=workflow, input=input)
            ).id

    def states(self) -> dict[str, int]:
        """How many executions there are in each state."""
        with self.platform.database.read() as session:
            rows = session.execute(
                select(WorkflowExecution.state, func.count()).group_by(WorkflowExecution.state)
            )
            return {row[0]: row[1] for row in rows}

    def finished(self, *ids: str, seconds: float = 30.0) -> list[WorkflowExecution]:
        """The executions, in the order of *ids*, once all have ended."""

        def ended() -> list[WorkflowExecution] | None:
            with self.platform.database.read() as session:
                rows = session.scalars(
                    select(WorkflowExecution).where(WorkflowExecution.id.in_(ids))
                ).all()
            return list(rows) if all(row.finished_at for row in rows) else None

        found = wait_for(
            ended,
            seconds=seconds,
            what=lambda: f"{self.states()}\n{self.unfinished()}\n{self.report()}",
        )
        assert len(found) == len(ids)
        return sorted(found, key=lambda row: ids.index(row.id))

    def unfinished_ids(self) -> list[str]:
        """The executions that have not ended."""
        with self.platform.database.read() as session:
            return list(
                session.scalars(
                    select(WorkflowExecution.id).where(WorkflowExecution.finished_at.is_(None))
                )
            )

    def unfinished(self) -> str:
        """What has not ended, for the message of a test that failed."""
        with self.platform.database.read() as session:
            tasks = session.execute(
                select(TaskExecution.workflow_execution_id, TaskExecution.name, TaskExecution.state)
                .where(TaskExecution.state.not_in(["SUCCESS", "ERROR", "CANCELLED"]))
                .limit(20)
            ).all()
            actions = session.execute(
                select(
                    ActionExecution.id,
                    ActionExecution.name,
                    ActionExecution.state,
                    ActionExecution.created_at,
                    ActionExecution.check_at,
                )
                .where(ActionExecution.state == "RUNNING")
                .limit(20)
            ).all()
        return f"tasks: {tasks}\nactions: {actions}"

    def setting(self, name: str) -> Any:
        """The value of a setting of the installation."""
        with self.platform.database.read() as session:
            row = session.get(Setting, name)
            return row.value if row else None

    def traces(self, key: str) -> Sequence[str]:
        """What actions have written down."""
        found = self.client.lrange(key, 0, -1)
        assert isinstance(found, list)
        return found

    def actions(self) -> list[ActionExecution]:
        """All action executions."""
        with self.platform.database.read() as session:
            return list(session.scalars(select(ActionExecution)))


#: What Celery tells besides the stacks.
_LOCALS = re.compile(r"=+\nLOCAL VARIABLES\n=+\n.*?\n\n", re.DOTALL)


def _has_told(worker: Worker) -> bool:
    return "LOCAL VARIABLES" in worker.output()


@contextmanager
def system(
    directory: Path, *, database_url: str, redis_url: str, **settings: str
) -> Iterator[System]:
    """An installation without any process yet."""
    made = System(directory, database_url=database_url, redis_url=redis_url, **settings)
    try:
        yield made
    finally:
        made.stop()
