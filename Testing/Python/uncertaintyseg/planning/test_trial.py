"""The step that is timed is the one that a training takes."""

from __future__ import annotations

import pytest
from torch.nn.modules.module import register_module_forward_hook

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.planning import trial
from uncertaintyseg.planning.bundle import write_plan
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.plan import make_plan
from uncertaintyseg.training.deep import DeeplySupervised


@pytest.mark.parametrize("deep", [True, False])
def test_the_inner_levels_are_trained_where_the_plan_says_so(tmp_path, deep):
    found = fingerprint((32, 32, 32), (1.0, 1.0, 1.0))
    given = Overrides(features=4, steps=1, deep_supervision=deep)
    bundle = write_plan(make_plan(found, "gland", overrides=given), found, tmp_path)
    seen = []
    hook = register_module_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    try:
        measured = trial._run({"folder": str(bundle.folder), "shape": [40, 40, 40], "device": "cpu"})
    finally:
        hook.remove()
    assert seen.count(DeeplySupervised) == (3 if deep else 0)
    assert set(measured) == {"step_seconds", "window_seconds", "peak"}
    assert all(value > 0 for value in measured.values())
