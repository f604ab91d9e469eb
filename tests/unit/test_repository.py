"""What the repository's own files say about each other is true."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import broker
from tools import configuration

ROOT = Path(__file__).resolve().parents[2]
#: What our dependencies bring along in any case, because it is part of what they are to us.
COMES_WITH = {
    "amqp": "celery",
    "billiard": "celery",
    "blinker": "flask",
    "kombu": "celery",
    "markupsafe": "jinja2",
    "python-dateutil": "croniter",
    "urllib3": "requests",
    "webargs": "flask-smorest",
    "werkzeug": "flask",
}


def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(text: str) -> Iterator[Requirement]:
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith(("#", "celeriac[")):
            yield Requirement(line)


def declared(*extras: str) -> list[Requirement]:
    parser = metadata()
    found = list(requirements(parser["options"]["install_requires"]))
    for extra in extras:
        found += requirements(parser["options.extras_require"][extra])
    return found


def imported() -> Iterator[tuple[str, Path]]:
    for folder in ("app", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((alias.name.split(".")[0], path) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    yield node.module.split(".")[0], path


def test_everything_imported_is_declared() -> None:
    known = {canonicalize_name(each.name) for each in declared("postgres", "javascript", "ssh")}
    distributions = packages_distributions()
    missing = set()
    for module, path in imported():
        if module in sys.stdlib_module_names or module in ("app", "workers"):
            continue
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        names |= {COMES_WITH[name] for name in names & COMES_WITH.keys()}
        if not names & known:
            missing.add(f"{module} ({path.relative_to(ROOT)})")
    assert not missing, f"imported, but not in setup.cfg: {sorted(missing)}"


@pytest.mark.parametrize(
    "lock, extras",
    [
        ("requirements.lock", ("postgres", "javascript", "ssh")),
        ("requirements-dev.lock", ("postgres", "javascript", "ssh", "dev")),
    ],
)
def test_the_lock_holds_what_is_declared_within_its_bounds(
    lock: str, extras: tuple[str, ...]
) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    wrong = [
        str(each)
        for each in declared(*extras)
        if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"))
    ]
    assert not wrong, f"{lock} does not hold: {wrong}; run `make lock`"


def test_both_locks_agree() -> None:
    both = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")
    run, dev = (
        {line for line in path.read_text().splitlines() if not line.startswith("#")}
        for path in both
    )
    assert run <= dev


def test_every_queue_of_ours_has_a_worker_in_the_procfile() -> None:
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if " -Q " in line]
    served = {
        queue.removeprefix("${CELERIAC_EXECUTOR_QUEUES:-").removesuffix("}")
        for line in lines
        for queue in re.findall(r" -Q (\S+)", line)[0].split(",")
    }
    queues = {value for name, value in vars(broker).items() if name.endswith("_QUEUE")}
    assert served == queues


def test_make_help_names_every_target_that_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE))
    assert phony == explained


def test_the_page_of_settings_is_what_the_settings_say() -> None:
    text = configuration.PAGE.read_text()
    assert configuration.page(text) == text, "docs/configuration.md is behind: run `make docs`"
