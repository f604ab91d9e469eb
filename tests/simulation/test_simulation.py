"""A short run of the simulator; ``make simulate`` is a long one."""

from __future__ import annotations

import os

import pytest

from tests.simulation.simulator import run

#: Workflows; each is played under three schedules.
WORKFLOWS = 1000
ROW = 100
#: The same each time, so that a failure is the change's; long runs draw their own.
FIRST = int(os.environ.get("SIMULATION_SEED", 0))


@pytest.mark.parametrize("row", range(WORKFLOWS // ROW))
def test_every_schedule_keeps_the_invariants_and_comes_to_the_same_end(row: int) -> None:
    for seed in range(FIRST + row * ROW, FIRST + (row + 1) * ROW):
        try:
            run(seed)
        except Exception as err:
            err.add_note(f"SIMULATION_SEED={seed}")
            raise


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (656, "a retry that became due while the execution was paused was forgotten"),
        (73, "a join that failed and was tried again waited anew while its action ran"),
        (677, "a parent and its sub-workflow told each other to pause and to go on for ever"),
        (996471346487, "a join failed since a branch that began just then was not there yet"),
        (760256330166, "items that ended after their task did were counted as running"),
        (760256326597, "a join that can be reached no more failed once more at each arrival"),
        (514274232107, "a sub-workflow that goes on was counted as ended"),
    ],
)
def test_what_went_wrong_once_goes_well(seed: int, what: str) -> None:
    run(seed)
