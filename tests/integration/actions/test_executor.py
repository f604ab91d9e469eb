"""The executor against what goes wrong: doubled messages, endless actions, killed processes."""

from __future__ import annotations

import json
import os
import signal
import time

from app.ledger import Absent, Claimed, Expired, Finished
from tests.integration.actions.conftest import Bench
from tests.servers.redis import redis_server
from workers.executor import GRACE, TICK


def test_an_action_runs_and_its_result_goes_to_the_engine(bench: Bench):
    with bench.executor():
        one = bench.run("std.echo", {"output": {"list": [1, None, "ü"]}})
        event = bench.result(one)
        bench.wait(bench.idle)
    assert event == {
        "for": "the-execution",
        "kind": "ActionCompleted",
        "action_id": one,
        "state": "SUCCESS",
        "result": {"list": [1, None, "ü"]},
    }
    assert bench.ledger.look([one])[one] == Finished(
        {"state": "SUCCESS", "result": {"list": [1, None, "ü"]}}
    )


def test_a_doubled_message_sends_the_same_result_again_and_runs_nothing(bench: Bench):
    with bench.executor():
        request = bench.request("test.note", {"path": str(bench.folder / "f"), "result": 7})
        one = bench.send(request)
        bench.result(one)
        bench.send(request)
        assert bench.result(one, times=2)["result"] == 7
    assert bench.lines("f") == ["ran"]


def test_a_message_that_comes_while_the_action_runs_goes_away(bench: Bench):
    with bench.executor(lease_seconds=1):
        request = bench.request("test.note", {"path": str(bench.folder / "f"), "then": 3})
        one = bench.send(request)
        bench.wait(lambda: bench.lines("f"))
        # Longer than the lease: it is renewed.
        started = time.monotonic()
        bench.wait(lambda: time.monotonic() > started + 1.5)
        assert isinstance(bench.ledger.look([one])[one], Claimed)
        bench.send(request)
        bench.result(one)
        bench.wait(bench.idle)
    assert bench.lines("f") == ["ran", "ended"]
    assert len(bench.received(one)) == 1


def test_an_action_is_stopped_at_its_time_limit(bench: Bench):
    with bench.executor(concurrency=1):
        started = time.monotonic()
        one = bench.run("std.sleep", {"seconds": 60}, timeout=1)
        text = bench.result(one)["result"]
        assert time.monotonic() - started < 1 + GRACE
        assert bench.result(bench.run("std.noop"))["state"] == "SUCCESS"
    assert text == (
        "The action raised an exception "
        "[action=<mistral.actions.std_actions.SleepAction object at 0x0>, "
        f"action_ex_id={one}, msg='Timeout after 1 seconds']"
    )


def test_what_does_not_heed_its_time_limit_is_killed_and_others_go_on(bench: Bench):
    with bench.executor(concurrency=3):
        started = time.monotonic()
        stuck = [bench.run("test.stubborn", timeout=1), bench.run("test.deaf", timeout=1)]
        others = [bench.run("std.echo", {"output": n, "delay": 0.05}) for n in range(40)]
        for one in stuck:
            event = bench.result(one)
            assert event["state"] == "ERROR"
            assert "msg='Timeout after 1 seconds'" in event["result"]
        # The limit, the grace, a tick, and some time for a busy machine.
        assert time.monotonic() - started < 1 + GRACE + TICK + 3
        assert [bench.result(one)["result"] for one in others] == list(range(40))
        # Both places in the pool are filled again, and nothing is delivered twice.
        again = [bench.run("std.echo", {"output": n, "delay": 0.5}) for n in range(3)]
        for one in again:
            bench.result(one, within=3)
        bench.wait(bench.idle)
    assert [len(bench.received(one)) for one in stuck] == [1, 1]


def test_the_limit_for_all_actions_holds_for_those_without_a_timeout(bench: Bench):
    with bench.executor(action_time_limit=1):
        one = bench.run("std.sleep", {"seconds": 60})
        assert "msg='Timeout after 1 seconds'" in bench.result(one)["result"]


