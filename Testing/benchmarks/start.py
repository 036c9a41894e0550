"""How long a program takes to have MONAI: with all that MONAI finds, and without what none of ours uses.

    python Testing/benchmarks/start.py

Each in processes of its own, in turns, after one that warms the disk's cache.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 3
WAYS = {
    "all of it": "",
    "lightly": "from uncertaintyseg.startup import import_monai_lightly; import_monai_lightly()",
}
_TIMED = "import time\n{way}\nimport monai\nprint(time.process_time())"


def seconds(way: str) -> float:
    """CPU seconds of a process that imports MONAI."""
    program = _TIMED.format(way=WAYS[way])
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return float(said.splitlines()[-1])


def main() -> None:
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds("all of it")
    for _ in range(ROUNDS):
        for way, values in found.items():
            values.append(seconds(way))
    medians = {way: statistics.median(values) for way, values in found.items()}
    for way, median in medians.items():
        print(f"{way:10} {median:6.2f} CPU s  {median / medians['all of it']:.2f} of all of it")


if __name__ == "__main__":
    main()
