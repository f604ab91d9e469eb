"""The Celery application that every worker and beat start from: ``celery -A workers.celery``.

Importing it reads the settings and connects to nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, signals

from app.broker import celery_settings
from app.config import Config
from workers import engine, executor, foreign, notifier, scheduler, transport, triggers
from workers.process import Process


def create_worker_app(config: Config) -> Celery:
    """A Celery application with all tasks of ours, set up for *config*."""
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
        beat_max_loop_interval=1,
        redbeat_redis_url=config.redis_url,
        redbeat_redis_options={"retry_period": 30, "socket_timeout": 10.0},
        redbeat_key_prefix="celeriac:redbeat:",
        redbeat_lock_timeout=10,
    )
    process = Process(config)
    engine.register(app, process)
    scheduler.register(app, process)
    executor.register(app, config)
    notifier.register(app, process)
    triggers.register(app, process)
    foreign.register(app, process)

    @signals.worker_process_init.connect(weak=False)
    def forget_inherited(**_: Any) -> None:
        process.forget()

    @signals.after_setup_logger.connect(weak=False)
    def quieten(**_: Any) -> None:
        # A line per message or tick costs more than the message.
        for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
            logging.getLogger(name).setLevel(logging.WARNING)

    return app


app = create_worker_app(Config.from_env())
