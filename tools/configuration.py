"""Writes the table of settings in docs/configuration.md from ``app/config.py``.

The comment above a setting there is its explanation here, so the two cannot
drift apart; a test says when the page is behind (`make docs` brings it up).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from app.config import PREFIX, Config

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "app" / "config.py"
PAGE = ROOT / "docs" / "configuration.md"
BEGIN = "<!-- settings: written by `make docs` -->"
END = "<!-- end of settings -->"


def settings() -> Iterator[str]:
    """Give the lines of the table, section by section."""
    source = SOURCE.read_text()
    lines = source.splitlines()
    config = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
    )
    defaults = {each.name: each.default for each in fields(Config)}
    head = ["", "| variable | default | what it is |", "| --- | --- | --- |"]
    yield from head
    for node in config.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        comments: list[str] = []
        for line in reversed(lines[: node.lineno - 1]):
            if line.strip().startswith("# ---"):
                title = line.strip(" #-")
                yield from ("", f"## {title[:1].upper()}{title[1:]}", *head)
            if not line.strip().startswith("#:"):
                break
            comments.insert(0, line.strip().removeprefix("#:").strip())
        text = " ".join(comments).replace("``", "`").replace("|", "\\|")
        name = node.target.id
        yield f"| `{PREFIX}{name.upper()}` | {shown(defaults[name])} | {text} |"


def shown(default: object) -> str:
    """Return *default* as it would stand in the environment."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        default = ", ".join(map(str, default))
    return f"`{default}`" if default != "" else ""


def page(text: str) -> str:
    """Return the page's *text* with the table of today."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return "\n".join((before + BEGIN, *settings(), "", END + after))


def main() -> None:
    """Bring the page up to date."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
