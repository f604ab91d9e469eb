"""Timers fire when they should, whoever is dead, and the sweeper repairs what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from app.core.events import ExecutionStarted, Nudged
from app.models import ActionExecution, DelayedCall, OutboxMessage, TaskExecution, WorkflowExecution
from app.models.session import utcnow
from app.services import sweeper, ticks, timers
from app.services.carry_out import event_message, request_message
from app.services.outbox import unit_of_work
from app.services.timers import Timer
from tests.processes import wait_for
from tests.system import System, system

WORKFLOWS = """
version: '2.0'

waits:
  tasks:
    t:
      action: std.noop
      wait-before: 2

waits_a_little:
  tasks:
    t:
      action: std.noop
      wait-before: 1

notes:
  input: [key]
  tasks:
    t: {action: test.note key=<% $.key %>}

notes_safely:
  input: [key]
  tasks:
    t:
      action: test.note key=<% $.key %> seconds=1
      safe-rerun: true

holds:
  input: [key]
  tasks:
    t: {action: test.hold key=<% $.key %> until='go'}

holds_safely:
  input: [key]
  tasks:
    t:
      action: test.hold key=<% $.key %> until='go'
      safe-rerun: true
"""


@pytest.fixture
def whole(tmp_path: Path, database_url: str, clean_redis_url: str) -> Iterator[System]:
    """An installation with the workflows above; no process runs yet."""
    with system(tmp_path, database_url=database_url, redis_url=clean_redis_url) as whole:
        whole.define(WORKFLOWS)
        yield whole


def delays(whole: System) -> list[float]:
    """Seconds from the creation of each task to its end."""
    with whole.platform.database.read() as session:
        return [
            (task.finished_at - task.created_at).total_seconds()
            for task in session.scalars(select(TaskExecution))
            if task.finished_at
        ]


def running(whole: System) -> list[ActionExecution]:
    return [action for action in whole.actions() if action.state == "RUNNING"]


def test_timers_are_exact_and_gone_when_they_have_fired(whole: System) -> None:
    whole.start("engine", "beat")
    # The first decisions of a process take longer.
    whole.finished(whole.run("waits_a_little"))
    with whole.platform.database.sessions.begin() as session:
        session.execute(delete(WorkflowExecution))
    ids = [whole.run(name) for name in ("waits", "waits_a_little") for _ in range(10)]
    whole.finished(*ids)
    found = sorted(delays(whole))
    # Generous: the machine may be busy. How exact they are is for the bench to tell.
    assert all(0.99 <= each < 2.5 for each in found[:10]), found
    assert all(1.99 <= each < 3.5 for each in found[10:]), found
    with whole.platform.database.read() as session:
        assert session.scalars(select(DelayedCall.id)).all() == []


def test_an_engine_ticks_when_beat_is_dead(whole: System) -> None:
    whole.start("engine")
    (execution,) = whole.finished(whole.run("waits"))
    assert execution.state == "SUCCESS"
    assert "ticking in its place" in whole.workers["engine"].output()


def timer(id: str, execution_id: str, task_id: str | None, *, seconds: float) -> Timer:
    """A timer that changes nothing when it fires."""
    due_at = utcnow() + timedelta(seconds=seconds)
    return Timer(id=id, execution_id=execution_id, task_id=task_id, due_at=due_at, event=Nudged())


def test_a_timer_whose_message_was_lost_comes_again(
    whole: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "AGAIN", 0.5)
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        execution_id = whole.run("notes", {"key": "k"})
        timers.add(session, [timer("a-timer", execution_id, None, seconds=1.2 * ticks.TICK)])
    assert timers.run_due(whole.platform) == 1
    whole.client.delete("engine")
    wait_for(lambda: timers.run_due(whole.platform) == 1)
    with whole.platform.database.sessions.begin() as session:
        timers.applied(session, ["a-timer"])
    assert timers.run_due(whole.platform, horizon=60) == 0


def test_a_cancelled_timer_does_not_fire(whole: System) -> None:
    execution_id = whole.run("notes", {"key": "k"})
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        made = [
            timer(f"of-{task_id}", execution_id, task_id, seconds=30) for task_id in ("t1", "t2")
        ]
        timers.add(session, made)
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        timers.cancel(session, task_ids=["t1"])
    assert timers.run_due(whole.platform, horizon=60) == 1
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        timers.cancel(session, execution_ids=[execution_id])
    assert timers.run_due(whole.platform, horizon=60) == 0


def test_a_thousand_due_timers_leave_at_once_and_one_time(whole: System) -> None:
    execution_id = whole.run("notes", {"key": "k"})
    whole.client.delete("engine")
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        made = [
            timer(f"timer-{n}", execution_id, None, seconds=1.2 * ticks.TICK) for n in range(1000)
        ]
        timers.add(session, made)
    assert timers.run_due(whole.platform) == 1000
    assert timers.run_due(whole.platform) == 0
    assert whole.client.llen("engine") == 1000


def test_a_quiet_installation_repairs_nothing(whole: System) -> None:
    whole.start("engine", "executor", "beat")
    whole.finished(*(whole.run("notes", {"key": str(n)}) for n in range(20)))
    assert sweeper.sweep(whole.platform) == {}
    assert whole.setting(sweeper.REPAIRS) is None


def test_a_lost_dispatch_is_sent_again(whole: System) -> None:
    whole.start("engine")
    execution_id = whole.run("notes", {"key": "k"})
    wait_for(lambda: whole.client.llen("actions") == 1, what=whole.logs)
    whole.client.delete("actions")
    whole.start("executor", "beat")
    (execution,) = whole.finished(execution_id)
    assert execution.state == "SUCCESS"
    assert whole.traces("began") == ["k"]
    assert whole.setting(sweeper.REPAIRS) == {"dispatch": 1}


def test_a_lost_result_is_found_in_the_ledger(whole: System) -> None:
    whole.start("engine")
    execution_id = whole.run("notes", {"key": "k"})
    assert wait_for(lambda: running(whole), what=whole.logs)
    # The action's message leaves after the commit that made it visible.
    wait_for(lambda: whole.client.llen("actions") == 1, what=whole.logs)
    whole.kill("engine")
    whole.start("executor")
    wait_for(lambda: whole.traces("ended") == ["k"], what=whole.logs)
    wait_for(lambda: whole.client.llen("engine") == 1, what=whole.logs)
    whole.client.delete("engine")
    whole.start("engine", "beat")
    (execution,) = whole.finished(execution_id)
    assert execution.state == "SUCCESS"
    assert whole.traces("began") == ["k"]
    assert whole.setting(sweeper.REPAIRS)["result"] == 1


def test_an_action_whose_executor_died_fails_and_says_so(whole: System) -> None:
    whole.start("engine", "executor", "beat")
    execution_id = whole.run("holds", {"key": "k"})
    wait_for(lambda: whole.traces("began") == ["k"], what=whole.logs)
    whole.kill("executor")
    (execution,) = whole.finished(execution_id)
    assert execution.state == "ERROR"
    assert "cannot be re-run safely" in (execution.state_info or "")
    whole.start("executor")
    whole.client.set("go", 1)
    wait_for(lambda: whole.client.hlen("celeriac.in_hand") == 0, what=whole.logs)
    assert whole.traces("began") == ["k"]


def test_an_action_that_is_safe_runs_again_when_its_executor_died(whole: System) -> None:
    whole.start("engine", "executor", "beat")
    execution_id = whole.run("holds_safely", {"key": "k"})
    wait_for(lambda: whole.traces("began") == ["k"], what=whole.logs)
    whole.kill("executor")
    whole.client.set("go", 1)
    whole.start("executor")
    (execution,) = whole.finished(execution_id)
    assert execution.state == "SUCCESS"
    assert whole.traces("began") == ["k", "k"]
    assert whole.traces("ended") == ["k"]


def test_messages_left_in_the_outbox_are_sent(whole: System) -> None:
    execution_id = whole.run("notes", {"key": "k"})
    whole.client.delete("engine")
    with whole.platform.database.sessions.begin() as session:
        session.add(
            OutboxMessage(
                id="left",
                messages=[event_message(execution_id, ExecutionStarted()).dump()],
                created_at=utcnow() - timedelta(seconds=30),
            )
        )
    whole.start("engine", "executor", "beat")
    whole.finished(execution_id)
    wait_for(lambda: _outbox(whole) == 0, what=whole.logs)


def _outbox(whole: System) -> int:
    with whole.platform.database.read() as session:
        return len(session.scalars(select(OutboxMessage.id)).all())


def _left_behind(action: ActionExecution) -> OutboxMessage:
    """The row that kept the request to run an action."""
    request = {
        "id": action.id,
        "execution_id": action.workflow_execution_id,
        "task_id": action.task_execution_id,
        "attempt": 1,
        "action": action.name,
        "input": action.input,
        "context": {},
        "timeout": None,
        "safe_rerun": action.dispatch["safe_rerun"],
        "asynchronous": False,
        "sync_reply": False,
    }
    message = request_message(request, target=action.dispatch["target"])
    return OutboxMessage(
        id=action.id, messages=[message.dump()], created_at=utcnow() - timedelta(seconds=30)
    )


def test_nothing_is_stuck_after_redis_lost_everything(whole: System) -> None:
    whole.start("engine", "executor", "beat")
    whole.finished(whole.run("notes", {"key": "before"}))
    # The sweeper has seen the ledger as it was.
    wait_for(lambda: whole.setting(sweeper.EPOCH), what=whole.logs)
    held, safe = whole.run("holds", {"key": "held"}), whole.run("holds_safely", {"key": "safe"})
    waiting = whole.run("waits")
    wait_for(lambda: len(whole.traces("began")) == 3, what=whole.logs)
    whole.kill("executor", "engine")
    # An engine that dies just then leaves rows of messages that were sent; here it has.
    with whole.platform.database.sessions.begin() as session:
        session.execute(delete(OutboxMessage))
        session.add_all(_left_behind(each) for each in whole.actions() if each.state == "RUNNING")
    not_begun = whole.run("notes", {"key": "new"})
    whole.client.flushall()
    whole.client.set("go", 1)
    whole.start("engine", "executor")
    states = {
        each.id: each.state for each in whole.finished(held, safe, waiting, not_begun, seconds=60)
    }
    assert states == {
        held: "ERROR",
        safe: "SUCCESS",
        waiting: "SUCCESS",
        not_begun: "SUCCESS",
    }
    [action] = [each for each in whole.actions() if each.workflow_execution_id == held]
    assert "outcome of the action is unknown" in action.output["result"]


def test_an_overdue_execution_is_nudged(whole: System) -> None:
    execution_id = whole.run("notes", {"key": "k"})
    whole.client.delete("engine")
    with whole.platform.database.sessions.begin() as session:
        session.execute(update(WorkflowExecution).values(check_at=utcnow() - timedelta(seconds=1)))
    whole.start("engine", "executor", "beat")
    (execution,) = whole.finished(execution_id)
    assert execution.state == "SUCCESS"
