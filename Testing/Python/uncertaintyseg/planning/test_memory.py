"""Estimated memory: against what shapes say by hand, and against a real step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.planning.memory import step_memory
from uncertaintyseg.planning.topology import make_topology
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.deep import DeeplySupervised

CUBE = make_topology((1, 1, 1), (32, 32, 32), levels=4)


def estimate(**changes):
    settings = {"channels": 1, "classes": 3} | changes
    patch, batch, features = (
        settings.pop(k, d) for k, d in (("patch", (32, 32, 32)), ("batch", 2), ("features", (8, 16, 32, 64)))
    )
    return step_memory(CUBE, features, patch, batch, **settings)


def test_parameters_count_with_gradient_and_both_moments():
    network = DynUNetBackbone(1, (8, 16, 32, 64))
    assert estimate().parameters == 16 * sum(parameter.numel() for parameter in network.parameters())


def test_maps_grow_with_voxels_and_batch_and_are_halved_in_half_precision():
    assert estimate(batch=4).activations == pytest.approx(2 * estimate(batch=2).activations, rel=1e-6)
    assert estimate(patch=(64, 32, 32)).activations == pytest.approx(2 * estimate().activations, rel=1e-6)
    assert estimate(half=True).activations == pytest.approx(estimate().activations / 2, rel=1e-6)


def test_a_thousand_classes_are_logits_above_all():
    few, many = estimate(), estimate(classes=1001)
    assert many.activations == few.activations
    assert many.logits > 1000 * 4 * 2 * 32**3
    assert many.total > 5 * few.total


def test_the_maps_that_are_kept_are_those_that_a_network_on_this_processor_keeps():
    """What autograd keeps of real tensors, without those that are only a view of the parameters."""
    kept = {}
    network = DynUNetBackbone(1, (8, 16, 32, 64), kernels=CUBE.kernels, strides=CUBE.strides)
    own = {parameter.data_ptr() for parameter in network.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.randn(2, 1, 32, 32, 32))
    in_flight = 2 * 32**3 * 4 * 8 * 4
    assert estimate().activations - in_flight == pytest.approx(sum(kept.values()), rel=0.05)


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_deep_supervision_adds_the_readouts_and_logits_that_it_has(levels):
    patch, features = (64, 64, 64), (2, 4, 8, 12, 16)[:levels]
    topology = make_topology((1, 1, 1), patch, levels=levels)
    assert topology.stages == levels
    plain, deep = (
        step_memory(topology, features, patch, 2, channels=1, classes=3, deep=deep) for deep in (False, True)
    )
    network = Segmenter(DynUNetBackbone(1, features), "deterministic", 3)
    learner = DeeplySupervised(network, patch)
    readouts = sum(parameter.numel() for parameter in learner.readouts.parameters())
    assert deep.parameters - plain.parameters == 16 * readouts
    whole = 2 * 64**3
    voxels = sum(each.distribution.mean[:, 0].numel() for each in learner(torch.zeros(2, 1, *patch)).coarser)
    of_image = whole * 4  # which the readouts have in common
    assert deep.logits - plain.logits == pytest.approx((plain.logits - of_image) * voxels / whole)
    assert deep.activations == plain.activations


STEP = """
import json
from pathlib import Path
import torch
from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.objectives import HeadLoss
torch.set_num_threads(1)
network = Segmenter(DynUNetBackbone(filters=(8, 16, 32, 64)), "deterministic", 3).train()
optimizer, loss = torch.optim.AdamW(network.parameters()), HeadLoss("marginal_nll")
def peak():  # getrusage's begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
for _ in range(2):
    optimizer.zero_grad()
    loss(network(torch.randn(2, 1, 64, 64, 48)), torch.randint(3, (2, 1, 64, 64, 48))).backward()
    optimizer.step()
print(json.dumps((peak() - before) * 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts in kilobytes")
def test_a_real_step_takes_what_was_estimated_within_a_factor_of_two():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, encoding="utf-8", check=True)
    measured = json.loads(done.stdout)
    memory = estimate(patch=(64, 64, 48))
    assert 0.5 < (memory.total - memory.runtime) / measured < 2
