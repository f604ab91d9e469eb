"""The connections of the process that serves the API, which no WSGI server shows."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path


def cut_who_does_not_read(seconds: float) -> None:
    """Have connections end whose clients take nothing of what they were sent for *seconds*.

    Those there are and those to come: each would keep a thread as long as there is something to
    tell. On Linux only; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    with ExitStack() as opened:
        found = [opened.enter_context(each) for each in _tcp_sockets()]
        ports = {each.getsockname()[1] for each in found if _listens(each)}
        for each in found:
            if each.getsockname()[1] in ports:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def _tcp_sockets() -> Iterator[socket.socket]:
    """Second handles of all TCP sockets of this process; to be closed by the caller."""
    for path in Path("/proc/self/fd").iterdir():
        try:
            if not path.is_socket():
                continue
            found = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:
            continue  # closed since
        if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
            yield found
        else:
            found.close()


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
