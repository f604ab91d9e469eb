"""std.http and std.mistral_http: one HTTP request, bounded in time, size and reach."""

from __future__ import annotations

import json as jsonlib
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.connection import HTTPConnection as PlainConnection
from urllib3.connection import HTTPSConnection as SecureConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from app.actions.context import ActionContext
from app.actions.egress import Egress, EgressDenied
from app.actions.results import Result
from app.core.errors import RequestRefused

_CREDENTIALS = re.compile(r"//[^/@\s'\"]*@")
_CHUNK = 65536


class HTTPFailed(Exception):
    """The request could not be made, or its answer cannot be taken."""


def check_bodies(input: Mapping[str, Any]) -> None:
    """Raise RequestRefused when both ``json`` and ``body`` are given."""
    if input.get("json") and input.get("body"):
        raise RequestRefused("Only one of the parameters 'json' and 'body' can be passed")


class HTTP:
    """Makes HTTP requests within a policy."""

    def __init__(self, egress: Egress, *, default_timeout: float, max_bytes: int) -> None:
        self._egress = egress
        self._default_timeout = default_timeout
        self._max_bytes = max_bytes

    def request(
        self,
        url: Any,
        method: Any = "GET",
        params: Any = None,
        body: Any = None,
        json: Any = None,
        headers: Any = None,
        cookies: Any = None,
        auth: Any = None,
        timeout: Any = None,
        allow_redirects: Any = None,
        proxies: Any = None,
        verify: Any = None,
    ) -> Result:
        """Sends an HTTP request. A status of 200 to 306 is a success, any other an error.

        The result has the same fields in both cases: content, status, headers, url, history,
        encoding, reason, cookies and elapsed.
        """
        if not isinstance(url, str):
            raise HTTPFailed(f"url: expected a text, got {type(url).__name__}")
        # requests strips the blanks; what is checked must be what is called.
        url = url.strip()
        self._egress.check_url(url)
        self._check_proxies(proxies, url)
        _check_bundle(verify)
        if timeout is None:
            timeout = self._default_timeout or None
        try:
            with requests.Session() as session:
                # Neither proxies nor credentials of the executor's own environment.
                session.trust_env = False
                adapter = _Adapter(self._egress)
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                response = session.request(
                    str(method) if not isinstance(method, str) else method,
                    url,
                    params=params,
                    data=_body(body),
                    json=json,
                    headers=_headers(headers),
                    cookies=cookies,
                    auth=_auth(auth),
                    timeout=timeout,
                    allow_redirects=bool(allow_redirects),
                    proxies=proxies or None,
                    verify=True if verify is None else verify,
                    stream=True,
                )
                with response:
                    return _result(response, self._read(response))
        except EgressDenied:
            raise
        except HTTPFailed:
            raise
        except Exception as err:
            reason = _CREDENTIALS.sub("//***@", str(err))
            raise HTTPFailed(f"Failed to send HTTP request: {reason}") from err

    def request_with_callback(
        self,
        url: Any,
        method: Any = "GET",
        params: Any = None,
        body: Any = None,
        json: Any = None,
        headers: Any = None,
        cookies: Any = None,
        auth: Any = None,
        timeout: Any = None,
        allow_redirects: Any = None,
        proxies: Any = None,
        verify: Any = None,
        *,
        context: ActionContext,
    ) -> Result:
        """Sends an HTTP request whose receiver reports the result later, to the callback address.

        The headers ``Mistral-*`` tell the receiver what it is working for.
        """
        own = {
            "Mistral-Workflow-Name": context.workflow_name,
            "Mistral-Workflow-Execution-Id": context.workflow_execution_id,
            "Mistral-Task-Id": context.task_execution_id,
            "Mistral-Action-Execution-Id": context.action_execution_id,
            "Mistral-Callback-URL": context.callback_url,
        }
        return self.request(
            url,
            method=method,
            params=params,
            body=body,
            json=json,
            headers={
                **(_headers(headers) or {}),
                **{k: v for k, v in own.items() if v is not None},
            },
            cookies=cookies,
            auth=auth,
            timeout=timeout,
            allow_redirects=allow_redirects,
            proxies=proxies,
            verify=verify,
        )

    def _check_proxies(self, proxies: Any, url: str) -> None:
        if not proxies:
            return
        if not isinstance(proxies, Mapping):
            raise HTTPFailed(f"proxies: expected an object, got {type(proxies).__name__}")
        for proxy in proxies.values():
            self._egress.check_url(str(proxy))
        # Behind a proxy we do not connect to the target ourselves, so it is looked at here. One
        # that only the proxy can resolve is the proxy's concern.
        target = urllib3.util.parse_url(url)
        try:
            self._egress.resolve(target.host or "", target.port or 0)
        except OSError:
            return

    def _read(self, response: requests.Response) -> bytes:
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise HTTPFailed(
                f"HTTP response is too large (Content-Length={declared}, "
                f"limit={self._max_bytes} bytes)."
            )
        parts: list[bytes] = []
        size = 0
        # Counted after decompression: a small answer can become a large one.
        for part in response.iter_content(_CHUNK):
            size += len(part)
            if size > self._max_bytes:
                raise HTTPFailed(f"HTTP response is too large (more than {self._max_bytes} bytes).")
            parts.append(part)
        return b"".join(parts)


