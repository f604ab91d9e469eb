"""A class that an administrator stored, as a step of a workflow."""

from __future__ import annotations

from pathlib import Path

from app.services import action_executions, code_sources
from app.services.actors import SYSTEM, Actor
from app.services.outbox import unit_of_work
from tests.system import System, system

SOURCE = """
class Sum:
    def __init__(self, a, b=2):
        self.a, self.b = a, b
    def run(self, context):
        return self.a + self.b
"""
WORKFLOW = """
version: '2.0'
w:
  output: {sum: <% task(t).result %>}
  tasks:
    t: {action: acme.sum a=40}
"""


def store(made: System) -> None:
    with unit_of_work(made.platform.database, made.platform.broker) as session:
        source = code_sources.create(
            session, SYSTEM, name="sums", content=SOURCE, namespace="", scope="private"
        )
        session.flush()
        values = {"name": "acme.sum", "class_name": "Sum", "code_source_id": source.id}
        code_sources.create_action(session, SYSTEM, values)


def test_its_text_travels_to_the_executor(tmp_path: Path, sqlite_url: str, clean_redis_url: str):
    with system(
        tmp_path,
        database_url=sqlite_url,
        redis_url=clean_redis_url,
        CELERIAC_DYNAMIC_ACTIONS="true",
    ) as made:
        store(made)
        made.define(WORKFLOW)
        made.start("engine", "executor")
        [found] = made.finished(made.run("w"))
        assert (found.state, found.output) == ("SUCCESS", {"sum": 42})
        alone = action_executions.run(
            made.platform, Actor(), name="acme.sum", input={"a": 1}, params={"run_sync": True}
        )
        assert (alone.state, alone.output) == ("SUCCESS", {"result": 3})
