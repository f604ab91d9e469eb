"""`celeriac executions`: looking at executions and steering them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from tests.integration.cli.server import FakeServer, Scene

Celeriac = Callable[..., Result]


@pytest.fixture
def execution(server: FakeServer) -> str:
    server.add("e1", workflow_name="w")
    return "e1"


def test_list_prints_a_line_for_each_and_follows_the_pages(
    server: FakeServer, celeriac: Celeriac
) -> None:
    for number in range(5):
        server.add(f"e{number}", workflow_name=f"w{number}")
    result = celeriac("executions", "list", "--limit", "3", url=server.url)
    header, *lines = result.output.splitlines()
    assert header.split() == ["ID", "WORKFLOW", "STATE", "CREATED", "TOOK", "DESCRIPTION"]
    assert [line.split()[:3] for line in lines] == [
        ["e0", "w0", "SUCCESS"],
        ["e1", "w1", "SUCCESS"],
        ["e2", "w2", "SUCCESS"],
    ]
    everything = celeriac("executions", "list", "--json", url=server.url)
    assert [each["id"] for each in json.loads(everything.stdout)] == [f"e{n}" for n in range(5)]


def test_show_prints_the_execution_and_its_tasks(
    server: FakeServer, celeriac: Celeriac, execution: str
) -> None:
    server.script = [Scene("ERROR", {"good": "SUCCESS", "bad": "ERROR"}, state_info="oh")]
    result = celeriac("executions", "show", execution, url=server.url)
    assert result.exit_code == 0
    assert "state info   oh" in result.output
    assert [line.split()[:2] for line in result.output.splitlines()[-2:]] == [
        ["good", "SUCCESS"],
        ["bad", "ERROR"],
    ]


def test_watch_with_json_prints_each_change_once(
    server: FakeServer, celeriac: Celeriac, execution: str
) -> None:
    server.script = [
        Scene("RUNNING", {"a": "RUNNING"}),
        Scene("RUNNING", {"a": "RUNNING"}),
        Scene("SUCCESS", {"a": "SUCCESS"}, output={"n": 1}),
    ]
    result = celeriac("executions", "watch", execution, "--json", url=server.url)
    *changes, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["task"], each["state"]) for each in changes] == [
        ("a", "RUNNING"),
        ("a", "SUCCESS"),
    ]
    assert last["output"] == {"n": 1}


def test_watch_ends_with_the_result_of_the_execution(
    server: FakeServer, celeriac: Celeriac, execution: str
) -> None:
    server.script = [Scene("CANCELLED")]
    assert celeriac("executions", "watch", execution, url=server.url).exit_code == 1


@pytest.mark.parametrize(
    ("words", "state"),
    [(["pause"], "PAUSED"), (["resume"], "RUNNING"), (["cancel"], "CANCELLED")],
)
def test_steering_puts_the_state(
    server: FakeServer, celeriac: Celeriac, execution: str, words: list[str], state: str
) -> None:
    result = celeriac("executions", *words, execution, url=server.url)
    assert result.output == f"e1  {state}\n"


def test_cancel_carries_its_reason(server: FakeServer, celeriac: Celeriac, execution: str) -> None:
    celeriac(
        "executions", "cancel", execution, "--message", "enough", "--state", "error", url=server.url
    )
    body = json.loads(server.requests[-1][2])
    assert body == {"state": "ERROR", "state_info": "enough"}


def test_rerun_runs_every_failed_task_again_and_skip_those_named(
    server: FakeServer, celeriac: Celeriac, execution: str
) -> None:
    server.script = [Scene("ERROR", {"a": "SUCCESS", "b": "ERROR", "c": "ERROR"})]
    assert celeriac("executions", "rerun", execution, url=server.url).exit_code == 0
    assert celeriac("executions", "skip", execution, "c", url=server.url).exit_code == 0
    bodies = [json.loads(body) for method, _, body in server.requests if method == "PUT"]
    assert bodies == [
        {"id": "e1:b", "state": "RUNNING", "reset": True},
        {"id": "e1:c", "state": "RUNNING", "reset": True},
        {"id": "e1:c", "state": "SKIPPED"},
    ]


def test_what_has_not_failed_cannot_be_skipped(
    server: FakeServer, celeriac: Celeriac, execution: str
) -> None:
    server.script = [Scene("ERROR", {"a": "SUCCESS", "b": "ERROR"})]
    result = celeriac("executions", "skip", execution, "a", url=server.url)
    assert result.exit_code == 1
    assert "Not in ERROR: a. In ERROR: b." in result.stderr


def test_delete_takes_many(server: FakeServer, celeriac: Celeriac, execution: str) -> None:
    assert celeriac("executions", "delete", execution, url=server.url).exit_code == 0
    assert server.executions == {}
    result = celeriac("executions", "delete", execution, url=server.url)
    assert result.exit_code == 1
    assert "WorkflowExecution not found [id=e1]" in result.stderr


def test_errors_of_other_shapes_are_sentences_too(server: FakeServer, celeriac: Celeriac) -> None:
    server.answers["GET", "/v2/executions"] = (502, "<html>bad gateway</html>")
    result = celeriac("executions", "list", url=server.url)
    assert result.stderr == "Error: The server answered 502 Bad Gateway.\n"
    server.answers["GET", "/v2/executions"] = (200, "<html>welcome</html>")
    result = celeriac("executions", "list", url=server.url)
    assert "answers, but not with JSON: is it a Celeriac?" in result.stderr
    server.answers["GET", "/v2/executions"] = (401, {"faultstring": "Authentication required"})
    result = celeriac("executions", "list", url=server.url)
    assert "Authentication required Give a token with --token" in result.stderr
