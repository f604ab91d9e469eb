"""The examples of docs/expressions.md give what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.expressions import EvaluationError, Functions, Limits, evaluate

PAGE = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"^```\w+ {kind}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"the page has no {kind}"
    return found


DATA = json.loads(blocks("data")[0])
EXAMPLES = [pair for block in blocks("examples") for pair in yaml.safe_load(block).items()]
ERRORS = [tuple(pair.split("\n")) for pair in blocks("errors")[0].strip().split("\n\n")]

BUILD: Mapping[str, Any] = {"name": "build", "state": "SUCCESS", "result": {"version": 3}}
FUNCTIONS = Functions(
    env={"region": "north"},
    execution=lambda: {"name": "deploy"},
    task={"build": BUILD}.get,
    tasks=lambda **asked: [BUILD] if asked["state"] == "SUCCESS" else [],
    workflow_context={"retries": 5}.get,
    new_uuid=lambda: "00000000-0000-4000-8000-000000000000",
)


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_an_example_gives_what_the_page_says(text: str, expected: Any) -> None:
    result = evaluate(text, DATA, FUNCTIONS)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_an_error_reads_as_the_page_says(text: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, DATA, FUNCTIONS)
    assert caught.value.message == message


def test_the_page_tells_the_limits_in_force() -> None:
    limits = Limits()
    for number in (limits.steps, limits.size, limits.memory, limits.digits, limits.jinja_range):
        assert f"{number:,}" in PAGE
    assert f"{limits.text:,} and {limits.text * 10:,} characters" in PAGE
    assert f"| time | {limits.seconds:g} seconds |" in PAGE
