"""The example package of ``docs/plugins.md``, installed as its readers would."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.system import System

PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder to import from that holds the package and what an installer notes of it."""
    site = tmp_path / "site"
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    info = site / f"celeriac_greetings-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (site / "greetings").symlink_to(PLUGIN / "greetings")
    return site


def test_its_actions_are_listed_with_their_parameters(installed: Path):
    program = (
        "from app.actions.registry import standard_registry\n"
        "registry = standard_registry()\n"
        "for each in registry.all():\n"
        "    if each.name.startswith('greetings.'):\n"
        "        print(each.name, '|', each.input_summary, '|', each.asynchronous)\n"
        "print(registry.problems)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{installed}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "greetings.ask | question | True",
        'greetings.greet | name, greeting="Hello" | False',
        'greetings.post | to, text="", express=false | False',
        "[]",
    ]


def test_its_workflow_runs(
    installed: Path, tmp_path: Path, sqlite_url: str, clean_redis_url: str, monkeypatch
):
    monkeypatch.syspath_prepend(str(installed))
    system = System(
        tmp_path / "system",
        database_url=sqlite_url,
        redis_url=clean_redis_url,
        PYTHONPATH=f"{installed}:{tmp_path / 'system' / 'plugin'}",
    )
    try:
        system.start("engine", "executor")
        system.define((PLUGIN / "greetings.yaml").read_text())
        [found] = system.finished(system.run("greetings", {"name": "world"}))
    finally:
        system.stop()
    assert (found.state, found.output) == (
        "SUCCESS",
        {"greeting": "Hello, world!", "days": 1},
    )
