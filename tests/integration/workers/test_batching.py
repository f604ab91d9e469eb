"""Messages become batches, and each is acknowledged when it is done and not before."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from app.broker import Broker, Message
from tests.integration.workers.conftest import TASK, Send, Start
from tests.processes import Worker, wait_for


@pytest.fixture(params=["prefork", "solo", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def numbered(count: int, first: int = 0, **extra: Any) -> list[dict[str, Any]]:
    return [{"n": n, **extra} for n in range(first, first + count)]


def calls(client: redis.Redis) -> list[list[int]]:
    """The numbers of the events of each call."""
    return [
        [event["n"] for events in json.loads(each).values() for event in events]
        for each in client.lrange("calls", 0, -1)
    ]


def applied(client: redis.Redis) -> list[str]:
    return client.lrange("applied", 0, -1)


def in_hand(client: redis.Redis) -> int:
    """Messages that were received and not acknowledged."""
    return int(client.hlen("celeriac.in_hand")) + int(client.hlen("unacked"))


def seen(client: redis.Redis, worker: Worker) -> str:
    """What can be told of messages that do not arrive."""
    lists = {key: client.llen(key) for key in ("toy", "calls", "applied", "parked")}
    return f"{lists}, in hand {in_hand(client)}\n{worker.output()}"


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock transport"])
def test_what_gathers_while_a_call_runs_becomes_one_call(
    start: Start, client: redis.Redis, send: Send, pool: str, stock: bool
) -> None:
    with start(pool=pool, stock=stock) as worker:
        worker.ready()
        send({"n": 0, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 1, what=worker.output)
        send(*numbered(60, 1))
        if pool != "solo":  # which reads nothing while it works
            wait_for(lambda: in_hand(client) == 61, what=worker.output)
        client.set("go", 1)
        wait_for(lambda: client.llen("applied") == 61, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert calls(client)[0] == [0]
        assert list(range(1, 61)) == [n for call in calls(client)[1:] for n in call]
        if not (stock and pool == "solo"):  # where they arrive one by one
            # Who works itself hands the next one over alone, as the first one came.
            assert len(calls(client)) == (3 if pool == "solo" else 2)
        assert client.llen("toy") == 0


def test_a_batch_is_no_larger_than_allowed(start: Start, client: redis.Redis, send: Send) -> None:
    send(*numbered(250))
    with start() as worker:
        wait_for(lambda: client.llen("applied") == 250, what=worker.output)
        assert max(len(call) for call in calls(client)) <= 100
        assert [n for call in calls(client) for n in call] == list(range(250))


def test_several_processes_work_on_several_batches(
    start: Start, client: redis.Redis, send: Send
) -> None:
    with start(concurrency=2) as worker:
        worker.ready()
        send({"n": 0, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 1, what=worker.output)
        send({"n": 1})
        wait_for(lambda: applied(client) == ["x:1"], what=worker.output)
        client.set("go", 1)
        wait_for(lambda: client.llen("applied") == 2, what=worker.output)


def test_a_killed_worker_loses_nothing(
    start: Start, client: redis.Redis, send: Send, pool: str
) -> None:
    with start(pool=pool) as worker:
        worker.ready()
        send({"n": 0, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 1, what=worker.output)
        send(*numbered(20, 1))
        if pool != "solo":  # which reads nothing while it works
            wait_for(lambda: client.llen("toy") == 0, what=worker.output)
        worker.kill()
    assert in_hand(client) + client.llen("toy") == 21
    client.set("go", 1)
    with start(pool=pool) as worker:
        wait_for(lambda: client.llen("applied") == 21, seconds=40, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
    assert sorted(applied(client)) == sorted(f"x:{n}" for n in range(21))


def test_a_killed_process_of_the_pool_costs_only_a_moment(
    start: Start, client: redis.Redis, send: Send
) -> None:
    with start() as worker:
        worker.ready()
        send({"n": 0, "do": "die once"}, *numbered(20, 1))
        wait_for(lambda: client.llen("applied") == 21, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert client.llen("parked") == 0
        # Later messages are worked on together again.
        client.delete("calls")
        send(*numbered(20, 30))
        wait_for(lambda: client.llen("applied") == 41, what=worker.output)
        assert len(calls(client)) <= 3


@pytest.mark.parametrize("poison", ["fail", "die"])
def test_poison_is_found_and_parked_and_the_rest_applied(
    start: Start, client: redis.Redis, send: Send, poison: str
) -> None:
    with start() as worker:
        worker.ready()
        send(*numbered(5), {"n": 5, "do": poison, "e": "bad"}, *numbered(5, 6))
        wait_for(lambda: client.llen("parked") == 1, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert client.llen("toy") == 0
    [parked] = client.lrange("parked", 0, -1)
    execution_id, event, _cause = json.loads(parked)
    assert (execution_id, event["n"]) == ("bad", 5)
    assert set(applied(client)) == {f"x:{n}" for n in range(11) if n != 5}


@pytest.mark.parametrize(
    "poison",
    [{"do": "die"}, {"do": "hang"}, {"do": "die once"}],
    ids=["that kills", "that hangs", "that kills once"],
)
def test_poison_that_takes_the_main_process_with_it_is_found_in_a_child(
    start: Start, client: redis.Redis, send: Send, poison: dict[str, str]
) -> None:
    limits = {"TOY_HUNG": "8", "TOY_LIMIT": "1"}
    with start(pool="solo", **limits) as worker:
        worker.ready()
        send(*numbered(5), {"n": 5, **poison, "e": "bad"}, *numbered(5, 6))
        wait_for(lambda: worker.popen.poll() is not None, what=worker.output)
        if poison["do"] == "hang":
            assert "_do" in worker.output()  # it says where it hung
    with start(pool="solo", **limits) as worker:
        wait_for(lambda: client.llen("applied") >= 10, seconds=40, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert worker.popen.poll() is None
        assert client.llen("toy") == 0
        # Later messages are no worse for it.
        send({"n": 20})
        wait_for(lambda: "x:20" in applied(client), what=worker.output)
    parked = [json.loads(each) for each in client.lrange("parked", 0, -1)]
    if poison["do"] == "die once":
        assert parked == []
        assert "bad:5" in applied(client)
    else:
        [(execution_id, event, _cause)] = parked
        assert (execution_id, event["n"]) == ("bad", 5)
    assert set(applied(client)) >= {f"x:{n}" for n in range(11) if n != 5}


def test_what_is_no_message_is_put_aside(start: Start, client: redis.Redis, send: Send) -> None:
    tagless = {"body": "", "properties": {"delivery_info": {"routing_key": "toy"}}}
    odd = ["no JSON", "[]", "{}", json.dumps(tagless)]
    with start() as worker:
        worker.ready()
        for number, text in enumerate(odd):
            client.lpush("toy", text)
            send({"n": number})
        wait_for(lambda: client.llen("applied") == len(odd), what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
    assert sorted(client.lrange("celeriac.in_hand.unreadable", 0, -1)) == sorted(odd)


def test_a_message_that_is_no_event_is_parked(
    start: Start, client: redis.Redis, clean_redis_url: str, send: Send
) -> None:
    broker = Broker(clean_redis_url)
    broker.send([Message(task=TASK, queue="toy", args=[1, "nonsense"])])
    broker.close()
    send({"n": 1})
    with start() as worker:
        wait_for(lambda: client.llen("parked") == 1, what=lambda: seen(client, worker))
        wait_for(lambda: applied(client) == ["x:1"], what=lambda: seen(client, worker))
        wait_for(lambda: in_hand(client) == 0, what=lambda: seen(client, worker))


def test_nothing_is_parked_while_the_database_is_away(
    start: Start, client: redis.Redis, send: Send, pool: str
) -> None:
    with start(pool=pool) as worker:
        worker.ready()
        send({"n": 0, "do": "away"}, *numbered(5, 1))
        wait_for(lambda: client.llen("calls") >= 2, what=worker.output)
        assert in_hand(client) == 6
        client.set("back", 1)
        wait_for(lambda: set(applied(client)) >= {f"x:{n}" for n in range(6)}, what=worker.output)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert client.llen("parked") == 0


@pytest.mark.parametrize(
    ("pool", "remap", "seconds"),
    [
        ("prefork", {}, 20),
        # As soon as the call has ended, not after a grace period.
        ("solo", {}, 5),
        ("solo", {"REMAP_SIGTERM": "SIGQUIT"}, 5),
    ],
    ids=["prefork", "solo", "solo, cold"],
)
def test_a_shutdown_finishes_the_call_and_gives_the_rest_back(
    start: Start,
    client: redis.Redis,
    send: Send,
    pool: str,
    remap: dict[str, str],
    seconds: float,
) -> None:
    with start(pool=pool, **remap) as worker:
        worker.ready()
        send({"n": 0, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 1, what=worker.output)
        send(*numbered(10, 1))
        if pool != "solo":  # which reads nothing while it works
            wait_for(lambda: client.llen("toy") == 0, what=worker.output)
        worker.popen.terminate()
        kind = "Cold" if remap else "Warm"
        wait_for(lambda: f"{kind} shutdown" in worker.output(), what=worker.output)
        client.set("go", 1)
        worker.popen.wait(seconds)
    assert applied(client) == ["x:0"]
    assert in_hand(client) == 0
    assert client.llen("toy") == 10
    with start(pool=pool) as worker:
        wait_for(lambda: client.llen("applied") == 11, what=worker.output)
    assert sorted(applied(client)) == sorted(f"x:{n}" for n in range(11))


def test_an_event_is_held_until_its_time(
    start: Start, client: redis.Redis, send: Send, pool: str
) -> None:
    with start(pool=pool) as worker:
        worker.ready()
        due = time.time() + 0.8
        send({"n": 1}, due=due)
        send({"n": 2})
        wait_for(lambda: applied(client) == ["x:2"], what=worker.output)
        wait_for(lambda: len(applied(client)) == 2, what=worker.output)
        assert due - 0.02 <= time.time() < due + 0.3


def test_held_events_that_ripen_together_become_one_call(
    start: Start, client: redis.Redis, send: Send, pool: str
) -> None:
    with start(pool=pool) as worker:
        worker.ready()
        send(*numbered(60), due=time.time() + 2.0)
        wait_for(lambda: len(applied(client)) == 60, what=worker.output)
        # One, where all come at once and nothing keeps the worker from looking in time.
        assert len(calls(client)) <= 10


def test_messages_in_hand_of_a_living_worker_stay_there(
    start: Start, client: redis.Redis, send: Send, pool: str
) -> None:
    """Although the time after which silent workers lose theirs is shorter than the call takes."""
    with start(pool=pool) as worker, start(pool=pool) as other:
        worker.ready()
        other.ready()
        send({"n": 0, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 1, what=worker.output)
        [(_, first)] = client.zrange("celeriac.in_hand.since", 0, -1, withscores=True)

        def renewed() -> bool:
            [(_, now)] = client.zrange("celeriac.in_hand.since", 0, -1, withscores=True)
            return bool(now > first + 1)

        wait_for(renewed, what=worker.output)
        client.set("go", 1)
        wait_for(lambda: in_hand(client) == 0, what=worker.output)
        assert client.llen("calls") == 1
