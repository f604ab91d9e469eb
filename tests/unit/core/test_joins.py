from app.core import events as e
from tests.unit.core.story import play


def test_a_join_waits_for_every_branch_and_sees_all_their_variables():
    run = play(
        """
        w:
          tasks:
            a: {action: my.a, publish: {x: <% task().result %>}, on-success: j}
            b: {action: my.b, publish: {y: <% task().result %>}, on-success: j}
            j: {join: all, publish: {sum: <% $.x + $.y %>}}
        """
    )
    run.complete("a", 1)
    assert run.states()["j"] == "WAITING"
    run.complete("b", 2)
    assert (run.state, run.output["sum"]) == ("SUCCESS", 3)


def test_the_order_of_arrivals_does_not_matter():
    text = """
    w:
      tasks:
        a: {action: my.a, publish: {v: a}, on-success: j}
        b: {action: my.b, publish: {v: b}, on-success: j}
        j: {join: all}
    """
    outputs = []
    for order in ("ab", "ba"):
        run = play(text)
        for name in order:
            run.complete(name)
        outputs.append(run.output)
    # A tie goes to the later publication.
    assert outputs == [{"v": "b"}, {"v": "a"}]


def test_more_publications_along_a_branch_beat_later_ones():
    run = play(
        """
        w:
          tasks:
            s: {publish: {v: 0, d: {base: 1}}, on-success: [a, b]}
            a: {publish: {v: 1, d: {ka: 1}}, on-success: a2}
            a2: {publish: {v: 2}, on-success: j}
            b: {action: my.b, publish: {v: late, d: {kb: 1}}, on-success: j}
            j: {join: all}
        """
    )
    run.complete("b")
    assert run.output["v"] == 2
    assert run.output["d"] == {"ka": 1, "kb": 1}


def test_an_untouched_variable_does_not_overwrite_a_new_one():
    run = play(
        """
        w:
          tasks:
            s: {publish: {v: old}, on-success: [a, b]}
            a: {publish: {v: new}, on-success: j}
            b: {on-success: j}
            j: {join: all}
        """
    )
    assert run.output == {"v": "new"}


def test_a_false_guard_fails_a_join_for_all():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            c: {on-success: [{j: <% false %>}]}
            j: {join: all}
        """
    )
    assert run.named("j").state_info == "Failed by tasks: ['c']"
    assert run.state == "ERROR"
    assert not [a for a in run.all_actions.values() if a.task_id == run.named("j").id]


def test_a_failed_join_may_be_handled():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            c: {on-success: [{j: <% false %>}]}
            j: {join: all, on-error: k}
            k: {}
        """
    )
    assert (run.state, run.states()["k"]) == ("SUCCESS", "SUCCESS")


def test_a_join_fails_when_a_route_has_become_impossible():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: my.b, on-success: c, on-error: noop}
            c: {on-success: j}
            x: {action: my.x}
            j: {join: all, on-error: k}
            k: {}
        """
    )
    assert run.states()["j"] == "WAITING"
    run.fail("b")
    assert run.named("j").state_info == "Failed by tasks: ['c']"
    assert run.state == "RUNNING", "it is known before everything else has ended"
    run.complete("x")
    assert run.state == "SUCCESS"


def test_a_route_that_dies_far_away_is_noticed_when_all_is_quiet():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: my.b, on-success: c, on-error: noop}
            c: {on-success: d}
            d: {on-success: d2}
            d2: {on-success: j}
            j: {join: all}
        """
    )
    run.fail("b")
    assert (run.state, run.named("j").state_info) == ("ERROR", "Failed by tasks: ['d2']")


def test_a_join_nobody_leads_to_never_runs_and_is_no_error():
    run = play(
        """
        w:
          tasks:
            a: {action: std.fail, on-success: j, on-error: noop}
            b: {action: std.fail, on-success: j, on-error: noop}
            j: {join: all}
        """
    )
    assert (run.state, run.states()) == ("SUCCESS", {"a": "ERROR", "b": "ERROR"})


