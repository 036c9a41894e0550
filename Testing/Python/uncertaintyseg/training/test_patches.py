"""Patches lie where they should, and hold what their augmentation reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandAffined, RandFlipd

from uncertaintyseg.training.loading import reseed
from uncertaintyseg.training.patches import KNOWN, MOST_VOXELS, PatchDrawn, StructureVoxels, margins, on_structures
from uncertaintyseg.training.steps import StepLoader

CROP = (6, 4, 3)


def case(shape=(20, 16, 12), **structures) -> dict:
    """Every voxel of the image tells where it is; structures are given by class, as slices."""
    label = torch.zeros(1, *shape)
    for name, where in structures.items():
        label[(0, *where)] = int(name.removeprefix("class_"))
    image = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij"))
    return StructureVoxels()({"image": image, "label": label})


RARE = {
    "class_1": (slice(2, 18), slice(2, 14), slice(1, 11)),
    "class_2": (slice(10, 11), slice(8, 9), slice(6, 7)),
}


def test_the_voxels_of_a_structure_are_those_of_the_label():
    found = case(**RARE)["voxels"]
    label = case(**RARE)["label"][0].numpy()
    assert found[2].tolist() == [[10, 8, 6]]
    np.testing.assert_array_equal(found[1].numpy(), np.argwhere(label == 1))


def test_of_a_large_structure_some_voxels_are_kept_the_same_each_time():
    large = case((40, 40, 40), class_1=(slice(None),) * 3)["voxels"][1]
    assert large.shape == (MOST_VOXELS, 3)
    assert torch.equal(large, case((40, 40, 40), class_1=(slice(None),) * 3)["voxels"][1])
    assert large.float().mean(0) == pytest.approx(np.full(3, 19.5), abs=0.5)


def test_classes_are_drawn_evenly_however_small():
    draw, data, small = PatchDrawn(CROP, (0, 0, 0), 1.0).set_random_state(0), case(**RARE), 0
    for _ in range(400):
        middle = draw(data)["image"][:, CROP[0] // 2, CROP[1] // 2, CROP[2] // 2].tolist()
        small += middle == [10, 8, 6]
    assert small / 400 == pytest.approx(0.5, abs=0.08)


def test_the_share_of_patches_on_structures_is_the_recipes():
    draw, found = PatchDrawn((1, 1, 1), (0, 0, 0), 0.3).set_random_state(0), 0
    data = case(class_1=(slice(0, 2), slice(0, 2), slice(0, 2)))  # 8 of 3840 voxels
    for _ in range(1000):
        found += int(draw(data)["label"].item())
    assert found / 1000 == pytest.approx(0.3, abs=0.05)


def test_patches_lie_anywhere_in_the_scan_and_nowhere_else():
    draw, data = PatchDrawn(CROP, (0, 0, 0), 0.0).set_random_state(0), case(**RARE)
    corners = np.array([draw(data)["image"][:, 0, 0, 0].tolist() for _ in range(2000)])
    assert corners.min(0).tolist() == [0, 0, 0]
    assert corners.max(0).tolist() == [14, 12, 9]


def test_image_and_label_are_cut_at_the_same_place_and_stay_as_they_were():
    draw, data = PatchDrawn(CROP, (2, 1, 0), 0.5).set_random_state(1), case(**RARE)
    before = data["label"].clone()
    for _ in range(20):
        patch = draw(data)
        assert patch["label"].shape == (1, 10, 6, 3)
        at = patch["image"].long()
        np.testing.assert_array_equal(patch["label"][0], before[0][at[0], at[1], at[2]])
        patch["label"].fill_(7)
    assert torch.equal(data["label"], before)


def test_a_scan_smaller_than_the_window_is_in_its_middle_with_its_border_around():
    data = case((2, 16, 12), class_1=(slice(0, 2), slice(0, 2), slice(0, 2)))
    patch = PatchDrawn(CROP, (0, 0, 0), 1.0)(data)
    assert patch["image"][0, :, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_case_without_structures_gives_patches_from_anywhere():
    assert PatchDrawn(CROP, (0, 0, 0), 1.0)(case())["image"].shape == (3, *CROP)


SMALL = {"class_1": (slice(0, 2), slice(0, 2), slice(0, 2))}
"""8 of 3840 voxels, which a patch drawn anywhere hardly meets."""


@pytest.mark.parametrize(
    ("batch_size", "foreground", "count"),
    [(2, 1 / 3, 1), (3, 1 / 3, 1), (4, 1 / 3, 1), (5, 1 / 3, 2), (8, 1 / 3, 3), (2, 0.5, 1), (2, 1.0, 2), (3, 0.6, 2)],
)
def test_the_last_patches_of_each_batch_lie_on_a_structure(batch_size, foreground, count):
    """nnU-Net's: place j is forced unless j < round(batch size x (1 - share))."""
    assert on_structures(foreground, batch_size) == count
    draw = PatchDrawn((1, 1, 1), (0, 0, 0), foreground, batch_size).set_random_state(0)
    found = np.array([int(draw(case(**SMALL))["label"].item()) for _ in range(40 * batch_size)]).reshape(-1, batch_size)
    assert (found[:, batch_size - count :] == 1).all()
    assert (found[:, : batch_size - count] == 1).sum() < 5


