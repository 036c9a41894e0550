"""Classes of `transformers` where other packages are missing or broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")

_PROGRAM = """
import json, sys  # ours brings MONAI, which looks for transformers, and so for torchvision
from uncertaintyseg.backbones.hugging_face import transformers_class
found = [transformers_class(name).__name__ for name in ("SamModel", "SamConfig", "Sam2Model", "Sam2Config")]
print(json.dumps([found, "torchvision" in sys.modules]))
"""


def test_a_torchvision_that_fails_on_import_is_in_nobodys_way(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms is missing')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, left = json.loads(done.stdout.splitlines()[-1])
    assert found == ["SamModel", "SamConfig", "Sam2Model", "Sam2Config"]
    assert not left


def test_without_transformers_the_extra_is_named(tmp_path):
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text("raise ImportError('No module named transformers')")
    program = (
        "from uncertaintyseg.backbones.hugging_face import transformers_class\n"
        "from uncertaintyseg.errors import InputError\n"
        "try:\n    transformers_class('SamModel')\nexcept InputError as error:\n    print(error)"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONPATH": path}
    )
    assert "pip install 'uncertaintyseg[foundation]'" in done.stdout, done.stderr
