"""Code sources are read, not run."""

from __future__ import annotations

import pytest

from app.actions.dynamic import action_type, parameters_of

SOURCE = """
import nothing_of_this_name
print("canary")

class Base:
    def __init__(self, a, b=2, *, c=None, d=compute()):
        pass

class Child(Base):
    def run(self, context):
        pass

class Any:
    def __init__(self, **more):
        pass
"""


def test_the_parameters_of_a_class_are_read_from_the_text(capsys):
    assert action_type("x", parameters_of(SOURCE, "Base")).input_summary == (
        "a, b=2, c=null, d=null"
    )
    assert parameters_of(SOURCE, "Child") == parameters_of(SOURCE, "Base")
    assert action_type("x", parameters_of(SOURCE, "Any")).accepts_any
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "source, message",
    [
        (SOURCE, "The code source has no class 'Nope' at its top level; it has: Any, Base, Child"),
        ("class (", "The code source is not valid Python (line 1)"),
        ("\x00", "The code source is not valid Python"),
    ],
)
def test_a_class_that_is_not_there_is_told_with_those_that_are(source, message):
    with pytest.raises(ValueError) as caught:
        parameters_of(source, "Nope")
    assert str(caught.value).startswith(message)


def test_nesting_without_end_is_refused():
    with pytest.raises(ValueError):
        parameters_of("(" * 100_000, "A")
