"""What a process remembers of an execution holds only as long as nobody else writes to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from app.config import Config
from app.core import events
from app.models import ActionExecution, JournalEntry, TaskExecution, WorkflowExecution
from app.services import definitions, engine, executions
from app.services.actors import Actor
from app.services.executions import Wanted
from app.services.outbox import unit_of_work
from app.services.platform import Platform

ME = Actor()
#: Actions with a target go to an executor; here the tests report how they ended.
WORKFLOWS = """
version: '2.0'
steps:
  tasks:
    a: {action: std.noop, target: t, on-success: b}
    b: {action: std.noop, target: t, on-success: c}
    c: {action: std.noop, target: t}
pair:
  tasks:
    a: {action: std.noop, target: t, on-success: c}
    b: {action: std.noop, target: t, on-success: c}
    c: {join: all, action: std.noop, target: t}
sum:
  output: {sum: <% $.sum %>}
  tasks:
    a: {action: std.noop, target: t, publish: {x: <% task().result %>}, on-success: c}
    b: {action: std.noop, target: t, publish: {y: <% task().result %>}, on-success: c}
    c:
      join: all
      action: std.echo output=<% $.x + $.y %>
      target: t
      publish: {sum: <% task().result %>}
many:
  output: {all: <% $.all %>}
  tasks:
    a:
      with-items: i in <% range(40) %>
      action: std.echo output=<% $.i %>
      target: t
      publish: {all: <% task().result %>}
"""


@contextmanager
def opened(database_url: str, redis_url: str) -> Iterator[Platform]:
    config = Config(database_url=database_url, broker_url=redis_url, strict=True)
    made = Platform.from_config(config)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def one(database_url: str, clean_redis_url: str) -> Iterator[Platform]:
    with opened(database_url, clean_redis_url) as platform:
        with unit_of_work(platform.database, platform.broker) as session:
            definitions.create_workflows(session, ME, text=WORKFLOWS)
        yield platform


@pytest.fixture
def other(one: Platform, database_url: str, clean_redis_url: str) -> Iterator[Platform]:
    """A second process, as far as anybody can tell."""
    with opened(database_url, clean_redis_url) as platform:
        yield platform


def begun(platform: Platform, workflow: str) -> str:
    with unit_of_work(platform.database, platform.broker) as session:
        run = executions.create(session, platform, ME, Wanted(workflow=workflow)).id
    engine.apply(platform, {run: [events.dump(events.ExecutionStarted())]})
    return run


def running(platform: Platform, run: str) -> dict[str, str]:
    """The running actions, by the name of their task and their place."""
    query = (
        select(TaskExecution.name, ActionExecution.item_index, ActionExecution.id)
        .join(ActionExecution, ActionExecution.task_execution_id == TaskExecution.id)
        .where(ActionExecution.workflow_execution_id == run, ActionExecution.state == "RUNNING")
    )
    with platform.database.read() as session:
        return {f"{row.name}{row.item_index or ''}": row.id for row in session.execute(query)}


def complete(platform: Platform, run: str, action_id: str, result: Any = None) -> None:
    ended = {"kind": "ActionCompleted", "action_id": action_id, "state": "SUCCESS"}
    engine.apply(platform, {run: [{**ended, "result": result}]})


def read(platform: Platform, run: str) -> WorkflowExecution:
    with platform.database.read() as session:
        return session.get_one(WorkflowExecution, run)


def tasks(platform: Platform, run: str) -> list[tuple[str, str]]:
    query = select(TaskExecution.name, TaskExecution.state).where(
        TaskExecution.workflow_execution_id == run
    )
    with platform.database.read() as session:
        return sorted((row.name, row.state) for row in session.execute(query))


def revisions(platform: Platform, run: str) -> list[int]:
    query = select(JournalEntry.revision).where(JournalEntry.workflow_execution_id == run)
    with platform.database.read() as session:
        return sorted(session.scalars(query))


def test_a_decision_that_is_thrown_away_leaves_no_context_behind(
    one: Platform, other: Platform
) -> None:
    """It gave its context the same id as the decision that came before it did."""
    run = begun(one, "sum")
    actions = running(one, run)
    complete(other, run, actions["b"], 2)
    complete(one, run, actions["a"], 1)  # on what it remembers, then anew
    [join] = running(one, run).values()
    with one.database.read() as session:
        assert session.get_one(ActionExecution, join).input == {"output": 3}
    complete(one, run, join, 3)
    ended = read(one, run)
    assert (ended.state, ended.output) == ("SUCCESS", {"sum": 3})


@contextmanager
def statements(platform: Platform) -> Iterator[list[str]]:
    """What the database is asked meanwhile, apart from what is written in one go."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(platform.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(platform.database.engine, "before_cursor_execute", note)


