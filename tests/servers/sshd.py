"""A real OpenSSH server, where one is installed: there is no wheel that carries it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import Process, ServerFailed, ServerUnavailable, free_port, scratch

CONFIGURATION = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A server that lets the user of this process in, by keys."""

    port: int
    user: str
    directory: Path

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def welcome(self, *public_keys: str) -> None:
        """Let in who has one of these keys (lines of ``authorized_keys``), and nobody else."""
        (self.directory / "authorized_keys").write_text("\n".join(public_keys) + "\n")


def binary() -> str:
    """Return the path of the server's program."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh-keygen") is None:
        raise ServerUnavailable("no sshd is installed (Debian: apt-get install openssh-server)")
    return found


@contextmanager
def sshd() -> Iterator[Sshd]:
    """Run a server."""
    program = binary()
    if os.geteuid() == 0:
        # Where the server, run by root, separates its privileges.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with scratch(traversable=True) as directory:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "host_key"],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        (directory / "authorized_keys").touch()
        port = free_port()
        path = directory / "sshd_config"
        path.write_text(CONFIGURATION.format(port=port, directory=directory))

        def answers() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                    return connection.recv(4) == b"SSH-"
            except OSError:
                return False

        process = Process(
            name="sshd",
            command=[program, "-D", "-e", "-f", str(path)],
            log=directory / "sshd.log",
            ready=answers,
        )
        try:
            process.start()
        except ServerFailed as err:
            raise ServerUnavailable(f"sshd does not run here: {err}") from err
        try:
            yield Sshd(port, getpass.getuser(), directory)
        finally:
            process.stop()
