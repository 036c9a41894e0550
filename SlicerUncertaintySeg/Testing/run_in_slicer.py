"""Run the module's tests in your own Slicer.

    python SlicerUncertaintySeg/Testing/run_in_slicer.py --slicer PATH_TO_SLICER
    python SlicerUncertaintySeg/Testing/run_in_slicer.py --slicer PATH_TO_SLICER --server http://127.0.0.1:8000

Any Python 3 will do; nothing is installed, and your Slicer's settings are left alone. With `--server` a case is also
taken from that server, segmented and submitted, so use a server that was started for tests. The status is that of the
tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent / "Python"
MODULES = Path(__file__).resolve().parents[1]


def main() -> int:
    """Start Slicer with the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slicer", required=True, help="the Slicer executable, version 5.8 or later")
    parser.add_argument("--server", help="address of a server started for tests")
    parser.add_argument("--token", help="access token, where the server asks for one; else UNCERTAINTYSEG_TOKEN")
    parser.add_argument("--no-window", action="store_true", help="without a main window, e.g. on a build machine")
    options = parser.parse_args()
    given = {"UNCERTAINTYSEG_SERVER": options.server, "UNCERTAINTYSEG_TOKEN": options.token}
    environment = {**os.environ, **{name: value for name, value in given.items() if value}}
    # --testing also leaves out the user's own settings and start-up script.
    command = [options.slicer, "--testing", "--no-splash", *(["--no-main-window"] if options.no_window else [])]
    command += ["--additional-module-paths", str(MODULES), "--python-script", str(TESTS / "all_tests.py")]
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except OSError as error:
        print(f"{options.slicer} cannot be started ({error.strerror}): give the path of Slicer itself.")
        return 2


if __name__ == "__main__":
    sys.exit(main())
