"""Write simulated ultrasound images of fetal heads: `python sample_data/make_ultrasound.py FOLDER --count 300`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from uncertaintyseg.cli.console import progress_bar
from uncertaintyseg.data.ultrasound_phantom import FRAMES, SHIFTS, write_ultrasound
from uncertaintyseg.errors import UncertaintySegError

WHAT = """
Each case is the trans-thalamic plane of a fetal head of 18 to 32 weeks, simulated with speckle, shadow, haze under the
near skull and the gain of a machine. Free of any rights.
  images/ID.nii.gz      [X, Y, 1] grey values; with --clips [X, Y, 16], the third axis is time
  labels/ID.nii.gz      the truth: 1 parenchyma (skull included), 2 cavum septi pellucidi, 3 lateral ventricles
  raters/ID_1..3.nii.gz what three people drew: the second draws outside of the truth, the third inside
  cases.csv             age, ellipse of the skull and its circumference, areas, pathology and grade, the machine
  frames.csv            with --clips: the same of every frame
  dataset.json          with --clips: says that the third axis of these volumes is time
"""
EXAMPLES = """
examples:
  python sample_data/make_ultrasound.py heads --count 300
      healthy heads to train on; the first 100 of them are those of --count 100
  python sample_data/make_ultrasound.py ill --count 100 --seed 1 --pathology 0.5
      half of them with large ventricles, an absent cavum or ventricles of two sizes
  python sample_data/make_ultrasound.py other --count 100 --seed 2 --shift acquisition
      another machine: the anatomy of a seed and number is the same with every shift
  python sample_data/make_ultrasound.py sweeps --count 10 --clips --png
      16 frames across the plane; png/images/ID/ holds them as a folder of frames
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done, 2 with one message when it cannot be done."""
    parser = argparse.ArgumentParser(
        description=__doc__ + WHAT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="receives images/, labels/, raters/ and cases.csv")
    parser.add_argument("--count", type=int, default=300, help="number of cases (300)")
    parser.add_argument("--seed", type=int, default=0, help="of the whole set (0)")
    parser.add_argument(
        "--pathology",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of cases with large ventricles, absent cavum or asymmetry, grades 1 to 3 (0)",
    )
    parser.add_argument(
        "--shift",
        choices=SHIFTS,
        default="none",
        help="elastic bends every head; acquisition changes gain, frequency, dynamic range and field of view (none)",
    )
    parser.add_argument("--clips", action="store_true", help="sweeps of 16 frames instead of images")
    parser.add_argument("--size", type=int, default=256, help="pixels of the square picture, 64 or more (256)")
    parser.add_argument("--png", action="store_true", help="copies in png/images and, with palettes, png/labels")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that share the work; the files are the same (as many as cores, at most 8; one for little work)",
    )
    options = parser.parse_args(arguments)
    if options.workers is None:  # a process takes as long to start as some forty images
        pictures = options.count * (FRAMES if options.clips else 1)
        options.workers = min(8, os.cpu_count() or 1, 1 + pictures // 80)
    if options.count < 1 or options.seed < 0 or options.workers < 1:
        parser.error("--count and --workers must be at least 1 and --seed at least 0")
    if not 0 <= options.pathology <= 1 or options.size < 64:
        parser.error("--pathology is a share between 0 and 1, and --size must be at least 64")
    try:
        with progress_bar() as progress:
            ids = write_ultrasound(
                options.folder,
                options.count,
                options.seed,
                progress,
                size=options.size,
                pathology=options.pathology,
                shift=options.shift,
                clips=options.clips,
                png=options.png,
                workers=options.workers,
            )
    except UncertaintySegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(ids)} cases in {options.folder.resolve()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
