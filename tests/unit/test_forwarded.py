"""Behind a proxy that ends TLS, links say what the caller asked for."""

from __future__ import annotations

import pytest

from app.config import Config
from app.factory import create_app


def link(caller: str, said: str | None, environment: dict[str, str]) -> str:
    config = Config.from_env({"CELERIAC_INSECURE": "1", **environment})
    client = create_app(config).test_client()
    headers = {"Host": "celeriac.example"} | ({"X-Forwarded-Proto": said} if said else {})
    answer = client.get("/v2/", headers=headers, environ_base={"REMOTE_ADDR": caller})
    return str(answer.json["uri"])


@pytest.mark.parametrize(
    ("caller", "said", "environment", "scheme"),
    [
        ("127.0.0.1", "https", {}, "https"),
        ("127.0.0.1", None, {}, "http"),
        ("10.0.0.7", "https", {}, "http"),
        ("10.0.0.7", "https", {"CELERIAC_TRUSTED_PROXIES": "10.0.0.7, 10.0.0.8"}, "https"),
        ("127.0.0.1", "https", {"CELERIAC_TRUSTED_PROXIES": ""}, "http"),
        ("10.0.0.7", "https", {"FORWARDED_ALLOW_IPS": "*"}, "https"),
        (
            "10.0.0.7",
            "https",
            {"FORWARDED_ALLOW_IPS": "*", "CELERIAC_TRUSTED_PROXIES": "127.0.0.1"},
            "http",
        ),
    ],
)
def test_who_is_trusted_tells_the_scheme(
    caller: str, said: str | None, environment: dict[str, str], scheme: str
) -> None:
    assert link(caller, said, environment) == f"{scheme}://celeriac.example/v2"


def test_who_calls_is_still_the_proxy() -> None:
    """Without authentication only this machine is answered, whatever a header says."""
    client = create_app(Config.from_env({"CELERIAC_TRUSTED_PROXIES": "*"})).test_client()
    answer = client.get(
        "/v2/workflows",
        headers={"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
        environ_base={"REMOTE_ADDR": "10.0.0.7"},
    )
    assert answer.status_code in (401, 403)
