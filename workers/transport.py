"""Kombu's Redis transport, receiving many messages at once and none of them twice for long.

What Kombu does with each message (pop it, note that it is in hand, take the note away) is three
round trips and several commands; here it is a share of one: a row is popped and noted together, and
the notes of messages done with are taken away on that occasion. Some more things follow from
doing it in Redis itself:

- A message is popped and noted in one step. Kombu loses those it has popped when it dies before
  it noted them; of ours only the first of a row, which woke us up, can be lost so.
- Where messages come one at a time, nobody waits for the note: the first of a row is handed over
  while Redis is still asked for what there is besides.
- A worker that lives keeps telling that it has its messages in hand, and so the time after which
  they are given to another can be short. Kombu's must be longer than the longest task, since it
  is counted from the arrival, and a dead worker's messages wait for as long.
- All times are Redis's own.

The keys of messages in hand are not Kombu's usual ones, so that other applications on the same
Redis, which count differently, leave ours alone. Messages themselves are as everywhere.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kombu.transport import redis, virtual
from kombu.utils.json import loads

from app import transport

log = logging.getLogger(__name__)

#: Most messages taken at once.
ROW = 100
#: Seconds after which messages of a worker that has gone silent are given to another.
VISIBILITY = 15.0
#: Seconds between two looks for such messages, and between two signs of life.
INTERVAL = 4.0
#: Longest seconds until Redis is told of a message that is done with, if no others come meanwhile.
UNTOLD = 0.05
#: Most messages done with of which it is told at once.
TOLD = 1000

OPTIONS = {
    "visibility_timeout": VISIBILITY,
    "unacked_restore_interval": INTERVAL,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 1000,
    "unacked_key": "celeriac.in_hand",
    "unacked_index_key": "celeriac.in_hand.since",
    "unacked_mutex_key": "celeriac.in_hand.mutex",
}

# Notes the message that woke us up (ARGV[1], may be empty), pops up to ARGV[2] more and notes
# them. A note is what Kombu writes: [message, exchange, routing key]. What cannot be read is put
# aside, or it would come back for ever. Further arguments are tags of messages done with.
_TAKE = """
local done = {unpack(ARGV, 3)}
if #done > 0 then
  redis.call('ZREM', KEYS[3], unpack(done))
  redis.call('HDEL', KEYS[2], unpack(done))
