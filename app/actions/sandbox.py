"""Runs one class of a code source: the program of a process of its own.

It is started by ``dynamic`` with nothing but the question on its standard input, and knows
nothing of Celeriac, so that what runs in it finds nothing of it either.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

#: Bytes of memory, and of the largest file that a class may write.
MEMORY = 1024 * 1024 * 1024
LARGEST_FILE = 64 * 1024 * 1024


def main() -> None:
    """Answer the question on standard input."""
    _bound()
    question = json.load(sys.stdin)
    # What the class prints must not become part of the answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        text = json.dumps(_run(question))
    except BaseException as err:
        message = str(err) if isinstance(err, Exception) and str(err) else repr(err)
        text = json.dumps({"raised": message})
    answers.write(text.encode())
    answers.flush()
    # Threads that the class has left behind must not hold us up.
    os._exit(0)


def _bound() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the executor
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        resource.setrlimit(limit, (value, value))


def _run(question: dict[str, Any]) -> dict[str, Any]:
    module = ModuleType("code_source")
    # Classes look their own module up here.
    sys.modules["code_source"] = module
    exec(compile(question["source"], "<code source>", "exec"), module.__dict__)  # noqa: S102
    instance = getattr(module, question["class_name"])(**question["input"])
    told = question["context"]
    context = SimpleNamespace(
        **told,
        execution=SimpleNamespace(**told, task_id=told["task_execution_id"]),
        security=SimpleNamespace(project_id=told["project_id"], auth_token=None),
    )
    run = instance.run
    takes = run.__code__.co_argcount > 1 or bool(run.__code__.co_flags & 0x04)
    value = run(context) if takes else run()
    if type(value).__name__ == "Result" and hasattr(value, "error"):
        return {
            "cancel": bool(getattr(value, "cancel", False)),
            "failed": value.error is not None,
            "error": value.error,
            "value": getattr(value, "data", None),
        }
    return {"cancel": False, "failed": False, "value": value}


if __name__ == "__main__":
    main()
