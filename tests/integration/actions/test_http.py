"""std.http against a real server, and attempts to reach what it must not."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.actions.context import ActionContext
from app.actions.registry import standard_registry
from app.actions.results import Result
from app.actions.runner import run
from app.config import Config
from app.core.states import State


class Handler(BaseHTTPRequestHandler):
    """Answers by path, and remembers who called."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        path, _, rest = self.path.partition("?")
        match path.strip("/").split("/"):
            case ["json"]:
                self.answer(200, b'{"a": [1, null]}', "application/json")
            case ["echo"]:
                told = {"body": body, "query": rest, "method": self.command}
                told["headers"] = {k.lower(): v for k, v in self.headers.items()}
                self.answer(200, json.dumps(told).encode(), "application/json")
            case ["text", charset]:
                kind = "text/plain" + ("" if charset == "none" else f"; charset={charset}")
                encoding = "utf-8" if charset == "none" else charset
                self.answer(200, "grün".encode(encoding), kind)
            case ["status", number]:
                self.answer(int(number), b"", "text/plain")
            case ["to"]:
                self.answer(302, b"", "text/plain", Location=rest)
            case ["large"]:
                self.answer(200, b"x" * 200_000, "text/plain")
            case ["bomb"]:
                data = gzip.compress(b"\0" * 50_000_000)
                self.answer(200, data, "text/plain", **{"Content-Encoding": "gzip"})
            case ["endless"]:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                except OSError:
                    self.close_connection = True
            case ["slow"]:
                threading.Event().wait(3)
                self.answer(200, b"late", "text/plain")
            case ["cookie"]:
                self.answer(200, b"", "text/plain", **{"Set-Cookie": "a=1"})

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names are the library's

    def answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[ThreadingHTTPServer]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = type("Server", (ThreadingHTTPServer,), {"address_family": family})
    with kind((address, 0), Handler) as server:
        server.daemon_threads = True
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with serving() as server:
        yield server


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def call(
    url: str, *, config: Config | None = None, action: str = "std.http", **input: Any
) -> Result:
    """What the action gives, without any network denied unless the settings say so."""
    registry = standard_registry(
        config or Config(http_denied_networks=(), http_max_response_bytes=100_000), plugins=False
    )
    context = ActionContext(workflow_name="w", action_execution_id="7", callback_url="/v2/a/7")
    return run(registry.get(action), {"url": url, **input}, context)


def error(result: Result) -> str:
    assert result.state is State.ERROR
    assert isinstance(result.value, str)
    return result.value


def test_the_result_has_mistrals_fields(url: str):
    result = call(f"{url}/json")
    assert result.state is State.SUCCESS
    assert list(result.value) == [
        *("content", "status", "headers", "url", "history", "encoding", "reason"),
        *("cookies", "elapsed"),
    ]
    assert result.value["content"] == {"a": [1, None]}
    assert (result.value["status"], result.value["reason"]) == (200, "OK")
    assert (result.value["encoding"], result.value["history"]) == ("utf-8", [])
    assert 0 < result.value["elapsed"] < 5


@pytest.mark.parametrize(
    "input, expected",
    [
        ({"method": "POST", "body": {"a": [1, 2]}}, {"body": '{"a": [1, 2]}', "method": "POST"}),
        ({"method": "put", "json": {"b": None}}, {"body": '{"b": null}', "method": "PUT"}),
        ({"method": "DELETE", "body": "as it is"}, {"body": "as it is"}),
        ({"params": {"q": 1}}, {"query": "q=1"}),
        ({"params": "a=b"}, {"query": "a=b"}),
    ],
)
def test_bodies_and_queries(url: str, input, expected):
    content = call(f"{url}/echo", **input).value["content"]
    assert {name: content[name] for name in expected} == expected


@pytest.mark.parametrize(
    "auth, header",
    [
        ("user:pass", "Basic dXNlcjpwYXNz"),
        (["user", "pass"], "Basic dXNlcjpwYXNz"),
        ({"type": "basic", "user": "user", "password": "pass"}, "Basic dXNlcjpwYXNz"),
        ({"type": "bearer", "token": "t"}, "Bearer t"),
    ],
)
def test_authentication_numbers_in_headers_and_cookies(url: str, auth, header):
    headers = call(f"{url}/echo", auth=auth, headers={"X-N": 5}, cookies={"c": "1"}).value[
        "content"
    ]["headers"]
    assert (headers["authorization"], headers["x-n"], headers["cookie"]) == (header, "5", "c=1")
    assert call(f"{url}/cookie").value["cookies"] == {"a": "1"}


