"""Whatever is killed: every execution ends once, and nothing runs twice in silence."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.models import ActionExecution, LogEvent, OutboxMessage, TaskExecution, WorkflowExecution
from tests.processes import wait_for
from tests.servers import redis_server
from tests.system import System, system

IN_FLIGHT = 250
KILLS = 3
WORKFLOWS = """
version: '2.0'

mixed:
  input: [key]
  output:
    done: <% $.key %>
  tasks:
    start:
      action: std.echo output=1
      on-success: [once, again, later]
    once:
      action: test.note key="<% $.key %>:once" seconds=0.05
      on-complete: join
    again:
      action: test.note key="<% $.key %>:again" seconds=0.05
      safe-rerun: true
      on-complete: items
    items:
      with-items: i in [0, 1, 2]
      action: test.note key="<% $.key %>:item<% $.i %>"
      safe-rerun: true
      on-complete: join
    later:
      wait-before: 1
      action: std.noop
      on-complete: join
    join:
      join: all
      action: std.noop
      on-success: child
    child:
      workflow: below key=<% $.key %>

below:
  input: [key]
  tasks:
    t: {action: "test.note key=\\"<% $.key %>:below\\"", safe-rerun: true}
"""
ROLES = ("engine", "executor", "beat")


@pytest.fixture
def whole(tmp_path: Path, database_url: str) -> Iterator[System]:
    with (
        redis_server() as broker,
        system(tmp_path, database_url=database_url, redis_url=broker.url) as whole,
    ):
        whole.define(WORKFLOWS)
        yield whole


def ended(whole: System) -> int:
    """How many executions have ended, sub-workflows included."""
    return sum(count for state, count in whole.states().items() if state != "RUNNING")


def check(whole: System, ids: list[str]) -> None:
    """What must be true when all is over, however it came about."""
    whole.finished(*ids, seconds=90)
    keys = [f"k{number}" for number in range(len(ids))]
    began = Counter(whole.traces("began"))
    with whole.platform.database.read() as session:
        executions = {row.id: row for row in session.scalars(select(WorkflowExecution))}
        tasks = session.scalars(select(TaskExecution)).all()
        events = session.execute(
            select(LogEvent.workflow_execution_id, LogEvent.number, LogEvent.event)
        ).all()
    # Ended once: each has one end in its log, and the log has no gap.
    ends = Counter(
        row.workflow_execution_id
        for row in events
        if row.event in ("WORKFLOW_SUCCEEDED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED")
    )
    assert ends == dict.fromkeys(executions, 1)
    numbers: dict[str, list[int]] = {}
    for row in events:
        numbers.setdefault(row.workflow_execution_id, []).append(row.number)
    for found in numbers.values():
        assert sorted(found) == list(range(1, len(found) + 1))
    # Nothing is left, and nothing was stepped twice.
    assert [t.name for t in tasks if t.state in ("RUNNING", "IDLE", "WAITING", "DELAYED")] == []
    steps = Counter((t.workflow_execution_id, t.name) for t in tasks)
    assert max(steps.values()) == 1
    # What is not safe to run again ran once, or its end says that nobody knows.
    once_actions: dict[str, list[ActionExecution]] = {}
    for action in whole.actions():
        if (action.input or {}).get("key", "").endswith(":once"):
            once_actions.setdefault(str(action.workflow_execution_id), []).append(action)
    for key, execution_id in zip(keys, ids, strict=True):
        assert began[f"{key}:once"] <= 1
        [once] = once_actions[execution_id]
        if once.state == "SUCCESS":
            assert began[f"{key}:once"] == 1
        else:
            assert "cannot be re-run safely" in once.output["result"]
        # What is safe has run, if need be again.
        for part in ("again", "item0", "item1", "item2", "below"):
            if executions[execution_id].state != "SUCCESS":
                break
            assert began[f"{key}:{part}"] >= 1, f"{key}:{part}"
    for each in ids:
        # Nothing fails in silence: the action that its executor took along is named.
        if executions[each].state != "SUCCESS":
            cause = executions[each].state_info or ""
            assert "The executor died" in cause or "cannot be re-run safely" in cause
    # Those of the killed come again when they have been silent for 15 s, and somebody looks.
    wait_for(lambda: whole.client.hlen("celeriac.in_hand") == 0, seconds=40, what=whole.report)


def outbox(whole: System) -> int:
    with whole.platform.database.read() as session:
        return len(session.scalars(select(OutboxMessage.id)).all())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victims", [("engine",), ("executor",), ("beat", "engine"), ROLES])
def test_every_execution_ends_once_whatever_is_killed(
    whole: System, victims: tuple[str, ...]
) -> None:
    chance = random.Random(str(victims))
    whole.start(*(role for role in ROLES if role not in victims))
    ids: list[str] = []
    for _ in range(KILLS):
        # While the victims are down, so that it is not done at once.
        while len(whole.unfinished_ids()) < IN_FLIGHT:
            ids += [whole.run("mixed", {"key": f"k{n}"}) for n in range(len(ids), len(ids) + 20)]
        whole.start(*victims)
        # Killed at some moment between the next end and the fifth from now.
        target = ended(whole) + chance.randint(1, 5)
        wait_for(lambda target=target: ended(whole) >= target, seconds=60, what=whole.report)
        whole.kill(*victims)
        assert len(whole.unfinished_ids()) >= 200, "too little was in flight"
    whole.start(*victims)
    check(whole, ids)
    wait_for(lambda: outbox(whole) == 0, what=whole.report)
