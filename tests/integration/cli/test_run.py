"""`celeriac run`: upload, start, progress, result, exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from tests.integration.cli.server import FakeServer, Scene

Celeriac = Callable[..., Result]

FLOW = """\
version: '2.0'
one:
  tasks:
    a:
      action: std.noop
two:
  tasks:
    a:
      action: std.noop
"""


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    return str(path)


def test_it_stores_the_definitions_starts_the_first_and_prints_the_output(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.script = [
        Scene("RUNNING", {"a": "RUNNING"}),
        Scene("RUNNING", {"a": "SUCCESS", "b": "DELAYED"}),
        Scene("SUCCESS", {"a": "SUCCESS", "b": "SUCCESS"}, output={"answer": 42}),
    ]
    result = celeriac("run", flow, "--input", '{"x": 1}', "-i", "y=two", url=server.url)
    assert result.exit_code == 0, result.output
    assert set(server.workflows) == {"one", "two"}
    (execution,) = server.executions.values()
    assert execution["workflow_name"] == "one"
    assert execution["input"] == {"x": 1, "y": "two"}
    progress = [line.split() for line in result.output.splitlines() if line.startswith("  ")]
    assert [words[:2] for words in progress[:4]] == [
        ["RUNNING", "a"],
        ["SUCCESS", "a"],
        ["DELAYED", "b"],
        ["SUCCESS", "b"],
    ]
    assert '"answer": 42' in result.output
    assert "\x1b" not in result.output


def test_an_execution_that_fails_is_told_and_ends_with_1(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.script = [
        Scene("ERROR", {"a": "ERROR"}, state_info="Failure caused by error in tasks: a")
    ]
    result = celeriac("run", flow, url=server.url)
    assert result.exit_code == 1
    assert "  ERROR      a  0 s  it broke ..." in result.output
    assert "Failure caused by error in tasks: a" in result.output


def test_json_is_one_document_with_decoded_values(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.script = [Scene("RUNNING"), Scene("SUCCESS", {"a": "SUCCESS"}, output={"answer": 42})]
    result = celeriac("run", flow, "--json", "--workflow", "two", url=server.url)
    answer = json.loads(result.stdout)
    assert answer["workflow_name"] == "two"
    assert answer["output"] == {"answer": 42}
    assert [task["name"] for task in answer["tasks"]] == ["a"]


def test_what_is_there_is_updated_and_what_is_new_is_created(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.workflows["two"] = "old"
    result = celeriac("run", flow, "--detach", url=server.url)
    assert result.exit_code == 0, result.output
    sent = [(method, body) for method, path, body in server.requests if path == "/v2/workflows"]
    assert [method for method, _ in sent] == ["POST", "PUT"]
    assert [sorted(yaml.safe_load(body)) for _, body in sent] == [
        ["one", "version"],
        ["two", "version"],
    ]
    assert "created one" in result.output
    assert "updated two" in result.output


def test_detached_it_prints_the_id_and_leaves(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.script = [Scene("RUNNING")]
    result = celeriac("run", flow, "--detach", "--json", url=server.url)
    assert json.loads(result.stdout)["id"] in server.executions


def test_an_environment_is_a_name_or_values(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    celeriac("run", flow, "--env", "staging", url=server.url)
    celeriac("run", flow, "--env", '{"region": "north"}', url=server.url)
    params = [each["params"] for each in server.executions.values()]
    assert params == [{"env": "staging"}, {"env": {"region": "north"}}]


def test_the_refusal_of_the_server_is_the_message(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.answers["POST", "/v2/executions"] = (
        400,
        {"faultcode": "Client", "faultstring": "Invalid input [name=one, missing=['x']]"},
    )
    result = celeriac("run", flow, url=server.url)
    assert result.exit_code == 1
    assert "Error: Invalid input [name=one, missing=['x']]" in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_no_definition_is_shown_with_its_line(
    server: FakeServer, celeriac: Celeriac, tmp_path: Path
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("version: '2.0'\nw:\n  tasks: [\n")
    result = celeriac("run", str(path), url=server.url)
    assert result.exit_code == 1
    assert f"{path}:" in result.stderr
    assert server.requests == []


def test_an_unknown_workflow_names_those_that_are_there(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    result = celeriac("run", flow, "--workflow", "three", url=server.url)
    assert result.exit_code == 1
    assert "no workflow 'three'; it has one, two" in result.stderr


def test_no_file_and_no_server_are_told_in_one_line(celeriac: Celeriac, flow: str) -> None:
    missing = celeriac("run", "nowhere.yaml", url="http://127.0.0.1:1")
    assert missing.exit_code == 1
    assert missing.stderr == "Error: nowhere.yaml: No such file or directory\n"
    alone = celeriac("run", flow, url="http://127.0.0.1:1")
    assert alone.exit_code == 1
    assert "Nothing answers at http://127.0.0.1:1" in alone.stderr
    assert "Traceback" not in alone.output


def test_input_that_is_no_mapping_is_refused_before_anything_is_sent(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    result = celeriac("run", flow, "--input", "[1]", url=server.url)
    assert result.exit_code == 2
    assert "expected a JSON object" in result.stderr
    assert server.requests == []


def test_input_from_a_file(
    server: FakeServer, celeriac: Celeriac, flow: str, tmp_path: Path
) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"x": [1, 2]}')
    celeriac("run", flow, "--input", f"@{path}", url=server.url)
    (execution,) = server.executions.values()
    assert execution["input"] == {"x": [1, 2]}


def test_two_may_run_the_same_file_at_once(
    server: FakeServer, celeriac: Celeriac, flow: str
) -> None:
    server.rivals = {"one": "theirs", "two": "theirs"}
    result = celeriac("run", flow, url=server.url)
    assert result.exit_code == 0, result.output
    assert "theirs" not in server.workflows.values()
    assert len(server.executions) == 1
