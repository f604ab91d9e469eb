"""Signals of this process: what was committed, for whoever wants to know here and now.

They are a hint and a hook for plug-ins, never the way anything reliable travels: a process that
dies after its commit sends none. Handlers run in the thread that committed, after the commit;
what they raise is logged and harms nobody.

    from app.services.signals import execution_events

    @execution_events.connect
    def count(sender, entries):
        ...
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from blinker import Namespace
from sqlalchemy import event
from sqlalchemy.orm import Session

_namespace = Namespace()

#: Events of executions were committed; ``entries`` is a list of ``event_log.LogEntry``.
execution_events = _namespace.signal("execution-events")

_PENDING = "celeriac.execution_events"

log = logging.getLogger(__name__)


def announce_after_commit(session: Session, entries: Sequence[Any]) -> None:
    """Send *entries* as a signal once *session* has committed; nothing happens if it does not.

    Without listeners it costs one look at a dictionary.
    """
    if not execution_events.receivers:
        return
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "after_commit", _announce)
        event.listen(session, "after_rollback", _forget)
    session.info[_PENDING].append((session.get_nested_transaction(), list(entries)))


def _announce(session: Session) -> None:
    if session.in_nested_transaction():
        # A savepoint was released: nothing is certain yet.
        return
    pending, session.info[_PENDING] = session.info[_PENDING], []
    entries = [entry for _, some in pending for entry in some]
    if not entries:
        return
    for receiver in execution_events.receivers_for("event-log"):
        try:
            receiver("event-log", entries=entries)
        except Exception:
            # Somebody else's handler must not fail a transaction that is already committed.
            log.exception("a handler of execution events failed")


def _forget(session: Session) -> None:
    savepoint = session.get_nested_transaction()
    if savepoint is None:
        session.info[_PENDING] = []
    else:
        session.info[_PENDING] = [
            each for each in session.info[_PENDING] if each[0] is not savepoint
        ]


__all__ = ["announce_after_commit", "execution_events"]
