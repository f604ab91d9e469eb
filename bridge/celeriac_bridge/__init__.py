"""Tells Celeriac in full what the tasks of a Celery application do.

``install(app)`` is all there is to call. Tasks that Celeriac sent carry a header that says what
they belong to; all others are left alone.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import traceback as tracebacks

from celery import signals

__all__ = ["install", "progress"]

log = logging.getLogger(__name__)

#: Name of the header by which Celeriac says what a task belongs to.
HEADER = "celeriac"
#: Most characters of a traceback that are sent; the end is what counts.
LONGEST = 20_000

_installed = set()


def install(app, *, heartbeat=10.0):
    """Report on the tasks of *app* that Celeriac sends; a sign of life each *heartbeat* seconds."""
    if id(app) in _installed:
        return
    _installed.add(id(app))
    reporter = _Reporter(app, heartbeat)
    signals.task_prerun.connect(reporter.begun, weak=False)
    signals.task_postrun.connect(reporter.ended, weak=False)
    signals.task_failure.connect(reporter.failed, weak=False)
    signals.task_retry.connect(reporter.retried, weak=False)


def progress(task, fraction=None, **more):
    """Tell how far a bound *task* is: a fraction of 1, and whatever else is worth knowing."""
    header = _header(task.request)
    if header:
        told = dict(more) if fraction is None else {"fraction": fraction, **more}
        _send(task.app, header, "BEAT", owner=_owner(), lease=_lease(), progress=told)


class _Reporter:
    """Listens to Celery's signals in one process."""

    def __init__(self, app, heartbeat):
        global _heartbeat
        _heartbeat = heartbeat
        self._app = app
        self._heartbeat = heartbeat
        self._running = {}
        self._pid = None

    def begun(self, task=None, task_id=None, **_):
        header = self._mine(task)
        if not header:
            return
        # Celery's own word of a failure says less than ours and would come first. Should this
        # process die, the worker's main process still has it, and sends it.
        task.request.errbacks = [
            each
            for each in task.request.errbacks or []
            if not (isinstance(each, dict) and each.get("task") == header["task"])
        ]
        if self._pid != os.getpid():
            # Threads do not survive a fork, nor does what the parent ran.
            self._pid, self._running = os.getpid(), {}
            threading.Thread(target=self._beat, name="celeriac-bridge", daemon=True).start()
        self._running[task_id] = header
        _send(self._app, header, "BEAT", owner=_owner(), lease=_lease())

    def ended(self, task_id=None, **_):
        self._running.pop(task_id, None)

    def failed(self, sender=None, task_id=None, exception=None, traceback=None, **_):
        header = self._mine(sender)
        if not header:
            return
        # Of a lost process or a hard time limit the main process tells; no frames are known.
        text = "".join(
            tracebacks.format_exception(type(exception), exception, traceback)
            if hasattr(traceback, "tb_frame")
            else [str(exception)]
        )
        error = {
            "error": type(exception).__name__,
            "message": str(exception),
            "traceback": text[-LONGEST:],
        }
        _send(self._app, header, "ERROR", error=error)

    def retried(self, sender=None, request=None, reason=None, **_):
        header = _header(request)
        if header and sender is not None and sender.app is self._app:
            told = {"retries": (request.retries or 0) + 1, "reason": str(reason)}
            # Until it runs again nobody gives signs of life.
            _send(self._app, header, "BEAT", owner=_owner(), lease=_lease(), progress=told)

    def _mine(self, task):
        return _header(task.request) if task is not None and task.app is self._app else None

    def _beat(self):
        wait = threading.Event()
        while True:
            wait.wait(self._heartbeat)
            for header in list(self._running.values()):
                _send(self._app, header, "BEAT", owner=_owner(), lease=_lease())


_heartbeat = 10.0


def _lease():
    return 3 * _heartbeat


def _owner():
    return f"{socket.gethostname()}:{os.getpid()}"


def _header(request):
    found = getattr(request, HEADER, None)
    if found is None:
        found = (getattr(request, "headers", None) or {}).get(HEADER)
    return found


def _send(app, header, outcome, **more):
    try:
        app.send_task(
            header["task"],
            kwargs={
                "action_id": header["action_id"],
                "execution_id": header["execution_id"],
                "outcome": outcome,
                **more,
            },
            queue=header["queue"],
            serializer="json",
            ignore_result=True,
        )
    except Exception:
        # The task matters more than the word of it.
        log.warning("Celeriac could not be told of %s", header["action_id"], exc_info=True)
