"""python-mistralclient's command line, as it is, against a running Celeriac."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.processes import wait_for

# What the client and its libraries warn of is not ours.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mistralclient.shell import MistralShell

pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = {
    "w": "version: '2.0'\nw:\n  input: [a: 1]\n  tasks:\n    t:\n"
    "      action: std.echo output=<% $.a %>\n      publish: {x: <% task().result %>}\n",
    "failing": "version: '2.0'\nfailing: {tasks: {t: {action: std.fail}}}\n",
    "waiting": "version: '2.0'\nwaiting: {tasks: {t: {action: std.async_noop}}}\n",
    "book": "version: '2.0'\nname: book\nworkflows:\n  f:\n"
    "    tasks:\n      t: {action: std.noop}\n",
    "act": "version: '2.0'\nact: {base: std.echo output=1}\n",
    "env": '{"name": "env", "variables": {"a": 1}}',
}

Mistral = Callable[..., Any]


@pytest.fixture
def mistral(service: str) -> Mistral:
    """Run a command of the client; what it shows, read as JSON where it is."""

    def run(*arguments: str, expected: int = 0) -> Any:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = MistralShell().run(["--os-mistral-url", f"{service}/v2", *arguments])
            except SystemExit as end:
                status = end.code
        assert bool(status) == bool(expected), (arguments, out.getvalue(), err.getvalue())
        try:
            return json.loads(out.getvalue())
        except ValueError:
            return out.getvalue() + err.getvalue()

    return run


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in TEXTS}


def _reaches(mistral: Mistral, id: str, state: str) -> dict[str, Any]:
    def look() -> Any:
        shown = mistral("execution-get", id, "-f", "json")
        return shown if shown["State"] == state else None

    found: dict[str, Any] = wait_for(look, what=lambda: mistral("execution-get", id))
    return found


def test_definitions(mistral: Mistral, files: dict[str, str]) -> None:
    assert mistral("workflow-validate", files["w"], "-f", "json")["Valid"] is True
    mistral("workflow-create", files["w"])
    mistral("workflow-create", files["w"], expected=1)
    assert [each["Name"] for each in mistral("workflow-list", "-f", "json")] == ["w"]
    found = mistral("workflow-list", "--filter", "name=has:x", "-f", "json")
    assert found == [] or found[0]["Name"] != "w"
    assert mistral("workflow-get", "w", "-f", "json")["Input"] == 'a="1"'
    assert "std.echo" in mistral("workflow-get-definition", "w")
    mistral("workflow-update", files["w"])
    mistral("workflow-delete", "w")
    mistral("workflow-get", "w", expected=1)

    mistral("workbook-validate", files["book"])
    mistral("workbook-create", files["book"])
    mistral("workbook-update", files["book"])
    assert mistral("workbook-get", "book", "-f", "json")["Name"] == "book"
    assert "std.noop" in mistral("workbook-get-definition", "book")
    assert [each["Name"] for each in mistral("workbook-list", "-f", "json")] == ["book"]
    assert mistral("workflow-get", "book.f", "-f", "json")["Name"] == "book.f"
    mistral("workbook-delete", "book")

    mistral("action-validate", files["act"])
    mistral("action-create", files["act"])
    mistral("action-update", files["act"])
    names = [each["Name"] for each in mistral("action-list", "-f", "json")]
    assert {"act", "std.echo"} <= set(names)
    assert mistral("action-get", "std.echo", "-f", "json")["Input"] == "output, delay=0"
    assert "std.echo" in mistral("action-get-definition", "act")
    mistral("action-delete", "act")
    mistral("action-delete", "std.echo", expected=1)


def test_executions(mistral: Mistral, files: dict[str, str]) -> None:
    for name in ("w", "failing", "waiting"):
        mistral("workflow-create", files[name])
    made = mistral("execution-create", "w", '{"a": 2}', "-d", "first", "-f", "json")["ID"]
    assert _reaches(mistral, made, "SUCCESS")["Description"] == "first"
    assert mistral("execution-get-input", made) == {"a": 2}
    assert mistral("execution-get-output", made) == {"x": 2}
    assert mistral("execution-get-published", made) == {}
    assert mistral("execution-get-report", made)
    assert len(mistral("execution-get-sub-executions", made, "-f", "json")) == 1
    mistral("execution-update", made, "-d", "second")
    assert [each["ID"] for each in mistral("execution-list", "--rootsonly", "-f", "json")] == [made]

    task = mistral("task-list", made, "-f", "json")[0]["ID"]
    assert mistral("task-get", task, "-f", "json")["State"] == "SUCCESS"
    assert mistral("task-get-result", task) == 2
    assert mistral("task-get-published", task) == {"x": 2}
    action = mistral("action-execution-list", task, "-f", "json")[0]["ID"]
    assert mistral("action-execution-get", action, "-f", "json")["Accepted"] is True
    assert mistral("action-execution-get-input", action) == {"output": 2}
    assert mistral("action-execution-get-output", action) == {"result": 2}

    failed = mistral("execution-create", "failing", "-f", "json")["ID"]
    _reaches(mistral, failed, "ERROR")
    task = mistral("task-list", failed, "-f", "json")[0]["ID"]
    mistral("task-rerun", task)
    mistral("execution-delete", failed, "--force")

    waiting = mistral("execution-create", "waiting", "-f", "json")["ID"]
    assert len(mistral("task-list", waiting, "-f", "json")) == 1  # As soon as it is created.
    assert mistral("execution-update", waiting, "-s", "PAUSED", "-f", "json")["State"] == "PAUSED"
    assert mistral("execution-update", waiting, "-s", "RUNNING", "-f", "json")["State"] == "RUNNING"
    task = mistral("task-list", waiting, "-f", "json")[0]["ID"]
    action = mistral("action-execution-list", task, "-f", "json")[0]["ID"]
    mistral("action-execution-update", action, "--state", "SUCCESS", "--output", '{"b": 1}')
    _reaches(mistral, waiting, "SUCCESS")
    mistral("execution-delete", waiting)

    stopped = mistral("execution-create", "waiting", "-f", "json")["ID"]
    shown = mistral("execution-update", stopped, "-s", "CANCELLED", "-f", "json")
    assert shown["State"] == "CANCELLED"

    assert mistral("run-action", "std.echo", '{"output": 3}') == {"result": 3}
    assert mistral("run-action", "std.echo", '{"output": 3}', "--run-sync") == {"result": 3}
    mistral("run-action", "std.echo", '{"output": 3}', "-s")


def test_environments_and_triggers(mistral: Mistral, files: dict[str, str]) -> None:
    mistral("environment-create", files["env"])
    mistral("environment-update", files["env"])
    assert mistral("environment-get", "env", "-f", "json")["Name"] == "env"
    assert [each["Name"] for each in mistral("environment-list", "-f", "json")] == ["env"]
    mistral("environment-delete", "env")

    mistral("workflow-create", files["w"])
    mistral("cron-trigger-create", "c", "w", "--pattern", "0 0 1 1 *")
    assert mistral("cron-trigger-get", "c", "-f", "json")["Pattern"] == "0 0 1 1 *"
    assert [each["Name"] for each in mistral("cron-trigger-list", "-f", "json")] == ["c"]
    mistral("workflow-delete", "w", expected=1)
    mistral("cron-trigger-delete", "c")

    workflow = mistral("workflow-get", "w", "-f", "json")["ID"]
    made = mistral(
        "event-trigger-create", "e", workflow, "exchange", "topic", "event", "{}", "-f", "json"
    )["ID"]
    assert mistral("event-trigger-get", made, "-f", "json")["Name"] == "e"
    assert [each["ID"] for each in mistral("event-trigger-list", "-f", "json")] == [made]
    mistral("event-trigger-delete", made)

    # These need rights, or authentication, that a caller does not have here.
    mistral("code-source-list", expected=1)
    mistral("dynamic-action-list", expected=1)
    mistral("member-list", workflow, "workflow", expected=1)
