"""The floor: what plain Celery does with the same number of processes on the same broker.

It stores nothing but results in Redis, evaluates no expression and keeps no state, so a service
on top of it can only come near. Its options are Celery's defaults where Celeriac's are stricter:
messages are acknowledged early (Celeriac: late) and a process fetches four at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from celery import Celery, chain, group

from bench.drive import Wrong

QUEUE = "raw"
URL = os.environ.get("BENCH_RAW_URL", "redis://127.0.0.1:6379/1")

app = Celery("bench.raw_celery", broker=URL, backend=URL)
app.conf.update(
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=4,
    task_acks_late=False,
    result_expires=600,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(ignore_result=True)
def noop() -> None:
    """Nothing: what a message costs."""


@app.task
def add(x: int, y: int) -> int:
    """A sum, sent back through the result backend."""
    return x + y


class RawCelery:
    """A worker of two processes, and the seconds that it takes for some work."""

    def __init__(self, url: str, worker: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.worker = worker
        self._redis = redis.Redis.from_url(url)

    def group(self, size: int) -> float:
        """A group of tasks with results, all collected."""
        began = time.perf_counter()
        # Without an interval Celery sleeps for half a second before the last look, which is none
        # of the work.
        tasks = group(add.s(i, 1) for i in range(size))
        total = sum(tasks().get(timeout=300, interval=0.01))
        took = time.perf_counter() - began
        _check(total, size * (size + 1) // 2)
        return took

    def chain(self, length: int) -> float:
        """A chain of tasks, one behind the other; the last result."""
        began = time.perf_counter()
        last = chain(add.s(0, 1), *(add.s(1) for _ in range(length - 1)))().get(timeout=300)
        took = time.perf_counter() - began
        _check(last, length)
        return took

    def swarm(self, size: int) -> float:
        """Tasks without results, sent one by one while the worker works them off."""
        began = time.perf_counter()
        with app.producer_or_acquire() as producer:
            for _ in range(size):
                noop.apply_async(producer=producer)
        # The queue, and what the worker has taken from it and not yet acknowledged.
        while self._redis.llen(QUEUE) + self._redis.hlen("unacked"):  # type: ignore[operator]
            if time.perf_counter() - began > 300:
                raise Wrong("raw Celery did not work off its queue")
            time.sleep(0.002)
        return time.perf_counter() - began


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise Wrong(f"raw Celery gave {found}, expected {expected}")


@contextmanager
def raw_celery(url: str, *, processes: int, log: Path) -> Iterator[RawCelery]:
    """Run a worker on *url* and give what measures it."""
    app.conf.update(broker_url=url, broker_read_url=url, broker_write_url=url, result_backend=url)
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "bench.raw_celery", "worker"),
                *("--pool", "prefork", "--concurrency", str(processes), "--loglevel", "WARNING"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "BENCH_RAW_URL": url},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        add.delay(1, 2).get(timeout=60)
        yield RawCelery(url, worker)
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        app.close()
