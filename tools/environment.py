"""Makes the virtual environment that everything here runs in.

It needs Python 3.11 or later with pip, and nothing else; `make` calls it, and
where there is no make it can be called by hand:

    python3 tools/environment.py          # what Celeriac needs to run
    python3 tools/environment.py --dev    # and what its tests need
    python3 tools/environment.py --lock   # write both lock files anew

A second call returns at once, unless a lock or the metadata has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"run": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
#: Extras that the locks hold.
EXTRAS = {"run": ("all",), "dev": ("all", "dev")}
HEADER = """\
# Exact versions of what {what}, tried together on Python 3.11.
# Written by `make lock`; the bounds are in setup.cfg.
"""


def run(command: Sequence[str | Path]) -> None:
    """Run *command* and end with its status if it fails."""
    status = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(f"environment: failed with status {status}: {' '.join(map(str, command))}")


def create(directory: Path) -> tuple[str | Path, ...]:
    """Create a virtual environment and return the command that is its pip."""
    python = directory / "bin" / "python"
    if not python.exists():
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if made.returncode:
            # Debian keeps ensurepip in a package of its own. Without it the
            # pip that runs us can still install into the new environment.
            run([sys.executable, "-m", "venv", "--clear", "--without-pip", directory])
    quiet = ("--disable-pip-version-check", "--no-input", "--quiet")
    if (directory / "bin" / "pip").exists():
        return (python, "-m", "pip", *quiet)
    return (sys.executable, "-m", "pip", "--python", python, *quiet)


def fingerprint(kind: str) -> str:
    """Return a digest of all that decides what is in the environment."""
    digest = hashlib.sha256()
    for path in (LOCKS[kind], ROOT / "setup.cfg", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest()


def install(kind: str, directory: Path) -> None:
    """Bring the environment to the state that the lock of *kind* describes."""
    stamp = directory / f"celeriac-{kind}.stamp"
    wanted = fingerprint(kind)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Setting up {directory} from {LOCKS[kind].name} ...", flush=True)
    pip = create(directory)
    run([*pip, "install", "--only-binary", ":all:", "-r", LOCKS[kind]])
    # The lock holds setuptools, so nothing has to be fetched to build with.
    run([*pip, "install", "--no-deps", "--no-build-isolation", "--editable", ROOT])
    stamp.write_text(wanted)
    if kind == "dev":
        # What the tests need holds all that running needs.
        (directory / "celeriac-run.stamp").write_text(fingerprint("run"))


def lock() -> None:
    """Write both lock files from what the bounds in setup.cfg allow today."""
    whats = {
        "run": "running Celeriac needs, extras included",
        "dev": "running and testing Celeriac needs",
    }
    for kind, path in LOCKS.items():
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "venv"
            pip = create(directory)
            constraint = ("-c", LOCKS["run"]) if kind == "dev" else ()
            extras = ",".join(EXTRAS[kind])
            wanted = [f"{ROOT}[{extras}]", "setuptools"]
            run([*pip, "install", "--upgrade", "--prefer-binary", *constraint, *wanted])
            freeze = [*pip, "freeze", "--all", "--exclude", "celeriac", "--exclude", "pip"]
            frozen = subprocess.run(
                [str(part) for part in freeze], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.splitlines()
        # An installation from a file says where that file was: not portable.
        if odd := [line for line in frozen if " @ " in line]:
            sys.exit(f"environment: cannot lock what has no version: {odd}")
        lines = sorted(frozen, key=str.lower)
        path.write_text(HEADER.format(what=whats[kind]) + "".join(f"{line}\n" for line in lines))
        print(f"{path.name}: {len(lines)} packages")


def main() -> None:
    """Read the command line and do what it says."""
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"environment: Celeriac needs Python 3.11 or later; {sys.executable} is {found}. "
            "Name another one: make PYTHON=/path/to/python3.11 ..."
        )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dev", action="store_true", help="also what the tests need")
    what.add_argument("--lock", action="store_true", help="write the lock files anew")
    arguments = parser.parse_args()
    directory = Path(os.environ.get("VENV") or ROOT / ".venv").absolute()
    if arguments.lock:
        lock()
    else:
        install("dev" if arguments.dev else "run", directory)


if __name__ == "__main__":
    main()
