"""What windows average: in blocks as in whole windows, logits as nnU-Net does, and members' own moments beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.stream import GridMap, LogitAverage, MomentAverage, WindowLayout, onto_grid, run_windows
from uncertaintyseg.logits import Moments
from uncertaintyseg.segmenter import Segmenter

SHAPE, CLASSES = (9, 16, 11), 4


def network(head: str = "deterministic", seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    found = Segmenter(DynUNetBackbone(filters=(4, 8, 8)), head, classes=CLASSES).eval()
    with torch.no_grad():
        found.head.mean.weight *= 6
    return found


VOLUME = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
PLAN = WindowLayout((8, 8, 8), 0.5).over(SHAPE, 4)


def on_scan(average, plan=PLAN):
    """Probabilities `[C, *SHAPE]` and maps `[*SHAPE]`, on the model's own grid."""
    grid = GridMap(np.eye(4), SHAPE, np.eye(4), SHAPE)
    p, maps = torch.empty(CLASSES, *SHAPE), {}
    for chunk in onto_grid(run_windows(VOLUME, plan, average), grid, average):
        p[(slice(None), *chunk.box)] = chunk.probability.movedim(1, chunk.axis + 1)
        for name, value in chunk.maps.items():
            maps.setdefault(name, torch.empty(SHAPE))[chunk.box] = value.movedim(0, chunk.axis)
    return p, maps


def averaged(say):
    """Weighted average over windows of `say(window) -> [k, *window]`, straightforwardly."""
    total = weight = 0
    for start in PLAN.starts[PLAN.axis]:
        for corner in PLAN.corners(start):
            box = tuple(slice(a, a + side) for a, side in zip(corner, PLAN.window, strict=True))
            with torch.inference_mode():
                said = say(PLAN.patch(VOLUME, corner))
            whole = torch.zeros(len(said), *PLAN.reach)
            count = torch.zeros(PLAN.reach)
            whole[(slice(None), *box)], count[box] = said * PLAN.weights, PLAN.weights
            total, weight = total + whole, weight + count
    inner = tuple(slice(pad, pad + size) for pad, size in zip(PLAN.before, SHAPE, strict=True))
    return (total / weight)[(slice(None), *inner)]


@pytest.mark.parametrize("head", sorted(name for name in HEADS if network(name).head.voxelwise))
def test_a_voxelwise_head_reads_parts_of_a_window_as_the_whole(head):
    net = network(head)
    features = torch.randn(1, net.head.features, 8, 6, 5)
    with torch.inference_mode():
        whole = net.read(features)
        parts = [net.read(features[:, :, planes]) for planes in (slice(0, 3), slice(3, 8))]
        moments = torch.cat([part.distribution.moments().stacked() for part in parts], 2)
        assert torch.allclose(moments, whole.distribution.moments().stacked(), atol=2e-6)
    for name, value in whole.maps.items():
        assert torch.allclose(torch.cat([part.maps[name] for part in parts], 2), value, atol=1e-5), name


def test_blocks_of_a_window_add_up_to_the_window(monkeypatch):
    whole = on_scan(MomentAverage(network("low_rank"), CLASSES, [1, 3]))
    monkeypatch.setattr("uncertaintyseg.inference.stream.averages._BLOCK", 1)
    parts = on_scan(MomentAverage(network("low_rank"), CLASSES, [1, 3]))
    assert torch.allclose(parts[0], whole[0], atol=1e-6)
    assert whole[1].keys() == parts[1].keys() >= {"variance_1", "variance_3"}
    for name, value in whole[1].items():
        assert torch.allclose(parts[1][name], value, atol=2e-6), name


def test_one_member_averages_logits_and_has_no_spread():
    net = network()
    average = LogitAverage([net], CLASSES, [2])
    p, maps = on_scan(average)
    logits = averaged(lambda patch: net(patch).distribution.mean[0])
    wanted = logits.softmax(0)
    assert torch.allclose(p, wanted, atol=1e-5)
    assert torch.allclose(maps["predictive_entropy"], torch.special.entr(wanted).sum(0), atol=1e-5)
    assert torch.equal(maps["expected_entropy"], maps["predictive_entropy"])
    assert not any(maps[name].any() for name in ("variance", "variance_2", "mutual_information"))
    assert not average.several
    assert average.carried == CLASSES


def test_members_average_logits_and_their_spread_is_of_their_own_moments():
    nets = [network(seed=1), network(seed=2)]
    average = LogitAverage(nets, CLASSES, [1], mirrors=[1])
    p, maps = on_scan(average)

    def members(patch):
        return [
            net(patch.flip(axes)).distribution.mean.flip(axes) if axes else net(patch).distribution.mean
            for net in nets
            for axes in ([], [3])
        ]

    wanted = averaged(lambda patch: torch.cat(members(patch)).mean(0)).softmax(0)
    assert torch.allclose(p, wanted, atol=1e-5)

    def stacked(patch):
        return sum(Moments.of_point(logits).stacked()[0] for logits in members(patch)) / 4

    moments = Moments.unstacked(averaged(stacked)[None])
    entropy = torch.special.entr(moments.probability).sum(1)[0]
    information = (entropy - moments.expected_entropy[0, 0]).clamp_min(0)
    assert torch.allclose(maps["mutual_information"], information, atol=1e-5)
    assert torch.allclose(maps["variance"], moments.variance[0].sum(0) / 2, atol=1e-5)
    assert torch.allclose(maps["variance_1"], moments.variance[0, 1], atol=1e-5)
    assert information.max() > 0.01
    assert average.several
    assert average.carried == 2 * CLASSES + 3
