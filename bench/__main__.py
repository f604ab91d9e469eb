"""``python -m bench``: starts everything, measures, prints the table and writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench import rows as table
from bench.drive import Driver, Wrong
from bench.measures import QUICK, TARGET, Lab, Sizes, chain, items
from bench.raw_celery import RawCelery, raw_celery
from bench.rows import Row
from bench.service import Service, service
from tests.servers import postgres, redis_server

PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "psycopg", "flask", "granian", "yaql")


@dataclass
class Outcome:
    """What came of one row."""

    row: Row
    deployment: str
    #: The figures of each repetition.
    figures: list[tuple[float, ...]] = field(default_factory=list)
    #: Raw Celery's seconds, or the first deployment's figure, beside each repetition.
    beside: list[float] = field(default_factory=list)
    problem: str | None = None

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of each figure."""
        return tuple(statistics.median(each) for each in zip(*self.figures, strict=True))

    @property
    def judged(self) -> tuple[float, ...]:
        """What is held against the aims: a ratio where there is one, else the figures."""
        if self.row.beside == "nothing":
            return self.medians
        ratios = []
        for figures, other in zip(self.figures, self.beside, strict=True):
            # Seconds: less is more throughput. Per second: more is.
            ours, theirs = (other, figures[0]) if self.row.units[0] == "s" else (figures[0], other)
            ratios.append(ours / theirs if self.row.throughput else figures[0] / other)
        return (statistics.median(ratios),)

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``wrong``."""
        if self.problem or not self.figures:
            return "wrong"
        reached = all(
            value <= aim if kind == "most" else value >= aim
            for value, (kind, aim) in zip(self.judged, self.row.aims, strict=True)
        )
        return "reached" if reached else "missed"

    def data(self, sizes: Sizes) -> dict[str, Any]:
        """The outcome as plain data."""
        return {
            "key": self.row.key,
            "name": self.row.name(sizes),
            "deployment": self.deployment,
            "units": self.row.units,
            "figures": self.figures,
            "beside": self.beside,
            "beside_what": self.row.beside,
            "medians": self.medians if self.figures else None,
            "judged": self.judged if self.figures and not self.problem else None,
            "aims": self.row.aims,
            "verdict": self.verdict,
            "problem": self.problem,
        }


def main() -> int:
    """Run the bench as the arguments say; 1 when a result was wrong."""
    arguments = _arguments()
    sizes = Sizes(soak=arguments.soak, stored=arguments.stored)
    if arguments.quick:
        sizes = QUICK
    repeat = 1 if arguments.quick else arguments.repeat
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    began = time.monotonic()
    machine = _machine()
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-bench-")))
        database = stack.enter_context(postgres(fsync=True))
        redis = stack.enter_context(redis_server())
        with database.connect() as connection:
            (machine["postgresql"],) = connection.execute("SHOW server_version").fetchone() or ("",)
        with redis.client() as client:
            machine["redis server"] = str(client.info("server")["redis_version"])
        base = redis.url.rsplit("/", 1)[0]
        raw = stack.enter_context(
            raw_celery(f"{base}/15", processes=2, log=scratch / "raw_celery.log")
        )
        # Two runs before the clock counts: the first of anything is slower.
        raw.group(sizes.fan)
        raw.chain(sizes.chain)
        deployments: list[tuple[str, str, Sequence[Row], dict[str, Any]]] = [
            (
                "one",
                "PostgreSQL, one engine",
                table.FIRST,
                {"database_url": database.new_database("bench_one")},
            ),
            (
                "sqlite",
                "SQLite",
                table.EMBEDDED,
                {
                    "database_url": f"sqlite:///{scratch}/celeriac.db",
                },
            ),
            (
                "two",
                "PostgreSQL, two engines",
                table.TWO_ENGINES,
                {"database_url": database.new_database("bench_two"), "engines": 2},
            ),
        ]
        first: dict[str, Outcome] = {}
        for number, (short, name, rows, options) in enumerate(deployments):
            if arguments.on and short not in arguments.on.split(","):
                continue
            chosen = [row for row in rows if _wanted(row, arguments.only)]
            if not chosen:
                continue
            print(f"{name} ...", file=sys.stderr)
            logs = scratch / str(number)
            logs.mkdir()
            with service(redis_url=f"{base}/{number}", logs=logs, **options) as running:
                if arguments.realtime:
                    _realtime([running, raw, database.process.pid, redis.process.pid])
                lab = Lab(
                    service=running,
                    driver=Driver(running.url),
                    raw=raw,
                    sizes=sizes,
                    database_url=options["database_url"],
                )
                done = _measure(lab, name, chosen, repeat, first)
            outcomes += done
            first = first or {each.row.key: each for each in done}
    machine["minutes"] = round((time.monotonic() - began) / 60, 1)
    _print(console, machine, sizes, outcomes, repeat, realtime=arguments.realtime)
    if arguments.json:
        arguments.json.write_text(
            json.dumps(
                {
                    "machine": machine,
                    "sizes": table.dump(sizes),
                    "repeat": repeat,
                    "realtime": arguments.realtime,
                    "rows": [each.data(sizes) for each in outcomes],
                },
                indent=1,
            )
            + "\n"
        )
    return 1 if any(each.verdict == "wrong" for each in outcomes) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="medians of so many (5)")
    parser.add_argument("--quick", action="store_true", help="everything small: does it run?")
    parser.add_argument("--only", help="rows whose key holds one of these words, comma separated")
    parser.add_argument("--on", help="deployments, comma separated: one, sqlite, two (all)")
    parser.add_argument("--soak", type=int, default=Sizes.soak, help="executions of the memory row")
    parser.add_argument(
        "--stored", type=int, default=Sizes.stored, help="executions stored when lists are read"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("bench-results.json"), help="where the figures go"
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="as root, on a machine that is not quiet: run before all other processes (SCHED_RR)",
    )
    return parser.parse_args()


def _wanted(row: Row, only: str | None) -> bool:
    return only is None or any(word.strip() in row.key for word in only.split(","))


def _measure(
    lab: Lab, deployment: str, chosen: Sequence[Row], repeat: int, first: dict[str, Outcome]
) -> list[Outcome]:
    """Each row as often as wanted, in turns, so that a slow minute hits them all alike."""
    outcomes = [Outcome(row=row, deployment=deployment) for row in chosen]
    for repetition in range(repeat):
        lab.floor.clear()
        if repetition == 0:
            _warm_up(lab, [each for each in outcomes if each.row.key != "idle"])
        for outcome in outcomes:
            row = outcome.row
            if outcome.problem or (row.once and repetition):
                continue
            print(f"  {repetition + 1}/{repeat} {row.name(lab.sizes)}", file=sys.stderr, flush=True)
            try:
                figures = row.measure(lab)
                outcome.figures.append(figures if isinstance(figures, tuple) else (figures,))
                if row.floor:
                    outcome.beside.append(row.floor(lab))
                elif row.beside == "first":
                    outcome.beside.append(_first(first, row).medians[0])
            except (Wrong, OSError, KeyError) as err:
                outcome.problem = f"{type(err).__name__}: {err}"
    return outcomes


def _warm_up(lab: Lab, outcomes: Sequence[Outcome]) -> None:
    """Let every process import, connect and compile before the clock counts."""
    for target in (TARGET, None):
        if any(each.row.key.endswith(("dispatched", "inline")) for each in outcomes):
            for _ in range(2):
                chain(lab, target)
                items(lab, min(100, lab.sizes.items), target)


def _first(first: dict[str, Outcome], row: Row) -> Outcome:
    """The outcome of the same row on the first deployment."""
    for key, outcome in first.items():
        if row.key.endswith(key):
            return outcome
    raise KeyError(f"{row.key} needs the same row of the first deployment in the same run")


def _realtime(what: Sequence[Service | RawCelery | int]) -> None:
    """Put these processes, their children and this one before all others."""
    processes = [psutil.Process()]
    for each in what:
        if isinstance(each, Service):
            processes += each.tree()
        else:
            root = psutil.Process(each if isinstance(each, int) else each.worker.pid)
            processes += [root, *root.children(recursive=True)]
    for process in processes:
        for thread in process.threads():
            os.sched_setscheduler(thread.id, os.SCHED_RR, os.sched_param(1))


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": platform.platform(),
        "processor": f"{psutil.cpu_count()} x {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load before": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def _print(
    console: Console,
    machine: dict[str, Any],
    sizes: Sizes,
    outcomes: Sequence[Outcome],
    repeat: int,
    *,
    realtime: bool,
) -> None:
    console.print("  ".join(f"{name} {value}" for name, value in machine.items()))
    if sizes == QUICK:
        console.print("A quick run: it shows that everything works; its figures mean nothing.")
    console.print(
        f"Medians of {repeat}. PostgreSQL with fsync; one web process, one engine, one executor "
        "of two processes; raw Celery with two processes on the same broker, in turns with the "
        "rest (raw: early acknowledgement, four fetched at a time; Celeriac: late)."
        + (" All under SCHED_RR." if realtime else "")
    )
    shown = Table(show_edge=False, pad_edge=False)
    for name in ("work", "measured", "raw Celery", "ratio", "aim", "verdict"):
        shown.add_column(name, justify="left" if name in ("work", "verdict") else "right")
    for each in outcomes:
        row = each.row
        ratio = row.beside != "nothing"
        if each.problem or not each.figures:
            shown.add_row(row.name(sizes), "", "", "", "", f"wrong: {each.problem}")
            continue
        measured = "  ".join(
            f"{_number(value)} {unit}" for value, unit in zip(each.medians, row.units, strict=True)
        )
        other = f"{_number(statistics.median(each.beside))} {row.units[0]}" if ratio else ""
        if row.beside == "first":
            other = f"({other})"
        aims = "  ".join(
            f"{'<=' if kind == 'most' else '>='} {_number(aim)}{'x' if ratio else ''}"
            for kind, aim in row.aims
        )
        shown.add_row(
            row.name(sizes),
            measured,
            other,
            f"{each.judged[0]:.2f}x" if ratio else "",
            aims,
            each.verdict,
        )
    console.print(shown)
    console.print(
        "ratio: our time over raw Celery's; for inline work, SQLite and two engines the "
        "throughput over theirs, in brackets the figure of PostgreSQL with one engine."
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
