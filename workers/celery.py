"""The Celery applications that workers and beat start from.

``celery -A workers.celery`` knows every task of ours; ``celery -A workers.celery:executor`` only
those of one role, and so takes up the memory of one role: an executor has no use for a database
driver. Making an application reads the settings and connects to nothing.
"""

from __future__ import annotations

import gc
import importlib
import logging
from collections.abc import Iterable
from typing import Any

from celery import Celery, signals

from app.broker import celery_settings
from app.config import Config
from app.services.ticks import TICK
from workers import schedule, solo, transport
from workers.process import Process

#: Applications of this module by name, and the modules that have their tasks.
ROLES = {
    "app": ("engine", "scheduler", "triggers", "foreign", "executor", "notifier"),
    "engine": ("engine", "scheduler", "triggers", "foreign"),
    "executor": ("executor",),
    "notifier": ("notifier",),
    "beat": (),
}


def __getattr__(name: str) -> Celery:
    """The application of a role, made when Celery asks for it."""
    if name not in ROLES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = create_worker_app(Config.from_env(), ROLES[name])
    return made


def create_worker_app(config: Config, modules: Iterable[str] = ROLES["app"]) -> Celery:
    """A Celery application with the tasks of *modules*, set up for *config*."""
    app = Celery("celeriac", set_as_current=False)
    settings = celery_settings(config.broker_url)
    if config.broker_url.startswith("redis"):
        settings["broker_transport"] = "workers.transport:Transport"
        settings["broker_transport_options"] |= transport.OPTIONS
    app.conf.update(settings)
    app.conf.update(
        # Only the engine takes more than its processes can work on at once; it says so on its
        # command line. An executor that hoards starves its neighbours.
        worker_prefetch_multiplier=1,
        # The strategy that gathers events decides itself what is in hand after a reconnect.
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=10.0,
        beat_scheduler="redbeat.RedBeatScheduler",
        beat_max_loop_interval=TICK,
        redbeat_redis_url=config.redis_url,
        redbeat_redis_options={"retry_period": 30, "socket_timeout": 10.0},
        redbeat_key_prefix="celeriac:redbeat:",
        redbeat_lock_timeout=10,
    )
    app.conf.beat_schedule = schedule.entries(config)
    process = Process(config)
    app.steps["consumer"].add(solo.Watch)
    for name in modules:
        importlib.import_module(f"workers.{name}").register(app, process)

    @signals.worker_ready.connect(weak=False)
    @signals.worker_before_create_process.connect(weak=False)
    def freeze(**_: Any) -> None:
        # What is there before the work begins need not be looked at by each collection, and what
        # is there before a fork stays shared: no child's collector writes to it.
        gc.collect()
        gc.freeze()

    @signals.worker_process_init.connect(weak=False)
    def forget_inherited(**_: Any) -> None:
        process.forget()

    @signals.after_setup_logger.connect(weak=False)
    def quieten(**_: Any) -> None:
        # A line per message or tick costs more than the message.
        for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
            logging.getLogger(name).setLevel(logging.WARNING)

    return app
