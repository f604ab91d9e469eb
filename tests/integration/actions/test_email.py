"""std.email against a real SMTP server, a small one."""

from __future__ import annotations

import base64
import email
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from app.actions.context import ActionContext
from app.actions.egress import Egress, networks
from app.actions.registry import from_function
from app.actions.runner import run
from app.actions.std.email import Email
from app.core.states import State


class Session(socketserver.StreamRequestHandler):
    """One conversation, as much of RFC 5321 as is needed."""

    def handle(self) -> None:
        try:
            self.talk()
        except OSError:
            return  # the other side has gone, as a test may have wanted
        finally:
            self.rfile.close()
            self.wfile.close()
            self.request.close()

    def finish(self) -> None:
        """All is closed already."""

    def talk(self) -> None:
        server: Any = self.server
        self.say("220 ready")
        mail: dict[str, Any] = {"to": [], "tls": False, "login": None}
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].split(":")[0].upper()
            if word == "EHLO":
                offers = [] if mail["tls"] else ["STARTTLS"]
                offers.append("AUTH PLAIN")
                self.wfile.write(b"250-hello\r\n")
                for offer in offers[:-1]:
                    self.wfile.write(f"250-{offer}\r\n".encode())
                self.say(f"250 {offers[-1]}")
            elif word == "STARTTLS":
                self.say("220 go on")
                self.rfile.close()
                self.request = server.tls.wrap_socket(self.request, server_side=True)
                self.rfile = self.request.makefile("rb")
                self.wfile = self.request.makefile("wb", buffering=0)
                mail["tls"] = True
            elif word == "AUTH":
                _, user, password = base64.b64decode(line.split()[-1]).split(b"\0")
                mail["login"] = (user.decode(), password.decode())
                self.say("235 welcome" if password == b"right" else "535 who are you")
            elif word == "MAIL":
                mail["from"] = line
                self.say("250 ok")
            elif word == "RCPT":
                mail["to"].append(line.partition("<")[2].strip(">"))
                self.say("250 ok")
            elif word == "DATA":
                self.say("354 go on")
                lines = []
                while (raw := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(raw)
                mail["message"] = email.message_from_bytes(b"".join(lines), policy=default)
                server.mails.append(mail)
                self.say("250 taken")
            else:
                self.say("250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.tls, server.mails = tls, []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(
    server: Any, *, trust: Path | None = None, egress: Egress | None = None, **input: Any
) -> Any:
    tls = ssl.create_default_context(cafile=str(trust)) if trust else None
    action = from_function(
        "std.email", Email(egress or Egress(), tls=tls).send, wants_context=False
    )
    given = {
        "from_addr": "me@example.com",
        "to_addrs": ["you@example.com"],
        "smtp_server": f"127.0.0.1:{server.server_address[1]}",
        **input,
    }
    return run(action, given, ActionContext())


def test_a_mail_reaches_all_who_are_meant(server: Any):
    result = send(
        server,
        cc_addrs=["cc@example.com"],
        bcc_addrs=["bcc@example.com"],
        reply_to=["answers@example.com"],
        subject="Grüße",
        body="Hällo",
    )
    assert (result.state, result.value) == (State.SUCCESS, None)
    [mail] = server.mails
    assert mail["to"] == ["you@example.com", "cc@example.com", "bcc@example.com"]
    message = mail["message"]
    assert (message["Subject"], message["Reply-To"]) == ("Grüße", "answers@example.com")
    assert message["Bcc"] is None
    assert message.get_content().strip() == "Hällo"
    assert message.get_content_type() == "text/plain"


def test_html_goes_beside_the_text_and_what_is_missing_is_named(server: Any):
    send(server, html_body="<b>x</b>")
    message = server.mails[0]["message"]
    assert message["Subject"] == "<No subject>"
    assert message.get_content_type() == "multipart/alternative"
    assert message.get_body(["plain"]).get_content().strip() == "<No body>"
    assert message.get_body(["html"]).get_content().strip() == "<b>x</b>"


def test_a_password_is_sent_only_over_a_connection_that_is_what_it_says(server: Any, certificate):
    result = send(server, smtp_password="right", trust=certificate)
    assert result.state is State.SUCCESS
    assert server.mails[0]["tls"]
    assert server.mails[0]["login"] == ("me@example.com", "right")
    # The same without knowing who signed the certificate.
    result = send(server, smtp_password="right")
    assert "Failed to send an email message: [SSL: CERTIFICATE_VERIFY_FAILED]" in result.value
    assert len(server.mails) == 1


def test_a_wrong_password_is_told_without_the_password(server: Any, certificate):
    result = send(server, smtp_password="wrong-canary", trust=certificate)
    assert "Failed to send an email message: (535" in result.value
    assert "canary" not in result.value


@pytest.mark.parametrize(
    "input",
    [
        {"subject": "x\r\nBcc: all@example.com"},
        {"to_addrs": ["you@example.com\r\nDATA"]},
        {"from_addr": "me@example.com\nX: y"},
        {"reply_to": ["a@b\nX: y"]},
        {"to_addrs": ["not an address"]},
    ],
)
def test_nothing_can_be_slipped_into_the_headers(server: Any, input):
    result = send(server, **input)
    assert "Failed to send an email message: " in result.value
    assert server.mails == []


def test_a_server_that_is_not_there_or_not_allowed(server: Any):
    assert "nonnumeric port" in send(server, smtp_server="127.0.0.1:abc").value
    assert "[Errno 111] Connection refused" in send(server, smtp_server="127.0.0.1:1").value
    result = send(server, egress=Egress(denied=networks(["127.0.0.0/8"])))
    assert "resolves to a blocked address (127.0.0.1)" in result.value