end
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local items = {}
if ARGV[1] ~= '' then items[1] = ARGV[1] end
local more = tonumber(ARGV[2])
if more > 0 then
  local popped = redis.call('RPOP', KEYS[1], more)
  if popped then for _, item in ipairs(popped) do items[#items + 1] = item end end
end
local good = {}
for _, item in ipairs(items) do
  local read, message = pcall(cjson.decode, item)
  local properties = read and type(message) == 'table' and message.properties
  if type(properties) == 'table' and type(properties.delivery_info) == 'table'
    and type(properties.delivery_tag) == 'string' then
    local tag = properties.delivery_tag
    local info = properties.delivery_info
    local note = '[' .. item .. ',' .. cjson.encode(info.exchange or '') .. ','
      .. cjson.encode(info.routing_key or '') .. ']'
    redis.call('ZADD', KEYS[3], now, tag)
    redis.call('HSET', KEYS[2], tag, note)
    good[#good + 1] = item
  else
    redis.call('LPUSH', KEYS[2] .. '.unreadable', item)
  end
end
return good
"""

# Gives back messages whose time of last sign of life is more than ARGV[1] seconds ago, at most
# ARGV[2] of them; returns the tags of those that only Kombu knows where to put.
_RESTORE = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local tags = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])
local rest = {}
for _, tag in ipairs(tags) do
  local note = redis.call('HGET', KEYS[1], tag)
  if not note then
    redis.call('ZREM', KEYS[2], tag)
  else
    local read, parts = pcall(cjson.decode, note)
    local tail = read and ',' .. cjson.encode(parts[2]) .. ',' .. cjson.encode(parts[3]) .. ']'
    if read and parts[2] == '' and string.sub(note, -#tail) == tail then
      local item = string.sub(note, 2, #note - #tail)
      item = string.gsub(item, '"delivery_info":%s*{', '"delivery_info":{"redelivered":true,', 1)
      redis.call('RPUSH', parts[3], item)
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
    else
      rest[#rest + 1] = tag
    end
  end
end
return rest
"""

_RENEW = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, tag) end
"""


class QoS(redis.QoS):
    """The messages in hand of one channel."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: True while messages are delivered that Redis has noted already.
        self.noted = False
        #: Messages done with, of which Redis is to be told.
        self._done: deque[str] = deque()

    def append(self, message: Any, delivery_tag: str) -> None:
        if self.noted:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Note that a message is done with; Redis is told with the next row, or soon."""
        self._done.append(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    @property
    def owes(self) -> bool:
        """True when there is something to tell."""
        return bool(self._done)

    def take_done(self) -> list[str]:
        """The tags of at most ``TOLD`` messages done with; the caller tells, or gives them back."""
        # One by one: in a pool of threads, others are done at the same time.
        return [self._done.popleft() for _ in range(min(TOLD, len(self._done)))]

    def untold(self, done: Sequence[str]) -> None:
        """Give back what could not be told."""
        self._done.extendleft(reversed(done))

    def tell(self) -> None:
        """Tell Redis what is done with."""
        while self._done:
            done = self.take_done()
            try:
                with self.channel.conn_or_acquire() as client:
                    pipe = client.pipeline(transaction=True)
                    pipe.zrem(self.unacked_index_key, *done)
                    pipe.hdel(self.unacked_key, *done)
                    pipe.execute()
            except BaseException:
                self.untold(done)
                raise

    def renew(self) -> None:
        """Say that the messages in hand are in hand still."""
        tags = [tag for tag in list(self._delivered) if tag not in self._dirty]
        if not tags:
            return
        with self.channel.conn_or_acquire() as client:
            for row in _rows(tags, 1000):
                client.eval(_RENEW, 1, self.unacked_index_key, *row)

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Give back the messages of workers that have gone silent."""
        with self.channel.conn_or_acquire() as client:
            rest = client.eval(
                _RESTORE,
                2,
                self.unacked_key,
                self.unacked_index_key,
                self.visibility_timeout,
                num or 1000,
            )
            for tag in rest:
                self.restore_by_tag(tag, client)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            self.tell()
        except Exception as err:
            # Of whatever kind: a channel may outlive its connection, and then lacks all it needs.
            log.warning("could not acknowledge, they will come again: %r", err)
        super().restore_unacked_once(stderr)


@dataclass(frozen=True, slots=True)
class _Row:
    """Messages that Redis was asked for and has yet to give."""

    queue: str
    #: The one that woke us up.
    first: Any
    #: Tags of messages that it was told are done with.
    done: Sequence[str]
    #: True when the first is handed over already.
    ahead: bool


class Channel(transport.Channel):
    """A channel that takes messages in rows."""

    QoS = QoS

    #: The row that its connection waits for; in Kombu's eyes it is being polled until then.
    _row: _Row | None = None
    #: True when the last row was but the message that had woken us up.
    _was_alone = False

    @property
    def awaits_row(self) -> bool:
        """True while Redis is asked for messages and has yet to answer."""
        return self._row is not None

    def _brpop_start(self, timeout: Any = None) -> None:
        self._forget_row()
        super()._brpop_start(timeout)

    def _brpop_read(self, **options: Any) -> bool:
        """Read what came: the message that woke us up, or its row."""
        try:
            if self._row is not None or not self._wake(options):
                self._receive_row()
        except self.connection_errors:
            self._forget_row()
            self.client.connection.disconnect()
            raise
        finally:
            if self._row is None:
                self._in_poll = None
        return True

    def _wake(self, options: Any) -> bool:
        """Read the message that woke us up, and ask for its row; True if it is handed over."""
        reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
        if not reply:
            raise redis.Empty
        key, first = reply
        queue = redis.bytes_to_str(key).rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        ending = self.closed or self._closing
        message = _read(first) if self._was_alone and not ending else None
        row = _Row(queue, first, self.qos.take_done(), ahead=message is not None)
        self._ask_for_row(key, row, ending)
        if message is not None:
            self._hand_over(message, queue)
        return row.ahead

    def _ask_for_row(self, key: Any, row: _Row, ending: bool) -> None:
        credit = self.qos.can_consume_max_estimate()
        more = 0 if ending else ROW if credit is None else max(0, min(ROW, credit - 1))
        self._row = row
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(
            *("EVAL", _TAKE, 3, key, self.unacked_key, self.unacked_index_key),
            *(row.first, more, *row.done),
        )

    def _receive_row(self) -> None:
        """Read the row, and hand its messages over."""
        row = self._row
        assert row is not None
        try:
            items: Sequence[Any] = self.client.connection.read_response()
        except BaseException:
            self._forget_row()
            raise
        self._row = None
        self._was_alone = items == [row.first]
        for item in items:
            if not row.ahead or item != row.first:
                self._hand_over(loads(redis.bytes_to_str(item)), row.queue)

    def _forget_row(self) -> None:
        """Give up the row whose connection is gone; what it told may not have arrived."""
        row, self._row = self._row, None
        if row is not None:
            self.qos.untold(row.done)

    def _hand_over(self, message: Any, queue: str) -> None:
        self.qos.noted = True
        try:
            self.connection._deliver(message, queue)
        finally:
            self.qos.noted = False


def _read(item: Any) -> dict[str, Any] | None:
    """A message, unless it is one that would be put aside."""
    try:
        message: dict[str, Any] = loads(redis.bytes_to_str(item))
        tag = message["properties"]["delivery_tag"]
        info = message["properties"]["delivery_info"]
    except (ValueError, TypeError, KeyError):
        return None
    return message if isinstance(tag, str) and isinstance(info, dict) else None


class Poller(redis.MultiChannelPoller):
    """Waits for messages, and uses the time between."""

    def __init__(self) -> None:
        super().__init__()
        #: Calls a function in so many seconds; None where there is no loop that could.
        self.later: Callable[[float, Callable[[], None]], Any] | None = None
        self._will_tell = False

    def on_poll_start(self) -> None:
        if self.later is None:
            self._tell()
        elif not self._will_tell and any(each.qos.owes for each in self._listening()):
            self._will_tell = True
            self.later(UNTOLD, self._tell)
        super().on_poll_start()

    def _listening(self) -> list[Channel]:
        # A copy, made in one go: the thread that renews asks while channels come and go.
        return [each for each in list(self._channels) if each.active_queues]

    def _tell(self) -> None:
        self._will_tell = False
        for channel in self._listening():
            if channel.awaits_row:
                # Else the end of a message could be told before it is noted to be in hand.
                continue
            try:
                channel.qos.tell()
            except channel.connection_errors as err:
                log.warning("could not acknowledge, they will come again: %s", err)

    def renew(self) -> None:
        """Say that the messages in hand are in hand still; may be called from any thread."""
        for channel in self._listening():
            try:
                channel.qos.renew()
            except Exception as err:
                # The loop that reads messages deals with the connection.
                log.debug("could not renew the messages in hand: %s", err)

    def maybe_restore_messages(self) -> None:
        self.renew()
        super().maybe_restore_messages()


class Transport(transport.Transport):
    """The transport of workers, with our channel."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        super().register_with_event_loop(connection, loop)
        self.cycle.later = loop.call_later


def _rows(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while row := list(islice(rest, size)):
        yield row
