"""Runs the real TotalSegmentator on one scan, in an environment of its own: SCAN OUTPUT TASK [fast].

Statistics are switched off by its own configuration file; its weights lie where TOTALSEG_WEIGHTS_PATH says, so it
downloads nothing.
"""

import json
import os
import sys
from pathlib import Path

HOME = Path(os.environ["TOTALSEG_HOME_DIR"])


def main() -> None:
    scan, output, task, *fast = sys.argv[1:]
    from totalsegmentator.python_api import totalsegmentator

    totalsegmentator(
        Path(scan), Path(output), ml=True, task=task, fast=bool(fast), device="cpu", nr_thr_resamp=1, nr_thr_saving=1,
        quiet=True,
    )  # fmt: skip


if __name__ == "__main__":
    HOME.mkdir(parents=True, exist_ok=True)
    settings = {"totalseg_id": "proof", "send_usage_stats": False, "prediction_counter": 0}
    (HOME / "config.json").write_text(json.dumps(settings | {"statistics_disclaimer_shown": True}))
    main()
