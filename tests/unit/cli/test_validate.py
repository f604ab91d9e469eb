"""`celeriac validate`: every error with its place, as a compiler tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from app.cli.validate import report
from app.core.errors import Problem

EXAMPLES = Path(__file__).parents[3] / "examples"

Celeriac = Callable[..., Result]

WRONG = """\
version: '2.0'
flow:
  tasks:
    one:
      action: std.noop
      on-success: twoo
    two:
      joint: all
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    return str(path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_valid_and_without_doubt(celeriac: Celeriac, path: Path) -> None:
    result = celeriac("validate", "--lint", str(path))
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 1


def test_all_errors_are_told_with_line_column_caret_and_hint(
    celeriac: Celeriac, wrong: str
) -> None:
    result = celeriac("validate", wrong)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{wrong}:6:19: error: ")
    assert "'twoo'" in lines[0]
    assert lines[1] == "    6 |       on-success: twoo"
    assert lines[2] == "      |                   ^"
    assert lines[3] == "      = hint: did you mean 'two'?"
    assert lines[4].startswith(f"{wrong}:8:7: error: ")
    assert lines[-1] == "2 errors"


def test_json_has_the_same(celeriac: Celeriac, wrong: str) -> None:
    good = str(EXAMPLES / "loop.yaml")
    result = celeriac("validate", wrong, good, "--json")
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert (first["valid"], second["valid"]) == (False, True)
    assert [(each["line"], each["column"]) for each in first["problems"]] == [(6, 19), (8, 7)]
    assert first["problems"][0]["path"].startswith("flow.tasks.one.on-success")
    assert second["problems"] == []


def test_text_that_is_no_yaml_has_a_place_too(celeriac: Celeriac) -> None:
    result = celeriac("validate", "-", input="version: '2.0'\nflow:\n  tasks: [\n")
    assert result.exit_code == 1
    assert result.output.startswith("-:")
    assert ": error: " in result.output


def test_lint_warns_of_what_nothing_defines_and_still_succeeds(celeriac: Celeriac) -> None:
    text = "version: '2.0'\nflow:\n  tasks:\n    one:\n      action: std.echo output=<% $.x %>\n"
    assert "warning" not in celeriac("validate", "-", input=text).output
    result = celeriac("validate", "--lint", "-", input=text)
    assert result.exit_code == 0
    assert ": warning: " in result.output
    assert "'x'" in result.output


def test_workbooks_and_actions_are_told_apart(celeriac: Celeriac) -> None:
    action = "version: '2.0'\nmine:\n  base: std.echo\n  base-input:\n    output: 1\n"
    workbook = (
        "version: '2.0'\nname: book\nworkflows:\n  flow:\n    tasks:\n      t:\n"
        "        action: std.noop\n"
    )
    assert "valid (actions: mine)" in celeriac("validate", "-", input=action).output
    assert "valid (workbooks: book)" in celeriac("validate", "-", input=workbook).output


def test_the_caret_stands_under_the_place_behind_tabs_and_in_long_lines() -> None:
    tabs = report("f", "\t\tkey: x", [Problem(message="bad", line=1, column=8)]).plain
    assert tabs.splitlines()[2] == "      | \t\t     ^"
    long = "a" * 300 + "X" + "b" * 300
    shown = report("f", long, [Problem(message="bad", line=1, column=301)]).plain.splitlines()
    assert shown[1][shown[2].index("^")] == "X"
    assert len(shown[1]) < 140


def test_a_missing_file_is_one_sentence(celeriac: Celeriac) -> None:
    result = celeriac("validate", "nowhere.yaml")
    assert result.exit_code == 1
    assert result.stderr == "Error: nowhere.yaml: No such file or directory\n"
