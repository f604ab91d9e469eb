"""What a text becomes: specs, places of mistakes, and nothing but InvalidDefinition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidDefinition
from app.core.language import (
    lint,
    load_workflow,
    parse_actions,
    parse_workbook,
    parse_workflows,
)
from app.core.language.shorthand import split

GUIDE = Path(__file__).parents[3] / "docs" / "language.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_guide_are_definitions_without_doubts(text):
    assert lint(text) == ()


@pytest.mark.parametrize(
    "text, parameters",
    [
        ('x output="a b" delay=1', {"output": "a b", "delay": 1}),
        ("x a=1.5", {"a": 1}),
        ("x a=-1 b=abc", {}),
        ("x a=trueish b=nullx", {"a": True, "b": None}),
        ("x a=[1,2] b=[3]", {"a": "[1,2] b=[3]"}),
        ("x a=[1,2] b=3", {"a": [1, 2], "b": 3}),
        ("x a=<% 1 %>b=<% 2 %>", {"a": "<% 1 %>", "b": "<% 2 %>"}),
        ("x a=007", {"a": "007"}),
        ("x(a='1', b=2)", {"a": "1", "b": 2}),
        ("x\ta=1", {}),
    ],
)
def test_one_line(text, parameters):
    assert split(text).parameters == parameters


def test_all_mistakes_are_told_with_their_places():
    text = (
        "version: '2.0'\nw:\n  tasks:\n    a:\n      acton: std.noop\n      on-success: nosuch\n"
        "    b: {timeout: soon}\n"
    )
    with pytest.raises(InvalidDefinition) as caught:
        parse_workflows(text)
    assert [(p.path, p.line, p.column) for p in caught.value.problems] == [
        ("w.tasks.a.acton", 5, 7),
        ("w.tasks.b.timeout", 7, 18),
        ("w.tasks.a.on-success", 6, 19),
    ]


def test_defaults_are_merged_into_tasks():
    text = (
        "version: '2.0'\nw:\n  task-defaults: {on-error: [h], wait-before: 2, timeout: 9}\n"
        "  tasks:\n    a: {wait-before: 0, timeout: 3}\n    h: {action: std.noop}\n"
    )
    spec = parse_workflows(text).workflows[0]
    assert spec.tasks["a"].policies.wait_before == 2
    assert spec.tasks["a"].policies.timeout == 3
    assert [t.target for t in spec.tasks["a"].on_error.transitions] == ["h"]
    assert spec.tasks["h"].on_error.transitions == ()
    assert load_workflow(spec.raw) == spec


def test_guards_of_single_mappings_count():
    text = "version: '2.0'\nw: {tasks: {a: {on-success: {b: '<% 1 %>'}}, b: {join: one}}}"
    transition = parse_workflows(text).workflows[0].tasks["a"].on_success.transitions[0]
    assert (transition.target, transition.guard) == ("b", "<% 1 %>")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "w", "tasks", "on-success", "join", "retry", "input", "base"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.text() | values.map(repr))
def test_nothing_but_invalid_definition_is_raised(text):
    for parse in (parse_workflows, parse_actions, parse_workbook):
        try:
            parse(text)
        except InvalidDefinition as err:
            assert err.problems  # noqa: PT017
