"""What happens to executions: as pages, and live as Server-Sent Events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import Response, current_app, request
from flask.views import MethodView

from app.models import LogEvent
from app.models.types import dumps
from app.services import event_log, live
from app.services.actors import require
from app.services.errors import Refused
from app.services.live import Item, Over, Quiet

from . import executions
from .blueprint import Blueprint, Call, Schema
from .connections import cut_who_does_not_read
from .fields import BadValue, DateTime, Flag, Integer, Object, Text

blp = Blueprint("events", __name__, url_prefix="/v2", description="What happened, and happens")

#: The type that asks for a stream instead of a page.
STREAM = "text/event-stream"
#: Seconds for which a client may leave unread what it was sent, until its stream is cut off.
PATIENCE = 30.0
_HIGHEST = 2**63 - 1


class Position(Integer):
    """A place in the event log."""

    doc = {"type": "integer", "minimum": 0}

    def read_text(self, name: str, text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) > _HIGHEST:
            raise BadValue(name, ascii(text[:40])[1:-1], "Expected the number of an event")
        return int(text)


class Event(Schema):
    """One thing that happened to an execution."""

    id = Integer("Its place among the events of all executions.")
    number = Integer("Its place among the events of its execution, from 1 and without gaps.")
    workflow_execution_id = Text("The execution it happened to.")
    root_execution_id = Text("The execution at the top of the tree.")
    event = Text("WORKFLOW_LAUNCHED, TASK_SUCCEEDED, ...; null for a change without a name.")
    data = Object("What publishers are told.")
    created_at = DateTime()


class Events(Schema):
    """A page of events."""

    events = ma.fields.List(ma.fields.Nested(Event), required=True)
    next = Text("Where the next page is; absent when there is none yet.")


class EventsQuery(Schema):
    """Which events."""

    after = Position("Only events after this number (of one execution) or id (of all).")
    limit = Integer("Most events of a page; 100 if it is not given.")


class AllEventsQuery(EventsQuery):
    """Which events."""

    all_projects = Flag("Those of all projects; for administrators.")


_SHOWN = tuple(Event.attributes())


@blp.route("/executions/<id>/events")
class EventsOfExecution(MethodView):
    @blp.operation(
        policy="executions:get",
        query=EventsQuery,
        returns=(200, Events),
        errors=[404],
        session=False,
    )
    def get(self, call: Call, id: str) -> Any:
        """List the events of an execution, or follow them.

        With ``Accept: text/event-stream`` the answer is a stream of Server-Sent Events that begins
        after ``Last-Event-ID`` and ends with an event named ``end`` when the execution has ended.
        """
        after = _after(call)
        with call.platform.database.read() as call._session:
            executions.check(call, id)
            if not _wants_stream():
                limit = _limit(call)
                rows = event_log.read(call.session, id, after=after, limit=limit)
                return _page(rows, limit, last=lambda row: row.number)
        return _stream(
            lambda streams: streams.of_execution(id, after=after), place=lambda row: row.number
        )


@blp.route("/events")
class EventsOfAll(MethodView):
    @blp.operation(
        policy="executions:list", query=AllEventsQuery, returns=(200, Events), session=False
    )
    def get(self, call: Call) -> Any:
        """List the events of all executions, or follow them.

        With ``Accept: text/event-stream`` the answer is a stream of Server-Sent Events. It begins
        after ``Last-Event-ID`` (or ``after``), and with what happens now when neither is given.
        """
        if call.query.get("all_projects"):
            require(call.actor, "executions:list:all_projects")
        project_id = None if call.query.get("all_projects") else call.actor.project_id
        after = _after(call)
        with call.platform.database.read() as call._session:
            if not _wants_stream():
                limit = _limit(call)
                rows, upto = live.read_settled(
                    call.session, project_id=project_id, after=after, limit=limit
                )
                body = {"events": [Event.show(row, _SHOWN) for row in rows]}
                return body if upto == after else body | {"next": _link(upto, limit)}
            if not after and "after" not in call.query and not request.headers.get("Last-Event-ID"):
                after = event_log.last_id(call.session)
        return _stream(
            lambda streams: streams.of_all(project_id=project_id, after=after),
            place=lambda row: row.id,
        )


def _wants_stream() -> bool:
    return request.accept_mimetypes.best_match(["application/json", STREAM]) == STREAM


def _after(call: Call) -> int:
    """Where to begin: where the client was, or where it asks for."""
    given = request.headers.get("Last-Event-ID")
    if given:
        return Position().read_text("Last-Event-ID", given)
    return int(call.query.get("after", 0))


def _limit(call: Call) -> int:
    limit = call.query.get("limit")
    if limit is not None and limit <= 0:
        raise Refused("Limit must be positive.")
    return int(min(limit or 100, call.platform.config.max_limit))


def _page(rows: list[LogEvent], limit: int, *, last: Callable[[LogEvent], int]) -> dict[str, Any]:
    body: dict[str, Any] = {"events": [Event.show(row, _SHOWN) for row in rows]}
    if len(rows) == limit:
        body["next"] = _link(last(rows[-1]), limit)
    return body


def _link(after: int, limit: int) -> str:
    arguments = {**request.args, "after": str(after), "limit": str(limit)}
    return f"{request.base_url}?{urlencode(arguments)}"


def _stream(
    follow: Callable[[live.Streams], Iterator[Item]], *, place: Callable[[LogEvent], int]
) -> Response:
    """A response that lasts as long as there is something to tell."""
    streams: live.Streams = current_app.extensions["celeriac"].streams
    with ExitStack() as taken:
        taken.enter_context(streams.one())
        cut_who_does_not_read(PATIENCE)
        response = Response(
            _texts(follow(streams), place),
            content_type=f"{STREAM}; charset=utf-8",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        response.call_on_close(taken.pop_all().close)
    return response


def _texts(items: Iterator[Item], place: Callable[[LogEvent], int]) -> Iterator[str]:
    yield "retry: 1000\n\n"
    for item in items:
        if isinstance(item, Quiet):
            yield ": nothing new\n\n"
        elif isinstance(item, Over):
            yield "event: end\ndata: {}\n\n"
        else:
            name = item.event or "CHANGE"
            data = dumps(Event.show(item, _SHOWN))
            yield f"id: {place(item)}\nevent: {name}\ndata: {data}\n\n"
