"""std.javascript: a script in V8, in a process of its own with bounds on time and memory.

A script may break the engine it runs in; what it then has is a process without connections,
which is killed. The process is kept warm for the next script, each of which gets a fresh context.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from typing import Any

#: Seconds that a script may take.
SECONDS = 60.0
#: Bytes of V8's heap.
HEAP = 128 * 1024 * 1024
#: Bytes of writable memory of the process: what is outside of the heap, such as buffers.
MEMORY = 1024 * 1024 * 1024
#: Bytes of the longest answer.
LARGEST_ANSWER = 16 * 1024 * 1024


class ScriptFailed(Exception):
    """The script threw, did not parse, or took too much."""


def check_available() -> None:
    """Raise ScriptFailed unless there is an engine."""
    if importlib.util.find_spec("py_mini_racer") is None:
        raise ScriptFailed(
            "JavaScriptAction failed: py_mini_racer is not available on this executor; "
            "install celeriac[javascript] there"
        )


class JavaScript:
    """Runs scripts, one at a time, in a process that is started when it is first needed."""

    def __init__(self, *, seconds: float = SECONDS, heap: int = HEAP) -> None:
        self._seconds = seconds
        self._heap = heap
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def run(self, script: Any, context: Any = None) -> Any:
        """Runs *script* as the body of a function; ``$`` is the context."""
        check_available()
        with self._lock:
            try:
                answer = self._ask({"script": str(script), "context": context})
            except BaseException:
                # Also when the action's own time is up: the script must not run on.
                self.close()
                raise
        if "error" in answer:
            raise ScriptFailed(f"JavaScriptAction failed: {answer['error']}")
        return json.loads(answer["result"]) if answer.get("result") is not None else None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            # The process bounds the script itself; this is for a process that hangs.
            ready, _, _ = select.select([process.stdout], [], [], self._seconds + 5.0)
            line = process.stdout.readline(LARGEST_ANSWER) if ready else b""
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            status = process.poll()
            self.close()
            why = "its process ended" if status is not None else "it did not end in time"
            if len(line) >= LARGEST_ANSWER:
                why = "the result is too large"
            raise ScriptFailed(f"JavaScriptAction failed: {why}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():
            # The process belongs to the one that we were forked from.
            self._process = None
        if self._process is None or self._process.poll() is not None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", __file__, str(self._seconds), str(self._heap)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},  # nothing of the executor's settings
                close_fds=True,
            )
        return self._process


# --- in the process of its own ---------------------------------------------------------------

_WRAPPER = """
(function () {
  const answer = (function ($) { %s
  })(%s);
  return answer === undefined ? null : JSON.stringify(answer) ?? null;
})()
"""


def _serve(seconds: float, heap: int) -> None:
    from py_mini_racer import MiniRacer

    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the executor
    # Nothing that a script could reach opens files or sockets; should it break out of V8, it
    # finds it cannot write any, nor start a process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    racer = MiniRacer()
    del racer
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(json.loads(line), seconds, heap)).encode())
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


def _answer(question: dict[str, Any], seconds: float, heap: int) -> dict[str, Any]:
    from py_mini_racer import JSEvalException, JSOOMException, JSTimeoutException, MiniRacer

    racer = MiniRacer()
    try:
        source = _WRAPPER % (question["script"], json.dumps(question["context"]))
        result = racer.eval(source, timeout_sec=seconds, max_memory=heap)
        return {"result": result}
    except JSTimeoutException:
        return {"error": f"the script took longer than {seconds:g} seconds"}
    except JSOOMException:
        return {"error": f"the script took more than {heap // 2**20} MiB of memory"}
    except JSEvalException as err:
        return {"error": str(err)}
    finally:
        racer.close()


if __name__ == "__main__":
    _serve(float(sys.argv[1]), int(sys.argv[2]))
