"""Scripts and classes of users: each in a process of its own, with bounds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.actions import dynamic
from app.actions.context import ActionContext
from app.actions.results import Result
from app.actions.runner import run
from app.actions.std.javascript import JavaScript, ScriptFailed
from app.core.states import State
from tests.integration.actions.conftest import Bench


@pytest.fixture(scope="module")
def javascript() -> Iterator[JavaScript]:
    pytest.importorskip("py_mini_racer", reason="needs the extra celeriac[javascript]")
    # Longer than any of these takes on a busy machine; what takes for ever has a test of its own.
    javascript = JavaScript(seconds=30)
    yield javascript
    javascript.close()


@pytest.mark.parametrize(
    "script, context, value",
    [
        ("return $.a + 1", {"a": 41}, 42),
        ("return {a: 1, b: [1, null, 'ü']}", None, {"a": 1, "b": [1, None, "ü"]}),
        ("return $", None, None),
        ("return", None, None),
        ("return NaN", None, None),
        ("return new Date(0)", None, "1970-01-01T00:00:00.000Z"),
        ("return '%s' + `${1 + 1}` // the end", None, "%s2"),
    ],
)
def test_scripts(javascript: JavaScript, script: str, context: Any, value: Any):
    assert javascript.run(script, context) == value


@pytest.mark.parametrize(
    "script, message",
    [
        ("throw new Error('bad')", "Error: bad"),
        ("return x.y", "ReferenceError: x is not defined"),
        ("return )", "SyntaxError"),
        ("let a = []; while (true) a.push(new Array(1000).fill(1.5))", "128 MiB of memory"),
        ("let b = []; while (true) b.push(new Uint8Array(1e8).fill(1))", "allocation failed"),
        ("let s = 'x'; while (true) s += s", ""),
        ("return 10n", "BigInt"),
        ("return 'x'.repeat(2 ** 25)", "the result is too large"),
    ],
)
def test_scripts_that_go_wrong(javascript: JavaScript, script: str, message: str):
    with pytest.raises(ScriptFailed) as caught:
        javascript.run(script)
    assert str(caught.value).startswith("JavaScriptAction failed: ")
    assert message in str(caught.value)
    # Whatever it did, the next one runs.
    assert javascript.run("return 1") == 1


@pytest.mark.usefixtures("javascript")  # skips without the extra
def test_a_script_that_takes_for_ever_is_ended():
    hasty = JavaScript(seconds=1)
    try:
        with pytest.raises(ScriptFailed, match="the script took longer than 1 seconds"):
            hasty.run("while (true) {}")
        assert hasty.run("return 1") == 1
    finally:
        hasty.close()


def test_a_script_leaves_nothing_for_the_next_one(javascript: JavaScript):
    javascript.run("globalThis.left = 1; Array.prototype.map = null; return 1")
    assert javascript.run("return [typeof left, [1].map(x => x + 1)]") == ["undefined", [2]]


@pytest.mark.parametrize("name", ["process", "require", "fetch", "XMLHttpRequest", "Deno"])
def test_a_script_has_no_way_out(javascript: JavaScript, name: str):
    assert javascript.run(f"return typeof {name}") == "undefined"


SOURCE = """
import os, subprocess, sys, time

class Sum:
    def __init__(self, a, b=2):
        self.a, self.b = a, b
    def run(self, context):
        print("noise on the way")
        return {"sum": self.a + self.b, "workflow": context.execution.workflow_name}

class Look:
    def run(self):
        ours = [name for name in sys.modules if name.startswith("app")]
        return {"env": sorted(os.environ), "modules": ours}

class Fail:
    def run(self, context):
        raise ValueError("boom")

class Hog:
    def run(self, context):
        return len(bytearray(3 * 10 ** 9))

class Exit:
    def run(self, context):
        os._exit(3)

class Odd:
    def run(self, context):
        return object()

class Child:
    def __init__(self, path):
        self.path = path
    def run(self, context):
        subprocess.Popen(["sh", "-c", f"sleep 2; touch {self.path}"])
        return "left a child"

class Spin:
    def __init__(self, path):
        open(path, "w").close()
    def run(self, context):
        while True:
            pass
"""


def play(class_name: str, *, allowed: bool = True, **input: Any) -> Result:
    action = dynamic.from_code("acme.x", SOURCE, class_name, allowed=allowed)
    return run(action, input, ActionContext(workflow_name="w"))


def test_a_class_of_a_code_source_runs_apart():
    result = play("Sum", a=1)
    assert (result.state, result.value) == (State.SUCCESS, {"sum": 3, "workflow": "w"})


def test_it_finds_nothing_of_the_executor(monkeypatch):
    monkeypatch.setenv("CELERIAC_BROKER_URL", "redis://:canary@h/0")
    value = play("Look").value
    assert not [name for name in value["env"] if name.startswith("CELERIAC")]
    assert value["modules"] == []


@pytest.mark.parametrize(
    "class_name, message",
    [
        ("Fail", "msg='boom'"),
        ("Hog", "MemoryError"),
        ("Exit", "the process of the action ended without a result"),
        ("Odd", "not JSON serializable"),
        ("None_", "has no attribute 'None_'"),
    ],
)
def test_what_goes_wrong_in_it_is_an_error_of_the_action(class_name: str, message: str):
    result = play(class_name)
    assert result.state is State.ERROR
    assert message in result.value


def test_what_it_leaves_running_is_ended(tmp_path: Path):
    assert play("Child", path=str(tmp_path / "canary")).value == "left a child"
    found = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert found.stdout == b""


def test_it_is_off_unless_turned_on():
    result = play("Sum", allowed=False, a=1)
    assert "CELERIAC_DYNAMIC_ACTIONS=true in the executors turns them on" in result.value


def test_in_an_executor_its_time_ends_as_any_actions(bench: Bench):
    code = {"source": SOURCE, "class_name": "Spin"}
    with bench.executor(dynamic_actions="true"):
        path = bench.folder / "began"
        one = bench.run("acme.spin", {"path": str(path)}, code=code, timeout=1)
        assert "msg='Timeout after 1 seconds'" in bench.result(one)["result"]
        assert path.exists()
        two = bench.run("std.js", {"script": "while (true) {}"}, timeout=1)
        assert "msg='Timeout after 1 seconds'" in bench.result(two)["result"]
        assert bench.result(bench.run("std.js", {"script": "return 1"}))["result"] == 1
    with bench.executor():
        one = bench.run("acme.sum", {"a": 1}, code={**code, "class_name": "Sum"})
        assert "turned off" in bench.result(one)["result"]


def test_secrets_are_put_in_by_the_executor_and_masked_in_what_comes_back(bench: Bench):
    folder = bench.folder / "secrets"
    folder.mkdir()
    (folder / "token").write_text("canary-token\n")
    with bench.executor(secrets_dir=folder):
        echo = bench.run("std.echo", {"output": "Bearer secret://token", "delay": 0.01})
        length = bench.run("std.js", {"script": "return $.length", "context": "secret://token"})
        broken = bench.run("std.js", {"script": "throw $", "context": "secret://token"})
        unknown = bench.run("std.echo", {"output": "secret://other", "delay": 0.01})
        assert bench.result(echo)["result"] == "Bearer ***"
        assert bench.result(length)["result"] == len("canary-token")
        assert "***" in bench.result(broken)["result"]
        assert "The executor knows no secret 'other'." in bench.result(unknown)["result"]
        everything = [str(bench.client.get(key)) for key in bench.client.keys("celeriac:action:*")]
    assert "canary" not in str(everything) + str(bench.events)
    assert "canary" not in (bench.folder / "executor.log").read_text()
