"""What a program that imports MONAI lightly has, and what it leaves to others."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

from uncertaintyseg.startup import UNUSED, import_monai_lightly

_PROGRAM = """
import importlib, importlib.util, json, sys, torch
from uncertaintyseg.startup import import_monai_lightly
import matplotlib
import_monai_lightly()
import_monai_lightly()
import monai
from monai.networks.nets import DynUNet
from monai.engines import SupervisedTrainer
loaded = [name for name in {unused} if sys.modules.get(name)]
hidden = [name for name in {unused} if name in sys.modules and sys.modules[name] is None]
installed = [name for name in {unused} if "." not in name and importlib.util.find_spec(name)]
for name in ("pandas", "scipy.signal"):
    importlib.import_module(name)
again = importlib.reload(monai).__spec__.loader is monai.__loader__
behind = [name for name in ("sympy", "torch.distributed.tensor") if name in sys.modules]
from torch.distributed.optim import ZeroRedundancyOptimizer
real = issubclass(ZeroRedundancyOptimizer, torch.optim.Optimizer)
ours = [finder for finder in sys.meta_path if type(finder).__module__ == "uncertaintyseg.startup"]
print(json.dumps([loaded, hidden, installed, again, len(ours), behind, real]))
"""


def test_monai_comes_without_what_is_not_used_and_that_can_be_imported_later():
    program = _PROGRAM.format(unused=UNUSED)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    loaded, hidden, installed, again, left_over, behind, real = json.loads(done.stdout.splitlines()[-1])
    assert loaded == ["matplotlib"]  # which the program had before
    assert hidden == []
    assert {"matplotlib", "pandas"} <= set(installed)
    assert again
    assert left_over == 0
    assert behind == []
    assert real


def test_where_monai_was_imported_already_nothing_changes():
    importlib.import_module("monai")
    before = list(sys.meta_path)
    import_monai_lightly()
    assert sys.meta_path == before
