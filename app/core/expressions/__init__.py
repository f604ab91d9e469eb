"""The expressions of workflow definitions: YAQL and Jinja.

``check`` says whether a text is well-formed, ``evaluate`` what it stands for in a context,
``evaluate_recursively`` does so in nested data. What expressions see is a ``View`` of data,
what their functions may look at are ``Functions``, what they may cost are ``Limits``.
"""

from .errors import (
    EvaluationError,
    ExpressionError,
    GrammarError,
    JinjaEvaluationError,
    JinjaGrammarError,
    MixedLanguagesError,
    YaqlEvaluationError,
    YaqlGrammarError,
)
from .evaluation import (
    check,
    check_all,
    evaluate,
    evaluate_recursively,
    is_expression,
    language_of,
    references,
    texts,
    truthy,
)
from .functions import NO_FUNCTIONS, Functions
from .limits import Limits, configure, configured
from .view import View

__all__ = [
    "NO_FUNCTIONS",
    "EvaluationError",
    "ExpressionError",
    "Functions",
    "GrammarError",
    "JinjaEvaluationError",
    "JinjaGrammarError",
    "Limits",
    "MixedLanguagesError",
    "View",
    "YaqlEvaluationError",
    "YaqlGrammarError",
    "check",
    "check_all",
    "configure",
    "configured",
    "evaluate",
    "evaluate_recursively",
    "is_expression",
    "language_of",
    "references",
    "texts",
    "truthy",
]
