"""std.ssh and std.ssh_proxied against a real SSH server."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from app.actions.context import ActionContext
from app.actions.egress import Egress, networks
from app.actions.registry import from_function
from app.actions.results import Result
from app.actions.runner import run
from app.actions.std.ssh import SSH
from app.core.states import State
from tests.servers import ServerUnavailable, Sshd, sshd

paramiko = pytest.importorskip("paramiko", reason="needs the extra celeriac[ssh]")


class Rules(paramiko.ServerInterface):
    """Who may do what."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.targets: dict[int, tuple[str, int]] = {}

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == ("me", "right")
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: Any) -> int:
        good = any(key == each for each in self.server.welcome)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        threading.Thread(target=self.execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, target: Any) -> int:
        self.server.tunnels.append(target)
        self.targets[chanid] = target
        return paramiko.OPEN_SUCCEEDED

    def execute(self, channel: Any, command: str) -> None:
        self.server.commands.append(command)
        # The client ends the input once it knows that the command was accepted. A channel that is
        # closed before it knows looks as if it had not been.
        while channel.recv(1024):
            pass
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        # A client that has read enough hangs up in the midst.
        with suppress(EOFError, OSError, paramiko.SSHException):
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
            channel.close()


class Server:
    """An SSH server that runs commands and opens tunnels."""

    def __init__(self) -> None:
        self.key = paramiko.RSAKey.generate(2048)
        self.welcome: list[Any] = []
        self.commands: list[str] = []
        self.tunnels: list[tuple[str, int]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.transports: list[Any] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            self.transports.append(transport)
            rules = Rules(self)
            try:
                transport.start_server(server=rules)
            except (paramiko.SSHException, EOFError, OSError):  # The client has hung up.
                continue
            threading.Thread(target=self.tunnel, args=(transport, rules), daemon=True).start()

    def tunnel(self, transport: Any, rules: Rules) -> None:
        while transport.is_active():
            channel = transport.accept(0.1)
            target = rules.targets.get(channel.chanid) if channel else None
            if target:
                try:
                    far = socket.create_connection(target)
                except OSError:
                    channel.close()
                    continue
                for source, sink in ((channel, far), (far, channel)):
                    threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for transport in self.transports:
            transport.close()
            transport.join(5)
        self.thread.join(5)


def pump(source: Any, sink: Any) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # one side is gone, and so is the tunnel
    finally:
        source.close()
        sink.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def ssh(host: Any, cmd: str, *, using: SSH | None = None, **input: Any) -> Result:
    action = from_function("std.ssh", (using or SSH(Egress())).run, wants_context=False)
    given = {"host": host, "cmd": cmd, "username": "me", "password": "right", **input}
    return run(action, given, ActionContext())


def pem(key: Any, password: str | None = None) -> str:
    text = io.StringIO()
    key.write_private_key(text, password=password)
    return text.getvalue()


def test_a_command_gives_what_it_printed(server: Server):
    result = ssh(server.address, "printf 'grün\\n'; echo no >&2")
    assert (result.state, result.value) == (State.SUCCESS, "grün\n")


def test_several_hosts_are_asked_in_turn(server: Server):
    result = ssh([server.address, server.address], "echo x")
    assert result.value == ["x\n", "x\n"]


def test_a_command_that_fails_is_told_with_its_hosts(server: Server):
    result = ssh(server.address, "echo secret >&2; exit 3")
    assert result.state is State.ERROR
    assert f"msg='Failed to execute ssh cmd 'echo secret >&2; exit 3' on ['{server.address}']'" in (
        result.value
    )


def test_the_result_of_a_failed_command_can_be_had(server: Server):
    result = ssh(server.address, "echo out; echo err >&2; exit 3", return_result_on_error=True)
    assert result.value == {"stdout": "out\n", "stderr": "err\n", "exit_code": 3}


def test_much_on_both_streams_is_no_deadlock(server: Server):
    script = "for i in $(seq 20000); do echo 0123456789; echo 0123456789 >&2; done"
    result = ssh(server.address, script, return_result_on_error=True)
    assert (len(result.value["stdout"]), len(result.value["stderr"])) == (220_000, 220_000)


def test_output_is_bounded(server: Server):
    result = ssh(server.address, "head -c 100000 /dev/zero", using=SSH(Egress(), max_bytes=5000))
    assert "printed more than 5000 bytes" in result.value


@pytest.fixture(scope="module")
def real() -> Iterator[Sshd]:
    """OpenSSH's own server; skips where none is installed."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(sshd())
        except ServerUnavailable as err:
            pytest.skip(str(err))
        yield server


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_keys_of_all_kinds_open_a_real_server(real: Sshd, kind: str, tmp_path: Path):
    path = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    real.welcome(path.with_suffix(".pub").read_text().strip())
    key = path.read_text()

    def run_there(command: str, private_key: str = key) -> Result:
        return ssh(real.address, command, username=real.user, private_key=private_key, password="")

    assert run_there("echo x; echo y >&2").value == "x\n"
    failed = run_there("echo broken >&2; exit 3")
    assert failed.state is State.ERROR
    assert "3" in failed.value
    assert "broken" in failed.value
    real.welcome()
    assert run_there("echo x").state is State.ERROR


def test_the_password_is_the_passphrase_of_a_key(server: Server):
    key = paramiko.RSAKey.generate(2048)
    server.welcome = [key]
    text = pem(key, "phrase")
    assert ssh(server.address, "echo x", private_key=text, password="phrase").value == "x\n"
    assert "the private key cannot be read" in (
        ssh(server.address, "echo x", private_key=text, password="").value
    )


def test_key_files_are_read_from_one_folder_only(server: Server, tmp_path: Path):
    folder = tmp_path / "keys"
    folder.mkdir()
    key = paramiko.ECDSAKey.generate()
    server.welcome = [key]
    (folder / "good").write_text(pem(key))
    (tmp_path / "outside").write_text(pem(key))
    (folder / "link").symlink_to(tmp_path / "outside")
    using = SSH(Egress(), keys=folder)
    given = {"using": using, "password": ""}
    assert ssh(server.address, "echo x", private_key_filename="good", **given).value == "x\n"
    texts = {
        ssh(server.address, "echo x", private_key_filename=name, **given).value
        for name in ("../outside", "link", "none", str(tmp_path / "outside"), "/etc/passwd")
    }
    # One text for all: which files there are is not told.
    assert len(texts) == 1
    assert "the key file cannot be used" in texts.pop()
    assert "cannot be used" in ssh(server.address, "x", private_key_filename="good").value


def test_hosts_must_be_known_where_that_is_asked_for(server: Server, tmp_path: Path):
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} ssh-rsa {server.key.get_base64()}\n")
    assert ssh(server.address, "echo x", using=SSH(Egress(), known_hosts=known)).value == "x\n"
    known.write_text("")
    result = ssh(server.address, "echo x", using=SSH(Egress(), known_hosts=known))
    assert "Failed to execute ssh cmd 'echo x' on" in result.value
    assert len(server.commands) == 1


def test_a_wrong_password_and_a_denied_network(server: Server):
    assert "Failed to execute ssh cmd" in ssh(server.address, "x", password="wrong").value
    closed = SSH(Egress(denied=networks(["127.0.0.0/8"])))
    assert "resolves to a blocked address" in ssh(server.address, "x", using=closed).value
    assert server.commands == []


def proxied(using: SSH | None = None, **input: Any) -> Result:
    action = from_function(
        "std.ssh_proxied", (using or SSH(Egress())).run_proxied, wants_context=False
    )
    given = {"username": "me", "password": "right", "private_key_filename": None, **input}
    return run(action, given, ActionContext())


def test_a_host_behind_another_one(server: Server):
    gateway = Server()
    try:
        result = proxied(cmd="echo x", host=server.address, gateway_host=gateway.address)
        assert (result.state, result.value) == (State.SUCCESS, "x\n")
        assert gateway.tunnels == [("127.0.0.1", server.port)]
        # No shell on the gateway: there is nothing to inject into.
        assert gateway.commands == []
        result = proxied(cmd="x", host="h; touch /tmp/canary", gateway_host=gateway.address)
        assert result.state is State.ERROR
        assert gateway.commands == []
    finally:
        gateway.close()


def test_a_program_on_the_executor_is_not_started(server: Server, tmp_path: Path):
    result = proxied(
        cmd="x",
        host=server.address,
        gateway_host="g",
        proxy_command=f"touch {tmp_path / 'canary'}",
    )
    assert "proxy_command runs a program on the executor and is turned off" in result.value
    assert not (tmp_path / "canary").exists()
