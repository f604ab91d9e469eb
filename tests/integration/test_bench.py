"""The bench runs from beginning to end, and everything that it measures gives right results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_small_run_measures_every_row_and_finds_nothing_wrong(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = {row["key"]: row for row in json.loads(results.read_text())["rows"]}
    assert [key for key, row in rows.items() if row["problem"]] == []
    # No word on how fast: this machine may be busy with anything.
    for key in ("items dispatched", "fan inline", "post", "list", "SQLite swarm inline"):
        assert rows[key]["medians"][0] > 0
        assert rows[key]["verdict"] in ("reached", "missed")
    assert "raw Celery" in done.stdout
