"""Cron triggers: each slot starts one execution, however often anybody looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.config import Config
from app.core.errors import RequestRefused
from app.models import CronTrigger, WorkflowExecution, utcnow
from app.services import cron_triggers, definitions, triggers
from app.services.actors import Actor
from app.services.outbox import unit_of_work
from app.services.platform import Platform
from tests.processes import wait_for
from tests.system import system

ME = Actor()
WORKFLOW = "version: '2.0'\nnightly: {input: [{n: 1}], tasks: {a: {action: std.noop}}}\n"


@pytest.fixture
def platform(database_url: str, clean_redis_url: str) -> Iterator[Platform]:
    made = Platform.from_config(Config(database_url=database_url, broker_url=clean_redis_url))
    with unit_of_work(made.database, made.broker) as session:
        definitions.create_workflows(session, ME, text=WORKFLOW, namespace="", scope="private")
    yield made
    made.close()


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


def create(platform: Platform, pattern: str) -> CronTrigger:
    values = {"name": pattern, "workflow_name": "nightly", "pattern": pattern}
    with unit_of_work(platform.database, platform.broker) as session:
        return cron_triggers.create(session, ME, values)


def test_a_new_trigger_waits_for_the_next_time_in_its_zone(platform):
    row = create(platform, "CRON_TZ=Asia/Kathmandu 0 3 * * *")
    assert f"{row.next_execution_time.astimezone(UTC):%H:%M}" == "21:15"
    assert utcnow() < row.next_execution_time <= utcnow() + timedelta(days=1)


@pytest.mark.parametrize(
    "pattern, error",
    [
        ("CRON_TZ=Mars/Olympus 0 3 * * *", "The specified time zone is not known: Mars/Olympus"),
        ("every day", "The specified pattern is not valid: every day"),
        # Each process would draw another minute.
        ("R * * * *", "The specified pattern is not valid: R * * * *"),
    ],
)
def test_what_is_no_pattern_creates_no_trigger(platform, pattern, error):
    with pytest.raises(RequestRefused, match=re.escape(error)):
        create(platform, pattern)
    with platform.database.read() as session:
        assert session.scalars(select(CronTrigger)).all() == []


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


@pytest.mark.timeout(120)
def test_two_beats_start_each_slot_once_and_the_death_of_one_costs_none(
    tmp_path: Path, postgresql_url: str, clean_redis_url: str
) -> None:
    slots = 8
    with system(tmp_path, database_url=postgresql_url, redis_url=clean_redis_url) as whole:
        whole.define(WORKFLOW)
        with unit_of_work(whole.platform.database, whole.platform.broker) as session:
            cron_triggers.create(
                session,
                ME,
                {
                    "name": "every second",
                    "workflow_name": "nightly",
                    "pattern": "* * * * * */1",
                    "remaining_executions": slots,
                },
            )
        whole.start("engine", "beat")
        second = whole.workers["beat"]
        whole.start("beat")
        try:
            wait_for(lambda: started(whole.platform) >= 3, seconds=60, what=whole.logs)
            whole.kill("beat")
            wait_for(lambda: started(whole.platform) == slots, seconds=60, what=whole.logs)
            wait_for(lambda: not whole.unfinished_ids(), seconds=30, what=whole.logs)
        finally:
            second.kill_all()
            second.file.close()
        with whole.platform.database.read() as session:
            assert session.scalars(select(CronTrigger)).all() == []
            assert session.scalar(select(func.count()).select_from(WorkflowExecution)) == slots
