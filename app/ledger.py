"""The ledger: who has claimed an action, and its result, in Redis.

It makes an action run in one place at a time although its message may come twice. One key per
action execution holds either a claim with a lease, or the result. All times are the server's,
so that clocks of different machines may differ.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.commands.core import Script

from app import redis_client

#: Seconds a claim is remembered beyond its lease, so that a dead executor can be told from an
#: action that nobody ever began.
CLAIM_KEPT = 24 * 3600.0
#: Seconds a request to stop is remembered.
STOP_KEPT = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Absent:
    """Nobody has begun the action, or Redis lost what it knew."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An executor runs the action now."""

    owner: str
    #: Seconds until the lease ends unless it is renewed.
    seconds: float


@dataclass(frozen=True, slots=True)
class Expired:
    """An executor had begun the action and did not renew its lease: it is gone."""

    owner: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The action ended; this is the result that was stored."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Somebody asked for the action to be stopped before it began."""


#: A claim was granted.
GRANTED = True
Standing = Absent | Claimed | Expired | Finished

# A claim is stored as ``C|<runs>|<attempt>|<end of lease in ms>|<owner>``, a result as
# ``R|<JSON>``. Runs counts how often the action was begun.
_CLAIM = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 'S' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('GET', KEYS[1])
local runs = 1
if old then
  if string.sub(old, 1, 1) == 'R' then return old end
  local n, attempt, ends, owner = string.match(old, '^C|(%d+)|(%d+)|(%d+)|(.*)$')
  if tonumber(ends) > now then return 'L' .. (tonumber(ends) - now) .. '|' .. owner end
  if tonumber(attempt) >= tonumber(ARGV[2]) and ARGV[4] == '0' then return 'X' .. owner end
  if tonumber(n) >= tonumber(ARGV[6]) then return 'X' .. owner end
  runs = n + 1
end
local claim = string.format('C|%d|%s|%.0f|%s', runs, ARGV[2], now + ARGV[3], ARGV[1])
redis.call('SET', KEYS[1], claim, 'PX', ARGV[3] + ARGV[5])
return 'C'
"""

# Returns S when the action is to stop, C when the lease is renewed (also after Redis lost it),
# and N when the claim is somebody else's or the action is over.
_RENEW = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 'S' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('GET', KEYS[1])
local runs = 1
if old then
  local n, attempt, ends, owner = string.match(old, '^C|(%d+)|(%d+)|(%d+)|(.*)$')
  if owner ~= ARGV[1] or attempt ~= ARGV[2] then return 'N' end
  runs = n
end
local claim = string.format('C|%d|%s|%.0f|%s', runs, ARGV[2], now + ARGV[3], ARGV[1])
redis.call('SET', KEYS[1], claim, 'PX', ARGV[3] + ARGV[4])
return 'C'
"""

# Both or neither: what is stored is also sent.
_FINISH_AND_PUSH = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('LPUSH', KEYS[2], ARGV[3])
"""

# A sign of life of a worker that is not ours: the last one counts, whoever it is.
_BEAT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('GET', KEYS[1])
if old and string.sub(old, 1, 1) == 'R' then return 0 end
local claim = string.format('C|1|1|%.0f|%s', now + ARGV[2], ARGV[1])
redis.call('SET', KEYS[1], claim, 'PX', ARGV[2] + ARGV[3])
return 1
"""

# The claim stays as one whose lease has ended, so that the count of runs is not lost.
_RELEASE = """
local old = redis.call('GET', KEYS[1])
if not old then return 0 end
local n, attempt, ends, owner = string.match(old, '^C|(%d+)|(%d+)|(%d+)|(.*)$')
if owner ~= ARGV[1] or attempt ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], string.format('C|%d|%d|0|%s', n, attempt, owner), 'KEEPTTL')
return tonumber(n)
"""


