import pytest

from app.core import events as e
from tests.unit.core.story import later, play


def test_retries_come_after_the_delay_and_end_with_the_last_error():
    run = play("w: {tasks: {a: {action: std.fail, retry: {count: 2, delay: 5}, on-error: noop}}}")
    assert run.named("a").state_info == "Delayed by 'retry' policy [delay=5]"
    assert run.timers[0].at == later(5)
    run.fire()
    run.fire()
    assert (run.state, run.states()) == ("SUCCESS", {"a": "ERROR"})
    assert [a.accepted for a in run.actions(run.named("a").id)] == [False, False, True]
    assert run.named("a").runtime_context == {"retry_task_policy": {"retry_no": 2}}


def test_continue_on_repeats_a_success_until_it_is_false():
    run = play(
        """
        w:
          tasks:
            a:
              action: my.a
              retry: {count: 5, delay: 1, continue-on: <% task().result < 3 %>}
        """
    )
    for result in (1, 2):
        run.complete("a", result)
        run.fire()
    run.complete("a", 3)
    assert (run.state, run.result("a")) == ("SUCCESS", 3)


def test_continue_on_that_is_false_ends_an_error_without_a_retry():
    run = play(
        """
        w:
          tasks:
            a: {action: std.fail, retry: {count: 3, delay: 0, continue-on: '<% false %>'}}
        """
    )
    assert (run.state, len(run.all_actions)) == ("ERROR", 1)


def test_break_on_ends_the_retries():
    run = play(
        """
        w:
          tasks:
            a: {action: my.a, retry: {count: 5, delay: 1, break-on: "<% task().result = 'stop' %>"}}
        """
    )
    run.fail("a", "again")
    run.fire()
    run.fail("a", "stop")
    assert (run.state, run.timers) == ("ERROR", [])


def test_fail_on_turns_success_into_error_after_publishing():
    run = play(
        """
        w:
          tasks:
            t:
              action: std.echo output=5
              fail-on: <% task().result > 3 %>
              publish: {x: <% task().result %>}
              publish-on-error: {y: 1}
              on-error: u
            u: {}
        """
    )
    assert run.named("t").state_info == "Failed by 'fail-on' policy"
    assert run.named("t").published == {"x": 5}
    assert (run.state, run.states()["u"]) == ("SUCCESS", "SUCCESS")


def test_wait_before_delays_the_action_and_wait_after_what_follows():
    run = play("w: {tasks: {a: {wait-before: 2, wait-after: 3, on-success: b}, b: {}}}")
    assert (run.states(), run.all_actions) == ({"a": "DELAYED"}, {})
    run.fire()
    assert (run.states(), len(run.all_actions)) == ({"a": "DELAYED"}, 1)
    run.fire()
    assert (run.states(), run.world.now) == ({"a": "SUCCESS", "b": "SUCCESS"}, later(5))


def test_a_timeout_fails_the_task_and_stops_its_action():
    run = play(
        """
        w:
          tasks:
            a:
              action: std.async_noop
              timeout: 4
              publish-on-error: {r: <% task().result %>}
              on-error: noop
        """
    )
    run.fire()
    assert run.named("a").state_info == "Task timed out [timeout(s)=4]."
    assert (run.state, run.output) == ("SUCCESS", {"r": []})
    assert [str(a.state) for a in run.all_actions.values()] == ["CANCELLED"]


def test_a_wait_before_that_is_over_does_not_start_what_timed_out_in_it():
    run = play("w: {tasks: {a: {wait-before: 4, timeout: 4, wait-after: 9, on-error: noop}}}")
    run.apply(*(timer.event for timer in run.timers))
    assert (run.states(), run.all_actions) == ({"a": "DELAYED"}, {})
    run.fire()
    assert run.states() == {"a": "ERROR"}


def test_a_sub_workflow_that_ends_while_its_task_waits_after_a_timeout_changes_nothing():
    run = play(
        """
        w: {tasks: {a: {workflow: sub, timeout: 1, wait-after: 9, retry: {count: 1, delay: 1}}}}
        sub: {tasks: {t: {action: my.t}}}
        """
    )
    (child,) = (each for each in run.world.runs.values() if each is not run)
    run.fire()
    assert run.states() == {"a": "DELAYED"}
    child.fail("t")
    assert (run.states(), [timer.event.purpose for timer in run.timers]) == (
        {"a": "DELAYED"},
        ["wait-after"],
    )
    run.fire()
    run.fire()
    assert run.states() == {"a": "RUNNING"}


def test_every_attempt_has_its_own_timeout():
    run = play("w: {tasks: {a: {action: std.async_noop, timeout: 4, retry: {count: 1, delay: 1}}}}")
    run.fire()
    assert run.states() == {"a": "DELAYED"}
    run.fire()
    assert run.states() == {"a": "RUNNING"}
    run.fire()
    assert (run.states(), run.state) == ({"a": "ERROR"}, "ERROR")


def test_a_timer_of_an_older_attempt_means_nothing():
    run = play("w: {tasks: {a: {action: my.a, timeout: 9, retry: {count: 1, delay: 1}}}}")
    old = run.timers[0].event
    run.fail("a")
    run.fire()
    run.apply(old)
    assert run.states() == {"a": "RUNNING"}


def test_pause_before_holds_the_execution_until_it_is_resumed():
    run = play("w: {tasks: {a: {pause-before: true, wait-before: 9}}}")
    assert (run.state, run.states()) == ("PAUSED", {"a": "IDLE"})
    run.apply(e.ResumeRequested())
    assert (run.state, run.states()) == ("SUCCESS", {"a": "SUCCESS"})


@pytest.mark.parametrize("policy", ["wait-before", "timeout", "concurrency"])
def test_a_policy_value_of_the_wrong_type_fails_the_execution(policy):
    run = play(
        f"""
        w:
          tasks:
            a: {{with-items: 'i in [1]', {policy}: "<% 'x' %>", on-error: b}}
            b: {{}}
        """
    )
    assert (run.state, run.states()) == ("ERROR", {"a": "ERROR"})
    assert "Invalid data type in" in run.execution.state_info


def test_nothing_starts_while_paused():
    run = play(
        """
        w:
          tasks:
            a: {wait-before: 1}
            b: {action: std.fail, retry: {count: 1, delay: 1}, on-error: noop}
            c: {action: my.c, on-success: d}
            d: {}
        """
    )
    run.apply(e.PauseRequested())
    run.fire()
    run.fire()
    run.complete("c")
    assert run.state == "PAUSED"
    assert run.states() == {"a": "DELAYED", "b": "DELAYED", "c": "SUCCESS"}
    run.apply(e.ResumeRequested())
    assert (run.state, run.states()) == (
        "SUCCESS",
        {"a": "SUCCESS", "b": "ERROR", "c": "SUCCESS", "d": "SUCCESS"},
    )
