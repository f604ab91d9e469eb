"""What happens to executions, over HTTP: pages and streams, and letters that were given up."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from app.models import LogEvent
from tests.processes import WEB, Worker, wait_for
from tests.servers import Databases
from tests.servers.process import free_port
from tests.system import System

WORKFLOWS = """
version: '2.0'
three:
  tasks:
    a: {action: std.noop, on-success: b}
    b: {action: std.noop, on-success: c}
    c: {action: std.noop}
waits:
  tasks:
    a: {action: std.async_noop}
"""
STREAM = {"Accept": "text/event-stream"}
MOST = 3


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: Databases,
    migrated_postgres: str,
    redis_url: str,
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("events")
    system = System(
        directory,
        database_url=postgres_server.new_database(template=migrated_postgres),
        redis_url=redis_url,
        CELERIAC_NOTIFY_MAX_ATTEMPTS="1",
        CELERIAC_HTTP_DENIED_NETWORKS="",
        CELERIAC_MAX_STREAMS=str(MOST),
    )
    system.client.flushdb()
    system.define(WORKFLOWS)
    port = free_port()
    web = Worker(
        [*WEB, "--port", str(port), "--blocking-threads", "8"],
        system.environment,
        directory / "web.log",
    )
    system.workers["web"] = web
    system.environment["URL"] = f"http://127.0.0.1:{port}/v2"
    try:
        system.start("engine", "notifier")
        wait_for(lambda: _answers(system), seconds=60, what=web.output)
        yield system
    finally:
        system.stop()


def _answers(whole: System) -> bool:
    try:
        return requests.get(f"{whole.environment['URL']}/workflows", timeout=5).ok
    except requests.ConnectionError:
        return False


def get(whole: System, path: str, **query: Any) -> Any:
    answer = requests.get(f"{whole.environment['URL']}{path}", params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def stream(
    whole: System, path: str, *, after: int | None = None
) -> Iterator[Iterator[dict[str, Any]]]:
    """The events that a stream tells, as they come."""
    headers = STREAM | ({"Last-Event-ID": str(after)} if after is not None else {})
    with requests.get(
        f"{whole.environment['URL']}{path}", headers=headers, stream=True, timeout=60
    ) as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield _events(answer.iter_lines(chunk_size=1, decode_unicode=True))


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            if "event" in event:
                yield event
            event = {}


def test_pages_follow_one_another_without_a_gap(whole: System) -> None:
    execution_id = whole.run("three")
    whole.finished(execution_id)
    path = f"/executions/{execution_id}/events"
    first = get(whole, path, limit=3)
    assert [each["number"] for each in first["events"]] == [1, 2, 3]
    rest = requests.get(first["next"], timeout=60).json()["events"]
    assert [each["number"] for each in rest] == [4, 5, 6]
    everything = get(whole, path)
    assert "next" not in everything
    assert [each["event"] for each in everything["events"]] == [
        "WORKFLOW_LAUNCHED",
        "TASK_LAUNCHED",
        "TASK_SUCCEEDED",
        "TASK_LAUNCHED",
        "TASK_SUCCEEDED",
        "TASK_LAUNCHED",
        "TASK_SUCCEEDED",
        "WORKFLOW_SUCCEEDED",
    ]
    assert everything["events"][0]["data"]["id"] == execution_id


def test_a_stream_tells_all_and_ends_with_the_execution(whole: System) -> None:
    execution_id = whole.run("waits")
    path = f"/executions/{execution_id}/events"
    with stream(whole, path) as events:
        assert [next(events)["event"] for _ in range(2)] == ["WORKFLOW_LAUNCHED", "TASK_LAUNCHED"]
        [action] = get(whole, "/action_executions", workflow_name="waits")["action_executions"]
        done = requests.put(
            f"{whole.environment['URL']}/action_executions/{action['id']}",
            json={"state": "SUCCESS", "output": "{}"},
            timeout=60,
        )
        assert done.ok, done.text
        rest = list(events)
    assert [each["event"] for each in rest] == ["TASK_SUCCEEDED", "WORKFLOW_SUCCEEDED", "end"]
    with stream(whole, path, after=2) as events:
        assert [each.get("id") for each in events] == ["3", "4", None]


def test_the_stream_of_all_misses_nothing_and_repeats_nothing(whole: System) -> None:
    with whole.platform.database.read() as session:
        before = session.scalar(select(func.max(LogEvent.id))) or 0
    seen: list[int] = []
    with stream(whole, "/events", after=before) as events:
        ids = {whole.run("three") for _ in range(30)}
        ended: set[str] = set()
        for each in events:
            data = json.loads(each["data"])
            seen.append(int(each["id"]))
            if each["event"] == "WORKFLOW_SUCCEEDED":
                ended.add(data["workflow_execution_id"])
            if ended == ids:
                break
    with whole.platform.database.read() as session:
        written = session.scalars(select(LogEvent.id).where(LogEvent.id > before)).all()
    assert seen == sorted(set(seen))
    assert set(seen) == set(written)


def test_streams_are_few_and_their_places_are_given_back(whole: System) -> None:
    execution_id = whole.run("waits")
    path = f"/executions/{execution_id}/events"
    url = f"{whole.environment['URL']}{path}"

    def status() -> int:
        with requests.get(url, headers=STREAM, stream=True, timeout=60) as answer:
            return answer.status_code

    wait_for(lambda: status() == 200, seconds=60)
    answers = []
    try:
        while len(answers) <= MOST:
            answers.append(requests.get(url, headers=STREAM, stream=True, timeout=60))
        last = next(each for each in answers if each.status_code == 503)
        assert last.headers["Retry-After"] == "5"
        assert "event streams open" in last.json()["faultstring"]
    finally:
        for each in answers:
            each.close()
    requests.put(
        f"{whole.environment['URL']}/executions/{execution_id}",
        json={"state": "CANCELLED"},
        timeout=60,
    )
    wait_for(lambda: status() == 200, seconds=60)


@pytest.mark.parametrize("place", ["-1", "x", "1" * 30])
def test_a_place_that_is_none_is_refused(whole: System, place: str) -> None:
    answer = requests.get(
        f"{whole.environment['URL']}/events", headers={"Last-Event-ID": place}, timeout=60
    )
    assert answer.status_code == 400
    assert "Expected the number of an event" in answer.json()["faultstring"]


def test_who_does_not_exist_has_no_events(whole: System) -> None:
    url = f"{whole.environment['URL']}/executions/no/events"
    assert requests.get(url, timeout=60).status_code == 404
    assert requests.get(url, headers=STREAM, timeout=60).status_code == 404


class Receiver(http.server.BaseHTTPRequestHandler):
    """Refuses events until it is told to take them."""

    taken: list[str] = []
    willing = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Receiver.willing:
            Receiver.taken.append(body["event"])
        self.send_response(200 if Receiver.willing else 500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_dead_letters_are_listed_and_sent_again(whole: System) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = whole.environment["URL"]
    try:
        hook = {
            "type": "webhook",
            "url": f"http://127.0.0.1:{server.server_port}/",
            "headers": {"X-Key": "canary"},
            "event_types": ["WORKFLOW_SUCCEEDED"],
        }
        started = requests.post(
            f"{url}/executions",
            json={"workflow_name": "three", "params": json.dumps({"notify": [hook]})},
            timeout=60,
        ).json()

        def dead() -> Any:
            return get(whole, "/notifications", state="dead")["notifications"]

        [letter] = wait_for(dead, seconds=60, what=whole.logs)
        assert letter["workflow_execution_id"] == started["id"]
        assert letter["publisher"]["headers"] == "***"
        assert "500" in letter["last_error"]
        assert get(whole, f"/notifications/{letter['id']}") == letter
        Receiver.willing = True
        again = requests.post(f"{url}/notifications/resend", timeout=60)
        assert again.json() == {"resent": 1}
        wait_for(lambda: Receiver.taken == ["WORKFLOW_SUCCEEDED"], seconds=60, what=whole.logs)
        wait_for(lambda: not get(whole, "/notifications")["notifications"], seconds=60)
        assert requests.get(f"{url}/notifications/{letter['id']}", timeout=60).status_code == 404
    finally:
        server.shutdown()
        server.server_close()


def test_the_command_line_follows_the_stream(whole: System) -> None:
    execution_id = whole.run("three")
    url = whole.environment["URL"]
    seen = run_celeriac("executions", "events", execution_id, "--follow", "--json", url=url)
    assert [json.loads(line)["number"] for line in seen.splitlines()] == list(range(1, 9))
    listed = run_celeriac("executions", "events", execution_id, url=url)
    assert "TASK_SUCCEEDED" in listed
    assert len(listed.splitlines()) == 8
    assert "SUCCESS" in run_celeriac("executions", "watch", execution_id, url=url)
    assert run_celeriac("notifications", "list", "--json", url=url).strip() == "[]"
    assert "0 events" in run_celeriac("notifications", "resend", "--all", url=url)


def run_celeriac(*arguments: str, url: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments, "--url", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
