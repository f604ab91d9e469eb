from app.core import events as e
from app.core.states import State
from tests.unit.core.story import play

ITEMS = """
w:
  tasks:
    a:
      with-items: i in [10, 20, 30]
      action: my.a v=<% $.i %>
      publish: {r: <% task().result %>}
"""


def test_results_come_in_the_order_of_the_items():
    run = play(ITEMS)
    third, second, first = reversed(run.running("a"))
    for action in (third, first, second):
        run.apply(
            e.ActionCompleted(action_id=action.id, state=State.SUCCESS, result=f"r{action.index}")
        )
    assert (run.state, run.output) == ("SUCCESS", {"r": ["r0", "r1", "r2"]})


def test_a_completion_that_comes_twice_counts_once():
    run = play(ITEMS)
    action = run.running("a")[0]
    for _ in range(3):
        run.apply(e.ActionCompleted(action_id=action.id, state=State.SUCCESS, result=1))
    assert run.named("a").items.done == 1
    assert run.state == "RUNNING"


def test_concurrency_limits_how_many_run():
    run = play(ITEMS.replace("action:", "concurrency: 2\n      action:"))
    assert len(run.running("a")) == 2
    run.complete("a")
    assert len(run.running("a")) == 2
    run.complete("a")
    run.complete("a")
    assert run.state == "SUCCESS"


def test_a_failed_item_does_not_stop_the_others():
    run = play(ITEMS)
    run.fail("a", "bad")
    assert run.state == "RUNNING"
    run.complete("a", 2)
    run.complete("a", 3)
    assert run.named("a").state_info == "One or more actions had failed."
    assert run.result("a") == ["bad", 2, 3]


def test_a_cancelled_item_ends_the_task_and_stops_the_others():
    run = play(ITEMS)
    run.complete("a", state="CANCELLED")
    assert (run.state, run.states()) == ("CANCELLED", {"a": "CANCELLED"})
    assert run.running("a") == []


def test_no_items_is_a_success_at_once():
    run = play("w: {tasks: {a: {with-items: 'i in <% list() %>', action: my.a}}}")
    assert (run.state, run.result("a"), run.all_actions) == ("SUCCESS", [], {})


def test_lists_of_different_length_fail():
    run = play("w: {tasks: {a: {with-items: ['i in [1, 2]', 'j in [1]'], action: my.a}}}")
    assert run.state == "ERROR"
    assert "All arrays must have the same length" in run.execution.state_info


def test_the_item_wins_over_a_variable_of_its_name():
    run = play(
        """
        w:
          tasks:
            s: {publish: {i: 50}, on-success: a}
            a: {with-items: 'i in [1, 2]', action: std.echo output=<% $.i %>}
        """
    )
    assert run.result("a") == [1, 2]


def test_a_rerun_without_reset_runs_only_what_failed():
    run = play(ITEMS)
    run.complete("a", "ok")
    run.fail("a")
    run.complete("a", "fine")
    run.apply(e.RerunRequested(task_id=run.named("a").id, reset=False))
    assert [a.index for a in run.running("a")] == [1]
    run.complete("a", "mended")
    assert (run.state, run.result("a")) == ("SUCCESS", ["ok", "mended", "fine"])


def test_a_rerun_with_reset_runs_all_items():
    run = play(ITEMS)
    for _ in range(3):
        run.fail("a")
    run.apply(e.RerunRequested(task_id=run.named("a").id, reset=True))
    assert len(run.running("a")) == 3
    for result in "xyz":
        run.complete("a", result)
    assert run.result("a") == ["x", "y", "z"]


def test_sub_workflows_may_be_items_and_report_once():
    run = play(
        """
        w:
          tasks:
            a:
              with-items: k in [1, 2]
              workflow: child n=<% $.k %>
              publish: {r: <% task().result %>}
        child:
          input: [n]
          output: {o: <% $.n * 10 %>}
          tasks: {c: {action: my.c}}
        """
    )
    first, second = run.children_of("a")
    first.complete("c")
    again = e.ChildCompleted(
        task_id=run.named("a").id, child_id=first.execution.id, index=0, state=State.SUCCESS
    )
    run.apply(again)
    assert run.state == "RUNNING"
    second.complete("c")
    assert (run.state, run.output) == ("SUCCESS", {"r": [{"o": 10}, {"o": 20}]})
