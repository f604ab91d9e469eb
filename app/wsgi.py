"""What a web server serves: ``granian --interface wsgi app.wsgi:app``.

Any other WSGI server does as well.
"""

from __future__ import annotations

import multiprocessing
import os

from app.config import Config
from app.factory import create_app
from app.parent import end_with_parent


def end_with_server() -> None:
    """Have this process, one of a server's, end when the server's main process is killed.

    Granian's would go on without it, and keep the port from whoever is started next.
    """
    main = multiprocessing.parent_process()
    if main is None:
        return
    end_with_parent()
    if os.getppid() != main.pid:
        raise SystemExit("the server's main process is gone")


end_with_server()
app = create_app(Config.from_env())
