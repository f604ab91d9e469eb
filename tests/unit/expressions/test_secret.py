"""A secret in an expression is a reference, in both languages."""

from __future__ import annotations

import pytest

from app.core.expressions import NO_FUNCTIONS, ExpressionError, View, evaluate_recursively


@pytest.mark.parametrize("text", ["Bearer <% secret('a-1') %>", "Bearer {{ secret('a-1') }}"])
def test_a_secret_is_a_reference(text: str) -> None:
    assert evaluate_recursively(text, View({}), NO_FUNCTIONS) == "Bearer secret://a-1"


@pytest.mark.parametrize("text", ["<% secret('a b') %>", "{{ secret('a/b') }}", "<% secret(1) %>"])
def test_a_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate_recursively(text, View({}), NO_FUNCTIONS)
