"""Windows lie where MONAI and nnU-Net put them, and weigh what they weigh there."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import sliding_window_inference
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.stream import WindowLayout, run_windows
from uncertaintyseg.inference.stream.averages import Contribution


class Remember:
    """Averages what it sees, with its place in the window: no two windows say the same of a voxel."""

    def read(self, patch):
        ramp = torch.linspace(0, 1, patch[0, 0].numel()).reshape(patch.shape[2:])
        yield Contribution(slice(0, patch.shape[2]), 1.0, {"seen": patch[0] + ramp})

    def predict(self, patch):
        return next(self.read(patch)).values["seen"][None]


def whole(volume, plan):
    out = torch.full((1, *plan.shape), torch.nan)
    for slab in run_windows(volume, plan, Remember()):
        out.movedim(slab.axis + 1, 1)[:, slab.planes.start : slab.planes.stop] = slab.values["seen"]
    return out


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 8, 17), (20, 13, 8), (5, 24, 9), (3, 4, 5), (8, 31, 21)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_the_averages_are_those_of_monai(shape, overlap):
    volume = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    layout = WindowLayout((8, 8, 8), overlap)
    window = layout.fitting(shape, 4)
    wanted = sliding_window_inference(
        volume[None], window, 1, Remember().predict, overlap=overlap, mode="gaussian", padding_mode="replicate"
    )
    assert torch.allclose(whole(volume, layout.over(shape, 4)), wanted[0], atol=2e-6)


@pytest.mark.parametrize(("kind", "mode"), [("sliding", "gaussian"), ("sliding_constant", "constant")])
@pytest.mark.parametrize("shape", [(8, 8, 8), (20, 13, 8), (3, 4, 5), (5, 24, 9)])
def test_the_averages_are_those_of_monai_also_with_windows_of_one_size(shape, kind, mode):
    volume = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    wanted = sliding_window_inference(volume[None], (8, 8, 8), 1, Remember().predict, overlap=0.25, mode=mode)
    plan = WindowLayout((8, 8, 8), 0.25, kind).over(shape, 4)
    assert torch.allclose(whole(volume, plan), wanted[0], atol=2e-6)


@pytest.mark.parametrize("shape", [(8, 12, 10), (9, 30, 17), (5, 24, 9), (41, 12, 33)])
@pytest.mark.parametrize("overlap", [0.5, 0.2])
def test_steps_and_weights_are_those_of_nnunet(shape, overlap):
    patch = (8, 12, 10)
    plan = WindowLayout(patch, overlap, "nnunet").over(shape, 2)
    padded = tuple(max(size, side) for size, side in zip(shape, patch, strict=True))
    assert [list(starts) for starts in plan.starts] == compute_steps_for_sliding_window(padded, patch, 1 - overlap)
    theirs = compute_gaussian(patch, dtype=torch.float32, device=torch.device("cpu"))
    assert torch.allclose(plan.weights, theirs, rtol=1e-5, atol=0)
    assert plan.window == patch
    assert plan.before == tuple((side - size) // 2 for side, size in zip(padded, shape, strict=True))


def test_nnunet_surrounds_a_small_volume_with_zeros_and_monai_with_its_border():
    volume = torch.full((1, 3, 8, 8), 7.0)
    patches = [
        WindowLayout((8, 8, 8), 0.5, kind).over((3, 8, 8), 4).patch(volume, (0, 0, 0)) for kind in ("nnunet", "monai")
    ]
    zeros, border = patches
    assert zeros.shape == (1, 1, 8, 8, 8)
    assert zeros.sum() == 7 * volume[0].numel()
    assert torch.equal(zeros[0, 0, 2:5], volume[0])
    assert border.shape == (1, 1, 4, 8, 8)
    assert (border == 7).all()


def test_windows_run_along_the_longest_axis_in_windows():
    layout = WindowLayout((8, 8, 4), 0.5)
    assert layout.over((16, 64, 16), 4).axis == 1
    assert layout.over((16, 16, 16), 4).axis == 2
    assert layout.over((8, 8, 4), 4).axis == 0


@pytest.mark.parametrize("box", [(slice(0, 1),) * 3, (slice(5, 9), slice(20, 24), slice(0, 3))])
def test_only_windows_that_reach_into_a_box_run_and_say_the_same_there(box):
    shape = (19, 40, 13)
    volume, layout = torch.randn(1, *shape), WindowLayout((8, 8, 8), 0.5)
    plan = layout.over(shape, 4, box)
    assert len(plan) < len(layout.over(shape, 4))
    found = torch.full((1, *shape), torch.nan)
    for slab in run_windows(volume, plan, Remember()):
        value = slab.values["seen"].movedim(1, slab.axis + 1)
        found[(0, *(slice(a, a + n) for a, n in zip(slab.corner, value.shape[1:], strict=True)))] = value[0]
    wanted = whole(volume, layout.over(shape, 4))
    assert torch.allclose(found[(0, *box)], wanted[(0, *box)], atol=1e-6)


@pytest.mark.parametrize("size", [1, 4000, 10**9])
def test_the_size_of_slabs_changes_no_bit(size):
    shape = (19, 40, 13)
    volume, plan = torch.randn(1, *shape), WindowLayout((8, 12, 8), 0.5).over(shape, 4)
    wanted = whole(volume, plan)
    found = torch.empty_like(wanted)
    slabs = 0
    for slab in run_windows(volume, plan, Remember(), slab_bytes=size):
        found.movedim(slab.axis + 1, 1)[:, slab.planes.start : slab.planes.stop] = slab.values["seen"]
        slabs += 1
    assert torch.equal(found, wanted)
    assert slabs == 40 or size > 1


def test_a_layout_that_does_not_exist_is_refused(tiny_bundle):
    bundle = tiny_bundle()
    bundle.config["layout"] = "spiral"
    with pytest.raises(BundleError, match="'layout' is 'spiral'; it must be one of monai, nnunet"):
        WindowLayout.of(bundle, 4)
