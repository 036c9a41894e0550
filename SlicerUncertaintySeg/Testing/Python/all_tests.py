"""Started by Slicer itself (../run_in_slicer.py): runs the module's own test and all files beside this one."""

from __future__ import annotations

import unittest
from pathlib import Path

import slicer


def suite(folder: Path) -> unittest.TestSuite:
    """Return the tests of this folder and of the module file."""
    loader = unittest.TestLoader()
    tests = loader.discover(str(folder), pattern="UncertaintySeg*Test.py")
    tests.addTests(loader.loadTestsFromName("UncertaintySeg.UncertaintySegTest"))
    return tests


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=2).run(suite(Path(__file__).parent))
    slicer.util.exit(slicer.util.EXIT_SUCCESS if result.wasSuccessful() else slicer.util.EXIT_FAILURE)