def test_an_action_that_kills_its_process_fails_when_it_is_not_safe_to_run_again(bench: Bench):
    with bench.executor():
        one = bench.run("test.die", {"path": str(bench.folder / "f")})
        event = bench.result(one)
        bench.wait(bench.idle)
        assert bench.result(bench.run("std.noop"))["state"] == "SUCCESS"
    assert event["state"] == "ERROR"
    assert event["result"] == (
        "Request to run an action was redelivered, but it cannot be re-run safely. "
        "The only safe thing to do is fail it [action=test.die]."
    )
    assert bench.lines("f") == ["ran"]
    assert len(bench.received(one)) == 1


def test_an_action_that_is_safe_to_run_again_survives_the_death_of_its_process(bench: Bench):
    with bench.executor():
        path = str(bench.folder / "f")
        one = bench.run("test.die", {"path": path, "times": 1}, safe_rerun=True)
        assert bench.result(one)["result"] == "lives"
        bench.wait(bench.idle)
    assert bench.lines("f") == ["ran", "ran"]


def test_an_action_that_kills_every_executor_is_given_up(bench: Bench):
    with bench.executor():
        one = bench.run("test.die", {"path": str(bench.folder / "f")}, safe_rerun=True)
        event = bench.result(one)
        bench.wait(bench.idle)
    assert event["state"] == "ERROR"
    assert "died while it ran the action, 3 times" in event["result"]
    assert bench.lines("f") == ["ran"] * 3


def test_a_killed_executor_takes_its_processes_along_and_its_lease_runs_out(bench: Bench):
    request = bench.request("test.note", {"path": str(bench.folder / "f"), "then": 60})
    safe = bench.request(
        "test.note", {"path": str(bench.folder / "g"), "then": 2, "result": 1}, safe_rerun=True
    )
    with bench.executor(lease_seconds=1) as worker:
        bench.send(request)
        bench.send(safe)
        bench.wait(lambda: bench.lines("f") and bench.lines("g"))
        os.kill(worker.pid, signal.SIGKILL)
        ids = [request["id"], safe["id"]]
        bench.wait(
            lambda: all(isinstance(each, Expired) for each in bench.ledger.look(ids).values())
        )
    assert bench.lines("g") == ["ran"]
    with bench.executor(lease_seconds=1):
        bench.send(request)
        bench.send(safe)
        assert "cannot be re-run safely" in bench.result(request["id"])["result"]
        assert bench.result(safe["id"])["result"] == 1
    assert bench.lines("f") == ["ran"]
    assert bench.lines("g") == ["ran", "ran", "ended"]


def test_a_running_action_can_be_stopped_and_one_that_waits_never_begins(bench: Bench):
    with bench.executor(concurrency=1, lease_seconds=3):
        running = bench.run("test.note", {"path": str(bench.folder / "f"), "then": 60})
        waiting = bench.run("test.note", {"path": str(bench.folder / "g")})
        bench.wait(lambda: bench.lines("f"))
        # Only the flags, as if the order itself had not been heard.
        for one in (running, waiting):
            bench.client.set(bench.ledger.stop_key(one), 1)
        last = bench.run("std.noop")
        # The lease is looked at often enough to notice the flag by itself.
        assert bench.result(last)["state"] == "SUCCESS"
        bench.wait(bench.idle)
    assert bench.lines("f") == ["ran"]
    assert bench.lines("g") == []
    assert not bench.received(running)
    assert not bench.received(waiting)


def test_the_order_to_stop_reaches_a_running_action_at_once(bench: Bench):
    with bench.executor(concurrency=2, lease_seconds=60):
        running = bench.run("test.note", {"path": str(bench.folder / "f"), "then": 60})
        bench.wait(lambda: bench.lines("f"))
        bench.ledger.stop([running])
        bench.wait(bench.idle, within=3)
        assert bench.ledger.is_stopped(running)
        assert bench.result(bench.run("std.noop"))["state"] == "SUCCESS"
    assert bench.lines("f") == ["ran"]


