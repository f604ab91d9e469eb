"""What Jinja expressions give. Results were taken from Mistral 23."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from app.core.expressions import Functions, JinjaEvaluationError, View, evaluate

DATA: dict[str, Any] = {
    "x": 1,
    "s": "str",
    "l": [1, 2, {"a": 3}],
    "d": {"k": "v", "n": {"m": 1}},
    "n": None,
    "b": True,
    "f": 1.5,
    "nums": [3, 1, 2],
    "layers": "a variable",
    "pop": {"pop": 1, "items": 2},
    "__env": {"k": 1},
    "__execution": {"id": "e"},
}


def value(text: str, **functions: Any) -> Any:
    return evaluate(text, View(DATA), Functions(**functions))


def reason(text: str, **functions: Any) -> str:
    with pytest.raises(JinjaEvaluationError) as caught:
        value(text, **functions)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ _.x }}", 1),
        ("{{ _['x'] }}", 1),
        ("{{ _.x + 1 }}", 2),
        ("{{ _.d.n.m }}", 1),
        ("{{ _.d }}", {"k": "v", "n": {"m": 1}}),
        ("{{ _.n }}", None),
        ("{{ _.l[0] }}", 1),
        ("{{ _.get('zz') }}", None),
        ("{{ _.missing | default(3) }}", 3),
        ("{{ _.missing is defined }}", False),
        ("{{ 'x' in _ }}", True),
        ("{{ __env }}", {"k": 1}),
        ("{{ __env.k }}", 1),
        ("{{ __execution.id }}", "e"),
        ("{{ __task_execution }}", None),
        ("{{ none }}", None),
        ("{{ true }}", True),
        ("{{ 5 / 2 }}", 2.5),
        ("{{ 5 // 2 }}", 2),
        ("{{ 2 ** 10 }}", 1024),
        ("{{ 'a' ~ 1 ~ none }}", "a1None"),
        ("{{ 'a' * 3 }}", "aaa"),
        ("{{ _.l * 2 }}", [1, 2, {"a": 3}, 1, 2, {"a": 3}]),
        ("{{ _.x == 1 }}", True),
        ("{{ [1, _.x] }}", [1, 1]),
        ("{{ (_.x, 2) }}", [1, 2]),
        ("{{ {'a': {'b': _.x} } }}", {"a": {"b": 1}}),
        ("{{ {1: 2} }}", {"1": 2}),
        ("{{ 'a' if _.s == 'str' else 'b' }}", "a"),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ range(3) | list }}", [0, 1, 2]),
        ("{{ _.d.items() }}", [["k", "v"], ["n", {"m": 1}]]),
        ("{{ _.d.keys() }}", ["k", "n"]),
        ("{{ _.s | upper }}", "STR"),
        ("{{ _.s.upper() }}", "STR"),
        ("{{ _.nums | join(',') }}", "3,1,2"),
        ("{{ ','.join(['a', 'b']) }}", "a,b"),
        ("{{ _.nums | select('gt', 1) }}", [3, 2]),
        ("{{ _.nums | map('string') | list }}", ["3", "1", "2"]),
        ("{{ [{'a': 1}, {'a': 2}] | map(attribute='a') | list }}", [1, 2]),
        ("{{ [{'a': 1}, {'a': 2}] | sum('a') }}", 3),
        ("{{ [[1], [2, 3]] | sum(start=[]) }}", [1, 2, 3]),
        ("{{ _.nums | sort }}", [1, 2, 3]),
        ("{{ _.nums | batch(2) }}", [[3, 1], [2]]),
        ("{{ _ | length }}", 12),
        ("{{ dict(a=1) }}", {"a": 1}),
        ("{{ '<b>' | escape }}", "&lt;b&gt;"),
        ("{{ _.d | tojson }}", '{"k": "v", "n": {"m": 1}}'),
        ("{{ '%s-%d' % ('a', 1) }}", "a-1"),
        ("{{ '{}-{:03}'.format('a', 1) }}", "a-001"),
        ("{{ 'x' | center(3) }}", " x "),
        ("{{ 'a\\tb' | replace('\\t', ' ') }}", "a b"),
        ("{{ 2.567 | round(1) }}", 2.6),
        # A variable is not hidden by what a view or a dictionary has inside.
        ("{{ _.layers }}", "a variable"),
        ("{{ _.pop.pop }}", 1),
        ("{{ _.pop['items'] }}", 2),
        # More than one expression, or anything around it, is a text.
        ("{{ 1 }}{{ 2 }}", "12"),
        (" {{ _.x }}", " 1"),
        ("v={{ _.n }}", "v=None"),
        ("v={{ _.l }}", "v=[1, 2, {'a': 3}]"),
        ("v={{ range(3) }}", "v=range(0, 3)"),
        ("v={{ _.d.keys() }}", "v=dict_keys(['k', 'n'])"),
        ("{{ 1 }}\n", "1"),
        ("{{ 1 }}\n\nx", "1\n\nx"),
        ("{{ {'a': {'b': 1}} }}", "{'a': {'b': 1}}"),
        ("{{ '}}' }}", "}}"),
        ("a {{- 1 -}} b", "a1b"),
        ("{# c #}", "{# c #}"),
        ("{# c #}{{ 1 }}", "1"),
        # Blocks.
        ("{% for i in _.nums %}{{ i }},{% endfor %}", "3,1,2,"),
        ("{% for i in _.nums %}{{ loop.index }}{% endfor %}{{ 0 }}", "1230"),
        ("{% for k, v in _.d | dictsort %}{{ k }}{% endfor %}", "kn"),
        ("{% if _.b %}yes{% else %}no{% endif %}", "yes"),
        ("{% set a = 1 %}{{ a }}", "1"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) ~ f(2) }}", "<1><2>"),
        (("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}"
         "{% endfor %}{{ ns.n }}"), "3"),
        ("{% filter upper %}a{{ _.s }}{% endfilter %}", "ASTR"),
        # Marks that are not part of the expression (refused by Mistral).
        ("{{- _.x -}}", 1),
    ],
)  # fmt: skip
def test_an_expression_gives_what_mistral_gives(text: str, expected: Any) -> None:
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ _.missing }}", "'dict object' has no attribute 'missing'"),
        ("{{ _['missing'] }}", "'dict object' has no attribute 'missing'"),
        ("v:{{ _.missing }}", "'dict object' has no attribute 'missing'"),
        ("{{ [_.missing] }}", "'dict object' has no attribute 'missing'"),
        ("{{ _.d.foo.bar }}", "'dict object' has no attribute 'foo'"),
        ("{{ _.x.foo }}", "'int object' has no attribute 'foo'"),
        ("{{ _.l[7] }}", "list object has no element 7"),
        ("{{ x }}", "'x' is undefined"),
        ("{{ now() }}", "'now' is undefined"),
        ("{{ 1 | nosuch }}", "No filter named 'nosuch'."),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 1 if false }}", "The result is undefined"),
        ("{{ namespace(a=1) }}", "The result holds a value of type Namespace, which is not JSON"),
        ("{% include 'x' %}", "no loader for this environment specified"),
        ("{% import 'x' as y %}{{ 1 }}", "no loader for this environment specified"),
        ("{% extends 'x' %}{{ 1 }}", "no loader for this environment specified"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{{ 1 }} {{", "unexpected 'end of template'"),
        ("{{ range(1000000) }}",
         "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)."),
    ],
)  # fmt: skip
def test_a_failing_expression_says_why(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_the_message_of_a_failure_quotes_the_whole_text() -> None:
    with pytest.raises(JinjaEvaluationError) as caught:
        value("a {{ _.missing }} b")
    assert caught.value.message == (
        "Can not evaluate Jinja expression [expression=a {{ _.missing }} b,"
        " error='dict object' has no attribute 'missing']"
    )
    assert caught.value.mistral_name == "JinjaEvaluationException"


def test_the_context_may_be_anything() -> None:
    assert evaluate("{{ _ }}", [1, 2]) == [1, 2]
    assert evaluate("{{ _ | length }}", "abc") == 3
    assert evaluate("{{ _ }}", None) is None
    assert evaluate("{{ _.a }}", MappingProxyType({"a": 1})) == 1
    assert evaluate("{{ _.get('a', 2) }}", MappingProxyType({})) == 2


def test_the_whole_context_is_a_mapping() -> None:
    view = View({"a": 1}, {"a": 2, "b": 3})
    assert evaluate("{{ _ }}", view) == {"a": 1, "b": 3}
    assert evaluate("v={{ _ }}", view) == "v={'a': 1, 'b': 3}"
    assert evaluate("{{ _ | tojson }}", view) == '{"a": 1, "b": 3}'
    assert evaluate("{% for k in _ %}{{ k }}{% endfor %}", view) == "ab"


def test_nothing_is_drawn_while_a_template_is_compiled() -> None:
    ids = iter("abcdefghij")
    draws = {
        value("{{ [1, 2, 3, 4, 5, 6, 7, 8, 9] | random }}", new_uuid=lambda: next(ids))
        for _ in range(10)
    }
    assert len(draws) > 1


def test_data_stay_as_they_are() -> None:
    data: dict[str, Any] = {"l": [1], "d": {}}
    for text in (
        "{{ _.l.append(2) }}",
        "{{ _.l.clear() }}",
        "{{ _.d.update({'a': 1}) }}",
        "{{ _.d.setdefault('a', 1) }}",
        "{{ (_.l | list).append(1) }}",
    ):
        with pytest.raises(JinjaEvaluationError, match="is unsafe"):
            evaluate(text, data)
    evaluate("{{ _.l + [2] }}", data)
    evaluate("{{ [_.l] | sum(start=_.l) }}", data)
    assert data == {"l": [1], "d": {}}
