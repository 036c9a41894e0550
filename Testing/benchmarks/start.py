"""How long a start takes: of MONAI with all that it finds and without what none of ours uses, and of whole programs.

    python Testing/benchmarks/start.py

Each in processes of its own, in turns, after one that warms the disk's cache. CPU seconds of all its processes, which
a busy machine changes least, and wall seconds.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROUNDS = 3
CLI = [sys.executable, "-m", "uncertaintyseg.cli"]
LIGHTLY = "from uncertaintyseg.startup import import_monai_lightly; import_monai_lightly()"


def python(program: str) -> Callable[[Path], None]:
    """A process that runs a line of Python."""
    return lambda _: _run([sys.executable, "-c", program])


def predict(folder: Path) -> None:
    """One small scan, with a shipped model that draws shapes."""
    scan = next((folder / "images").glob("*.nii.gz"))
    _run([*CLI, "predict", "phantom_low_rank", str(scan), "--output", str(folder / "prediction"), "--device", "cpu"])


def serve(until: Callable[[dict], bool]) -> Callable[[Path], None]:
    """A server, until what it says of itself is so."""

    def start(folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [*CLI, "serve", "--studies", str(folder / "images"), "--port", str(port), "--device", "cpu"]
        command += ["--cache", str(folder / "cache"), "--audit", str(folder / "audit")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        private = {**os.environ, "XDG_STATE_HOME": str(folder), "MONAI_LABEL_SESSION_PATH": str(folder / "sessions")}
        with subprocess.Popen(command, env=private, **quiet) as process:
            while not (info := _info(port)) or not until(info):
                time.sleep(0.1)
            process.terminate()

    return start


WAYS: dict[str, Callable[[Path], None]] = {
    "import monai, all of it": python("import monai"),
    "import monai, lightly": python(f"{LIGHTLY}\nimport monai"),
    "predict": predict,
    "serve, first /info": serve(lambda _: True),
    "serve, warmed up": serve(lambda info: not info["warming_up"]),
}


def main() -> None:
    from uncertaintyseg.data.phantom import write_phantoms

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder, count=1, seed=0)
        WAYS["import monai, all of it"](folder)
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, values in found.items():
                before, started = _cpu(), time.monotonic()
                WAYS[way](folder)
                values.append((_cpu() - before, time.monotonic() - started))
    for way, values in found.items():
        cpu, wall = (statistics.median(each) for each in zip(*values, strict=True))
        print(f"{way:24} {cpu:6.2f} CPU s {wall:6.2f} s")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _cpu() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _info(port: int) -> dict | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/info/", timeout=60) as answer:
            return json.load(answer)
    except OSError:
        return None


if __name__ == "__main__":
    main()
