"""What arrives on a bus of events, in the forms in which it is sent.

A plain message is a JSON object with ``event_type`` and, if the sender likes, ``payload``,
``publisher``, ``timestamp``, ``context`` and ``message_id``. OpenStack's services wrap theirs in
an envelope (``oslo.message``), and name context and publisher in their own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.models.types import loads
from app.services.triggers import BusMessage

#: Name of the Redis stream of an exchange and a topic.
STREAM = "celeriac:events:{}:{}"
_CONTEXT = "_context_"


class BadEvent(ValueError):
    """A message is no event; the text says what was expected."""


def parse(exchange: str, topic: str, body: bytes | str, *, id: str | None = None) -> BusMessage:
    """The event that *body* tells of; *id* is the bus's own, for messages that name none."""
    try:
        data = loads(body.decode() if isinstance(body, bytes) else body)
        if isinstance(data, Mapping) and isinstance(data.get("oslo.message"), str):
            data = loads(data["oslo.message"])
    except ValueError as err:
        raise BadEvent(f"expected JSON: {err}") from err
    if not isinstance(data, Mapping):
        raise BadEvent(f"expected a JSON object, got {type(data).__name__}")
    event_type = data.get("event_type")
    if not isinstance(event_type, str) or not event_type:
        raise BadEvent("expected an object with event_type, a text")
    return BusMessage(
        exchange=exchange,
        topic=topic,
        event_type=event_type,
        id=_text(data.get("message_id")) or id,
        payload=data.get("payload"),
        publisher=_text(data.get("publisher") or data.get("publisher_id")),
        timestamp=_text(data.get("timestamp")),
        context=_context(data),
    )


def _context(data: Mapping[str, Any]) -> dict[str, Any]:
    given = data.get("context") or data.get("ctxt")
    context = dict(given) if isinstance(given, Mapping) else {}
    for key, value in data.items():
        if key.startswith(_CONTEXT):
            context.setdefault(key.removeprefix(_CONTEXT), value)
    if "project_id" not in context and "tenant" in context:
        context["project_id"] = context["tenant"]
    if "user_id" not in context and "user" in context:
        context["user_id"] = context["user"]
    return context


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
