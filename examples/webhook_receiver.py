"""Receives Celeriac's web hooks and checks their signature.

    python webhook_receiver.py SECRET [PORT]

A repetition has the same ``Idempotency-Key``, so a receiver that remembers keys does nothing
twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds that a signature is good for.
GOOD_FOR = 300


def signed(secret: str, header: str, body: bytes, *, now: float) -> bool:
    """Whether ``X-Celeriac-Signature`` was made of *body* with *secret*, not long ago."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    timestamp, given = parts.get("t", ""), parts.get("v1", "")
    expected = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    fresh = timestamp.isdigit() and abs(now - int(timestamp)) < GOOD_FOR
    return fresh and hmac.compare_digest(expected.hexdigest(), given)


class Receiver(BaseHTTPRequestHandler):
    """Prints events that are signed, and refuses all others."""

    secret = ""

    def do_POST(self) -> None:
        """Take one event."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        header = self.headers.get("X-Celeriac-Signature", "")
        good = signed(self.secret, header, body, now=time.time())
        if good:
            event = json.loads(body)
            print(event["event"], event["name"], event["state"], flush=True)
        self.send_response(200 if good else 403)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print events only."""


if __name__ == "__main__":
    Receiver.secret = sys.argv[1]
    server = ThreadingHTTPServer(
        ("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 9000), Receiver
    )
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()
