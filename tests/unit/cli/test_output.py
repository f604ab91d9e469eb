"""What the commands print, and what they need for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from click.testing import CliRunner, Result

from app.cli import COMMANDS, main
from app.cli.output import duration
from app.cli.progress import shown


def test_help_names_every_command_without_importing_one() -> None:
    code = (
        "import sys; from app.cli import main; main(['--help'], standalone_mode=False); "
        "print([m for m in ('requests', 'rich', 'celery', 'flask', 'sqlalchemy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_has_help() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Usage:" in result.output


def test_an_unknown_command_is_a_usage_error(celeriac: Callable[..., Result]) -> None:
    result = celeriac("excutions")
    assert result.exit_code == 2
    assert "No such command 'excutions'" in result.stderr


def test_durations_are_short() -> None:
    assert duration("2026-01-01 10:00:00", "2026-01-01 10:00:07") == "7 s"
    assert duration("2026-01-01 10:00:00", "2026-01-01 10:03:07") == "3 min 07 s"
    assert duration("2026-01-01 10:00:00", "2026-01-02 11:03:07") == "25 h 03 min"
    assert duration(None, None) == ""


def test_of_many_tasks_the_failed_and_the_busy_are_shown_in_their_order() -> None:
    states = ["SUCCESS", "ERROR", "SUCCESS", "RUNNING", "SUCCESS", "SUCCESS"]
    tasks = [{"name": str(place), "state": state} for place, state in enumerate(states)]
    assert [task["name"] for task in shown(tasks, 3)] == ["1", "3", "5"]
    assert shown(tasks, 6) == tasks
