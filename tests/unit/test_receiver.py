"""The example of a receiver takes what our web hooks sign, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path

from app.notify.webhook import signature

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"


def test_the_example_checks_signatures() -> None:
    signed = runpy.run_path(str(EXAMPLE))["signed"]
    body = b'{"event": "TASK_FAILED"}'
    header = signature("s3cret", body, timestamp=1000)
    assert signed("s3cret", header, body, now=1010)
    assert not signed("s3cret", header, body, now=2000)
    assert not signed("other", header, body, now=1010)
    assert not signed("s3cret", header, body + b" ", now=1010)
    assert not signed("s3cret", "", body, now=1010)