def test_a_loader_of_steps_gives_no_batch_without_a_structure_however_many_threads():
    transform = Compose([PatchDrawn((2, 2, 2), (0, 0, 0), 1 / 3, 2)])
    for threads in (1, 3):
        loader = StepLoader([case(**SMALL)] * 3, transform, None, steps=30, batch_size=2, threads=threads)
        for batch in loader:
            assert (batch["label"][1] == 1).any()


def test_a_loader_of_whole_epochs_begins_each_with_a_new_batch():
    data = Dataset([case(**SMALL)] * 3, Compose([PatchDrawn((2, 2, 2), (0, 0, 0), 1 / 3, 2)]))
    loader = DataLoader(data, batch_size=2, shuffle=True, num_workers=0)
    for seed in range(10):
        reseed(loader, seed)
        first, half = loader
        assert len(half["label"]) == 1
        assert (first["label"][1] == 1).any()


def test_a_share_of_no_whole_patch_is_drawn_by_chance():
    assert on_structures(0.2, 2) == 0
    draw = PatchDrawn((1, 1, 1), (0, 0, 0), 0.2, 2).set_random_state(0)
    found = sum(int(draw(case(**SMALL))["label"].item()) for _ in range(1000))
    assert found / 1000 == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("foreground", [0.0, 0.5])
def test_of_a_case_that_is_labelled_in_part_every_patch_holds_what_is_labelled(foreground):
    data = case((40, 40, 40), class_1=(slice(30, 32),) * 3)
    data["label"][:] = -1
    data["label"][0, 28:34, 28:34, 28:34] = 0  # 216 of 64000 voxels were looked at
    data["label"][0, 30:32, 30:32, 30:32] = 1
    data = StructureVoxels()({"image": data["image"], "label": data["label"]})
    np.testing.assert_array_equal(data["voxels"][KNOWN].numpy(), np.argwhere(data["label"][0].numpy() >= 0))
    draw, seen = PatchDrawn((4, 4, 4), (0, 0, 0), foreground, 2).set_random_state(0), set()
    for _ in range(200):
        label = draw(data)["label"]
        assert (label[:, 2, 2, 2] >= 0).all()
        seen |= set(label.unique().tolist())
    assert seen == {-1, 0, 1}


def test_a_case_of_which_nobody_looked_at_anything_is_no_error():
    data = StructureVoxels()({"image": torch.zeros(1, 8, 8, 8), "label": torch.full((1, 8, 8, 8), -1)})
    assert data["voxels"] == {}
    assert PatchDrawn(CROP, (0, 0, 0), 1.0)(data)["image"].shape == (1, *CROP)


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_the_margin_holds_what_the_affine_reads(turn):
    affine = RandAffined(
        keys=["image"], prob=1.0, spatial_size=(12, 12, 6), rotate_range=[turn] * 3, scale_range=[0.2] * 3,
        shear_range=[0.05] * 3, translate_range=[3, 0, 1], padding_mode="zeros",
    )  # fmt: skip
    transforms = [RandFlipd(keys=["image"], prob=0.5), affine]
    margin = margins(transforms, (12, 12, 6))
    size = [side + 2 * more for side, more in zip((12, 12, 6), margin, strict=True)]
    augment = Compose(transforms).set_random_state(0)
    for _ in range(100):  # zeros come from outside
        assert augment({"image": torch.ones(1, *size)})["image"].min() > 0.999


def test_without_an_affine_there_is_no_margin():
    assert margins([RandFlipd(keys=["image"], prob=0.5)], (8, 8, 8)) == (0, 0, 0)
