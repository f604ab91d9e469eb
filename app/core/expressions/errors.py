"""What can be wrong with an expression.

    ExpressionError
    ├── GrammarError                the text is not an expression of its language
    │   ├── YaqlGrammarError
    │   ├── JinjaGrammarError
    │   └── MixedLanguagesError     two languages in one text
    └── EvaluationError             the text is fine, its evaluation failed
        ├── YaqlEvaluationError
        └── JinjaEvaluationError

Each names the exception that clients of the REST API know it by.
"""

from __future__ import annotations

from typing import ClassVar

from ..errors import CoreError

#: A text longer than this is cut when it is quoted in a message.
_LONGEST_QUOTE = 2_000


class ExpressionError(CoreError):
    """The base of everything that can be wrong with an expression."""

    #: The class name that Mistral's clients see in error texts.
    mistral_name: ClassVar[str] = "MistralException"
    #: ``yaql``, ``jinja`` or None where no language is meant.
    language: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message  #: What was found and what was expected.


class GrammarError(ExpressionError):
    """A text is not an expression, or may not be one here."""

    mistral_name = "ExpressionGrammarException"

    def __init__(self, message: str, *, language: str | None = None) -> None:
        super().__init__(message)
        self.language = language or type(self).language


class YaqlGrammarError(GrammarError):
    """A text is not YAQL."""

    mistral_name = "YaqlGrammarException"
    language = "yaql"


class JinjaGrammarError(GrammarError):
    """A text is not Jinja."""

    mistral_name = "JinjaGrammarException"
    language = "jinja"


class MixedLanguagesError(GrammarError):
    """A text holds expressions of two languages."""


class EvaluationError(ExpressionError):
    """An expression failed; the message quotes it and the reason, never the data."""

    mistral_name = "ExpressionEvaluationException"

    def __init__(
        self, message: str, *, expression: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.expression = expression  #: The expression as it is quoted in the message.
        self.reason = reason or message  #: Why it failed.


class YaqlEvaluationError(EvaluationError):
    """A YAQL expression failed."""

    mistral_name = "YaqlEvaluationException"
    language = "yaql"

    def __init__(self, expression: str, reason: str) -> None:
        expression, reason = quoted(expression), quoted(reason)
        super().__init__(
            f"Can not evaluate YAQL expression [expression={expression}, error={reason}]",
            expression=expression,
            reason=reason,
        )


class JinjaEvaluationError(EvaluationError):
    """A Jinja expression failed."""

    mistral_name = "JinjaEvaluationException"
    language = "jinja"

    def __init__(self, expression: str, reason: str) -> None:
        expression, reason = quoted(expression), quoted(reason)
        super().__init__(
            f"Can not evaluate Jinja expression [expression={expression}, error={reason}]",
            expression=expression,
            reason=reason,
        )


def quoted(text: str) -> str:
    """Return *text*, cut when it is too long to be read in a message."""
    if len(text) <= _LONGEST_QUOTE:
        return text
    return f"{text[:_LONGEST_QUOTE]}... ({len(text)} characters)"
