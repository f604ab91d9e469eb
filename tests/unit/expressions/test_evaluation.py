"""Where expressions are found, and what their surroundings make of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.core.expressions import (
    EvaluationError,
    GrammarError,
    JinjaGrammarError,
    Limits,
    MixedLanguagesError,
    View,
    YaqlGrammarError,
    check,
    check_all,
    configure,
    configured,
    evaluate,
    evaluate_recursively,
    is_expression,
    language_of,
    references,
    texts,
    truthy,
)


@pytest.fixture
def limits() -> Iterator[None]:
    """Put the limits back that a test changes."""
    before = configured()
    yield
    configure(before)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("plain", None),
        ("", None),
        ("<% $.x %>", "yaql"),
        ("a <% $.x %> b", "yaql"),
        ("<%%>", "yaql"),
        ("<%>", None),
        ("<% $.x", None),
        ("%> <%", None),
        ("<%\n$.x\n%>", None),
        ("<% a\n<% b %>", "yaql"),
        ("{{ _.x }}", "jinja"),
        ("{{}}", "jinja"),
        ("{{\n_.x\n}}", None),
        ("{% if a %}", "jinja"),
        ("{% if a\n%}", None),
        ("{# c #}", None),
        ("{ { a } }", None),
        ("<% 1 %> {{ 2 }}", "jinja"),
    ],
)
def test_a_text_is_of_the_first_language_that_recognises_it(
    text: str, language: str | None
) -> None:
    assert language_of(text) == language
    assert is_expression(text) is (language is not None)
    if language is None:
        assert evaluate(text, {}) is text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<% $.x %>", 1),
        (" <% $.x %>", " 1"),
        ("<% $.x %>\n", "1\n"),
        ("n=<% null %>", "n=None"),
        ("v=<% true %>", "v=True"),
        ("v=<% {a => 1} %>", "v={'a': 1}"),
        ("<% [1, 2] %>!", "[1, 2]!"),
        ("<% $.x %><% $.x %>", "11"),
        ("<% $.l %>-<% $.s %>", "[1, 'a']-str"),
        ("v=<% [3, 1].toSet() %>", "v={1, 3}"),
        ("v=<% [].toSet() %>", "v=set()"),
        ("v=<% [1, 2].select($) %>", "v=[1, 2]"),
        ("v=<% datetime(2015, 1, 1) %>", "v=2015-01-01 00:00:00+00:00"),
        ("a <%\n1 <% $.x %>", "a <%\n1 1"),
        ("<% $.s %> \\1", "str \\1"),
        # A value that looks like an expression is not one.
        ("<% $.sly %> <% $.x %>", "<% $.x %> 1"),
        ("{{ _.sly }}", "<% $.x %>"),
        # Where nobody checks, Jinja runs and YAQL stays.
        ("<% 1 %> {{ 2 }}", "<% 1 %> 2"),
    ],
)
def test_surroundings_make_a_text(text: str, expected: Any) -> None:
    data = {"x": 1, "l": [1, "a"], "s": "str", "sly": "<% $.x %>"}
    assert evaluate(text, data) == expected


@pytest.mark.parametrize("context", [None, {}, [], 0, ""])
def test_an_empty_context_evaluates_like_any(context: object) -> None:
    # Mistral returns the raw text.
    assert evaluate("<% 1 + 1 %>", context) == 2
    assert evaluate("{{ 1 + 1 }}", context) == 2


def test_nested_data_are_evaluated_but_not_keys() -> None:
    value = {
        "left": ["<% $.a %>", {"x": "{{ _.a * 10 }}"}],
        "right": {"<% $.a %>": "key"},
        "tuple": ("<% $.a %>",),
        "rest": [1, None, True, 1.5],
    }
    assert evaluate_recursively(value, {"a": 2}) == {
        "left": [2, {"x": 20}],
        "right": {"<% $.a %>": "key"},
        "tuple": [2],
        "rest": [1, None, True, 1.5],
    }
    assert value["left"] == ["<% $.a %>", {"x": "{{ _.a * 10 }}"}]


def test_values_without_expressions_come_back_themselves() -> None:
    value = {"a": [1, {"b": "text"}], "c": None}
    assert evaluate_recursively(value, {}) is value
    other = {"same": value, "changed": "<% 1 %>"}
    assert evaluate_recursively(other, {})["same"] is value


def test_an_expression_that_fails_deep_inside_fails_all() -> None:
    with pytest.raises(EvaluationError, match="error='b'"):
        evaluate_recursively({"a": [{"b": "<% $.b %>"}]}, {})


def test_data_nested_without_end_are_refused() -> None:
    value: Any = "<% 1 %>"
    for _ in range(600):
        value = [value]
    with pytest.raises(EvaluationError, match="nested more than 500 levels"):
        evaluate_recursively(value, {})


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "<% $.x + 1 %>",
        "<%\n wrong( \n%>",
        "a <% $.x %> b <% y %>",
        "{{ _.x }} and {% if _.y %}z{% endif %}",
        "{{- _.x -}}",
        "{{ nosuch() | neither }}",
    ],
)
def test_check_lets_well_formed_texts_through(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("<% wrong( %>", YaqlGrammarError, "Parse error: unexpected end of statement"),
        ("<% %>", YaqlGrammarError, "Parse error: unexpected end of statement"),
        ("ok <% 1 %> <% 1 + %>", YaqlGrammarError, "Parse error: unexpected end of statement"),
        (
            "<% $.x == 1 %>",
            YaqlGrammarError,
            "Parse error: unexpected '=' at position 5 of expression '$.x == 1'",
        ),
        (
            "<% $.__env %>",
            YaqlGrammarError,
            "Lexical error: illegal character '_' at position 2",
        ),
        ("{{ 1 }} {{", JinjaGrammarError, "Syntax error 'unexpected 'end of template''."),
        (
            "{{ }}",
            JinjaGrammarError,
            "Syntax error 'Expected an expression, got 'end of print statement''.",
        ),
        ("{{ 1 }}{% bad %}", JinjaGrammarError, "Syntax error 'Encountered unknown tag 'bad'.'."),
        (
            "<% 1 %> {{ 2 }}",
            MixedLanguagesError,
            (
                "The line already contains an expression of type 'jinja'. Mixing expression types"
                " in a single line is not allowed."
            ),
        ),
    ],
)
def test_check_refuses_what_is_not_an_expression(
    text: str, kind: type[GrammarError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        check(text)
    assert caught.value.message == message
    assert type(caught.value) is kind


def test_grammar_errors_have_the_names_that_clients_know() -> None:
    assert YaqlGrammarError.mistral_name == "YaqlGrammarException"
    assert JinjaGrammarError.mistral_name == "JinjaGrammarException"
    assert MixedLanguagesError.mistral_name == "ExpressionGrammarException"
    assert YaqlGrammarError("x").language == "yaql"
    assert JinjaGrammarError("x").language == "jinja"
    assert MixedLanguagesError("x").language is None


def test_check_all_goes_as_deep_as_it_is_told() -> None:
    value = {"a": ["fine", {"b": "<% wrong( %>"}], "<% wrong( %>": 1}
    assert list(texts(value)) == ["fine", "<% wrong( %>"]
    check_all(value, depth=2)
    with pytest.raises(YaqlGrammarError):
        check_all(value, depth=3)
    with pytest.raises(YaqlGrammarError):
        check_all(value)


def test_a_language_can_be_disabled(limits: None) -> None:
    configure(Limits(languages=("yaql",)))
    message = "The 'jinja' expression language is disabled by the operator."
    check("<% 1 %>")
    with pytest.raises(GrammarError) as caught:
        check("{{ 1 }}")
    assert caught.value.message == message
    assert caught.value.language == "jinja"
    with pytest.raises(EvaluationError) as other:
        evaluate("{{ 1 }}", {})
    assert other.value.reason == message
    assert evaluate("<% 1 %>", {}) == 1


def test_limits_make_sense() -> None:
    with pytest.raises(ValueError, match="seconds: expected a positive number, got 0"):
        Limits(seconds=0)
    with pytest.raises(ValueError, match="languages: expected some of yaql, jinja, got perl"):
        Limits(languages=("perl",))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain", set()),
        ("<% $.x %>", {"x"}),
        ("<% $.x.y + $.z[$.i] %> and <% $.w %>", {"x", "z", "i", "w"}),
        ("<% $.l.where($.age > $.limit) %>", {"l"}),
        ("<% $.l.len() + $.d.get($.k) %>", {"l", "d", "k"}),
        ("<% $?.maybe %>", {"maybe"}),
        ("<% $.get(x) %>", set()),
        ("<% {a => $.x, b => [$.y]} %>", {"x", "y"}),
        ("<% switch($.a => $.b, true => $.c) %>", {"a", "b", "c"}),
        ("<% let(v => $.a) -> $.b + $v %>", {"a", "b"}),
        ("<% with($.a) -> $.b %>", {"a"}),
        ("<% env().x + task(t).result %>", set()),
        ("{{ _.x }}", {"x"}),
        ("{{ _['x'] + _.y.z }}", {"x", "y"}),
        ("{{ _[key] }}", set()),
        ("{{ _.get('x') }}", set()),
        ("{{ _.x | default(1) }} {{ _.y is defined }}", set()),
        ("{% for i in _.l %}{{ i.x + _.z }}{% endfor %}", {"l", "z"}),
        ("{{ _.x.y | default(1) }}", {"x"}),
    ],
)
def test_references_are_the_variables_that_are_read(text: str, names: set[str]) -> None:
    assert references(text) == names


def test_a_guard_is_pythons_truth() -> None:
    assert [truthy(v) for v in (True, 1, "no", [0], {"a": 0})] == [True] * 5
    assert [truthy(v) for v in (False, 0, "", [], {}, None)] == [False] * 6


def test_a_view_reads_the_strongest_layer() -> None:
    view = View({"a": 1, "b": None}, {}, None, {"a": 2, "b": 3, "c": 4})
    assert dict(view) == {"a": 1, "b": None, "c": 4}
    assert list(view) == ["a", "b", "c"]
    assert len(view) == 3
    assert "c" in view
    assert "d" not in view
    assert view.get("d", 5) == 5
    assert len(view.layers) == 2
    with pytest.raises(KeyError):
        view["d"]


def test_a_view_follows_its_layers_and_shows_no_data() -> None:
    layer = {"a": "secret"}
    view = View(layer)
    layer["b"] = "later"
    assert view["b"] == "later"
    assert "secret" not in repr(view)
