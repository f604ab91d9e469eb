"""What holds for any data and many expressions, not only for those that came to mind."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.expressions import (
    NO_FUNCTIONS,
    EvaluationError,
    Limits,
    View,
    evaluate,
    evaluate_recursively,
    is_expression,
    yaql_language,
)
from app.core.expressions.limits import Budget

# yaql uses collections.abc, which the import above has brought in.
import yaql  # isort: skip

names = st.sampled_from(["a", "b", "c", "items", "len", "None_", "x1", "zażółć"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
json_data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
contexts = st.dictionaries(names, json_data, max_size=5)
paths = st.lists(names, min_size=1, max_size=4)


def outcome(expression: yaql_language.Yaql, context: Any) -> Any:
    try:
        return expression.evaluate(context, NO_FUNCTIONS, Budget(Limits()))
    except EvaluationError as error:
        return type(error), error.message


@settings(deadline=None)
@given(contexts, names)
def test_an_expression_of_one_variable_is_its_value(context: dict[str, Any], name: str) -> None:
    context = {**context, name: context}
    for text in (f"<% $.{name} %>", f"<% $.get({name}) %>", "{{ _['" + name + "'] }}"):
        for data in (context, View({"other": 1}, context)):
            assert evaluate(text, data) == context[name]


@settings(deadline=None)
@given(json_data, names)
def test_any_value_survives(value: Any, name: str) -> None:
    result = evaluate(f"<% $.{name} %>", {name: value})
    assert json.dumps(result) == json.dumps(value)
    # Taken apart and put together again.
    result = evaluate(f"<% [$.{name}].where(true).toList() %>", {name: value})
    assert json.dumps(result) == json.dumps([value])


@settings(deadline=None)
@given(contexts, paths)
def test_a_plain_path_takes_a_short_cut_to_the_same_place(
    context: dict[str, Any], path: list[str]
) -> None:
    quick = yaql_language.Yaql("$." + ".".join(path))
    slow = yaql_language.Yaql("$." + ".".join(path))
    assert quick.path == tuple(path)
    slow.path = None
    for data in (context, View({}, context), View(context, {"a": {"b": 1}})):
        assert outcome(quick, data) == outcome(slow, data)


@settings(deadline=None)
@given(json_data)
def test_data_without_expressions_come_back_themselves(value: Any) -> None:
    assert evaluate_recursively(value, {}) is value


@settings(deadline=None)
@given(st.text(alphabet="<%>{}$ a1\n", max_size=20))
def test_any_text_gives_a_value_or_an_expressions_error(text: str) -> None:
    try:
        result = evaluate(text, {"a": 1})
    except EvaluationError:
        assert is_expression(text)
    else:
        json.dumps(result)
        if not is_expression(text):
            assert result is text


# --- Against YAQL itself ----------------------------------------------------------------------
#
# Scope and the nodes of yaql_nodes stand in for YAQL's runner; whatever they make of an
# expression, YAQL must make of it too.

_ENGINE = yaql.YaqlFactory().create({"yaql.convertInputData": True})
_LIBRARY = yaql.create_context()
_CONTEXT: dict[str, Any] = {
    "x": 1,
    "f": 1.5,
    "s": "str",
    "n": None,
    "b": True,
    "e": [],
    "l": [3, 1, 2],
    "d": {"k": "v", "n": {"m": 1}},
    "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
}

_atoms = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "1.5",
        "true",
        "null",
        "'a'",
        "a",
        "$",
        "$.x",
        "$.f",
        "$.s",
        "$.n",
        "$.b",
        "$.e",
        "$.l",
        "$.d",
        "$.rows",
        "$.d.n",
        "$.zz",
        "$.l[0]",
        "$.rows.a",
        "[]",
        "{}",
        "$.x.foo",
        "range(3)",
        "$a",
    ]
)
_operators = st.sampled_from(
    ["+", "-", "*", "/", "mod", "=", "!=", "<", "<=", ">", ">=", "and", "or", "in"]
)
_methods = st.sampled_from(
    [
        "len()",
        "first()",
        "last()",
        "first(9)",
        "single()",
        "sum()",
        "max()",
        "toList()",
        "reverse()",
        "distinct()",
        "flatten()",
        "keys()",
        "values()",
        "enumerate()",
        "toUpper()",
        "skip(1)",
        "limit(1)",
        "any()",
        "all()",
        "memorize()",
        "orderBy($)",
        "contains(1)",
        "containsKey(k)",
        "delete(k)",
        "replace(0,9)",
        "split()",
        "set(z,1)",
        "set(z=>1)",
        "mergeWith({k=>2})",
        "zip([7])",
        "toSet()",
        "join('-')",
        "slice(2)",
        "toDict($,1)",
        "len",
        "k",
        "n.m",
    ]
)
_lambdas = st.sampled_from(["$", "$ > 1", "$.a", "[$, $]", "{a => $}", "not $", "$ * 2", "true"])
_taking_lambdas = st.sampled_from(
    [
        "where",
        "select",
        "any",
        "all",
        "takeWhile",
        "orderBy",
        "groupBy",
        "toDict",
        "selectMany",
        "indexWhere",
        "distinct",
    ]
)
_functions = st.sampled_from(
    ["len", "str", "bool", "isList", "isDict", "isString", "not", "coalesce", "max", "concat"]
)


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text else text


def _deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    part = inner.map(_bracketed)
    return st.one_of(
        st.builds("{} {} {}".format, part, _operators, part),
        st.builds("{}{}{}".format, part, st.sampled_from([".", "?."]), _methods),
        st.builds("{}.{}({})".format, part, _taking_lambdas, _lambdas),
        st.builds("{}({})".format, _functions, st.lists(inner, max_size=2).map(", ".join)),
        st.builds("[{}]".format, st.lists(inner, max_size=3).map(", ".join)),
        st.builds("{{a => {}}}".format, inner),
        st.builds("{}[{}]".format, part, inner),
        st.builds("not {}".format, part),
        st.builds("let(a => {}) -> {}".format, inner, inner),
        st.builds("switch({} => {}, true => {})".format, inner, inner, inner),
    )


expressions = st.recursive(_atoms, _deeper, max_leaves=5)

#: Where we differ on purpose: no data, addresses or classes in errors, and only JSON.
_OUR_OWN = (
    "for receiver",
    "Unknown method",
    "not JSON",
    "does not allow",
    "unhashable",
    "is empty",
    "is not a key",
    "argument must be",
    "object at 0x",
)


def _yaql(text: str) -> Any:
    try:
        context = json.loads(json.dumps(_CONTEXT))
        result = _ENGINE(text).evaluate(context, _LIBRARY.create_child_context())
        return _as_json(result)
    except Exception as error:
        return f"error: {error}"


def _as_json(value: Any) -> Any:
    if isinstance(value, set):
        items = [_as_json(item) for item in value]
        try:
            return sorted(items)
        except TypeError:
            return sorted(items, key=repr)
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return json.loads(json.dumps({key: _as_json(item) for key, item in value.items()}))
    assert not isinstance(value, datetime)
    return value


def _ours(text: str) -> Any:
    try:
        return evaluate(f"<% {text} %>", _CONTEXT)
    except EvaluationError as error:
        return f"error: {error.reason}"


@settings(max_examples=400, deadline=None)
@given(expressions)
def test_yaql_agrees(text: str) -> None:
    theirs, ours = _yaql(text), _ours(text)
    if any(words in str(theirs) or words in str(ours) for words in _OUR_OWN):
        return
    if "[].first()" in text or "single()" in text:
        return  # empty messages of theirs
    assert ours == theirs
    assert json.dumps(ours) == json.dumps(theirs)


@pytest.mark.parametrize(
    "text", ["$.x mod 'abc'", "$.zz mod null", "0[$ > 1]", "$.zz + 'a'", "1 < $.s", "$.zz - null"]
)
def test_yaql_finds_the_same_fault_first(text: str) -> None:
    assert _ours(text) == _yaql(text)
