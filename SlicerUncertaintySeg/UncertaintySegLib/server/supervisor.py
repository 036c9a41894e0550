"""Runs a command until it ends, or until whoever started this is gone: a local server does not outlive Slicer.

    python supervisor.py < {"command": [...], "environment": {...}, "log_folder": "..."}

The command starts with the first line of the input, and is stopped when the input ends. What it prints goes to our
own output, a file in the log folder. It needs the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

_STOP_SECONDS = 20.0
_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def stop(process: subprocess.Popen) -> None:
    """Ask a command to end, so that a server can finish what it writes; one that does not is killed."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/PID", str(process.pid), "/T", "/F"], check=False)  # noqa: S603, S607
        return
    process.terminate()
    kill = threading.Timer(_STOP_SECONDS, process.kill)
    kill.daemon = True
    kill.start()


def end_children(process: subprocess.Popen) -> None:
    """End what a command that has ended has left running."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Run the command; exit as it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in Slicer's console: the end of the input follows
    wanted = json.loads(sys.stdin.buffer.readline())
    process = subprocess.Popen(  # noqa: S603 - what the user set in the preferences
        wanted["command"],
        env=wanted["environment"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=_FLAGS,
    )

    def end_with_input() -> None:
        while os.read(sys.stdin.fileno(), 1):  # below the buffer, whose lock the interpreter wants at its end
            pass
        shutil.rmtree(wanted["log_folder"], ignore_errors=True)  # Slicer does it too, unless it has crashed
        stop(process)

    signal.signal(signal.SIGTERM, lambda *_: stop(process))
    threading.Thread(target=end_with_input, daemon=True).start()
    code = process.wait()
    end_children(process)
    sys.exit(code)


if __name__ == "__main__":
    main()
