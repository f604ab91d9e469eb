"""What would never end, or grow without bound, ends in an error; and soon."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.core.expressions import (
    EvaluationError,
    Functions,
    GrammarError,
    Limits,
    check,
    configure,
    configured,
    evaluate,
    is_expression,
)

DATA: dict[str, Any] = {
    "l": [1, 2, 3],
    "text": "y" * 500_000,
    "rows": [{"a": i, "n": {"k": [1, 2, 3]}} for i in range(1_000)],
}
FUNCTIONS = Functions(new_uuid=lambda: "0a0a0a0a-0000-4000-8000-000000000000")


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """Hold expressions to a fraction of what they may usually cost; but for time.

    What is counted is the same on any machine, what is timed is not.
    """
    before = configured()
    configure(
        Limits(seconds=60, steps=100_000, size=1_000_000, memory=10_000_000, regex_seconds=0.2)
    )
    yield
    configure(before)


def refusal(text: str, *, within: float = 30) -> str:
    began = time.monotonic()
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, DATA, FUNCTIONS)
    assert time.monotonic() - began < within
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "<% range(1000000000).len() %>",
        "<% range(1000000000) %>",
        "v=<% range(1000000000) %>",
        "<% range(1000000000).toList() %>",
        "<% sequence() %>",
        "<% sequence().where(false).first() %>",
        "<% sequence().toSet() %>",
        "<% sequence().distinct(1).last() %>",
        "<% [1].cycle().len() %>",
        "<% [1].cycle().zip([1].cycle()) %>",
        "<% 1.repeat() %>",
        "<% [[].repeat()].flatten() %>",
        "<% list(sequence()) %>",
        "<% 5 in sequence().where($ < 0) %>",
        "<% generate(1, true, $) %>",
        "<% generateMany(1, sequence()) %>",
        "<% generateMany(1, [$, $]) %>",
        "<% range(100000).join(range(100000), false, 1) %>",
        "<% range(10000).toList().join(range(10000).toList(), false, 1) %>",
        "<% range(3000).selectMany(range(3000)).where(false) %>",
        "<% range(1000).select(range(1000).toList()).len() %>",
        "<% [1].cycle().memorize().len() %>",
        "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
        (
            "{% for i in [1] recursive %}{% for j in range(99999) %}{% endfor %}"
            "{{ loop([1, 2]) }}{% endfor %}"
        ),
        "{{ range(99999) | map('string') | map('upper') | list | length }}",
    ],
)
def test_what_never_ends_takes_too_many_steps(text: str) -> None:
    assert refusal(text) == "The expression takes more than 100000 steps"


@pytest.mark.parametrize(
    "text",
    [
        "<% [0] * 2000000000 %>",
        "<% 2000000000 * [0] %>",
        "<% $.l * 2000000000 %>",
        "<% 'a' * 2000000000 %>",
        "<% 2000000000 * 'a' %>",
        "<% range(60).aggregate([$1, $1], [1]) %>",
        "<% range(60).aggregate({a => $1, b => $1}, 1).len() %>",
        "<% range(60).aggregate($1 + $1, 'x') %>",
        "<% range(60).aggregate($1 + $1, [1]).len() %>",
        "<% range(60).aggregate($1.replace('x', 'xx'), 'x').len() %>",
        "<% range(60).aggregate(concat($1, $1), 'x').len() %>",
        "<% range(60).aggregate([$1, $1], $.rows).len() %>",
        "<% str(range(40).aggregate([$1, $1], 1)) %>",
        "<% range(40).aggregate([$1, $1], 1) = range(40).aggregate([$1, $1], 1) %>",
        "<% [range(40).aggregate([$1, $1], 1)].distinct().len() %>",
        "<% $.text.replace('y', $.text) %>",
        "<% $.text.replace(old => y, new => $.text) %>",
        "<% $.text.replace({y => $.text}) %>",
        "<% $.rows.select($.a).join($.text) %>",
        "<% $.text.join([1, 2, 3]) %>",
        "<% regex('y').replace($.text, 'xxxxxxxxxx') %>",
        "<% regex('y{500}').replaceBy($.text, $.value + $.value + $.value) %>",
        "<% json_dump($.text.toCharArray()) %>",
        "<% json_dump(range(100).aggregate([$1], range(10000).toList())).len() %>",
        "<% [$.text, $.text, $.text] %>",
        "<% [[$.text, $.text], [$.text, $.text]].len() %>",
        "{{ [0] * 2000000000 }}",
        "{{ 2000000000 * [0] }}",
        "{{ 'a' * 2000000000 }}",
        "{% set n=namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n=namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n=namespace(x=1) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}",
        "{% set n=namespace(x=1) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}",
        (
            "{% set n=namespace(x=1) %}{% for i in range(60) %}"
            "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}"
        ),
        (
            "{% set n=namespace(x=1) %}{% for i in range(60) %}"
            "{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}"
        ),
        (
            "{% set n=namespace(x='x') %}{% for i in range(60) %}"
            "{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}"
        ),
        "{{ 'x' | center(2000000000) }}",
        "{{ 'x' | center(width=2000000000) }}",
        "{{ 'x'.center(2000000000) }}",
        "{{ 'x'.ljust(2000000000) }}",
        "{{ 'x'.zfill(2000000000) }}",
        "{{ '\t'.expandtabs(2000000000) }}",
        "{{ '%20000000d' % 1 }}",
        "{{ '%20000000d' | format(1) }}",
        "{{ '%.20000000f' | format(1.0) }}",
        "{{ '{:20000000}'.format(1) }}",
        "{{ '{a:20000000}'.format_map({'a': 1}) }}",
        "{{ _.text | replace('y', _.text) }}",
        "{{ _.text.replace('y', _.text) }}",
        "{{ range(1000) | join(_.text) }}",
        "{{ _.text.join(range(10) | map('string')) }}",
        "{{ _.text.join(['a'] * 10) }}",
        "{{ 'x' | indent(2000000000, true) }}",
        "{{ [1] | batch(2000000000, 'x') | list }}",
        "{{ [1] | slice(2000000000) | list }}",
        "{{ [[1] * 1000] * 1000 }}",
        "{{ ([[1] * 1000] * 60) | sum(start=[]) | list + [0] * 1000000 }}",
        "{{ [_.text, _.text, _.text] }}",
        "{{ _.text }}{{ _.text }}{{ _.text }}",
    ],
)
def test_a_value_may_not_be_too_large(text: str) -> None:
    assert refusal(text) == "The expression makes a value of more than 1000000 characters"


@pytest.mark.parametrize(
    "text",
    [
        "<% range(1000).select($.text).toList().len() %>",
        "<% range(1000).select('a' * 900000).len() %>",
        "{{ range(1000) | map('center', 90000) | list | length }}",
        "{% for i in range(1000) %}{% set x = _.text | upper %}{% endfor %}",
    ],
)
def test_all_values_together_may_not_be_too_large(text: str) -> None:
    if "$.text" in text:
        text = text.replace("$.text", "concat($, a * 900000)").replace("concat($", "concat(str($)")
    assert refusal(text).startswith("The expression consumed too much memory")


def test_the_result_may_not_be_too_large() -> None:
    data = {"large": ["y" * 1_000] * 1_001}
    message = "The expression returns more than 1000000 characters"
    for text in ("<% $.large %>", "<% $ %>", "{{ _.large }}", "{{ _ }}"):
        with pytest.raises(EvaluationError) as caught:
            evaluate(text, data)
        assert caught.value.reason == message
    assert evaluate("<% $.large.len() %>", data) == 1_001


@pytest.mark.parametrize(
    "text",
    [
        "<% pow(2, 1000000000) %>",
        "<% pow(-2, 1000000000) %>",
        "<% pow(10, pow(10, 10)) %>",
        "<% shiftBitsLeft(1, 1000000000) %>",
        "<% range(60).aggregate($1 * $1, 10) %>",
        "{{ 2 ** 1000000000 }}",
        "{{ (-2) ** 1000000000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{% set n=namespace(x=2) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
def test_an_integer_may_not_be_too_large(text: str) -> None:
    assert refusal(text) == "The expression makes an integer of more than 4000 digits"


def test_a_large_integer_of_the_data_is_refused() -> None:
    with pytest.raises(EvaluationError, match="4000 digits"):
        evaluate("<% $.x %>", {"x": 10**5_000})
    assert evaluate("<% $.x + 1 %>", {"x": 10**3_000}) == 10**3_000 + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<% round(5, -1000000000) %>", "round() takes at most 4000 digits"),
        ("<% datetime('1' * 100000) %>", "a time has at most 200 characters"),
        ("<% yaml_parse('a' * 1000000 + 'bc') %>", "more than 1000000 characters"),
        ("<% 'a' =~ ('a' * 3000) %>", "at most 2000 characters"),
        ("<% random(1, pow(10, 100)) %>", "at most 128 bits"),
        ("<% int('9' * 100000) %>", "Exceeds the limit"),
        ("<% '11' =~ '(' %>", "missing )"),
        ("{{ '%*d' % (2000000000, 1) }}", "a width may not be taken from the values"),
        ("{{ '{:{w}}'.format(1, w=9) }}", "a format may not be taken from the values"),
        ("{{ '{0:{1}}'.format(1, 2000000000) }}", "a format may not be taken from the values"),
        ("{{ '%99999999999d' % 1 }}", "The width of a format is too large"),
        ("{{ 1.5 | round(2000000000, 'ceil') }}", "round takes at most 1000 digits"),
        ("{{ [1] | tojson(2000000000) }}", "indent: expected a number from 0 to 32"),
        ("{{ _.text | urlize }}", "at most 100000 characters"),
        ("{{ _.text | striptags }}", "at most 100000 characters"),
        ("{{ _.text | wordwrap(1) }}", "at most 100000 characters"),
        ("{{ ['a', 'b'] | sum(start='') }}", "not texts"),
        ("{{ (1).to_bytes(2000000000, 'big') }}", "is unsafe"),
    ],
)
def test_single_calls_that_could_do_harm_are_refused(text: str, expected: str) -> None:
    assert expected in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "<% def(f, f($)) -> f(1) %>",
        "<% def(f, f($) + f($)) -> f(1) %>",
        "<% json_parse('[' * 100000) %>",
        "<% yaml_parse('[' * 100000) %>",
        "<% yaml_parse('- ' * 100000) %>",
        "<% yaml_parse('a: [' * 10000) %>",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_recursion_ends(text: str) -> None:
    assert refusal(text) == "The expression recurses too deeply"


def test_an_expression_that_takes_too_long_is_given_up() -> None:
    # Each step is dear, so that the steps do not run out first.
    configure(Limits(seconds=0.3))
    text = "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else 'x' }}{% endmacro %}{{ f(60) }}"
    assert refusal(text) == "The expression takes longer than 0.3 seconds"
    text = "<% range(100000).where([1] * 90000 = [2]).len() %>"
    assert "seconds" in refusal(text) or "memory" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "<% ('a' * 60 + 'b') =~ '(a|a)*$' %>",
        "<% ('a' * 60 + 'b').matches('(a|aa)+$') %>",
        "<% regex('(a|a)*$').search('a' * 60 + 'b') %>",
        "<% regex('(a|a)*$').searchAll('a' * 60 + 'b') %>",
        "<% regex('(a|a)*$').split('a' * 60 + 'b') %>",
        "<% regex('(a|a)*$').replace('a' * 60 + 'b', x) %>",
        "<% regex('(a|a)*$').replaceBy('a' * 60 + 'b', x) %>",
    ],
)
def test_a_regular_expression_that_backtracks_for_ever_is_given_up(text: str) -> None:
    assert refusal(text) == "The regular expression takes longer than 0.2 seconds"


def test_finding_expressions_takes_linear_time() -> None:
    began = time.monotonic()
    for text in ("<%" * 500_000, "{{" * 500_000, "{%" * 500_000, "<% a\n" * 200_000 + "%>"):
        is_expression(text)
        evaluate(text[:-2], {})
    assert time.monotonic() - began < 20  # quadratic would be minutes


def test_long_expressions_are_refused() -> None:
    for text in (f"<% [{'1, ' * 50_000}1] %>", "{{ " + "1 + " * 400_000 + "1 }}"):
        with pytest.raises(GrammarError, match=r"at most 10+ characters"):
            check(text)
        with pytest.raises(EvaluationError, match="at most"):
            evaluate(text, {})


@pytest.mark.parametrize(
    "text",
    [
        "<% " + "(" * 30_000 + "1" + ")" * 30_000 + " %>",
        "<% " + "not " * 20_000 + "1 %>",
        "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
        "{{ " + "not " * 20_000 + "1 }}",
        "{{ " + "[" * 500 + "]" * 500 + " }}",
        "{% for i in [1] %}" * 40 + "{% endfor %}" * 40,
        "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    ],
)
def test_deeply_nested_expressions_end(text: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(EvaluationError):
        evaluate(text, {})
    assert time.monotonic() - began < 30


def test_the_budget_is_for_each_evaluation() -> None:
    for _ in range(20):
        assert evaluate("<% range(10000).len() %>", {}) == 10_000


def test_threads_evaluate_side_by_side() -> None:
    def work(number: int) -> bool:
        # Texts of their own, so that threads parse at the same time too.
        data = {"l": list(range(number)), "n": number}
        yaql = evaluate(f"<% $.l.where($ < $$n).len() + {number} %>".replace("$$n", "5"), data)
        jinja = evaluate("{{ _.l | select('lt', 5) | list | length + " + f"{number} }}}}", data)
        return bool(yaql == jinja == min(number, 5) + number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, [*range(60), *range(60)]))


def test_a_failing_thread_does_not_spoil_another() -> None:
    def work(number: int) -> Any:
        if number % 2:
            try:
                return evaluate("{{ 'x' * 99999999 }}", {})
            except EvaluationError:
                return "refused"
        return evaluate("{{ _.n }}!", {"n": number})

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(40)))
    assert results == ["refused" if n % 2 else f"{n}!" for n in range(40)]
