"""A small part of the REST API on a real socket, kept in dictionaries.

Executions step through what a test gives them as a script: at each look at the execution the
next scene is shown, so that a test of live progress needs no clock.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

CREATED = "2026-01-02 03:04:05"


@dataclass
class Scene:
    """How an execution looks at one moment."""

    state: str
    #: Task names and their states.
    tasks: dict[str, str] = field(default_factory=dict)
    output: Any = None
    state_info: str | None = None


class FakeServer:
    """What the server knows, and every request that it got."""

    def __init__(self) -> None:
        self.workflows: dict[str, str] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        #: What an execution goes through, look by look.
        self.script: Sequence[Scene] = [Scene("SUCCESS", output={})]
        #: Answers that replace the usual ones: ``(method, path)`` to ``(status, body)``.
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        #: Workflows that somebody else creates just before our request does.
        self.rivals: dict[str, str] = {}
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: str) -> tuple[int, Any]:
        self.requests.append((method, path, body))
        if (method, path) in self.answers:
            return self.answers[method, path]
        match [method, *path.removeprefix("/v2/").split("/")]:
            case ["GET", "workflows", name]:
                if name in self.workflows:
                    return 200, {"name": name, "definition": self.workflows[name]}
                return 404, _fault(f"Workflow not found [workflow_identifier={name}, namespace=]")
            case [("POST" | "PUT") as verb, "workflows"]:
                names = [name for name in yaml.safe_load(body) if name != "version"]
                if verb == "POST" and self.rivals.keys() & set(names):
                    self.workflows.update(self.rivals)
                    self.rivals = {}
                    return 409, _fault("Duplicate entry for WorkflowDefinition")
                self.workflows.update((name, body) for name in names)
                return 201 if verb == "POST" else 200, {"workflows": [{"name": n} for n in names]}
            case ["POST", "executions"]:
                return 201, self._start(json.loads(body))
            case ["GET", "executions"]:
                found = [self._shown(each) for each in self.executions.values()]
                return 200, _page("executions", found, query, self.url)
            case [_, "executions", id, *_] if id not in self.executions:
                return 404, _fault(f"WorkflowExecution not found [id={id}]")
            case ["GET", "executions", id]:
                execution = self.executions[id]
                execution["looks"] += 1
                return 200, self._shown(execution)
            case ["PUT", "executions", id]:
                wanted = json.loads(body)
                self.executions[id]["forced"] = wanted["state"]
                return 200, self._shown(self.executions[id])
            case ["DELETE", "executions", id]:
                del self.executions[id]
                return 204, None
            case ["GET", "executions", id, "tasks"]:
                tasks = self._tasks(self.executions[id])
                if "state" in query:
                    tasks = [each for each in tasks if each["state"] == query["state"]]
                return 200, _page("tasks", tasks, query, self.url)
            case ["PUT", "tasks", id]:
                return 200, {"id": id, "name": id.split(":")[1], "state": "ERROR"}
        return 404, "<html>no such path</html>"

    def add(self, execution_id: str, **attributes: Any) -> dict[str, Any]:
        """An execution that is there without having been asked for."""
        execution = {"looks": 0, "forced": None, **attributes, "id": execution_id}
        self.executions[execution_id] = execution
        return execution

    def _start(self, wanted: dict[str, Any]) -> dict[str, Any]:
        execution_id = wanted.get("id") or str(uuid.uuid4())
        return self._shown(self.add(execution_id, **wanted))

    def _scene(self, execution: dict[str, Any]) -> Scene:
        place = max(0, min(execution["looks"], len(self.script)) - 1)
        return self.script[place]

    def _shown(self, execution: dict[str, Any]) -> dict[str, Any]:
        scene = self._scene(execution)
        return {
            "id": execution["id"],
            "workflow_name": execution["workflow_name"],
            "description": execution.get("description", ""),
            "state": execution["forced"] or scene.state,
            "state_info": scene.state_info,
            "input": json.dumps(execution.get("input") or {}),
            "output": json.dumps(scene.output),
            "params": json.dumps(execution.get("params") or {}),
            "created_at": CREATED,
            "updated_at": CREATED,
        }

    def _tasks(self, execution: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{execution['id']}:{name}",
                "name": name,
                "type": "ACTION",
                "state": state,
                "state_info": "it broke\nbadly" if state == "ERROR" else None,
                "created_at": CREATED,
                "started_at": CREATED,
                "finished_at": None if state == "RUNNING" else CREATED,
            }
            for name, state in self._scene(execution).tasks.items()
        ]


def _fault(text: str) -> dict[str, Any]:
    return {"faultcode": "Client", "faultstring": text, "debuginfo": None}


def _page(
    collection: str, items: list[dict[str, Any]], query: dict[str, str], url: str
) -> dict[str, Any]:
    limit = int(query.get("limit", 1000))
    if "marker" in query:
        place = next(i for i, each in enumerate(items) if each["id"] == query["marker"])
        items = items[place + 1 :]
    page: dict[str, Any] = {collection: items[:limit]}
    if len(items) >= limit:
        page["next"] = f"{url}/v2/{collection}?marker={items[limit - 1]['id']}"
    return page


@contextmanager
def serving(server: FakeServer) -> Iterator[FakeServer]:
    """Run *server* on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length).decode()
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            status, value = server.answer(self.command, unquote(parts.path), query, body)
            is_text = isinstance(value, str)
            data = b"" if value is None else (value if is_text else json.dumps(value)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