def _result(response: requests.Response, data: bytes) -> Result:
    value = {
        "content": _content(data, response.encoding, response.headers.get("Content-Type", "")),
        "status": response.status_code,
        "headers": dict(response.headers.items()),
        "url": response.url,
        "history": [{"status": each.status_code, "url": each.url} for each in response.history],
        "encoding": response.encoding,
        "reason": response.reason,
        "cookies": dict(response.cookies.items()),
        "elapsed": response.elapsed.total_seconds(),
    }
    if 200 <= response.status_code <= 306:
        return Result.success(value)
    return Result.failure(value)


def _content(data: bytes, encoding: str | None, content_type: str) -> Any:
    if not data:
        return ""
    try:
        return jsonlib.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        pass
    if encoding is None or "charset" not in content_type.lower():
        # A text without a charset is Latin-1 by an old rule and UTF-8 in most of the world.
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    try:
        return data.decode(encoding or "latin-1", errors="replace")
    except LookupError:
        return data.decode(errors="replace")


def _check_bundle(verify: Any) -> None:
    # One text for all reasons: which files there are is nobody's business.
    if isinstance(verify, str):
        try:
            ssl.create_default_context(cafile=verify)
        except (OSError, ValueError):
            raise HTTPFailed("verify: there is no CA bundle that can be used") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _body(body: Any) -> Any:
    return jsonlib.dumps(body) if isinstance(body, Mapping) else body


def _headers(headers: Any) -> dict[str, Any] | None:
    if headers is None:
        return None
    if not isinstance(headers, Mapping):
        raise HTTPFailed(f"headers: expected an object, got {type(headers).__name__}")
    return {
        key: str(value) if isinstance(value, int | float) else value
        for key, value in headers.items()
    }


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _auth(auth: Any) -> AuthBase | None:
    if not auth:
        return None
    if isinstance(auth, str) and auth.count(":") == 1:
        return HTTPBasicAuth(*auth.split(":"))
    if isinstance(auth, list | tuple) and len(auth) == 2:
        return HTTPBasicAuth(str(auth[0]), str(auth[1]))
    if isinstance(auth, Mapping):
        if auth.get("token") and auth.get("type", "bearer") == "bearer":
            return _Bearer(str(auth["token"]))
        if "user" in auth and auth.get("type", "basic") == "basic":
            return HTTPBasicAuth(str(auth["user"]), str(auth.get("password", "")))
    raise HTTPFailed(
        "auth: expected 'user:password', [user, password], {type: basic, user, password} or "
        "{type: bearer, token}"
    )


class _Adapter(HTTPAdapter):
    """Checks every hop's URL, and lets the policy open every connection."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        # urllib3 shows these names in its messages; they stay what users know.
        plain = type("HTTPConnection", (_Guarded, PlainConnection), {"egress": egress})
        secure = type("HTTPSConnection", (_Guarded, SecureConnection), {"egress": egress})
        self._pools = {
            "http": type(
                "HTTPConnectionPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}
            ),
            "https": type(
                "HTTPSConnectionPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": secure}
            ),
        }
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        # Called for the first request and for every redirect.
        self._egress.check_url(request.url or "")
        return super().send(request, *args, **kwargs)


class _Guarded:
    """A connection of urllib3 whose socket the policy opens."""

    egress: Egress

    def _new_conn(self: Any) -> socket.socket:
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        try:
            return self.egress.connect(
                self._dns_host, self.port, timeout=timeout, options=self.socket_options or ()
            )
        except socket.gaierror as err:
            raise NameResolutionError(self.host, self, err) from err
        except TimeoutError as err:
            raise ConnectTimeoutError(
                self, f"Connection to {self.host} timed out. (connect timeout={self.timeout})"
            ) from err
        except OSError as err:
            raise NewConnectionError(self, f"Failed to establish a new connection: {err}") from err
