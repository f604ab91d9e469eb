"""Expressions reach data and functions, and nothing behind them."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.expressions import (
    EvaluationError,
    Functions,
    JinjaEvaluationError,
    View,
    YaqlEvaluationError,
    evaluate,
)

DATA: dict[str, Any] = {"l": [1], "s": "text", "d": {"a": 1}}
FUNCTIONS = Functions(new_uuid=lambda: "0", task=lambda name: {"name": name})


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ _.__class__ }}",
        "{{ _['__class__'] }}",
        "{{ _ | attr('__class__') }}",
        "{{ _.l.__class__ }}",
        "{{ _.l | attr('append') }}",
        "{{ _.l | map(attribute='__class__') | list }}",
        "{{ _.l | map('attr', '__class__') | list }}",
        "{{ [_.d] | groupby('__class__') }}",
        "{{ '{0.__class__}'.format(_) }}",
        "{{ '{0[__class__]}'.format(_) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ ['{0.__class__}'] | map('format', 1) | list | first | int('x').real }}",
        "{{ '%s' | format(_.l.__class__) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner.__init__ }}",
        "{{ namespace.mro() }}",
        "{{ dict.__subclasses__() }}",
        "{{ dict.fromkeys([1]) }}",
        "{{ range.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ env.func }}",
        "{{ uuid.args[0].functions }}",
        "{{ task.keywords }}",
        "{{ _.get.__self__ }}",
        "{{ _.s.format.__wrapped__ }}",
        "{{ _.s.encode('utf-8') }}",
        "{{ (_.l | map('string')).gi_frame }}",
        "{% for i in [1] %}{{ loop.__init__ }}{% endfor %}",
        "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m.__call__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% set x = [].__class__ %}{{ x }}",
        "{% include '/etc/passwd' %}",
        "{% from 'os' import path %}{{ path }}",
        "{{ environment }}",
        "{{ config }}",
        "{{ __import__('os') }}",
        "{{ open('/etc/passwd') }}",
        "{{ uuid }}",
        "{{ _.layers }}",
        "{{ _.raw }}",
    ],
)
def test_jinja_reaches_nothing_behind_the_data(text: str) -> None:
    for context in (DATA, View(DATA)):
        with pytest.raises(JinjaEvaluationError):
            evaluate(text, context, FUNCTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "$.__class__",
        "$.l.__class__",
        "$.layers",
        "$.raw",
        "$.l.raw",
        "$.l.clear()",
        "$.d.update({b => 2})",
        "$.s.format(1)",
        "call(len, [[1]], {})",
        "call('#operator_+', [1, 1], {})",
        "lambda($)",
        "eval('1')",
        "$.l.len",
        "def('#operator_+', 0) -> 1 + 1",
        "def('#property#x', 0) -> 1",
        "def(__x, 1) -> 1",
        "let(a => 1)",
        "now().__class__",
        "uuid().func",
    ],
)
def test_yaql_reaches_nothing_behind_the_data(text: str) -> None:
    for context in (DATA, View(DATA)):
        with pytest.raises(YaqlEvaluationError):
            evaluate(f"<% {text} %>", context, FUNCTIONS)


def test_nothing_changed() -> None:
    assert DATA == {"l": [1], "s": "text", "d": {"a": 1}}


def test_functions_that_yaql_makes_stay_in_their_expression() -> None:
    assert evaluate("<% def(len, 7) -> len([1]) %>", DATA) == 7
    assert evaluate("<% len([1]) %>", DATA) == 1
    with pytest.raises(EvaluationError):
        evaluate("<% def(mine, 7) -> mine() + $.zz %>", DATA)
    with pytest.raises(EvaluationError, match='Unknown function "mine"'):
        evaluate("<% mine() %>", DATA)


def test_macros_and_variables_stay_in_their_template() -> None:
    assert evaluate("{% set _x = 1 %}{% macro m() %}{% endmacro %}{{ _x }}", DATA) == "1"
    for name in ("_x", "m", "result"):
        with pytest.raises(JinjaEvaluationError, match=f"'{name}' is undefined"):
            evaluate("{{ " + name + " }}", DATA)
