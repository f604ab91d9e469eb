"""What happened in an installation can be decided on again, anywhere, with the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from app.models import WorkflowExecution
from app.services import journal
from app.services.journal import BadRecording, Recorded
from tests.system import System

WORKFLOWS = """
version: '2.0'
main:
  input: [n: 3]
  vars: {base: 10}
  output: {all: <% $.all %>, below: <% $.below %>}
  tasks:
    first:
      action: std.echo output=<% $.n + $.base %>
      publish: {sum: <% task().result %>}
      on-success: [many, below, flaky]
    many:
      with-items: i in <% range($.n) %>
      action: std.sleep seconds=0
      concurrency: 2
      publish: {all: <% task().result %>}
      on-success: done
    below:
      workflow: sub a=<% $.sum %>
      publish: {below: <% task().result.b %>}
      on-success: done
    flaky:
      action: std.fail
      retry: {count: 2, delay: 0}
      on-error: done
    done:
      join: all
      action: std.noop
sub:
  input: [a]
  output: {b: <% $.b %>}
  tasks:
    t:
      action: std.sleep seconds=0
      publish: {b: <% $.a %>}
"""


@pytest.fixture
def whole(tmp_path: Path, database_url: str, clean_redis_url: str) -> Iterator[System]:
    system = System(tmp_path, database_url=database_url, redis_url=clean_redis_url)
    system.define(WORKFLOWS)
    try:
        yield system
    finally:
        system.stop()


def recordings(whole: System) -> list[dict[str, Any]]:
    """Recordings of all executions, through JSON."""
    platform = whole.platform
    with platform.database.read() as session:
        return [
            json.loads(json.dumps(journal.export(session, platform.registry, row, platform.limits)))
            for row in session.query(WorkflowExecution).order_by(WorkflowExecution.created_at)
        ]


def test_decisions_are_the_same_again(whole: System, tmp_path: Path) -> None:
    whole.start("engine", "executor", "beat")
    execution_id = whole.run("main")
    [execution] = whole.finished(execution_id, seconds=60)
    assert execution.state == "SUCCESS", execution.state_info
    found = recordings(whole)
    assert len(found) == 2
    for recording in found:
        outcomes = list(journal.play(recording, Recorded(recording, whole.platform.registry)))
        assert outcomes
        assert all(outcome.same for outcome in outcomes)
        assert outcomes[-1].execution.state == "SUCCESS"
    main = next(each for each in found if each["execution"]["name"] == "main")
    assert len(main["transactions"]) == execution.revision

    path = tmp_path / "recording.json"
    path.write_text(json.dumps(main))
    assert "all as recorded" in replayed(path, status=0)
    changed = deepcopy(main)
    changed["transactions"][1]["rounds"] = []
    path.write_text(json.dumps(changed))
    assert "Transaction 2 led to something else" in replayed(path, status=1)
    path.write_text("{}")
    assert "no recording" in replayed(path, status=1)


def replayed(path: Path, *, status: int) -> str:
    """What the command says of a file."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "executions", "replay", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_another_form_is_refused(whole: System) -> None:
    with pytest.raises(BadRecording, match="expected format 1"):
        journal.play({"format": 2}, Recorded({}, whole.platform.registry))
