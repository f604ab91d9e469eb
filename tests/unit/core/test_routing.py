from app.core import events as e
from app.core.states import State
from tests.unit.core.story import play


def test_both_clauses_run_and_the_same_target_runs_twice():
    run = play(
        """
        w:
          tasks:
            a: {publish: {x: 1}, on-complete: [c], on-success: [b, c]}
            b: {publish: {y: 2}}
            c: {publish: {z: 3}}
        """
    )
    assert run.state == "SUCCESS"
    assert run.named("a").next_tasks == [
        ["b", "on-success"],
        ["c", "on-success"],
        ["c", "on-complete"],
    ]
    assert run.count("c") == 2
    assert run.output == {"x": 1, "y": 2, "z": 3}


def test_on_complete_alone_does_not_handle_an_error():
    run = play("w: {tasks: {a: {action: std.fail, on-complete: b}, b: {}}}")
    assert run.states() == {"a": "ERROR", "b": "SUCCESS"}
    assert run.state == "ERROR"
    assert run.execution.state_info.startswith(
        "Failure caused by error in tasks: a\n\n  a [task_ex"
    )


def test_noop_handles_an_error():
    run = play("w: {tasks: {a: {action: std.fail, on-error: noop}}}")
    assert (run.state, run.output) == ("SUCCESS", {})
    assert run.named("a").error_handled


def test_an_unhandled_error_waits_for_the_other_branches():
    run = play("w: {tasks: {a: {action: std.fail}, b: {action: my.b}}}")
    assert run.state == "RUNNING"
    run.complete("b")
    assert run.state == "ERROR"


def test_fail_ends_the_execution_with_its_message_and_drops_what_follows():
    run = play(
        """
        w:
          tasks:
            a:
              action: std.echo output=7
              publish: {v: <% task().result %>}
              on-success: [b, 'fail msg="bad <% $.v %>"', c]
            b: {}
            c: {}
        """
    )
    assert (run.state, run.execution.state_info) == ("ERROR", "bad 7")
    assert run.output == {"result": "bad 7"}
    assert run.states() == {"a": "SUCCESS", "b": "SUCCESS"}


def test_succeed_ends_at_once_while_others_run():
    run = play("w: {tasks: {a: {on-success: succeed}, b: {action: my.b}}}")
    assert run.state == "SUCCESS"
    run.complete("b", 1)
    assert run.states() == {"a": "SUCCESS", "b": "SUCCESS"}


def test_a_pause_command_keeps_what_follows_it_for_later():
    run = play(
        """
        w:
          tasks:
            a: {on-success: [b, 'pause msg="wait here"', c]}
            b: {action: my.b}
            c: {action: my.c}
        """
    )
    assert (run.state, run.execution.state_info) == ("PAUSED", "wait here")
    assert run.states() == {"a": "SUCCESS", "b": "RUNNING"}
    run.complete("b")
    run.apply(e.ResumeRequested())
    assert run.states()["c"] == "RUNNING"
    run.complete("c")
    assert run.state == "SUCCESS"


def test_a_loop_makes_a_task_for_every_turn():
    run = play(
        """
        w:
          vars: {n: 0}
          tasks:
            s: {on-success: a}
            a:
              publish: {n: <% $.n + 1 %>}
              on-success: [{a: <% $.n < 3 %>}, {z: <% $.n >= 3 %>}]
            z: {}
        """
    )
    assert [t.published["n"] for t in run.tasks_named(["a"])] == [1, 2, 3]
    assert run.output == {"n": 3}


def test_a_broken_guard_fails_task_and_execution_at_once():
    run = play(
        "w: {tasks: {a: {on-success: [{b: '<% $.missing > 1 %>'}], on-error: c}, b: {}, c: {}}}"
    )
    assert run.state == "ERROR"
    assert run.states() == {"a": "ERROR"}
    assert "Can not evaluate YAQL expression" in run.execution.state_info


def test_a_skipped_task_goes_on_as_if_it_had_succeeded():
    run = play(
        """
        w:
          tasks:
            a:
              action: std.fail
              publish-on-skip: {q: 1}
              on-skip: c
              on-success: b
              on-complete: d
            b: {}
            c: {}
            d: {}
        """
    )
    assert (run.state, run.states()) == ("ERROR", {"a": "ERROR", "d": "SUCCESS"})
    run.apply(e.SkipRequested(task_id=run.named("a").id))
    assert run.states() == {"a": "SKIPPED", "d": "SUCCESS", "c": "SUCCESS"}
    assert (run.state, run.output) == ("SUCCESS", {"q": 1})


def test_a_reverse_workflow_runs_what_its_target_needs():
    run = play(
        """
        w:
          type: reverse
          tasks:
            net: {action: my.net, publish: {n: <% task().result %>}}
            disk: {}
            vm: {requires: [net, disk], publish: {v: <% $.n + 1 %>}}
            dns: {requires: vm}
        """,
        params={"task_name": "vm"},
    )
    assert run.states() == {"net": "RUNNING", "disk": "SUCCESS"}
    run.complete("net", 1)
    assert run.states() == {"net": "SUCCESS", "disk": "SUCCESS", "vm": "SUCCESS"}
    assert (run.state, run.output) == ("SUCCESS", {"n": 1, "v": 2})


def test_a_branch_that_ends_before_an_inline_step_in_the_same_batch_is_part_of_the_output():
    run = play(
        """
        w:
          tasks:
            a: {action: my.a, publish: {x: 1}}
            b: {action: my.b, publish: {y: 2}, on-success: c}
            c: {action: std.noop}
        """
    )
    run.apply(
        *(
            e.ActionCompleted(action_id=action_id, state=State.SUCCESS, result=None)
            for action_id in run.all_actions
        )
    )
    assert (run.state, run.output) == ("SUCCESS", {"x": 1, "y": 2})
