"""Where actions may connect to."""

from __future__ import annotations

import socket

import pytest

from app.actions.egress import Egress, EgressDenied, networks
from app.config import Config

POLICY = Egress.from_config(Config())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254",  # IPv4-mapped
        "::127.0.0.1",  # IPv4-compatible
        "2002:7f00:1::",  # 6to4
        "64:ff9b::7f00:1",  # NAT64
        "2001:0:7f00:1::",  # Teredo, by its server
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_its_link_are_denied_in_every_form(address):
    with pytest.raises(EgressDenied, match="URL host 'h' resolves to a blocked address"):
        POLICY.check_address("h", address)


@pytest.mark.parametrize("address", ["93.184.216.34", "10.0.0.1", "2606:2800:220:1::1"])
def test_other_addresses_are_not(address):
    POLICY.check_address("h", address)


def test_private_networks_can_be_denied():
    policy = Egress(denied=networks(["10.0.0.0/8"]))
    with pytest.raises(EgressDenied):
        policy.check_address("h", "::ffff:10.0.0.1")


@pytest.mark.parametrize(
    "url, message",
    [
        ("ftp://x", "URL scheme 'ftp' is not allowed (only http and https are)."),
        ("file:///etc/passwd", "URL scheme 'file' is not allowed (only http and https are)."),
        ("http+unix://%2Fvar%2Frun/x", "URL scheme 'http+unix' is not allowed"),
        ("nope", "URL scheme '' is not allowed (only http and https are)."),
        ("http://", "URL does not contain a host."),
        ("http://[::1", "URL does not contain a host."),
    ],
)
def test_urls_that_cannot_be_called(url, message):
    with pytest.raises(EgressDenied) as caught:
        POLICY.check_url(url)
    assert str(caught.value).startswith(message)


def test_with_a_list_of_hosts_only_those_may_be_called():
    policy = Egress(allowed_hosts=frozenset({"api.example.com"}))
    policy.check_url("https://API.example.com./x")
    with pytest.raises(EgressDenied) as caught:
        policy.check_url("https://example.com/api.example.com")
    assert str(caught.value) == ("Host 'example.com' is not in [action_std_http] allowed_hosts.")


def test_one_denied_address_among_several_is_enough(monkeypatch):
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in ("93.184.216.34", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(EgressDenied, match=r"\(127.0.0.1\)"):
        POLICY.resolve("rebinding.example", 80)
