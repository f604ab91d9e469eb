"""std.email: one mail through an SMTP server."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from app.actions.egress import Egress, EgressDenied

#: Seconds for each answer of the server.
TIMEOUT = 60.0


class EmailFailed(Exception):
    """The mail was not taken."""


class Email:
    """Sends mails within a policy."""

    def __init__(self, egress: Egress, *, tls: ssl.SSLContext | None = None) -> None:
        self._egress = egress
        self._tls = tls

    def send(
        self,
        from_addr: Any,
        to_addrs: Any,
        smtp_server: Any,
        reply_to: Any = None,
        cc_addrs: Any = None,
        bcc_addrs: Any = None,
        smtp_password: Any = None,
        subject: Any = None,
        body: Any = None,
        html_body: Any = None,
    ) -> None:
        """Sends a mail. With a password the connection is encrypted and *from_addr* logs in."""
        try:
            to, cc, bcc = _list(to_addrs), _list(cc_addrs), _list(bcc_addrs)
            message = _message(
                from_addr, to, cc, _list(reply_to), subject=subject, body=body, html=html_body
            )
            host, port = _host_and_port(str(smtp_server))
            server = _Server(self._egress)
            server.connect(host, port)
            try:
                server.ehlo()
                if smtp_password is not None:
                    server.starttls(context=self._tls or ssl.create_default_context())
                    server.ehlo()
                    server.login(str(from_addr), str(smtp_password))
                server.sendmail(str(from_addr), [*to, *cc, *bcc], message.as_bytes())
            finally:
                server.close()
        except EgressDenied:
            raise
        except (smtplib.SMTPException, OSError, ValueError) as err:
            raise EmailFailed(f"Failed to send an email message: {err}") from err


class _Server(smtplib.SMTP):
    """A connection whose socket the policy opens."""

    def __init__(self, egress: Egress) -> None:
        super().__init__(timeout=TIMEOUT)
        self._egress = egress

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # starttls() checks the certificate against this name.
        self._host = host
        return self._egress.connect(host, port, timeout=timeout)


def _message(
    sender: Any,
    to: list[str],
    cc: list[str],
    reply_to: list[str],
    *,
    subject: Any,
    body: Any,
    html: Any,
) -> EmailMessage:
    message = EmailMessage()
    # A line break would begin a header of the writer's choice.
    for name, value in (
        ("Subject", "<No subject>" if subject is None else str(subject)),
        ("From", str(sender)),
        ("To", ", ".join(to)),
        ("Cc", ", ".join(cc)),
        ("Reply-To", ", ".join(reply_to)),
    ):
        if "\r" in value or "\n" in value:
            raise ValueError(f"{name}: a line break is not allowed")
        if value:
            message[name] = value
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="celeriac.invalid")
    message.set_content("<No body>" if body is None else str(body))
    if html is not None:
        message.add_alternative(str(html), subtype="html")
    return message


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    texts = [value] if isinstance(value, str) else [str(each) for each in value]
    for text in texts:
        if "\r" in text or "\n" in text:
            raise ValueError("an address must not hold a line break")
        for part in text.split(","):
            if "<" not in part:
                Address(addr_spec=part.strip())  # raises for what is no address
    return texts


def _host_and_port(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        return server.strip("[]"), smtplib.SMTP_PORT
    if not port.isdigit():
        raise ValueError("nonnumeric port")
    return host.strip("[]"), int(port)
