"""Where actions may connect to: the one door for every connection made for a tenant.

A name is resolved once, every address is checked, and the connection goes to a checked address,
so that an answer of the name server that changes in between gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.config import Config

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class EgressDenied(Exception):
    """The policy does not allow this connection; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Which hosts and networks actions may reach."""

    #: Only these names, when there are any.
    allowed_hosts: frozenset[str] = frozenset()
    #: Never these networks.
    denied: tuple[Network, ...] = ()

    @classmethod
    def from_config(cls, config: Config) -> Egress:
        """The policy that the settings describe."""
        return cls(
            allowed_hosts=frozenset(host.lower() for host in config.http_allowed_hosts),
            denied=networks(config.http_denied_networks),
        )

    def check_url(self, url: str) -> None:
        """Raise EgressDenied unless *url* is http or https, has a host, and may be called."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            raise EgressDenied("URL does not contain a host.") from None
        if parts.scheme not in ("http", "https"):
            raise EgressDenied(
                f"URL scheme '{parts.scheme}' is not allowed (only http and https are)."
            )
        if not host:
            raise EgressDenied("URL does not contain a host.")
        self.check_host(host)

    def check_host(self, host: str) -> None:
        """Raise EgressDenied when only some names are allowed and *host* is none of them."""
        if self.allowed_hosts and host.lower().rstrip(".") not in self.allowed_hosts:
            raise EgressDenied(f"Host '{host}' is not in [action_std_http] allowed_hosts.")

    def check_address(self, host: str, address: str) -> None:
        """Raise EgressDenied when *address*, which *host* resolved to, is in a denied network."""
        found = ipaddress.ip_address(address.split("%")[0])
        for each in _meanings(found):
            if any(each in network for network in self.denied if network.version == each.version):
                raise EgressDenied(f"URL host '{host}' resolves to a blocked address ({address}).")

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """What ``getaddrinfo`` says of *host*, when all of it may be reached.

        One denied address among several is enough to refuse: a name that points inside as well
        as outside is not to be trusted with either.
        """
        self.check_host(host)
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        for *_, address in found:
            self.check_address(host, str(address[0]))
        return list(found)

    def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: float | None = None,
        options: Sequence[tuple[Any, ...]] = (),
    ) -> socket.socket:
        """A connection to *host*, at an address that was checked."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in self.resolve(host, port):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.settimeout(timeout)
                sock.connect(address)
                return sock
            except OSError as err:
                failure = err
                sock.close()
        raise failure or OSError("the name has no address")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that *texts* name; ValueError for what is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _meanings(address: Address) -> list[Address]:
    """*address*, and the IPv4 addresses that reaching it may mean."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            found.append(address.ipv4_mapped)
        if address.sixtofour is not None:
            found.append(address.sixtofour)
        if address.teredo is not None:
            found.extend(address.teredo)
        if address in _NAT64 or int(address) >> 32 == 0:  # the latter: IPv4-compatible
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found
