"""``python -m tests.simulation``: a long run, or one that failed once more."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.simulation.simulator import SCHEDULES, Violation, run

#: Seeds that one process plays before it reports.
ROW = 50


def play(seeds: range) -> list[tuple[int, str]]:
    """Play *seeds*; those that failed, and why."""
    failed = []
    for seed in seeds:
        try:
            run(seed)
        except (Violation, Exception) as err:
            failed.append((seed, f"{type(err).__name__}: {err}"))
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to play")
    parser.add_argument("--seed", type=int, help="the first seed; drawn if it is not given")
    parser.add_argument("--failures", type=Path, default=Path("simulation-failures.json"))
    parser.add_argument("--replay", type=Path, help="play the seeds in this file again")
    options = parser.parse_args()
    if options.replay:
        for seed in json.loads(options.replay.read_text()):
            print(f"seed {seed}")
            run(seed)
        print("nothing failed")
        return 0
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(2**40)
    print(f"first seed {first}")
    end = time.monotonic() + options.seconds
    played, failed, at = 0, [], first
    width = 2 * (os.cpu_count() or 1)
    with ProcessPoolExecutor() as pool:
        while time.monotonic() < end:
            rows = [range(at + n * ROW, at + (n + 1) * ROW) for n in range(width)]
            at = rows[-1].stop
            for found in pool.map(play, rows):
                failed.extend(found)
            played += ROW * len(rows)
    print(f"{played} workflows, {played * SCHEDULES} schedules, {len(failed)} failed")
    for seed, cause in failed[:20]:
        print(f"seed {seed}: {cause[:500]}")
    if failed:
        options.failures.write_text(json.dumps([seed for seed, _ in failed]))
        print(f"again: python -m tests.simulation --replay {options.failures}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
