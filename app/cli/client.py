"""The REST API as the commands see it: plain dictionaries, and errors that are sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import click
import requests

DEFAULT_URL = "http://127.0.0.1:8989"

#: Attributes that the API sends as text holding JSON.
JSON_TEXTS = frozenset(
    {
        "env",
        "input",
        "interface",
        "output",
        "params",
        "published",
        "published_global",
        "result",
        "runtime_context",
        "variables",
        "workflow_input",
        "workflow_params",
    }
)


class Unreachable(click.ClickException):
    """No server answers at the address."""


class Refused(click.ClickException):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Requests to one server; ``url`` may or may not end in ``/v2``."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0) -> None:
        self.root = url.rstrip("/").removesuffix("/v2")
        if "://" not in self.root:
            self.root = "http://" + self.root
        self.timeout = timeout
        self._session = requests.Session()
        if token:
            self._session.headers["X-Auth-Token"] = token

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        text: str | None = None,
    ) -> Any:
        """The decoded answer, None for an empty one. *path* begins after ``/v2``."""
        headers = {}
        data = None
        if text is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
            data = text.encode()
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            answer = self._session.request(
                method,
                f"{self.root}/v2{path}",
                params=query,
                data=data,
                headers=headers,
                timeout=(5.0, self.timeout),
            )
        except requests.exceptions.Timeout as err:
            raise Unreachable(
                f"{self.root} did not answer within {self.timeout:g} seconds."
            ) from err
        except requests.exceptions.ConnectionError as err:
            raise Unreachable(
                f"Nothing answers at {self.root}. Start it with `celeriac up`, "
                "or give the address with --url or CELERIAC_URL."
            ) from err
        except (requests.exceptions.RequestException, ValueError) as err:
            raise Unreachable(f"{self.root} cannot be used as an address: {err}") from err
        if answer.status_code >= 400:
            raise Refused(answer.status_code, _fault(answer))
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as err:
            raise Unreachable(f"{self.root} answers, but not with JSON: is it a Celeriac?") from err

    def get(self, path: str, **query: Any) -> Any:
        """What GET answers."""
        return self.request("GET", path, query=query or None)

    def stream(
        self, path: str, *, last_event_id: str | None = None
    ) -> Iterator[tuple[str | None, str, str]]:
        """Id, name and data of Server-Sent Events, until the server ends the stream.

        A connection of its own, so that other requests go on beside it.
        """
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        if "X-Auth-Token" in self._session.headers:
            headers["X-Auth-Token"] = str(self._session.headers["X-Auth-Token"])
        try:
            with requests.get(
                f"{self.root}/v2{path}", headers=headers, stream=True, timeout=(5.0, self.timeout)
            ) as answer:
                if answer.status_code >= 400:
                    raise Refused(answer.status_code, _fault(answer))
                if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                    raise Refused(406, f"{self.root} serves no event streams.")
                yield from _server_sent(answer)
        except requests.exceptions.RequestException as err:
            raise Unreachable(f"The event stream of {self.root} broke: {err}") from err

    def find(self, path: str, **query: Any) -> Any | None:
        """What GET answers, None when there is no such thing."""
        try:
            return self.get(path, **query)
        except Refused as err:
            if err.status == 404:
                return None
            raise

    def pages(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Any]:
        """The items of a list, page after page, at most *most* of them."""
        collection = path.rsplit("/", 1)[-1]
        marker: str | None = None
        seen = 0
        while most is None or seen < most:
            query["limit"] = 1000 if most is None else min(1000, most - seen)
            if marker:
                query["marker"] = marker
            answer = self.get(path, **query)
            items = answer[collection]
            yield from items
            seen += len(items)
            if "next" not in answer or not items:
                return
            marker = items[-1]["id"]


def _server_sent(answer: requests.Response) -> Iterator[tuple[str | None, str, str]]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        if not line:
            if "data" in fields:
                yield fields.get("id"), fields.get("event", "message"), fields["data"]
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


def _fault(answer: requests.Response) -> str:
    """What the server says is wrong."""
    header = answer.headers.get("Server-Error-Message")
    try:
        body = answer.json()
        text = body.get("faultstring") or body.get("message") or body.get("title")
    except (ValueError, AttributeError):
        text = None
    message = header or text or f"The server answered {answer.status_code} {answer.reason}."
    if answer.status_code == 401:
        message += " Give a token with --token or CELERIAC_TOKEN."
    return str(message).strip()


def quoted(name: str) -> str:
    """*name* as one segment of a path."""
    return quote(name, safe="")


def decoded(resource: Mapping[str, Any]) -> dict[str, Any]:
    """*resource* with real values where the API sends text holding JSON."""
    result = dict(resource)
    for key in JSON_TEXTS & result.keys():
        # The `input` of a workflow or an action is a summary for people, no JSON.
        if isinstance(result[key], str):
            try:
                result[key] = json.loads(result[key])
            except ValueError:
                continue
    return result
