"""Write simulated CT cases with several raters: `python sample_data/make_phantoms.py FOLDER --count 100`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from uncertaintyseg.cli.console import progress_bar
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.errors import UncertaintySegError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done, 2 with one message when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="receives images/, labels/ and raters/")
    parser.add_argument("--count", type=int, default=100, help="number of cases; the committed split needs 100")
    parser.add_argument("--seed", type=int, default=0, help="the committed split and the shipped weights belong to 0")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.seed < 0:
        parser.error("--count must be at least 1 and --seed at least 0")
    try:
        with progress_bar() as progress:
            ids = write_phantoms(options.folder, options.count, options.seed, progress)
    except UncertaintySegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(ids)} cases in {options.folder.resolve()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
