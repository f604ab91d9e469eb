"""Becomes a server that dies with the process that started it.

Run as ``python -I launch.py PARENT SIGNAL USER GROUP COMMAND...``. It changes
the user if told to, asks Linux to send SIGNAL when PARENT dies, and then
becomes COMMAND. A program of its own, because code between fork and exec is
unsafe in a parent that has threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command that the arguments name."""
    parent, death_signal, user, group = map(int, sys.argv[1:5])
    command = sys.argv[5:]
    if user >= 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit("launch: the parent was gone before the server was there")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