def test_the_executors_environment_is_not_used(url: str, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "authorization" not in call(f"{url}/echo").value["content"]["headers"]


@pytest.mark.parametrize("charset", ["none", "utf-8", "latin-1"])
def test_texts_are_decoded(url: str, charset):
    assert call(f"{url}/text/{charset}").value["content"] == "grün"


@pytest.mark.parametrize(
    "status, state",
    [(200, State.SUCCESS), (204, State.SUCCESS), (404, State.ERROR), (500, State.ERROR)],
)
def test_a_bad_status_is_an_error_with_the_same_fields(url: str, status, state):
    result = call(f"{url}/status/{status}")
    assert (result.state, result.value["status"], result.value["content"]) == (state, status, "")


def test_redirects_are_followed_only_when_asked(url: str):
    assert call(f"{url}/to?/json").value["status"] == 302
    result = call(f"{url}/to?/json", allow_redirects=True)
    assert result.value["url"] == f"{url}/json"
    assert result.value["history"] == [{"status": 302, "url": f"{url}/to?/json"}]


def test_an_answer_that_is_too_large_is_not_taken(url: str):
    assert "(Content-Length=200000, limit=100000 bytes)." in error(call(f"{url}/large"))
    assert "(more than 100000 bytes)" in error(call(f"{url}/endless"))
    # Small on its way, large when it is unpacked.
    assert "(more than 100000 bytes)" in error(call(f"{url}/bomb"))


def test_time_runs_out(url: str):
    text = error(call(f"{url}/slow", timeout=0.2))
    assert "Failed to send HTTP request: HTTPConnectionPool(host='127.0.0.1'" in text
    assert "Read timed out. (read timeout=0.2)" in text


def test_a_refused_connection_says_so():
    text = error(call("http://127.0.0.1:9/"))
    assert (
        "msg='Failed to send HTTP request: HTTPConnectionPool(host='127.0.0.1', port=9): Max "
        'retries exceeded with url: / (Caused by NewConnectionError("HTTPConnection(host='
        "'127.0.0.1', port=9): Failed to establish a new connection: [Errno 111] Connection "
        'refused"))' in text
    )


def test_credentials_in_the_url_are_not_told():
    assert "canary" not in error(call("http://me:canary@127.0.0.1:9/"))


def test_which_files_there_are_is_not_told(url: str):
    secure = url.replace("http", "https")
    texts = {error(call(secure, verify=path)) for path in ("/etc/passwd", "/etc/none", "/etc")}
    assert len(texts) == 1


def test_mistral_http_tells_the_receiver_what_it_works_for(server, url: str):
    call(f"{url}/status/200", action="std.mistral_http", headers={"X-Mine": "1"})
    headers = server.seen[-1][2]
    assert headers["Mistral-Workflow-Name"] == "w"
    assert headers["Mistral-Action-Execution-Id"] == "7"
    assert headers["Mistral-Callback-URL"] == "/v2/a/7"
    assert headers["X-Mine"] == "1"


# --- attempts to get in ------------------------------------------------------------------------

CLOSED = Config()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "017700000001", "0x7f000001", "0.0.0.0",
        "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[::]",
    ],
)  # fmt: skip
def test_this_machine_is_out_of_reach_by_every_name(server, host):
    text = error(call(f"http://{host}:{server.server_port}/json", config=CLOSED))
    assert "resolves to a blocked address" in text or "Failed to resolve" in text
    assert server.seen == []


def test_metadata_services_are_out_of_reach():
    text = error(call("http://169.254.169.254/latest/meta-data/", config=CLOSED))
    assert "URL host '169.254.169.254' resolves to a blocked address (169.254.169.254)." in text


@pytest.fixture
def second() -> Iterator[ThreadingHTTPServer]:
    """A server on an address that is denied while the first one's is not."""
    with serving("127.0.0.2") as server:
        yield server


HALF_OPEN = Config(http_denied_networks=("127.0.0.2/32",))


def test_a_redirect_does_not_lead_inside(url: str, second):
    target = f"http://127.0.0.2:{second.server_port}/json"
    text = error(call(f"{url}/to?{target}", config=HALF_OPEN, allow_redirects=True))
    assert "URL host '127.0.0.2' resolves to a blocked address (127.0.0.2)." in text
    assert second.seen == []
    text = error(call(f"{url}/to?file:///etc/passwd", config=HALF_OPEN, allow_redirects=True))
    assert "No connection adapters" in text or "is not allowed" in text


def test_a_proxy_does_not_lead_inside(url: str, second):
    inside = f"http://127.0.0.2:{second.server_port}"
    # Neither as the proxy, nor as what a proxy is asked for.
    for target, proxy in ((f"{url}/json", inside), (f"{inside}/json", url)):
        text = error(call(target, config=HALF_OPEN, proxies={"http": proxy}))
        assert "resolves to a blocked address (127.0.0.2)" in text
    assert second.seen == []
    text = error(call(f"{url}/json", proxies={"http": "socks5://127.0.0.1:9"}))
    assert "URL scheme 'socks5' is not allowed" in text


def test_a_name_that_changes_its_mind_gains_nothing(server, second, monkeypatch):
    """The first answer of the name server is good, the next ones are not."""
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.2"])
    asked = []
    real = socket.getaddrinfo

    def changing(host, port, *args, **kwargs):
        if host != "rebinding.test":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return real(next(answers), port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    result = call(f"http://rebinding.test:{server.server_port}/json", config=HALF_OPEN)
    assert result.value["content"] == {"a": [1, None]}
    assert asked == ["rebinding.test"]
    text = error(call(f"http://rebinding.test:{second.server_port}/json", config=HALF_OPEN))
    assert "resolves to a blocked address (127.0.0.2)" in text
    assert second.seen == []
