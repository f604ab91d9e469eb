"""A client that does not read gives back what it holds."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from app.api.connections import cut_who_does_not_read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="done by Linux")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_who_does_not_read_is_cut_off(listener: socket.socket) -> None:
    address = listener.getsockname()
    with socket.create_connection(address), listener.accept()[0] as there_before:
        cut_who_does_not_read(0.5)
        with socket.create_connection(address), listener.accept()[0] as new:
            for connection in (there_before, new):
                with pytest.raises(TimeoutError):
                    connection.sendall(bytes(100_000_000))


def test_who_has_nothing_to_read_is_not(listener: socket.socket) -> None:
    address = listener.getsockname()
    with socket.create_connection(address) as client, listener.accept()[0] as connection:
        cut_who_does_not_read(0.2)
        client.settimeout(0.6)
        with pytest.raises(TimeoutError):
            client.recv(1)
        connection.sendall(b"still there")
        assert client.recv(20) == b"still there"
