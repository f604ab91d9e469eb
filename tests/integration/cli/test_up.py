"""`celeriac up`: a whole Celeriac on one machine, and every example run on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.servers.process import free_port, wait_until

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERIAC_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


class Up:
    """A running `celeriac up`."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.data = directory / "data"
        self.port = free_port()
        self.log = directory / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command("up", "--data", str(self.data), "--port", str(self.port), *arguments),
                cwd=directory,
                env=environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(
            lambda: "Celeriac is up." in self.text or self.process.poll() is not None,
            seconds=60,
            what=lambda: f"celeriac up said\n{self.text}",
        )
        assert self.process.poll() is None, self.text
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def celeriac(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command beside it, as a shell would that has read `celeriac env`."""
        url = f"http://127.0.0.1:{self.port}"
        return subprocess.run(
            command(*arguments),
            cwd=ROOT,
            env=environment(CELERIAC_URL=url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up"))
    try:
        yield running
    finally:
        running.stop()


def run(up: Up, name: str, *arguments: str) -> dict[str, Any]:
    """The finished execution of an example."""
    done = up.celeriac("run", f"examples/{name}.yaml", "--json", *arguments)
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (answer["state"] == "SUCCESS")
    return answer


def states(execution: dict[str, Any]) -> dict[str, str]:
    return {task["name"]: task["state"] for task in execution["tasks"]}


def test_the_tour_retries_joins_and_takes_the_branch_of_its_total(up: Up) -> None:
    small = run(up, "tour")
    assert small["output"] == {
        "shipped": "3 kinds for 20: apple, pear, quince",
        "total": 20,
        "approved_by": "the machine",
    }
    assert "approve_large" not in states(small)
    large = run(up, "tour", "-i", 'basket={"apple": 40, "pear": 1}', "-i", "limit=50")
    assert large["output"]["approved_by"] == "the manager"
    assert large["output"]["total"] == 83


def test_the_tour_gives_up_on_a_warehouse_that_never_answers(up: Up) -> None:
    execution = run(up, "tour", "-i", "warehouse_wakes_after=3600")
    assert execution["state"] == "ERROR"
    assert execution["state_info"] == "The order could not be served."
    assert states(execution)["give_up"] == "SUCCESS"


def test_etl_loads_what_is_good_in_batches(up: Up) -> None:
    execution = run(up, "etl")
    assert execution["output"] == {
        "extracted": 100,
        "loaded": 92,
        "batches": [20, 20, 20, 20, 12],
    }
    failed = run(up, "etl", "-i", "least_rows=1000")
    assert failed["state"] == "ERROR"
    assert failed["output"] == {
        "result": "Only 92 rows are good.",
        "extracted": 100,
        "kept": 92,
    }


def test_fanout_gathers_its_branches(up: Up) -> None:
    assert run(up, "fanout")["output"] == {
        "squares": sum(n * n for n in range(50)),
        "evens": 25,
        "greeting": "hello",
        "in_time": True,
    }


def test_subworkflows_give_their_output_as_result(up: Up) -> None:
    execution = run(up, "subworkflows")
    assert execution["workflow_name"] == "shop"
    assert execution["output"] == {
        "sold": 3,
        "served": ["Ada takes bread and milk", "Brahms takes coffee", "Curie takes nothing"],
        "lost": 1,
    }


def test_the_loop_ends_when_two_rounds_agree_or_patience_does(up: Up) -> None:
    output = run(up, "loop")["output"]
    assert output["root"] == pytest.approx(2**0.5)
    assert (output["rounds"], output["patience_lost"]) == (5, False)
    output = run(up, "loop", "-i", "number=144", "-i", "most_rounds=3")["output"]
    assert (output["rounds"], output["patience_lost"]) == (3, True)


@pytest.mark.parametrize(
    ("approved", "outcome"), [(True, "ordered a new desk"), (False, "refused a new desk")]
)
def test_approval_waits_for_somebody_outside(up: Up, approved: bool, outcome: str) -> None:
    execution_id = up.celeriac("run", "examples/approval.yaml", "--detach").stdout.split()[-1]
    api = f"http://127.0.0.1:{up.port}/v2"

    def waiting() -> list[dict[str, Any]]:
        tasks = requests.get(f"{api}/executions/{execution_id}/tasks", timeout=5).json()["tasks"]
        return [
            action
            for task in tasks
            for action in requests.get(
                f"{api}/tasks/{task['id']}/action_executions", timeout=5
            ).json()["action_executions"]
        ]

    wait_until(lambda: bool(waiting()), seconds=10, what=lambda: "no action execution")
    answer = requests.put(
        f"{api}/action_executions/{waiting()[0]['id']}",
        json={"state": "SUCCESS", "output": {"approved": approved, "by": "Ada"}},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text
    watched = up.celeriac("executions", "watch", execution_id, "--json")
    last = json.loads(watched.stdout.splitlines()[-1])
    assert last["output"] == {"outcome": outcome, "by": "Ada"}


def test_approval_that_nobody_gives_is_none(up: Up) -> None:
    execution = run(up, "approval", "-i", "seconds_to_answer=1")
    assert execution["output"] == {"outcome": "nobody answered", "by": None}


def test_an_execution_is_paused_resumed_and_cancelled(up: Up) -> None:
    execution_id = up.celeriac("run", "examples/approval.yaml", "--detach").stdout.split()[-1]
    for word, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")):
        done = up.celeriac("executions", word, execution_id)
        assert done.stdout.split() == [execution_id, state], done.stderr
    listed = up.celeriac("executions", "list", "--state", "cancelled", "--json")
    assert execution_id in [each["id"] for each in json.loads(listed.stdout)]
    assert up.celeriac("executions", "delete", execution_id).returncode == 0
    gone = up.celeriac("executions", "show", execution_id)
    assert gone.returncode == 1
    assert f"WorkflowExecution not found [id={execution_id}]" in gone.stderr


def test_a_failed_task_is_run_again_or_skipped(up: Up, tmp_path: Path) -> None:
    path = tmp_path / "fails.yaml"
    path.write_text(
        "version: '2.0'\nfails:\n  tasks:\n    bad:\n      action: std.fail\n"
        "      on-skip: after\n    after:\n      action: std.noop\n"
    )
    done = up.celeriac("run", str(path), "--json")
    assert done.returncode == 1
    execution_id = json.loads(done.stdout)["id"]
    again = up.celeriac("executions", "rerun", execution_id)
    assert again.returncode == 0, again.stderr
    assert up.celeriac("executions", "watch", execution_id).returncode == 1
    skipped = up.celeriac("executions", "skip", execution_id, "bad")
    assert skipped.returncode == 0, skipped.stderr
    watched = up.celeriac("executions", "watch", execution_id)
    assert watched.returncode == 0, watched.stdout + watched.stderr


def test_definitions_and_actions_are_listed_and_shown(up: Up) -> None:
    assert up.celeriac("workflows", "create", "examples/loop.yaml").returncode == 0
    assert "square_root" in up.celeriac("workflows", "list").stdout
    shown = up.celeriac("workflows", "show", "square_root").stdout
    assert shown.strip() == (EXAMPLES / "loop.yaml").read_text().strip()
    assert up.celeriac("actions", "show", "std.echo").stdout.startswith("std.echo(output, delay=0)")
    listed = json.loads(up.celeriac("actions", "list", "--json").stdout)
    assert {"std.echo", "std.noop", "std.http"} <= {each["name"] for each in listed}


def test_a_definition_that_the_server_refuses_is_shown_with_its_lines(
    up: Up, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("version: '2.0'\nflow:\n  tasks:\n    one:\n      on-success: tow\n")
    done = up.celeriac("run", str(path))
    assert done.returncode == 1
    assert f"{path}:5:19: error: " in done.stderr
    assert "    5 |       on-success: tow" in done.stderr


def test_env_tells_where_it_is_and_that_it_is_gone(up: Up, tmp_path: Path) -> None:
    told = up.celeriac("env", "--data", str(up.data))
    found = subprocess.run(
        ["sh", "-c", f"{told.stdout}\necho $CELERIAC_URL $CELERIAC_BROKER_URL"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found[0] == f"http://127.0.0.1:{up.port}"
    assert found[1].startswith("redis://127.0.0.1:")
    nowhere = up.celeriac("env", "--data", str(tmp_path))
    assert nowhere.returncode == 1
    assert "Nothing runs with its data in" in nowhere.stderr


def test_a_second_one_on_the_same_data_is_refused(up: Up) -> None:
    second = up.celeriac("up", "--data", str(up.data), "--port", str(free_port()))
    assert second.returncode == 1
    assert "is in use by another Celeriac" in second.stderr


def alive(process: psutil.Process) -> bool:
    """Whether a process still does something; the dead may wait for init to notice."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_the_file_says_where_it_is_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    up = Up(tmp_path, "--run", str(EXAMPLES / "loop.yaml"), "--input", '{"number": 9}')
    try:
        assert '"root": 3.0' in up.text
        assert f"http://127.0.0.1:{up.port}/v2" in up.text
    finally:
        status = up.stop(number)
    assert status == 0, up.text
    assert [each for each in up.children if alive(each)] == []
    assert not (up.data / "celeriac.env").exists()


def test_with_exit_it_ends_as_the_execution_did(tmp_path: Path) -> None:
    path = tmp_path / "fails.yaml"
    path.write_text("version: '2.0'\nfails:\n  tasks:\n    bad:\n      action: std.fail\n")
    done = subprocess.run(
        command(
            *("up", "--data", str(tmp_path / "data"), "--port", str(free_port())),
            *("--host", "localhost", "--run", str(path), "--exit", "--json"),
        ),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["state"] == "ERROR"


def test_a_name_that_is_no_address_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        command(
            *("up", "--data", str(tmp_path / "data"), "--port", str(free_port())),
            *("--host", "no.such.host.invalid", "--run", "-", "--exit"),
        ),
        cwd=tmp_path,
        env=environment(),
        input="version: '2.0'\nw:\n  tasks:\n    t:\n      action: std.noop\n",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert "no.such.host.invalid" in done.stderr
    assert "Traceback" not in done.stderr
