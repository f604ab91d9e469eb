"""What a web server serves: ``granian --interface wsgi app.wsgi:app``.

Any other WSGI server does as well.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from app.config import Config
from app.factory import create_app

_PR_SET_PDEATHSIG = 1


def end_with_server() -> None:
    """Have this process, one of a server's, end when the server's main process is killed.

    Granian's would go on without it, and keep the port from whoever is started next.
    """
    main = multiprocessing.parent_process()
    if main is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != main.pid:
        raise SystemExit("the server's main process is gone")


end_with_server()
app = create_app(Config.from_env())
