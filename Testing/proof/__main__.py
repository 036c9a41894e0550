"""`make proof`: run the slow proofs and write what they measured to docs/proof.md.

python -m Testing.proof [--only a,c] [--quick] [--output FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from Testing.proof.page import Proof, write_page

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GPU = ROOT / "Testing" / "Python" / "uncertaintyseg" / "inference" / "test_gpu.py"


def files() -> dict[str, list[Path]]:
    """Test files by the letter of the proof they belong to, test_<letter>_<name>.py."""
    found: dict[str, list[Path]] = {}
    for path in sorted(HERE.glob("test_?_*.py")):
        found.setdefault(path.name[5], []).append(path)
    return {**found, "f": [GPU]}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make proof", description=__doc__)
    parser.add_argument("--only", default=",".join(sorted(files())), help="letters, such as a,c")
    parser.add_argument("--quick", action="store_true", help="minutes instead of the full proof")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "proof.md")
    return parser.parse_args()


def run(letter: str, tests: list[Path], quick: bool, folder: Path) -> Proof:
    """Run the tests of one letter in a process of their own."""
    report = folder / f"{letter}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--durations=5", f"--junitxml={report}"]
    command += [*(["--quick"] if quick and HERE in tests[0].parents else []), *map(str, tests)]
    print(f"\nproof ({letter})", flush=True)
    subprocess.run(command, cwd=ROOT)
    return Proof(letter, tests, report)


def main() -> int:
    arguments = parse_arguments()
    chosen = {letter: tests for letter, tests in sorted(files().items()) if letter in arguments.only.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        proofs = [run(letter, tests, arguments.quick, Path(folder)) for letter, tests in chosen.items()]
        write_page(arguments.output, proofs, quick=arguments.quick)
    print(f"\n{arguments.output}")
    return 0 if all(proof.passed for proof in proofs) else 1


if __name__ == "__main__":
    sys.exit(main())
