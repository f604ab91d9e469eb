"""Starting processes that do not outlive us, and telling how they ended.

It knows nothing of what the processes do.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
#: Looked up once: a child may do little between fork and exec.
_prctl = ctypes.CDLL(None).prctl if LINUX else None


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a process runs: a program file, or the ``main`` of a Python module."""

    name: str
    #: Arguments, without the program's own name.
    arguments: Sequence[str]
    #: A program file; None: Python.
    file: Path | None = None
    #: The Python module to run, and the function in it that is its main.
    module: str = ""
    function: str = "main"
    #: More environment.
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        """The command line that does the same."""
        if self.file:
            return [str(self.file), *self.arguments]
        code = (
            f"import sys; from {self.module} import {self.function} as main; "
            f"sys.argv[0] = {self.module!r}; sys.exit(main())"
        )
        return [sys.executable, "-c", code, *self.arguments]


def preload(modules: Sequence[str]) -> None:
    """Import *modules*, so that processes forked later share them."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    # What stands now is never looked at by the collector of a child, which would copy it.
    gc.freeze()


def start(program: Program, log: Path) -> int:
    """Start *program*, its output going to *log*; its process id.

    It has a session of its own, so that a Ctrl-C in the terminal is ours alone to deal with, and
    on Linux it is asked to end when we are gone.
    """
    if LINUX and program.file is None and threading.active_count() == 1:
        return fork(lambda: _run(program), log)
    if LINUX and program.file is not None and threading.active_count() == 1:
        return fork(lambda: _become(program), log)
    with log.open("ab") as output:
        return subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **program.environment},
            start_new_session=True,
        ).pid


def fork(run: Callable[[], object], log: Path | None, *, session: bool = True) -> int:
    """Run a function in a process of its own; the process's id.

    What it returns, if a number, is the process's exit status. Without *log* and *session* it
    has our terminal.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _child(run, log, session, parent)
    return pid


def _child(run: Callable[[], object], log: Path | None, session: bool, parent: int) -> NoReturn:
    status = 70
    try:
        if session:
            os.setsid()
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if not session:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if log is not None:
            null = os.open(os.devnull, os.O_RDONLY)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(null)
            os.close(output)
        result = run()
        status = result if isinstance(result, int) else 0
    except SystemExit as err:
        status = _status(err.code)
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        # Not our parent's exit handlers.
        os._exit(status)


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _run(program: Program) -> object:
    os.environ.update(program.environment)
    sys.argv = [program.module, *program.arguments]
    module = importlib.import_module(program.module)
    return getattr(module, program.function)()


def _become(program: Program) -> NoReturn:
    os.execve(program.command[0], program.command, {**os.environ, **program.environment})


def ended(pid: int) -> int | None:
    """The exit status of a child that has ended, as ``subprocess`` gives it; None if it runs."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status) if found else None


def describe(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that leads a session, and to all in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def identity(pid: int) -> str | None:
    """What tells this process from a later one of the same id; None when it does not run."""
    if not LINUX:
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return found.stdout.strip() or None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
