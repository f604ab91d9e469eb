"""What YAQL expressions give. Results were taken from Mistral 23."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.expressions import (
    Functions,
    View,
    YaqlEvaluationError,
    evaluate,
)

DATA: dict[str, Any] = {
    "x": 1,
    "s": "str",
    "l": [1, 2, {"a": 3}],
    "d": {"k": "v", "n": {"m": 1}},
    "n": None,
    "b": True,
    "f": 1.5,
    "e": [],
    "nums": [3, 1, 2],
    "words": ["pear", "fig", "apple"],
    "people": [{"name": "ann", "age": 31}, {"name": "bob", "age": 28}],
    "__env": {"k": 1},
}


def value(text: str, **functions: Any) -> Any:
    return evaluate(f"<% {text} %>", View(DATA), Functions(**functions))


def reason(text: str, **functions: Any) -> str:
    with pytest.raises(YaqlEvaluationError) as caught:
        value(text, **functions)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$.x", 1),
        ("$.x + 1", 2),
        ("$.get(missing, 5)", 5),
        ("$.get(missing)", None),
        ("$.get('__env')", {"k": 1}),
        ("$.d.n.m", 1),
        ("$.d[k]", "v"),
        ("$.d.get(zz, 7)", 7),
        ("$.n", None),
        ("$.l[2].a", 3),
        ("$.l[-1].a", 3),
        ("$.nums.len()", 3),
        ("$.len()", 12),
        ("$.keys().len()", 12),
        ("$.people.name", ["ann", "bob"]),
        ("$.people.where($.age > 30).name", ["ann"]),
        ("$.n?.foo", None),
        ("$.d?.k", "v"),
        # Constants and operators.
        ("x", "x"),
        ("true and false", False),
        ("null", None),
        ("5 / 2", 2),
        ("5.0 / 2", 2.5),
        ("7 mod 3", 1),
        ("-3 + 1", -2),
        ("2 >= 2 and not 1 > 2", True),
        ("1 = '1'", False),
        ("$.x = 1 and $.s = str", True),
        ("$.x != 1 or $.b", True),
        ("null < 1", True),
        ("'a' < 'b'", True),
        ("'ab' + 'cd'", "abcd"),
        ("'ab' * 2", "abab"),
        ("2 in $.nums", True),
        ("st in $.s", True),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("{a => 1} + {b => 2}", {"a": 1, "b": 2}),
        ("{a => $.x, b => [$.s]}", {"a": 1, "b": ["str"]}),
        ("{}", {}),
        ("[]", []),
        ("{null => 1, 2 => 3}", {"null": 1, "2": 3}),
        ("let(a => 1) -> $a + 1", 2),
        ("let(1, 2) -> $1 + $2", 3),
        ("def(twice, $ * 2) -> twice(4)", 8),
        ("switch($.x = 1 => a, true => b)", "a"),
        ("coalesce(null, $.n, d)", "d"),
        ("selectCase($.x = 2, $.x = 1).switchCase(a, b, c)", "b"),
        # Texts.
        ("$.s.toUpper()", "STR"),
        ("'Hello World'.split(' ')", ["Hello", "World"]),
        ("['a', 'b'].join('-')", "a-b"),
        ("'-'.join([1, null, true])", "1-null-true"),
        ("'Hello'.replace('l', '1')", "He11o"),
        ("'Hello'.replace({l => L, o => 0})", "HeLL0"),
        ("'Hello'.replace('l', 'L', count => 1)", "HeLlo"),
        ("'Hello'.substring(0, 3)", "Hel"),
        ("'Hello'.startsWith('Hel')", True),
        ("'  t '.trim()", "t"),
        ("int('12') + 1", 13),
        ("str(5) + 'x'", "5x"),
        ("str($.d)", "{'k': 'v', 'n': {'m': 1}}"),
        ("str($.nums)", "(3, 1, 2)"),
        ("str(null) + str(true)", "nulltrue"),
        ("regex('W').matches('Hello World')", True),
        ("'Hello World' =~ 'W.r'", True),
        ("'Hello World' !~ 'W.r'", False),
        ("'abc'.matches('^b')", False),
        ("regex('[a-z]+').searchAll('ab cd')", ["ab", "cd"]),
        ("regex('(a)(b)').search('xab', $2.value + $3.value)", "ab"),
        ("regex('(?P<who>b)').search('abc', $who.start)", 1),
        ("regex('b+').replace('abba', 'X')", "aXa"),
        ("regex('(b)(a)').replace('aba', '\\\\2\\\\1')", "aab"),
        ("regex('b').replaceBy('abba', $.value.toUpper())", "aBBa"),
        ("regex(' +').split('a  b c')", ["a", "b", "c"]),
        ("escapeRegex('a.b')", "a\\.b"),
        ("isRegex(regex('a'))", True),
        # Lists.
        ("$.nums.where($ > 1)", [3, 2]),
        ("$.nums.select($ * 2)", [6, 2, 4]),
        ("$.nums.sum()", 6),
        ("$.nums.first()", 3),
        ("$.e.first(none)", "none"),
        ("$.nums.reverse()", [2, 1, 3]),
        ("$.nums.orderBy($)", [1, 2, 3]),
        ("$.nums.orderByDescending($)", [3, 2, 1]),
        ("$.people.orderBy($.age).name", ["bob", "ann"]),
        ("$.nums.skip(1).limit(1)", [1]),
        ("[1, 1, 2].distinct()", [1, 2]),
        ("$.nums.aggregate($1 + $2)", 6),
        ("$.nums.any($ = 3)", True),
        ("$.nums.all($ < 3)", False),
        ("[1, 2].zip([9, 8])", [[1, 9], [2, 8]]),
        ("[[1], [2, [3]]].flatten()", [1, 2, 3]),
        ("range(3)", [0, 1, 2]),
        ("range(2, 5)", [2, 3, 4]),
        ("[1, 2].enumerate()", [[0, 1], [1, 2]]),
        ("$.words.groupBy($.len())", [[4, ["pear"]], [3, ["fig"]], [5, ["apple"]]]),
        ("$.people.toDict($.name, $.age)", {"ann": 31, "bob": 28}),
        ("[1, 2, 3, 4].slice(2)", [[1, 2], [3, 4]]),
        ("generateMany(1, [$ * 2, $ * 3]).limit(4)", [1, 2, 3, 4]),
        ("generate(1, $ < 10, $ * 3)", [1, 3, 9]),
        # Mappings.
        ("$.d.keys()", ["k", "n"]),
        ("$.d.values()", ["v", {"m": 1}]),
        ("$.d.items()", [["k", "v"], ["n", {"m": 1}]]),
        ("$.d.set(z => 1)", {"k": "v", "n": {"m": 1}, "z": 1}),
        ("$.d.set(k, 2).k", 2),
        ("$.d.delete(n)", {"k": "v"}),
        ("$.d.mergeWith({n => {z => 2}})", {"k": "v", "n": {"m": 1, "z": 2}}),
        ("$.d.containsKey(k)", True),
        ("dict(a => 1, b => 2)", {"a": 1, "b": 2}),
        ("dict([[a, 1], [b, 2]])", {"a": 1, "b": 2}),
        # What is not JSON by itself.
        ("[2, 1].toSet()", [1, 2]),
        ("set(a, 1)", ["a", 1]),
        ("set(1, 2) + set(3)", [1, 2, 3]),
        ("datetime(2015, 1, 1)", "2015-01-01T00:00:00.000000"),
        ("[datetime('2015-01-01T10:20:30')]", ["2015-01-01T10:20:30.000000"]),
        ("datetime(2015, 1, 1).year", 2015),
        ("(datetime(2015, 1, 2) - datetime(2015, 1, 1)).hours", 24.0),
        ("datetime(2015, 1, 1).format('%d.%m.')", "01.01."),
        ("localtz().hours", 0.0),
        ("characters(octdigits => true).join('')", "01234567"),
        # Numbers.
        ("round(2.567, 1)", 2.6),
        ("max(3, 9)", 9),
        ("pow(2, 10)", 1024),
        ("pow(2, 10, 1000)", 24),
        ("shiftBitsLeft(1, 4)", 16),
        ("isList($.l) and isDict($.d) and isString($.s)", True),
    ],
)
def test_an_expression_gives_what_mistral_gives(text: str, expected: Any) -> None:
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$.missing", "'missing'"),
        ("$.d.missing", "'missing'"),
        ("$.d[missing]", "'missing'"),
        ("$.n.foo", 'Unknown function "#property#foo"'),
        ("$.x.foo", 'Unknown function "#property#foo"'),
        ("$.s.len", 'Unknown function "#property#len"'),
        ("$.l.where($ > 1)", 'No function "#operator_>" matches supplied arguments'),
        ("$.s + $.x", 'No function "#operator_+" matches supplied arguments'),
        ("$.l[5]", "tuple index out of range"),
        ("nosuchfn()", 'Unknown function "nosuchfn"'),
        ("json_pp(1)", 'Unknown function "json_pp"'),
        ("1 / 0", "integer division or modulo by zero"),
        ("int(abc)", "invalid literal for int() with base 10: 'abc'"),
        ("$.s.foo()", 'Unknown method "foo" for receiver str'),
        ("$.n.foo()", 'Unknown method "foo" for receiver None'),
        ("$.x == 1", "Parse error: unexpected '=' at position 5 of expression '$.x == 1'"),
        ("", "Parse error: unexpected end of statement"),
        ("$.e.first()", "The collection is empty"),
        ("timespan(hours => 1)", "The result holds a timespan, which is not JSON"),
        ("regex(a)", "The result holds a regular expression, which is not JSON"),
        ("float(inf)", "The result holds the number inf, which is not JSON"),
        ("{[1] => 2}", "The result has a list as a key, which JSON does not allow"),
        ("$.__env", "Lexical error: illegal character '_' at position 2"),
    ],
)
def test_a_failing_expression_says_why(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_the_message_of_a_failure_quotes_the_expression() -> None:
    with pytest.raises(YaqlEvaluationError) as caught:
        evaluate("a <%  $.missing  %> b", DATA)
    assert caught.value.message == (
        "Can not evaluate YAQL expression [expression=$.missing, error='missing']"
    )
    assert caught.value.mistral_name == "YaqlEvaluationException"


def test_an_error_never_shows_the_data() -> None:
    secret = {"password": "hunter2", "list": ["hunter2"]}
    for text in ("$.foo()", "$.list.foo()", "$.len(1)", "$.list.skip(a)", "{}[$]", "{}[$.list]"):
        with pytest.raises(YaqlEvaluationError) as caught:
            evaluate(f"<% {text} %>", secret)
        assert "hunter2" not in caught.value.message


def test_the_context_may_be_anything() -> None:
    assert evaluate("<% $ %>", [1, 2]) == [1, 2]
    assert evaluate("<% $.len() %>", "abc") == 3
    assert evaluate("<% $ %>", None) is None
    assert evaluate("<% $.len() %>", {}) == 0


def test_the_whole_context_is_a_mapping() -> None:
    view = View({"a": 1}, {"a": 2, "b": {"c": [3]}})
    assert evaluate("<% $ %>", view) == {"a": 1, "b": {"c": [3]}}
    assert evaluate("<% $.b.c + $.values().where($ = 1) %>", view) == [3, 1]
    assert evaluate("<% $ = {a => 1, b => {c => [3]}} %>", view) is True


def test_data_can_be_compared_and_collected() -> None:
    assert value("$.d = {k => v, n => {m => 1}}") is True
    assert value("{k => v, n => {m => 1}} = $.d") is True
    assert value("$.nums = [3, 1, 2] and [3, 1, 2] = $.nums") is True
    assert value("[$.d, $.d, {k => v, n => {m => 1}}].distinct().len()") == 1
    assert value("{$.nums => 1}.get([3, 1, 2])") == 1


def test_now_is_the_time_of_the_evaluation() -> None:
    now = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    assert value("now()", now=now) == "2026-02-03T04:05:06.000789"
    assert value("now().hour", now=now) == 4
    assert value("now(timespan(hours => 2)).hour", now=now) == 6
    assert value("datetime('10:00')", now=now) == "2026-02-03T10:00:00.000000"
    assert reason("now()") == 'Unknown function "now"'


def test_chance_comes_from_the_identifiers() -> None:
    first = iter(["a", "b", "a", "b"])
    draws = [value("[random(1, 6), random()]", new_uuid=lambda: next(first)) for _ in range(2)]
    assert draws[0] == draws[1]
    assert 1 <= draws[0][0] <= 6
    assert 0 <= draws[0][1] < 1
    assert reason("random()") == 'Unknown function "uuid"'
