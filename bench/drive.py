"""The driver: a client of the REST API that starts work, waits for it and checks what came of it.

Clocks are the driver's own. An execution's time runs from just before its POST to the answer in
which it is first seen finished, so the way through HTTP counts in.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

TERMINAL = frozenset({"SUCCESS", "ERROR", "CANCELLED"})
PAGE = 1000


class Wrong(Exception):
    """The service gave a wrong result, or none in time; its figures are worth nothing."""


class Client:
    """One connection that is kept open; not to be shared between threads."""

    def __init__(self, url: str, *, timeout: float = 120.0) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=timeout
        )

    def request(self, method: str, path: str, body: bytes | None = None, type: str = "") -> bytes:
        """The body of the answer; raises Wrong when the service refuses."""
        headers = {"Content-Type": type} if type else {}
        for last in (False, True):
            try:
                if self._connection.sock is None:
                    self._connection.connect()
                    # Headers and body leave in two pieces: do not wait in between.
                    self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connection.request(method, "/v2" + path, body, headers)
                answer = self._connection.getresponse()
                data = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The server has closed an idle connection: once more on a new one. For a POST
                # that is safe here, since each of ours brings the id of what it creates.
                self._connection.close()
                if last:
                    raise
        if answer.status >= 400:
            raise Wrong(f"{method} {path}: {answer.status} {data[:300]!r}")
        return data

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer."""
        return json.loads(self.request("GET", path + ("?" + urlencode(query) if query else "")))

    def upload(self, text: str) -> str:
        """Store the workflow of *text* under a fresh name; the name."""
        start = text.index("bench_")
        stock = text[start : text.index(":", start)]
        name = f"{stock}_{secrets.token_hex(4)}"
        self.request(
            "POST", "/workflows", text.replace(stock, name).encode(), "text/plain; charset=utf-8"
        )
        return name

    def start(self, workflow: str, input: dict[str, Any]) -> str:
        """Start an execution; its id, which we choose, so that no repeated request starts two."""
        execution_id = _new_id()
        body = {"id": execution_id, "workflow_name": workflow, "input": input}
        self.request("POST", "/executions", json.dumps(body).encode(), "application/json")
        return execution_id

    def state(self, execution_id: str) -> str:
        """The state of one execution."""
        return str(self.get(f"/executions/{execution_id}", fields="state")["state"])

    def states(self, workflow: str) -> dict[str, str]:
        """The state of every execution of *workflow*, by id."""
        found: dict[str, str] = {}
        query: dict[str, Any] = {"workflow_name": workflow, "fields": "id,state", "limit": PAGE}
        while True:
            rows = self.get("/executions", **query)["executions"]
            found.update((row["id"], row["state"]) for row in rows)
            if len(rows) < PAGE:
                return found
            query["marker"] = rows[-1]["id"]

    def output(self, execution_id: str) -> Any:
        """The output of an execution that must have ended in SUCCESS."""
        execution = self.get(f"/executions/{execution_id}")
        if execution["state"] != "SUCCESS":
            raise Wrong(
                f"{execution['workflow_name']} ended in {execution['state']}: "
                f"{str(execution.get('state_info'))[:300]}"
            )
        return json.loads(execution["output"])

    def tasks(self, execution_id: str) -> Iterator[dict[str, Any]]:
        """The tasks of an execution."""
        query: dict[str, Any] = {"fields": "id,name,state", "limit": PAGE}
        while True:
            rows = self.get(f"/executions/{execution_id}/tasks", **query)["tasks"]
            yield from rows
            if len(rows) < PAGE:
                return
            query["marker"] = rows[-1]["id"]


def _new_id() -> str:
    text = secrets.token_hex(16)
    return "-".join((text[:8], text[8:12], "4" + text[13:16], "8" + text[17:20], text[20:]))


