"""A Celery application with the executor's tasks only, as a worker process starts it."""

from __future__ import annotations

from celery import Celery

from app.broker import celery_settings
from app.config import Config
from workers import executor

config = Config.from_env()
app = Celery("executor-under-test", set_as_current=False)
app.conf.update(celery_settings(config.broker_url))
app.conf.update(
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_prefetch_count_reduction=False,
)
executor.register(app, config)
