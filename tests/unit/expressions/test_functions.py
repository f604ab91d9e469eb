"""The functions of both languages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.core.expressions import (
    EvaluationError,
    Functions,
    JinjaEvaluationError,
    YaqlEvaluationError,
    evaluate,
)

DATA: dict[str, Any] = {"d": {"b": [1, 2], "a": "x"}, "text": "[1, null]", "nums": [2, 1]}


class Engine:
    """What an engine would answer, from dictionaries."""

    def __init__(self) -> None:
        self.tasks_by_name = {
            "one": {"id": "1", "name": "one", "state": "SUCCESS", "result": [1, 2]},
            None: {"id": "2", "name": "two", "state": "RUNNING", "result": None},
        }

    def functions(self, **more: Any) -> Functions:
        return Functions(
            env={"k": "v", "nested": {"a": 1}},
            execution=lambda: {"id": "e1", "name": "w", "created_at": "2026-01-01 00:00:00"},
            executions=self.executions,
            task=self.tasks_by_name.get,
            tasks=self.tasks,
            workflow_context={"g": [1]}.get,
            new_uuid=lambda: "0a0a0a0a-0000-4000-8000-000000000000",
            **more,
        )

    @staticmethod
    def executions(**asked: Any) -> list[Mapping[str, Any]]:
        return [{"id": "e1", "asked": asked}]

    @staticmethod
    def tasks(**asked: Any) -> list[Mapping[str, Any]]:
        return [{"name": "t", "asked": asked}]


FUNCTIONS = Engine().functions()


def both(yaql: str, jinja: str, functions: Functions = FUNCTIONS) -> Any:
    """Return what both languages give, which must be the same."""
    one = evaluate(f"<% {yaql} %>", DATA, functions)
    other = evaluate("{{ " + jinja + " }}", DATA, functions)
    assert one == other
    return one


def test_env() -> None:
    assert both("env()", "env()") == {"k": "v", "nested": {"a": 1}}
    assert both("env().nested.a", "env().nested.a") == 1
    assert both("env()", "env()", Functions()) == {}
    with pytest.raises(YaqlEvaluationError, match="error='zz'"):
        evaluate("<% env().zz %>", {}, FUNCTIONS)
    with pytest.raises(JinjaEvaluationError, match="has no attribute 'zz'"):
        evaluate("{{ env().zz }}", {}, FUNCTIONS)


def test_execution() -> None:
    assert both("execution().id", "execution().id") == "e1"
    assert both("execution().keys()", "execution() | list | sort") == ["created_at", "id", "name"]


def test_executions_are_mappings() -> None:
    assert both("executions().len()", "executions() | length") == 1
    assert both("executions().id", "executions() | map(attribute='id') | list") == ["e1"]


def test_executions_are_asked_for_by_name_or_place() -> None:
    everything = dict.fromkeys(("id", "root_execution_id", "state", "from_time", "to_time"))
    assert both("executions()[0].asked", "executions()[0].asked") == everything
    assert both(
        "executions(a, state => RUNNING).first().asked", "executions('a', state='RUNNING')[0].asked"
    ) == {**everything, "id": "a", "state": "RUNNING"}
    # As Mistral has it, and as YAQL's own functions have it.
    for name in ("root_execution_id", "rootExecutionId"):
        assert evaluate(f"<% executions({name} => r).first().asked %>", {}, FUNCTIONS) == {
            **everything,
            "root_execution_id": "r",
        }


def test_task() -> None:
    assert both("task().name", "task().name") == "two"
    assert both("task(one).result", "task('one').result") == [1, 2]
    assert both("task(none_such)", "task('none_such')") is None
    with pytest.raises(YaqlEvaluationError, match='Unknown function "#property#result"'):
        evaluate("<% task(none_such).result %>", {}, FUNCTIONS)


def test_tasks() -> None:
    default = {"workflow_execution_id": None, "recursive": False, "state": None, "flat": False}
    assert both("tasks()[0].asked", "tasks()[0].asked") == default
    assert both("tasks(e, true, ERROR)[0].asked", "tasks('e', True, 'ERROR')[0].asked") == {
        "workflow_execution_id": "e",
        "recursive": True,
        "state": "ERROR",
        "flat": False,
    }
    assert both("tasks(flat => true)[0].asked.flat", "tasks(flat=true)[0].asked.flat") is True
    assert evaluate("<% tasks().select($.name) %>", {}, FUNCTIONS) == ["t"]


def test_global() -> None:
    assert both("global(g)", "global('g')") == [1]
    assert both("global(none_such)", "global('none_such')") is None
    assert evaluate("<% global(var_name => g) %>", {}, FUNCTIONS) == [1]
    with pytest.raises(YaqlEvaluationError, match="needs the name of a variable"):
        evaluate("<% global() %>", {}, FUNCTIONS)


def test_uuid() -> None:
    assert both("uuid()", "uuid()") == "0a0a0a0a-0000-4000-8000-000000000000"
    functions = Functions(new_uuid=lambda: str(uuid.uuid4()))
    a, b = evaluate("<% [uuid(), uuid()] %>", {}, functions)
    assert a != b
    assert len(a) == 36


def test_json_dump_indents_by_four() -> None:
    expected = '{\n    "b": [\n        1,\n        2\n    ],\n    "a": "x"\n}'
    assert both("json_dump($.d)", "json_dump(_.d)") == expected
    assert evaluate("{{ _.d | json_dump }}", DATA) == expected
    assert both("json_dump('żó')", "json_dump('żó')") == '"\\u017c\\u00f3"'
    assert evaluate("<% json_dump($.nums.toSet()) %>", DATA) == "[\n    1,\n    2\n]"
    assert evaluate("<% json_dump($.nums.select($ + 1)) %>", DATA) == "[\n    3,\n    2\n]"


def test_json_parse() -> None:
    assert both("json_parse($.text)", "json_parse(_.text)") == [1, None]
    assert evaluate("<% json_parse('{\"a\": [1]}').a[0] %>", {}) == 1
    assert evaluate("{{ '[1]' | json_parse | first }}", {}) == 1
    with pytest.raises(YaqlEvaluationError, match="Expecting property name"):
        evaluate("<% json_parse('{') %>", {})


def test_yaml_dump_is_in_blocks_and_sorted() -> None:
    assert both("yaml_dump($.d)", "yaml_dump(_.d)") == "a: x\nb:\n- 1\n- 2\n"
    assert both("yaml_dump({a => 'żó'})", "yaml_dump({'a': 'żó'})") == 'a: "\\u017C\\xF3"\n'
    # A value that comes twice is written twice: yaml_parse() knows no aliases.
    assert both("yaml_dump([$.nums, $.nums])", "yaml_dump([_.nums, _.nums])") == (
        "- - 2\n  - 1\n- - 2\n  - 1\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("x: [1, two]", {"x": [1, "two"]}),
        ("&a x", "&a x"),
        ("a: *x", {"a": "*x"}),
        ("a: @x", {"a": "@x"}),
        ("a: &b [1]", {"a": "&b [1]"}),
        ("[&a 1, *a]", ["&a 1", "*a"]),
        ("a: 1\na: 2", {"a": 2}),
        ("yes", True),
        ("", None),
        ("2015-01-01", "2015-01-01"),
        ("a: 2015-01-01 10:00:00", {"a": "2015-01-01T10:00:00.000000"}),
    ],
)
def test_yaml_parse_knows_no_anchors(text: str, expected: Any) -> None:
    data = {"text": text}
    assert evaluate("<% yaml_parse($.text) %>", data) == expected
    assert evaluate("{{ yaml_parse(_.text) }}", data) == expected


def test_yaml_parse_makes_no_objects() -> None:
    with pytest.raises(YaqlEvaluationError, match="could not determine a constructor"):
        evaluate("<% yaml_parse('!!python/object/apply:os.system [ls]') %>", {})


@pytest.mark.parametrize(
    "name", ["execution", "executions", "task", "tasks", "uuid", "global", "now", "random"]
)
def test_what_an_evaluation_cannot_look_at_is_no_function(name: str) -> None:
    call = f"{name}(x)" if name == "global" else f"{name}()"
    missing = "uuid" if name == "random" else name
    with pytest.raises(YaqlEvaluationError) as caught:
        evaluate(f"<% {call} %>", {})
    assert caught.value.reason == f'Unknown function "{missing}"'
    with pytest.raises(JinjaEvaluationError) as other:
        evaluate("{{ " + f"{name}('x')" + " }}", {})
    assert other.value.reason == f"'{name}' is undefined"


def test_a_user_error_of_the_engine_is_one_of_the_expression() -> None:
    def refuse(name: str | None) -> None:
        raise EvaluationError(f"no task may be called {name}")

    for text in ("<% task(a) %>", "{{ task('a') }}"):
        with pytest.raises(EvaluationError, match=r"error=no task may be called a\]"):
            evaluate(text, {}, Functions(task=refuse))


@pytest.mark.parametrize(
    "text",
    [
        "<% task(a) %>",
        "{{ task('a') }}",
        "x {{ task('a') }}",
        "x <% task(a) %>",
        # YAQL swallows errors of an aggregator and tries another one.
        "<% [1, 2].groupBy($, aggregator => task(a)) %>",
    ],
)
def test_a_failure_of_the_engine_is_not_the_users(text: str) -> None:
    class DatabaseLost(Exception):
        pass

    def fail(name: str | None) -> None:
        raise DatabaseLost("gone")

    with pytest.raises(DatabaseLost):
        evaluate(text, {}, Functions(task=fail))


def test_plugins_get_and_return_plain_data() -> None:
    seen: list[Any] = []

    def shout(what: Any, times: int = 1) -> Any:
        seen.append(what)
        return {"shouted": [what] * times}

    functions = Functions(extra={"shout": shout})
    expected = {"shouted": [{"b": [1, 2], "a": "x"}] * 2}
    assert both("shout($.d, times => 2)", "shout(_.d, times=2)", functions) == expected
    assert both("shout([1]).shouted[0]", "shout([1]).shouted[0]", functions) == [1]
    assert all(type(what) in (dict, list) for what in seen)


def test_a_plugin_does_not_hide_a_function() -> None:
    functions = Functions(extra={"len": lambda what: -1, "env": lambda: "mine"})
    assert evaluate("<% len([1]) %>", {}, functions) == 1
    assert both("env()", "env()", functions) == {}


def test_a_failing_plugin_fails_the_expression() -> None:
    def broken() -> None:
        raise RuntimeError("out of paper")

    for text in ("<% broken() %>", "{{ broken() }}"):
        with pytest.raises(EvaluationError, match=r"error=out of paper\]"):
            evaluate(text, {}, Functions(extra={"broken": broken}))


def test_dates_of_the_engine_become_texts() -> None:
    row = {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "on": date(2026, 1, 2)}
    functions = Functions(task=lambda name: row)
    expected = {"at": "2026-01-02T03:04:05.000000", "on": "2026-01-02"}
    assert both("task(a)", "task('a')", functions) == expected
    assert both("task(a).at.year", "task('a').at.year", functions) == 2026


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a time with a zone"):
        Functions(now=datetime(2026, 1, 1))  # noqa: DTZ001