def test_a_numeric_join_counts_what_arrives_by_whatever_clause():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: std.fail, on-error: j}
            c: {on-success: [{j: <% false %>}]}
            j: {join: 2}
        """
    )
    assert run.state == "SUCCESS"
    assert [t["event"] for t in run.named("j").triggered_by] == ["on-success", "on-error"]


def test_a_late_arrival_does_not_run_a_satisfied_join_again():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: my.b, on-success: j}
            j: {join: one, on-success: z}
            z: {}
        """
    )
    assert run.count("z") == 1
    run.complete("b")
    assert (run.state, run.count("z"), len(run.actions(run.named("j").id))) == ("SUCCESS", 1, 1)


def test_a_loop_through_a_join_runs_it_again_in_its_one_row():
    run = play(
        """
        w:
          tasks:
            s: {on-success: a}
            a: {publish: {n: '<% $.get(n, 0) + 1 %>'}, on-success: j}
            j: {join: all, on-success: [{a: <% $.n < 3 %>}]}
        """
    )
    assert (run.count("a"), run.count("j"), run.output) == (3, 1, {"n": 3})
    assert len(run.actions(run.named("j").id)) == 3


def test_the_same_source_through_two_clauses_arrives_once():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j, on-complete: j}
            j: {join: 1}
        """
    )
    assert len(run.actions(run.named("j").id)) == 1


def test_joins_that_wait_for_each_other_are_resolved():
    run = play(
        """
        w:
          tasks:
            s: {on-success: [j1, j2]}
            j1: {join: all, on-success: j2}
            j2: {join: all, on-success: j1}
        """
    )
    assert run.state == "ERROR"
    assert run.states() == {"s": "SUCCESS", "j1": "ERROR", "j2": "ERROR"}


def test_rerunning_a_failed_source_lets_its_failed_join_run():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: my.b, on-success: j}
            j: {join: all}
        """
    )
    run.fail("b")
    assert run.states()["j"] == "ERROR"
    run.apply(e.RerunRequested(task_id=run.named("b").id))
    run.complete("b")
    assert (run.states()["j"], run.state) == ("SUCCESS", "SUCCESS")


def test_skipping_a_failed_source_lets_its_failed_join_run_with_what_it_publishes():
    run = play(
        """
        w:
          tasks:
            a: {on-success: j}
            b: {action: std.fail, publish-on-skip: {q: 1}, on-success: j}
            j: {join: all}
        """
    )
    run.apply(e.SkipRequested(task_id=run.named("b").id))
    assert (run.state, run.output) == ("SUCCESS", {"q": 1})


def test_a_join_of_thousands_is_decided_by_counting():
    branches = "\n".join(f"    t{i}: {{action: my.t, on-success: j}}" for i in range(2000))
    run = play(f"w:\n  tasks:\n{branches}\n    j: {{join: all}}\n")
    loads = []
    ask = run.tasks_named
    run.tasks_named = lambda names: loads.append(len(list(names))) or ask(names)
    for i in range(2000):
        run.complete(f"t{i}")
    assert run.state == "SUCCESS"
    # The inbound tasks are looked at when the join is created and when it starts.
    assert sum(size > 1000 for size in loads) <= 4


def test_what_comes_too_late_for_a_join_that_failed_is_part_of_the_output():
    run = play(
        """
        w:
          tasks:
            early: {action: my.a, publish: {x: 1}, on-success: j}
            dead: {action: my.b, on-success: j, on-error: noop}
            late: {action: my.c, publish: {y: 2}, on-success: j}
            j: {join: all, action: std.noop, on-error: noop}
        """
    )
    run.complete("early")
    run.fail("dead")
    assert run.named("j").state_info == "Failed by tasks: ['dead']"
    run.complete("late")
    assert (run.state, run.output) == ("SUCCESS", {"x": 1, "y": 2})
