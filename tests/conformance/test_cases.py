"""Every recorded case, against a running Celeriac, on each kind of database."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
#: Cases that run at the same time. Most of them wait most of the time.
JOBS = 8
#: How often a case that failed next to others is tried again, alone.
AGAIN = 1


def _load(name: str) -> ModuleType:
    """The runner is no part of a package: it also runs alone."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


harness = _load("harness")


@pytest.mark.timeout(900)
def test_a_case_comes_out_as_recorded(service: str) -> None:
    areas = [area for area in os.environ.get("CONFORMANCE_AREAS", "").split(",") if area]
    cases = harness.find_cases([str(HERE / "cases")], (), areas)
    assert cases
    results = harness.run_many(service, cases, jobs=JOBS)
    for _ in range(AGAIN):
        # Many cases at once may make one of them miss its moments; that says nothing.
        failed = [result.case for result in results if not result.passed]
        results = [result for result in results if result.passed]
        results += harness.run_many(service, failed, jobs=1, patience=2.0)
    failures = {
        result.case["case"]: result.crash or result.diff.hard
        for result in results
        if not result.passed
    }
    assert len(results) == len(cases)
    assert not failures, f"{len(failures)} of {len(results)} cases: {failures}"
