"""Native decoders, each in a process of its own that has little memory, time and files, and knows no token.

Where the system cannot limit a process (only Linux keeps a limit of memory) nothing is decoded so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HAS_LIMITS = sys.platform == "linux"
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")  # no tokens and no passwords


def run_limited(program: Path, folder: Path, *, memory: int, seconds: int, file_bytes: int) -> None:
    """Run a program of ours on a folder; it sets itself the limits, and what it leaves undone is seen there.

    Args:
        program: gets the folder and the limits as its arguments.
        folder: of our own.
        memory: bytes of address space.
        seconds: of the processor; twice as long by the clock.
        file_bytes: of each file that it writes.
    """
    command = [sys.executable, str(program), str(folder), str(memory), str(seconds), str(file_bytes)]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    threads = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        subprocess.run(  # noqa: S603 - our own program, on a folder of our own
            command, cwd=folder, env=environment | threads, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=2 * seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return
