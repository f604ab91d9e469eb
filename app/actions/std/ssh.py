"""std.ssh and std.ssh_proxied: a command on other machines.

Neither an agent nor keys of the executor's own user are used: the executor serves everybody.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.actions.egress import Egress, EgressDenied

logger = logging.getLogger(__name__)

#: Seconds to connect, and for each step of the greeting.
TIMEOUT = 30.0
PORT = 22


class SSHFailed(Exception):
    """The command could not be run, or failed."""


class SSH:
    """Runs commands over SSH within a policy."""

    def __init__(
        self,
        egress: Egress,
        *,
        keys: Path | None = None,
        known_hosts: Path | None = None,
        proxy_commands: bool = False,
        max_bytes: int = 5 * 1024 * 1024,
    ) -> None:
        self._egress = egress
        #: The only folder that key files are read from.
        self._keys = keys
        #: When given, only hosts that stand there are spoken with.
        self._known_hosts = known_hosts
        self._proxy_commands = proxy_commands
        self._max_bytes = max_bytes

    def run(
        self,
        cmd: Any,
        host: Any,
        username: Any,
        password: Any = "",
        private_key_filename: Any = None,
        private_key: Any = None,
        return_result_on_error: Any = False,
    ) -> Any:
        """Runs a command on one host, or on several in turn, and returns what it printed."""
        hosts = host if isinstance(host, list) else [host]
        results = []
        with _told(cmd, hosts):
            key = self._key(private_key, private_key_filename, password)
            for each in hosts:
                name, port = _address(str(each))
                with (
                    self._egress.connect(name, port, timeout=TIMEOUT) as sock,
                    self._client(name, port, sock, username, password, key) as client,
                ):
                    results.append(self._execute(client, str(cmd), hosts, return_result_on_error))
        return results if isinstance(host, list) and len(host) > 1 else results[0]

    def run_proxied(
        self,
        cmd: Any,
        host: Any,
        username: Any,
        private_key_filename: Any,
        gateway_host: Any,
        gateway_username: Any = None,
        password: Any = None,
        proxy_command: Any = None,
        private_key: Any = None,
    ) -> Any:
        """Runs a command on a host that is reached through another one."""
        if proxy_command and not self._proxy_commands:
            raise SSHFailed(
                "proxy_command runs a program on the executor and is turned off; "
                "CELERIAC_SSH_PROXY_COMMAND=true turns it on"
            )
        with _told(cmd, [host]):
            key = self._key(private_key, private_key_filename, password)
            name, port = _address(str(host))
            self._egress.check_host(name)
            gateway, gateway_port = _address(str(gateway_host))
            if proxy_command:
                sock = _paramiko().ProxyCommand(str(proxy_command))
            else:
                sock = self._egress.connect(gateway, gateway_port, timeout=TIMEOUT)
            with (
                sock,
                self._client(
                    gateway, gateway_port, sock, gateway_username or username, password, key
                ) as through,
                # The gateway connects; no shell of its is asked to.
                through.get_transport().open_channel(
                    "direct-tcpip", (name, port), ("127.0.0.1", 0), timeout=TIMEOUT
                ) as tunnel,
                self._client(name, port, tunnel, username, password, key) as client,
            ):
                return self._execute(client, str(cmd), [host], False)

    def _execute(self, client: Any, cmd: str, hosts: list[Any], anyway: Any) -> Any:
        channel = client.get_transport().open_session(timeout=TIMEOUT)
        channel.exec_command(cmd)
        channel.shutdown_write()
        # Both streams are read as they come: one that nobody reads would hold up the command.
        streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        size = 0
        while True:
            done = channel.exit_status_ready()
            idle = True
            for stream, ready, receive in (
                ("stdout", channel.recv_ready, channel.recv),
                ("stderr", channel.recv_stderr_ready, channel.recv_stderr),
            ):
                while ready():
                    part = receive(65536)
                    size += len(part)
                    if size > self._max_bytes:
                        raise SSHFailed(
                            f"The command printed more than {self._max_bytes} bytes [cmd={cmd!r}]"
                        )
                    streams[stream].append(part)
                    idle = False
            if done and idle and (channel.eof_received or channel.closed):
                break
            if idle:
                time.sleep(0.01)
        code = channel.recv_exit_status()
        stdout, stderr = (
            b"".join(streams[each]).decode(errors="replace") for each in ("stdout", "stderr")
        )
        if anyway:
            return {"stdout": stdout, "stderr": stderr, "exit_code": code}
        if code != 0:
            raise SSHFailed(_text(cmd, hosts))
        return stdout

    @contextmanager
    def _client(
        self, host: str, port: int, sock: Any, username: Any, password: Any, key: Any
    ) -> Iterator[Any]:
        paramiko = _paramiko()
        client = paramiko.SSHClient()
        if self._known_hosts is not None:
            client.load_host_keys(str(self._known_hosts))
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
        else:
            client.set_missing_host_key_policy(_AcceptAll())
        try:
            client.connect(
                host,
                port=port,
                username=str(username),
                password=None if key is not None else str(password or ""),
                pkey=key,
                sock=sock,
                timeout=TIMEOUT,
                banner_timeout=TIMEOUT,
                auth_timeout=TIMEOUT,
                allow_agent=False,
                look_for_keys=False,
            )
            yield client
        finally:
            client.close()

    def _key(self, text: Any, filename: Any, passphrase: Any) -> Any:
        if not text:
            if not filename:
                return None
            text = self._key_file(str(filename))
        paramiko = _paramiko()
        failure: Exception | None = None
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return kind.from_private_key(io.StringIO(str(text)), password=passphrase or None)
            except (paramiko.SSHException, ValueError) as err:
                failure = err
        raise SSHFailed("the private key cannot be read") from failure

    def _key_file(self, filename: str) -> str:
        # One text for all reasons: which files there are is nobody's business.
        refused = SSHFailed("the key file cannot be used")
        if self._keys is None:
            logger.warning("private_key_filename needs CELERIAC_SSH_KEYS_DIR")
            raise refused
        folder = self._keys.resolve()
        path = (folder / filename).resolve()
        if not path.is_relative_to(folder):
            raise refused
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError):
            raise refused from None


class _AcceptAll:
    """Takes any host at its word, as Mistral does; ``CELERIAC_SSH_KNOWN_HOSTS`` does better."""

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Do not object."""


@contextmanager
def _told(cmd: Any, hosts: list[Any]) -> Iterator[None]:
    """Make one error of whatever goes wrong; the cause is in the log only."""
    try:
        yield
    except (EgressDenied, SSHFailed):
        raise
    except Exception as err:
        logger.warning("ssh to %d hosts failed: %s", len(hosts), type(err).__name__, exc_info=True)
        raise SSHFailed(_text(cmd, hosts)) from err


def _text(cmd: Any, hosts: list[Any]) -> str:
    return f"Failed to execute ssh cmd '{cmd}' on {hosts}"


def _address(host: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return name, int(port)
    return host, PORT


def _paramiko() -> Any:
    try:
        import paramiko  # type: ignore[import-untyped]
    except ImportError as err:
        raise SSHFailed(
            "paramiko is not available on this executor; install celeriac[ssh] there"
        ) from err
    return paramiko
