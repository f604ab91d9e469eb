from app.core import events as e
from app.core.states import State
from tests.unit.core.story import play

NESTED = """
w:
  tasks:
    a: {workflow: mid, on-success: z, on-error: h}
    z: {}
    h: {}
mid:
  tasks:
    b: {workflow: leaf}
leaf:
  tasks:
    c: {action: my.c}
"""


def test_results_travel_up():
    run = play(NESTED)
    mid = run.children_of("a")[0]
    mid.children_of("b")[0].complete("c")
    assert (mid.state, run.state, run.states()) == (
        "SUCCESS",
        "SUCCESS",
        {"a": "SUCCESS", "z": "SUCCESS"},
    )


def test_errors_travel_up_and_may_be_handled():
    run = play(NESTED)
    mid = run.children_of("a")[0]
    mid.children_of("b")[0].fail("c", "bang")
    assert (mid.state, run.state, run.states()["h"]) == ("ERROR", "SUCCESS", "SUCCESS")
    assert "bang" in run.named("a").state_info


def test_pause_and_resume_travel_both_ways():
    run = play(NESTED)
    mid = run.children_of("a")[0]
    leaf = mid.children_of("b")[0]
    mid.apply(e.PauseRequested())
    assert (run.state, mid.state, leaf.state) == ("PAUSED", "PAUSED", "PAUSED")
    assert run.states() == {"a": "PAUSED"}
    leaf.complete("c")
    assert leaf.state == "PAUSED"
    run.apply(e.ResumeRequested())
    assert (run.state, mid.state, leaf.state) == ("SUCCESS", "SUCCESS", "SUCCESS")


def test_cancel_travels_down():
    run = play(NESTED)
    mid = run.children_of("a")[0]
    run.apply(e.StopRequested(state=State.CANCELLED, message="enough"))
    assert (run.state, mid.state, mid.children_of("b")[0].state) == ("CANCELLED",) * 3
    assert run.output == {"result": "enough"}


def test_a_cancelled_child_cancels_its_task():
    run = play(NESTED)
    run.children_of("a")[0].apply(e.StopRequested(state=State.CANCELLED, message="enough"))
    assert (run.state, run.states()) == ("CANCELLED", {"a": "CANCELLED"})
    assert run.execution.state_info == "Cancelled tasks: a"


def test_rerunning_a_task_far_below_revives_everything_above():
    run = play(NESTED.replace(", on-error: h", ""))
    mid = run.children_of("a")[0]
    leaf = mid.children_of("b")[0]
    leaf.fail("c")
    assert (run.state, mid.state, leaf.state) == ("ERROR", "ERROR", "ERROR")
    leaf.apply(e.RerunRequested(task_id=leaf.named("c").id))
    assert (run.state, mid.state, leaf.state) == ("RUNNING", "RUNNING", "RUNNING")
    leaf.complete("c")
    assert (run.state, mid.state, leaf.state) == ("SUCCESS", "SUCCESS", "SUCCESS")


def test_undeclared_names_become_params_of_the_child():
    run = play(
        """
        w:
          tasks: {a: {workflow: child k=5, input: {extra: 7}}}
        child:
          input: [{k: 1}]
          output: {k: <% $.k %>, q: <% env().q %>}
          tasks: {c: {}}
        """,
        params={"env": {"q": "qq"}},
    )
    child = run.children_of("a")[0]
    assert child.given == {"k": 5}
    assert child.execution.params["extra"] == 7
    assert child.output == {"k": 5, "q": "qq"}


def test_missing_input_of_a_child_fails_only_the_task():
    run = play(
        """
        w: {tasks: {a: {workflow: child, on-error: b}, b: {}}}
        child: {input: [k], tasks: {c: {}}}
        """
    )
    assert (run.state, run.children_of("a")) == ("SUCCESS", [])
    assert run.named("a").state_info.startswith("Invalid input [name=child")


def test_endless_nesting_ends_in_an_error():
    run = play("w: {tasks: {a: {workflow: w}}}")
    assert run.state == "ERROR"
    assert len(run.world.runs) == run.world.limits.depth + 1
