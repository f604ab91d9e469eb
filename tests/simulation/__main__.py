"""``python -m tests.simulation``: a long run, or one that failed once more."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from app.models import Database
from app.models.migrate import upgrade
from tests.simulation import service, simulator

#: Seeds that one process plays before it reports.
ROW = 50


def play(seeds: Sequence[int], services: bool = False) -> list[tuple[int, str]]:
    """Play *seeds*; those that failed, and why."""
    failed = []
    with _runner(services) as run:
        for seed in seeds:
            failed.extend(_failure(run, seed))
    return failed


@contextmanager
def _runner(services: bool) -> Iterator[Callable[[int], None]]:
    """What plays one seed: the conductor alone, or the services on SQLite."""
    if not services:
        yield simulator.run
        return
    logging.disable(logging.CRITICAL)  # Simulated failures are many.
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/simulation.db")
        upgrade(database)
        yield lambda seed: service.run(database, seed)
        database.engine.dispose()


def _failure(run: Callable[[int], None], seed: int) -> list[tuple[int, str]]:
    try:
        run(seed)
    except Exception as err:
        return [(seed, f"{type(err).__name__}: {err}")]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to play")
    parser.add_argument("--seed", type=int, help="the first seed; drawn if it is not given")
    parser.add_argument("--failures", type=Path, default=Path("simulation-failures.json"))
    parser.add_argument("--replay", type=Path, help="play the seeds in this file again")
    parser.add_argument(
        "--services",
        action="store_true",
        help="the engine's services on SQLite, not the core alone",
    )
    options = parser.parse_args()
    if options.replay:
        failed = play(json.loads(options.replay.read_text()), options.services)
        print(*(f"seed {seed}: {cause}" for seed, cause in failed), sep="\n")
        print(f"{len(failed)} failed")
        return 1 if failed else 0
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(2**40)
    print(f"first seed {first}")
    end = time.monotonic() + options.seconds
    played, failed, at = 0, [], first
    width = 2 * (os.cpu_count() or 1)
    with ProcessPoolExecutor() as pool:
        while time.monotonic() < end:
            rows = [range(at + n * ROW, at + (n + 1) * ROW) for n in range(width)]
            at = rows[-1].stop
            for found in pool.map(play, rows, [options.services] * len(rows)):
                failed.extend(found)
            played += ROW * len(rows)
    schedules = played * (2 if options.services else simulator.SCHEDULES)
    print(f"{played} workflows, {schedules} schedules, {len(failed)} failed")
    for seed, cause in failed[:20]:
        print(f"seed {seed}: {cause[:500]}")
    if failed:
        options.failures.write_text(json.dumps([seed for seed, _ in failed]))
        print(f"again: python -m tests.simulation --replay {options.failures}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
