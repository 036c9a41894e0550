"""Where training windows of partly labelled cases lie, and what augmentations make of voxels without a label."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import RandAffined, RandFlipd

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.training.known_windows import AboutKnown

SHAPE, CROP = (40, 30, 12), (16, 16, 16)


@pytest.fixture
def case() -> dict[str, torch.Tensor]:
    """A scan whose voxels say where they are; one corner of it was looked at."""
    label = torch.full((1, *SHAPE), IGNORED)
    label[0, :3, 26:, 2:5] = 1
    return {"image": torch.arange(label.numel(), dtype=torch.float32).reshape(label.shape), "label": label}


def middle(values: torch.Tensor) -> torch.Tensor:
    box = [
        slice((size - min(size, window)) // 2, (size + min(size, window)) // 2)
        for size, window in zip(values.shape[1:], CROP, strict=True)
    ]
    return values[(slice(None), *box)]


@pytest.mark.parametrize("seed", range(5))
def test_the_middle_of_what_is_left_holds_a_labelled_voxel(case, seed):
    assert not (middle(case["label"]) != IGNORED).any()
    found = AboutKnown(CROP).set_random_state(seed)(case)
    assert (middle(found["label"]) != IGNORED).any()
    assert middle(found["label"]).shape[1:] == (16, 16, 12)
    places = found["image"].flatten().long()
    assert torch.equal(case["label"].flatten()[places], found["label"].flatten())


def test_a_voxel_that_is_far_from_every_face_comes_to_the_middle():
    label = torch.full((1, *SHAPE), IGNORED)
    label[0, 13, 17, 6] = 2
    found = AboutKnown((5, 5, 5))({"image": label.float(), "label": label})["label"][0]
    assert found[tuple(size // 2 for size in found.shape)] == 2


def test_a_case_that_is_labelled_everywhere_or_nowhere_stays_as_it_is(case):
    for label in (torch.zeros((1, *SHAPE), dtype=torch.long), torch.full((1, *SHAPE), IGNORED)):
        found = AboutKnown(CROP)({**case, "label": label})
        assert found["label"].shape == label.shape
        assert found["image"] is case["image"]


def test_augmentations_keep_voxels_without_a_label_what_they_are(case):
    keys = ["image", "label"]
    affine = RandAffined(
        keys, prob=1, spatial_size=CROP, rotate_range=[0.5] * 3, scale_range=[0.2] * 3, translate_range=[9] * 3,
        mode=["bilinear", "nearest"], padding_mode="border",
    )  # fmt: skip
    seen = set()
    for seed in range(8):
        found = affine.set_random_state(seed)(RandFlipd(keys, prob=0.5).set_random_state(seed)(AboutKnown(CROP)(case)))
        seen |= set(found["label"].unique().tolist())
    assert seen == {IGNORED, 1}