# Who is in keeps its place; who is new gets one if there is room. Places whose lease is over are
# free.
_ENTER = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Ledger:
    """What Redis knows of running and finished actions. Making one opens no connection."""

    def __init__(
        self, url: str, *, prefix: str = "celeriac:", socket_timeout: float = 10.0
    ) -> None:
        self._prefix = prefix
        self.client = redis_client.client(url, decode_responses=True, socket_timeout=socket_timeout)
        self._claim: Script = self.client.register_script(_CLAIM)
        self._renew: Script = self.client.register_script(_RENEW)
        self._beat: Script = self.client.register_script(_BEAT)
        self._finish_and_push: Script = self.client.register_script(_FINISH_AND_PUSH)
        self._enter: Script = self.client.register_script(_ENTER)
        self._release: Script = self.client.register_script(_RELEASE)

    # --- for executors --------------------------------------------------------------------

    def claim(
        self,
        action_id: str,
        attempt: int,
        *,
        owner: str,
        lease: float,
        again: bool = False,
        max_runs: int = 3,
    ) -> bool | Finished | Claimed | Expired | Stopped:
        """Claim the run *attempt* of an action; True when it is ours to run now.

        Otherwise what stands in the way. A claim whose lease ended is taken over when *again*
        allows it or *attempt* is a later one, but an action is begun *max_runs* times at most:
        one that kills its executor must not kill them all.
        """
        answer: str = self._claim(
            keys=[self.key(action_id), self.stop_key(action_id)],
            args=[
                owner,
                attempt,
                int(lease * 1000),
                "1" if again else "0",
                int(CLAIM_KEPT * 1000),
                max_runs,
            ],
        )
        match answer[0]:
            case "C":
                return GRANTED
            case "R":
                return Finished(json.loads(answer[2:]))
            case "S":
                return Stopped()
            case "X":
                return Expired(answer[1:])
        left, _, holder = answer[1:].partition("|")
        return Claimed(holder, int(left) / 1000)

    def renew(self, action_id: str, attempt: int, owner: str, lease: float) -> bool:
        """Extend a lease; False when the action is to stop, or is no longer ours."""
        return self.renew_all([(action_id, attempt)], owner, lease)[0] == "C"

    def renew_all(self, actions: Sequence[tuple[str, int]], owner: str, lease: float) -> list[str]:
        """Extend many leases at once; for each ``C``, or ``S`` to stop, or ``N`` not ours."""
        pipe = self.client.pipeline(transaction=False)
        for action_id, attempt in actions:
            self._renew(
                keys=[self.key(action_id), self.stop_key(action_id)],
                args=[owner, attempt, int(lease * 1000), int(CLAIM_KEPT * 1000)],
                client=pipe,
            )
        return [str(each) for each in pipe.execute()]

    def beat(self, action_id: str, *, owner: str, lease: float) -> None:
        """Note a sign of life from a worker that is not ours; the next is due within *lease*."""
        self._beat(
            keys=[self.key(action_id)], args=[owner, int(lease * 1000), int(CLAIM_KEPT * 1000)]
        )

    def miss(self, action_id: str) -> int:
        """Note that nobody knew of an action; how often in a row that was so."""
        key = f"{self._prefix}missed:{action_id}"
        pipe = self.client.pipeline(transaction=True)
        pipe.incr(key)
        pipe.pexpire(key, int(CLAIM_KEPT * 1000))
        return int(pipe.execute()[0])

    def found(self, action_id: str) -> None:
        """Note that somebody knew of an action: what was missed before does not count."""
        self.client.unlink(f"{self._prefix}missed:{action_id}")

    def set_progress(self, action_id: str, progress: Any, *, keep: float = 3600.0) -> None:
        """Note how far a running action is."""
        key = f"{self._prefix}progress:{action_id}"
        self.client.set(key, json.dumps(progress), px=int(keep * 1000))

    def progress(self, action_id: str) -> Any:
        """How far a running action is, as it told last; None if it told nothing."""
        text: Any = self.client.get(f"{self._prefix}progress:{action_id}")
        return None if text is None else json.loads(text)

    def release(self, action_id: str, attempt: int, owner: str) -> int:
        """End our claim without a result; how often the action was begun, 0 if it is not ours."""
        return int(
            self._release(keys=[self.key(action_id)], args=[owner, attempt]) or 0  # type: ignore[arg-type]
        )

    def enter(self, pool: str, action_id: str, *, limit: int, lease: float) -> bool:
        """Take, or keep, one of the *limit* places of a pool for *lease* seconds."""
        lasts = int(lease * 1000)
        return bool(self._enter(keys=[self.pool_key(pool)], args=[action_id, limit, lasts]))

    def leave(self, pool: str, action_id: str) -> None:
        """Give back the place of an action."""
        self.client.zrem(self.pool_key(pool), action_id)

    def finish(
        self, action_id: str, attempt: int, result: Mapping[str, Any], *, keep: float
    ) -> None:
        """Store the result for *keep* seconds."""
        self.finish_text(action_id, json.dumps(result), keep=keep)

    def finish_text(
        self, action_id: str, text: str, *, keep: float, push: tuple[str, bytes] | None = None
    ) -> None:
        """Store a result given as JSON *text*; at the same moment push a message to a list.

        *push* is the list's key and the message, where the broker is this same Redis.
        """
        if push is None:
            self.client.set(self.key(action_id), "R|" + text, px=int(keep * 1000))
            return
        queue, message = push
        self._finish_and_push(
            keys=[self.key(action_id), queue], args=["R|" + text, int(keep * 1000), message]
        )

    # --- for whoever waits for a result -----------------------------------------------------

    def reply(self, action_id: str, text: str, *, keep: float = 60.0) -> None:
        """Wake up who waits for the result of an action, and hand it over."""
        key = f"{self._prefix}reply:{action_id}"
        pipe = self.client.pipeline(transaction=True)
        pipe.rpush(key, text)
        pipe.pexpire(key, int(keep * 1000))
        pipe.execute()

    def wait(self, action_id: str, *, timeout: float) -> Mapping[str, Any] | None:
        """The result of an action that was sent with ``sync_reply``; None when it takes longer.

        Waits in steps shorter than the socket's timeout.
        """
        key = f"{self._prefix}reply:{action_id}"
        left = timeout
        while left > 0:
            step = min(left, 5.0)
            answer: Any = self.client.blpop([key], timeout=step)
            if answer is not None:
                return dict(json.loads(answer[1]))
            left -= step
        found = self.look([action_id])[action_id]
        return found.result if isinstance(found, Finished) else None

    # --- for the sweeper --------------------------------------------------------------------

    def look(self, action_ids: Sequence[str]) -> dict[str, Standing]:
        """How each action stands, in one round trip."""
        if not action_ids:
            return {}
        pipe = self.client.pipeline(transaction=False)
        pipe.time()
        pipe.mget([self.key(each) for each in action_ids])
        (seconds, micros), values = pipe.execute()
        now = seconds * 1000 + micros // 1000
        return {each: _standing(value, now) for each, value in zip(action_ids, values, strict=True)}

    def forget(self, action_ids: Sequence[str]) -> None:
        """Drop what is known of actions, when their results are applied for good."""
        if action_ids:
            self.client.unlink(*(self.key(each) for each in action_ids))

    # --- stopping ---------------------------------------------------------------------------

    def stop(self, action_ids: Iterable[str]) -> None:
        """Have these actions stopped: those that run, and those that would begin."""
        ids = list(action_ids)
        pipe = self.client.pipeline(transaction=False)
        for each in ids:
            pipe.set(self.stop_key(each), "1", px=int(STOP_KEPT * 1000))
        # The flags are what counts; this is only quick.
        pipe.publish(self.stop_channel, json.dumps(ids))
        pipe.execute()

    @property
    def stop_channel(self) -> str:
        """The Redis channel on which ids of actions to be stopped are told at once."""
        return f"{self._prefix}stop"

    def is_stopped(self, action_id: str) -> bool:
        """Whether somebody asked for this action to be stopped."""
        return bool(self.client.exists(self.stop_key(action_id)))

    # --- the server -------------------------------------------------------------------------

    def epoch(self) -> str:
        """A word that stays the same until Redis loses its data."""
        key = f"{self._prefix}epoch"
        new = secrets.token_hex(8)
        old = self.client.set(key, new, nx=True, get=True)
        return str(old) if old else new

    def ping(self) -> None:
        """Raise redis.RedisError unless the server answers."""
        self.client.ping()

    def close(self) -> None:
        """Close the connections of this process."""
        self.client.close()

    def key(self, action_id: str) -> str:
        """Where the claim or the result of an action stands."""
        return f"{self._prefix}action:{action_id}"

    def pool_key(self, pool: str) -> str:
        """Where it stands which actions have a place of a pool, each with the end of its lease."""
        return f"{self._prefix}pool:{pool}"

    def stop_key(self, action_id: str) -> str:
        """Where it stands that an action is to stop."""
        return f"{self._prefix}stop:{action_id}"


def _standing(value: str | None, now: int) -> Standing:
    if value is None:
        return Absent()
    if value.startswith("R|"):
        return Finished(json.loads(value[2:]))
    _, _, _, ends, owner = value.split("|", 4)
    left = int(ends) - now
    return Claimed(owner, left / 1000) if left > 0 else Expired(owner)
