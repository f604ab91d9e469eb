"""``celeriac validate``: what is wrong with a definition, told as a compiler tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.text import Text

from app.core.errors import InvalidDefinition, Problem
from app.core.language import parse_actions, parse_workbook, parse_workflows

from .documents import Kind, kind_of, parse, read_text
from .output import Output, json_option

KINDS: tuple[Kind, ...] = ("workflows", "workbooks", "actions")


def problems(text: str, *, kind: Kind, warnings: bool = False) -> list[Problem]:
    """Everything wrong in *text*, in the order of its lines; else what is doubtful, if asked."""
    found: Sequence[Problem]
    try:
        if kind == "actions":
            found = parse_actions(text).warnings
        elif kind == "workbooks":
            found = parse_workbook(text, lint=warnings).warnings
        else:
            found = parse_workflows(text, lint=warnings).warnings
    except InvalidDefinition as err:
        found = err.problems
    wanted = [each for each in found if warnings or each.severity == "error"]
    return sorted(wanted, key=lambda each: (each.line or 0, each.column or 0))


def report(path: str, text: str, found: Iterable[Problem]) -> Text:
    """The problems with the lines they are in, a caret under each place."""
    lines = text.splitlines()
    result = Text()
    for each in found:
        place = ":".join(
            [path, *(str(number) for number in (each.line, each.column) if number is not None)]
        )
        colour = "red" if each.severity == "error" else "yellow"
        # The place stands in front, so the message need not end with it.
        message = each.message.removesuffix(f" (line {each.line}, column {each.column})")
        first, *rest = message.splitlines() or [""]
        result.append(place, style="bold").append(": ")
        result.append(each.severity, style=f"bold {colour}").append(f": {first}\n")
        for line in rest:
            result.append(f"    {line}\n")
        if each.line is not None and 0 < each.line <= len(lines):
            result.append_text(_quote(lines[each.line - 1], each.line, each.column, colour))
        if each.hint:
            result.append("      = ", style="dim").append(f"hint: {each.hint}\n")
    return result


def _quote(line: str, number: int, column: int | None, colour: str) -> Text:
    """One line of the source, and a caret under its *column*."""
    shown = line.rstrip("\r\n")
    start = 0
    # A very long line is cut around the place, so that the caret stays in sight.
    if len(shown) > 120:
        start = max(0, (column or 1) - 60)
        shown = shown[start : start + 120]
    result = Text().append(f"{number:>5} | ", style="dim").append(shown + "\n")
    if column is not None:
        # Tabs before the place must stay tabs, or the caret stands beside it.
        before = "".join("\t" if c == "\t" else " " for c in shown[: column - 1 - start])
        result.append("      | ", style="dim").append(before).append("^\n", style=f"bold {colour}")
    return result


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--lint", "warnings", is_flag=True, help="Tell also what is doubtful.")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="What the files hold; they tell it themselves as a rule.",
)
@json_option
def validate(files: Sequence[str], warnings: bool, kind: Kind | None, out: Output) -> None:
    """Check workflow, workbook and action files without a server.

    Exits with 1 when a definition has an error. A FILE of - is the standard input.
    """
    answers: list[dict[str, Any]] = []
    errors = 0
    for path in files:
        text = read_text(path)
        document = parse(path, text)
        its_kind = kind or (document.kind if document else kind_of(None))
        found = problems(text, kind=its_kind, warnings=warnings)
        wrong = sum(each.severity == "error" for each in found)
        errors += wrong
        answers.append(
            {
                "file": path,
                "kind": its_kind,
                "valid": not wrong,
                "problems": [_as_data(each) for each in found],
            }
        )
        if found and not out.as_json:
            out.console.print(report(path, text, found), end="", soft_wrap=True)
        if not wrong:
            names = ", ".join(document.names) if document else ""
            out.say(f"{path}: valid ({its_kind}: {names})", "green")
    if out.as_json:
        out.dump(answers)
    elif errors:
        out.say(f"{errors} error{'s' if errors > 1 else ''}", "bold red")
    if errors:
        raise SystemExit(1)


def _as_data(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "message": problem.message,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "hint": problem.hint,
    }
