"""Cron triggers: each slot starts one execution, however often anybody looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.config import Config
from app.models import CronTrigger, WorkflowExecution, utcnow
from app.services import definitions, triggers
from app.services.actors import Actor
from app.services.outbox import unit_of_work
from app.services.platform import Platform

ME = Actor()
WORKFLOW = "version: '2.0'\nnightly: {input: [{n: 1}], tasks: {a: {action: std.noop}}}\n"


@pytest.fixture
def platform(database_url: str, clean_redis_url: str) -> Iterator[Platform]:
    made = Platform.from_config(Config(database_url=database_url, broker_url=clean_redis_url))
    with unit_of_work(made.database, made.broker) as session:
        definitions.create_workflows(session, ME, text=WORKFLOW, namespace="", scope="private")
    yield made
    made.broker.close()
    made.ledger.close()
    made.database.engine.dispose()


def started(platform: Platform) -> int:
    with platform.database.read() as session:
        return session.scalar(select(func.count()).select_from(WorkflowExecution)) or 0


def add_trigger(platform: Platform, *, remaining: int | None) -> str:
    with unit_of_work(platform.database, platform.broker) as session:
        workflow = definitions.get_workflow(session, ME, identifier="nightly")
        row = CronTrigger(
            id="11111111-1111-4111-8111-111111111111",
            name="t",
            workflow_id=workflow.id,
            workflow_name="nightly",
            workflow_input={"n": 2},
            workflow_input_hash="i",
            workflow_params={},
            workflow_params_hash="p",
            pattern="*/5 * * * *",
            time_zone="UTC",
            remaining_executions=remaining,
            next_execution_time=utcnow() - timedelta(seconds=1),
            created_at=utcnow(),
        )
        session.add(row)
        return row.id


def test_a_due_trigger_starts_one_execution_however_often_it_is_looked_at(platform):
    add_trigger(platform, remaining=None)
    assert [triggers.fire_due(platform) for _ in range(3)] == [1, 0, 0]
    assert started(platform) == 1
    with platform.database.read() as session:
        row = session.scalars(select(CronTrigger)).one()
        assert row.next_execution_time > utcnow()
        execution = session.scalars(select(WorkflowExecution)).one()
        assert execution.input == {"n": 2}
        assert '"type": "cron_trigger"' in execution.description


def test_a_trigger_goes_after_its_last_run(platform):
    add_trigger(platform, remaining=1)
    assert triggers.fire_due(platform) == 1
    with platform.database.read() as session:
        assert session.scalars(select(CronTrigger)).all() == []