@dataclass
class Driver:
    """Starts work on one service and waits for it."""

    url: str
    #: Seconds after which work that has not ended counts as lost.
    patience: float = 300.0
    #: How long an execution of a kind took last time, to know when to begin to look.
    _expected: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = Client(self.url)

    def one(self, kind: str, workflow: str, input: dict[str, Any]) -> tuple[str, float]:
        """Run one execution to its end; its id and the seconds.

        Looking costs the service time that it lacks for the work. So the driver sleeps for most
        of what the last execution of this *kind* took, and only then looks every few
        milliseconds.
        """
        began = time.perf_counter()
        execution_id = self.client.start(workflow, input)
        expected = self._expected.get(kind)
        pause = 0.05 if expected is None else max(0.002, expected * 0.02)
        if expected is not None:
            time.sleep(max(0.0, began + 0.8 * expected - time.perf_counter()))
        while (state := self.client.state(execution_id)) not in TERMINAL:
            if time.perf_counter() - began > self.patience:
                raise Wrong(f"{workflow} is still {state} after {self.patience:g} s")
            time.sleep(pause)
        took = time.perf_counter() - began
        self._expected[kind] = min(took, expected or took)
        return execution_id, took

    def many(
        self,
        workflow: str,
        inputs: Sequence[dict[str, Any]],
        *,
        clients: int = 4,
        gap: float = 0.0,
        pause: float = 0.05,
    ) -> tuple[float, dict[str, int], dict[str, float]]:
        """Run executions at once (or one each *gap* seconds).

        The seconds from the first POST to the last seen end; which input each id had; and the
        seconds that each execution took.
        """
        places: dict[str, int] = {}
        begun: dict[str, float] = {}
        took: dict[str, float] = {}
        lock = threading.Lock()
        began = time.perf_counter()
        todo = iter(range(len(inputs)))

        def work(client: Client) -> None:
            while True:
                with lock:
                    place = next(todo, None)
                if place is None:
                    return
                if gap:
                    time.sleep(max(0.0, began + place * gap - time.perf_counter()))
                at = time.perf_counter()
                execution_id = client.start(workflow, inputs[place])
                with lock:
                    places[execution_id], begun[execution_id] = place, at

        with together([lambda: work(Client(self.url)) for _ in range(clients)]):
            while len(took) < len(inputs):
                time.sleep(pause)
                now = time.perf_counter()
                states = self.client.states(workflow)
                seen = time.perf_counter()
                with lock:
                    for execution_id, at in begun.items():
                        if execution_id not in took and states.get(execution_id) in TERMINAL:
                            took[execution_id] = seen - at
                if now - began > self.patience:
                    left = len(inputs) - len(took)
                    raise Wrong(f"{left} of {len(inputs)} executions of {workflow} did not end")
        wall = max(begun[each] + took[each] for each in took) - began
        return wall, places, took

    def rate(
        self, request: Callable[[Client], object], *, clients: int, seconds: float
    ) -> tuple[float, list[float]]:
        """Let each of *clients* send requests for *seconds*: requests per second, latencies."""
        latencies: list[float] = []
        lock = threading.Lock()
        end = time.perf_counter() + seconds

        def work(client: Client) -> None:
            mine = []
            while (at := time.perf_counter()) < end:
                request(client)
                mine.append(time.perf_counter() - at)
            with lock:
                latencies.extend(mine)

        began = time.perf_counter()
        with together([lambda: work(Client(self.url)) for _ in range(clients)]):
            pass
        return len(latencies) / (time.perf_counter() - began), sorted(latencies)

    def drained(self, workflow: str, expected: int) -> None:
        """Wait until all executions of *workflow* have succeeded, and none is missing."""
        began = time.perf_counter()
        while True:
            states = self.client.states(workflow)
            if len(states) == expected and set(states.values()) <= {"SUCCESS"}:
                return
            ended_badly = {state for state in states.values() if state in TERMINAL - {"SUCCESS"}}
            if ended_badly or time.perf_counter() - began > self.patience:
                raise Wrong(
                    f"of {expected} executions of {workflow} {len(states)} are there: "
                    f"{sorted(set(states.values()))}"
                )
            time.sleep(0.25)


class together:  # noqa: N801  (reads as a statement: with together([...]))
    """Run functions in threads of their own; leaving waits for them and raises what they raised."""

    def __init__(self, functions: Sequence[Callable[[], None]]) -> None:
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[each]) for each in functions]

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as err:
            self._errors.append(err)

    def __enter__(self) -> None:
        for each in self._threads:
            each.start()

    def __exit__(self, *exc: object) -> None:
        for each in self._threads:
            each.join()
        if self._errors:
            raise self._errors[0]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of the sorted *values* lie."""
    return values[min(len(values) - 1, max(0, round(share * (len(values) - 1))))]
