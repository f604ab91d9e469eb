"""Every definition in the documentation is right, and does what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from app.core.language import parse_actions, parse_workbook, parse_workflows
from tests.unit.core.story import World, start

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(r"^```yaml\n(.*?)^```\n(?:<!-- run: (.*?) -->\n)?", re.MULTILINE | re.DOTALL)
_RUN = re.compile(r"input=(\{.*?\}) state=(\w+)(?: output=(.*))?$")


class Example(NamedTuple):
    """A definition, and what comes of it."""

    text: str
    run: str | None


def examples() -> Iterator[Any]:
    """The whole documents in the pages; fragments have no version."""
    for page in sorted(DOCS.glob("*.md")):
        for number, found in enumerate(_BLOCK.finditer(page.read_text()), 1):
            text = found[1]
            if text.lstrip().startswith("version:"):
                yield pytest.param(Example(text, found[2]), id=f"{page.stem}-{number}")


ALL = list(examples())


@pytest.mark.parametrize("example", ALL)
def test_examples_are_right(example: Example) -> None:
    data = yaml.safe_load(example.text)
    if "name" in data:
        parse_workbook(example.text)
    elif all("base" in each for key, each in data.items() if key != "version"):
        parse_actions(example.text)
    else:
        parse_workflows(example.text)


@pytest.mark.parametrize("example", [each for each in ALL if each.values[0].run])
def test_examples_do_what_the_page_says(example: Example) -> None:
    told = _RUN.match(example.run or "")
    assert told is not None, example.run
    data = yaml.safe_load(example.text)
    del data["version"]
    world = World(yaml.safe_dump(data, sort_keys=False))
    name = next(iter(world.workflows))
    params = {}
    if world.workflows[name].reverse:
        params["task_name"] = list(world.workflows[name].tasks)[-1]
    run = start(world, workflow=name, input=json.loads(told[1]), params=params)
    while run.timers and not run.execution.state.terminal:
        run.fire()
    assert run.state == told[2], run.execution.state_info
    if told[3]:
        assert run.output == json.loads(told[3])


def test_the_language_has_many_examples_that_run() -> None:
    running = [each for each in ALL if each.id.startswith("language") and each.values[0].run]
    assert len(running) >= 15