def test_the_next_step_of_a_remembered_execution_reads_nothing(one: Platform) -> None:
    run = begun(one, "steps")
    action = running(one, run)["a"]
    with statements(one) as seen:
        complete(one, run, action)
    assert not [each for each in seen if "SELECT" in each]
    assert tasks(one, run) == [("a", "SUCCESS"), ("b", "RUNNING")]
    assert revisions(one, run) == [1, 2]


def test_what_another_process_did_meanwhile_is_seen(one: Platform, other: Platform) -> None:
    run = begun(one, "pair")
    actions = running(one, run)
    complete(other, run, actions["a"])
    complete(one, run, actions["b"])
    assert tasks(one, run) == [("a", "SUCCESS"), ("b", "SUCCESS"), ("c", "RUNNING")]
    complete(other, run, running(one, run)["c"])
    assert read(one, run).state == "SUCCESS"
    assert revisions(one, run) == [1, 2, 3, 4]


def test_a_pause_meanwhile_is_seen(one: Platform, other: Platform) -> None:
    run = begun(one, "steps")
    with unit_of_work(other.database, other.broker) as session:
        executions.pause(session, other, ME, run)
    complete(one, run, running(one, run)["a"])
    assert read(one, run).state == "PAUSED"
    assert tasks(one, run) == [("a", "SUCCESS")]


def test_a_new_description_meanwhile_stays(one: Platform, other: Platform) -> None:
    run = begun(one, "steps")
    with unit_of_work(other.database, other.broker) as session:
        executions.update_description(session, ME, run, "told anew")
    action = running(one, run)["a"]
    with statements(one) as seen:
        complete(one, run, action)
    assert [each for each in seen if "SELECT" in each]
    assert read(one, run).description == "told anew"
    assert tasks(one, run) == [("a", "SUCCESS"), ("b", "RUNNING")]


def test_an_execution_that_was_deleted_meanwhile_is_left_alone(
    one: Platform, other: Platform
) -> None:
    run = begun(one, "steps")
    action = running(one, run)["a"]
    with unit_of_work(other.database, other.broker) as session:
        executions.delete(session, other, ME, run, force=True)
    complete(one, run, action)
    assert (tasks(one, run), revisions(one, run)) == ([], [])


def test_after_a_change_by_others_the_lock_is_taken_for_a_while(
    one: Platform, other: Platform
) -> None:
    changed, untouched = begun(one, "pair"), begun(one, "steps")
    actions = running(one, changed)
    complete(other, changed, actions["a"])
    complete(one, changed, actions["b"])
    action = running(one, untouched)["a"]
    with statements(one) as seen:
        complete(one, untouched, action)
    assert [each for each in seen if "SELECT" in each]
    assert tasks(one, untouched) == [("a", "SUCCESS"), ("b", "RUNNING")]


def test_two_processes_complete_the_items_of_one_execution(
    one: Platform, other: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody ever takes the lock first, so that the two run into each other again and again.
    monkeypatch.setattr("app.services.remembered.DOUBT", -1.0)
    run = begun(one, "many")
    actions = running(one, run)
    assert len(actions) == 40
    places = {name.removeprefix("a") or "0": action for name, action in actions.items()}
    failures: list[BaseException] = []

    def work(platform: Platform, remainder: int) -> None:
        try:
            for place, action in places.items():
                if int(place) % 2 == remainder:
                    complete(platform, run, action, int(place))
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=work, args=pair) for pair in ((one, 0), (other, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    found = read(one, run)
    assert (found.state, found.output) == ("SUCCESS", {"all": list(range(40))})
    assert revisions(one, run) == list(range(1, found.revision + 1))
