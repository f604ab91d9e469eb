"""What we write to the queue ourselves is what Celery would have written."""

from __future__ import annotations

import json
from pathlib import Path

import redis

from app.broker import Broker, Message
from tests.processes import running, wait_for

STOCK = """
import json, os
from celery import Celery
app = Celery("stock", broker=os.environ["URL"])
app.conf.update(accept_content=["json"], task_ignore_result=True)

@app.task(name="stock.note", bind=True)
def note(self, *args, **kwargs):
    import redis
    request = self.request
    seen = [list(args), kwargs, request.id, request.headers and request.headers.get("colour")]
    redis.Redis.from_url(os.environ["URL"]).rpush("seen", json.dumps(seen))
"""


def test_a_stock_worker_takes_our_messages(clean_redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "stock_app.py").write_text(STOCK)
    broker = Broker(clean_redis_url)
    broker.send(
        [
            Message(task="stock.note", queue="s", args=[1, "ü", {"a": [None]}], id="one"),
            Message(task="stock.note", queue="s", kwargs={"big": 2**70}, id="two"),
            Message(task="stock.note", queue="s", args=["late"], id="x", options={"expires": -1}),
            Message(
                task="stock.note",
                queue="s",
                id="three",
                options={"headers": {"colour": "blue"}, "countdown": 0.3},
            ),
            # One that only Celery itself can write.
            Message(task="stock.note", queue="s", id="four", options={"priority": 0}),
        ]
    )
    broker.close()
    arguments = ["celery", "-A", "stock_app", "worker", "-Q", "s", "-c", "1", "-l", "INFO"]
    environment = {"URL": clean_redis_url, "PYTHONPATH": str(tmp_path)}
    with (
        running(arguments, environment, tmp_path / "worker.log") as worker,
        redis.Redis.from_url(clean_redis_url) as client,
    ):
        wait_for(lambda: client.llen("seen") == 4, what=worker.output)
        seen = {each[2]: each for each in map(json.loads, client.lrange("seen", 0, -1))}
    assert seen["one"][:2] == [[1, "ü", {"a": [None]}], {}]
    assert seen["two"][:2] == [[], {"big": 2**70}]
    assert seen["three"][3] == "blue"
    assert set(seen) == {"one", "two", "three", "four"}
