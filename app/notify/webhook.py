"""The publisher ``webhook``: POSTs each event to a URL, signed if there is a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection as PlainConnection
from urllib3.connection import HTTPSConnection as SecureConnection
from urllib3.exceptions import HTTPError, LocationParseError

from app.actions.egress import Egress, EgressDenied

from .delivery import Delivery, DeliveryFailed, Undeliverable

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
#: Most seconds that one delivery takes, however slowly the receiver answers.
LONGEST = 15.0
#: An answer's body is read only so that the connection can be used again.
_BODY = 64 * 1024

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
#: Headers that decide where a message ends or who is talked to.
_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class Webhook:
    """POSTs events as JSON. A status of 200 or 201 says that the event was taken."""

    def __init__(self, egress: Egress, *, secret: str = "") -> None:
        self._egress = egress
        #: Signs what goes to publishers without a secret of their own.
        self._secret = secret
        self._local = threading.local()

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        try:
            parts = urlsplit(str(publisher.get("url")))
            host = parts.netloc.rpartition("@")[2].lower()
            return f"{parts.scheme}://{host}{parts.path}"
        except ValueError:
            return None

    def publish(self, delivery: Delivery) -> None:
        url = delivery.publisher.get("url")
        if not isinstance(url, str) or not url.strip():
            raise Undeliverable(f"url: expected a text, got {url!r}")
        url = url.strip()
        try:
            self._egress.check_url(url)
        except EgressDenied as err:
            raise Undeliverable(str(err)) from None
        body = json.dumps(dict(delivery.data)).encode()
        headers = self._headers(delivery, body)
        connections: list[Any] = []
        self._local.connections = connections
        # Timeouts count from one received byte to the next; this one counts in all.
        watchdog = threading.Timer(LONGEST, _abort, [connections])
        watchdog.daemon = True
        watchdog.start()
        try:
            self._post(url, body, headers)
        finally:
            watchdog.cancel()

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            response = self._pool.urlopen(
                "POST",
                url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
        except EgressDenied as err:
            raise Undeliverable(str(err)) from None
        except (LocationParseError, UnicodeError) as err:
            raise Undeliverable(f"the URL cannot be called: {err}") from None
        except (HTTPError, OSError) as err:
            raise DeliveryFailed(_reason(err)) from err
        status = response.status
        try:
            if len(response.read(_BODY)) < _BODY:
                response.release_conn()
            else:
                response.close()
        except (HTTPError, OSError):
            # The status has come, which is all that counts.
            response.close()
        if status not in (200, 201):
            raise DeliveryFailed(f"the receiver answered with status {status}")

    def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "celeriac"}
        given = delivery.publisher.get("headers")
        if isinstance(given, Mapping):
            names = {name.lower(): name for name in headers}
            for name, value in given.items():
                text = str(value)
                if not isinstance(name, str) or not _HEADER_NAME.match(name):
                    raise Undeliverable(f"headers: {str(name)[:80]!r} is no name of a header")
                if "\r" in text or "\n" in text or "\0" in text:
                    raise Undeliverable(f"headers: {name} holds a line break")
                if name.lower() in _OWN:
                    continue
                headers.pop(names.get(name.lower(), ""), None)
                headers[name] = text
        headers["Idempotency-Key"] = delivery.key
        headers["X-Celeriac-Event"] = delivery.event or ""
        headers["X-Celeriac-Execution"] = delivery.execution_id
        headers["X-Celeriac-Sequence"] = str(delivery.number)
        headers["X-Celeriac-Attempt"] = str(delivery.attempt)
        secret = delivery.publisher.get("secret") or self._secret
        if secret:
            headers["X-Celeriac-Signature"] = signature(
                str(secret), body, timestamp=int(time.time())
            )
        return headers

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        # Only for where it keeps its certificates, and not before somebody wants a web hook.
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        members = {"egress": self._egress, "local": self._local}
        plain = type("HTTPConnection", (_Guarded, PlainConnection), members)
        secure = type("HTTPSConnection", (_Guarded, SecureConnection), members)
        manager = urllib3.PoolManager(num_pools=64, maxsize=4, ca_certs=DEFAULT_CA_BUNDLE_PATH)
        manager.pool_classes_by_scheme = {
            "http": type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("Pool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        return manager


def signature(secret: str, body: bytes, *, timestamp: int) -> str:
    """The value of ``X-Celeriac-Signature``: ``t=<timestamp>,v1=<hex>``.

    The hex digits are the HMAC-SHA256 of ``<timestamp>.<body>``: a receiver that computes the
    same knows who sent it, and from the timestamp that nobody sends it again much later.
    """
    signed = f"{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class _Guarded:
    """A connection of urllib3 whose socket the policy opens."""

    egress: Egress
    local: Any

    def _new_conn(self: Any) -> socket.socket:
        timeout = self.timeout if isinstance(self.timeout, int | float) else CONNECT_SECONDS
        connected: socket.socket = self.egress.connect(
            self._dns_host, self.port, timeout=timeout, options=self.socket_options or ()
        )
        return connected

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        self.local.connections.append(self)
        super().request(*args, **kwargs)  # type: ignore[misc]


def _abort(connections: list[Any]) -> None:
    for connection in connections:
        sock = connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _reason(err: Exception) -> str:
    if isinstance(err, socket.gaierror):
        return f"the name of the host cannot be resolved: {err.strerror}"
    if isinstance(err, TimeoutError):
        return f"the receiver did not let us connect within {CONNECT_SECONDS:g} s"
    return str(err) or type(err).__name__