def test_results_that_cannot_be_stored_are_errors_that_say_so(bench: Bench):
    with bench.executor(max_result_bytes=1000):
        large = bench.run("test.large", {"size": 2000})
        strange = bench.run("test.strange")
        leave = bench.run("test.leave")
        unknown = bench.run("acme.deploy")
        assert "too large (2002 bytes, limit=1000 bytes)" in bench.result(large)["result"]
        assert "which JSON does not know" in bench.result(strange)["result"]
        assert "SystemExit(3)" in bench.result(leave)["result"]
        assert "does not know this action" in bench.result(unknown)["result"]
        assert bench.result(bench.run("std.noop"))["state"] == "SUCCESS"


def test_an_asynchronous_action_reports_only_its_errors(bench: Bench):
    with bench.executor():
        begun = bench.run("std.async_noop", asynchronous=True)
        failed = bench.run("std.mistral_http", {"url": "ftp://x"}, asynchronous=True)
        assert bench.result(failed)["state"] == "ERROR"
        bench.wait(lambda: isinstance(bench.ledger.look([begun])[begun], Finished))
        bench.wait(bench.idle)
    assert not bench.received(begun)
    assert bench.ledger.look([begun])[begun] == Finished({"state": "", "result": None})


def test_who_waits_for_a_result_gets_it_without_the_engine(bench: Bench):
    with bench.executor():
        request = bench.request("std.echo", {"output": 1}, sync_reply=True, context={})
        one = bench.send(request)
        assert bench.ledger.wait(one, timeout=10) == {"state": "SUCCESS", "result": 1}
        bench.wait(bench.idle)
    assert not bench.received(one)
    assert bench.ledger.wait("unknown", timeout=0.1) is None


def test_an_executor_of_a_target_takes_only_what_is_meant_for_it(bench: Bench):
    with bench.executor(queues="actions.gpu"):
        elsewhere = bench.run("std.noop")
        one = bench.send(bench.request("std.echo", {"output": 1}), target="gpu")
        assert bench.result(one)["result"] == 1
    assert bench.ledger.look([elsewhere])[elsewhere] == Absent()
    assert bench.client.llen("actions") == 1


def test_a_redis_that_is_away_for_a_moment_costs_no_result(tmp_path):
    with redis_server() as server:
        bench = Bench(server.url, tmp_path)
        with bench.executor():
            one = bench.run("test.note", {"path": str(tmp_path / "f"), "then": 2, "result": 1})
            bench.wait(lambda: bench.lines("f"))
            server.restart()
            assert bench.result(one, within=30)["result"] == 1
        assert bench.lines("f") == ["ran", "ended"]
        bench.close()


def test_a_redis_that_lost_everything_gets_the_claim_again(tmp_path):
    with redis_server() as server:
        bench = Bench(server.url, tmp_path)
        with bench.executor(lease_seconds=1):
            epoch = bench.ledger.epoch()
            one = bench.run("test.note", {"path": str(tmp_path / "f"), "then": 3, "result": 1})
            bench.wait(lambda: bench.lines("f"))
            server.flush()
            bench.wait(lambda: isinstance(bench.ledger.look([one])[one], Claimed))
            assert bench.ledger.epoch() != epoch
            assert bench.result(one)["result"] == 1
        bench.close()


def test_input_is_no_part_of_what_the_executor_logs(bench: Bench):
    with bench.executor():
        one = bench.run("std.echo", {"output": "canary-in-the-input"})
        bench.result(one)
        bench.result(bench.run("std.fail", {"error_data": "canary-in-the-error"}))
    log = (bench.folder / "executor.log").read_text()
    assert "canary" not in log
    assert json.dumps(one) not in log
