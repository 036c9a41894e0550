"""SAM and SAM 2 of a few thousand random numbers: what is made of pictures and prompts is what `transformers` makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from Testing.Python.uncertaintyseg import sam_folders
from uncertaintyseg.backbones import PromptedBackbone
from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.backbones.prompted import NOTHING, let_go_of_slices, marks_of, prompt_of
from uncertaintyseg.backbones.sam import Prompt, Sam
from uncertaintyseg.errors import BundleError

pytest.importorskip("transformers")
every_family = pytest.mark.parametrize("family", sorted(sam_folders.CONFIGS))
BOX = Prompt((7.0, 4.0, 30.0, 21.0))
SHAPE = (25, 40)  # rows, columns


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))


def sam(family: str, **how) -> tuple[Sam, torch.nn.Module]:
    """Ours, and the one of `transformers` whose tensors it has."""
    ours, theirs = Sam(family, sam_folders.CONFIGS[family], **how), sam_folders.network(family)
    ours.model.load_state_dict(theirs.state_dict())
    return ours, theirs


def pixels(picture: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """What SAM's processor makes of a picture of 0..1, in numpy but for the interpolation: `[1, 3, SIZE, SIZE]`."""
    sized = F.interpolate(torch.from_numpy(picture)[None, None], size, mode="bilinear", antialias=True)[0, 0].numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = np.zeros((1, 3, sam_folders.SIZE, sam_folders.SIZE), np.float32)
    found[0, :, : size[0], : size[1]] = (sized[None] - mean[:, None, None]) / std[:, None, None]
    return torch.from_numpy(found)


@torch.no_grad()
def test_a_box_and_points_get_the_mask_that_transformers_gives_of_sam(picture):
    ours, theirs = sam("sam")
    given = pixels(picture.numpy(), (40, 64))  # 25 x 40 with 64 on the longer side
    scale = 64 / 40
    box = torch.tensor([[[7.0, 4.0, 30.0, 21.0]]]) * scale
    points, kinds = torch.tensor([[[[10.0, 12.0], [35.0, 20.0]]]]) * scale, torch.tensor([[[1, 0]]])
    for prompt, said in (
        (BOX, {"input_boxes": box}),
        (Prompt(BOX.box, [(10, 12)], [(35, 20)]), {"input_boxes": box, "input_points": points, "input_labels": kinds}),
        (Prompt(None, [(10, 12)], [(35, 20)]), {"input_points": points, "input_labels": kinds}),
    ):
        low = theirs(pixel_values=given, multimask_output=False, **said).pred_masks[:, 0]
        whole = F.interpolate(low, (64, 64), mode="bilinear", align_corners=False)[..., :40, :64]
        expected = F.interpolate(whole, SHAPE, mode="bilinear", align_corners=False)[0, 0]
        found = ours.decode(ours.encode(picture), prompt, SHAPE)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_a_box_gets_the_mask_that_transformers_gives_of_sam_2(picture):
    ours, theirs = sam("sam2")
    box = torch.tensor([[[7 * 64 / 40, 4 * 64 / 25, 30 * 64 / 40, 21 * 64 / 25]]])
    low = theirs(pixel_values=pixels(picture.numpy(), (64, 64)), input_boxes=box, multimask_output=False).pred_masks
    expected = F.interpolate(low[:, 0], SHAPE, mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(ours.decode(ours.encode(picture), BOX, SHAPE), expected, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_of_a_single_point_the_answer_is_taken_that_the_network_thinks_best_of(picture):
    ours, theirs = sam("sam")
    said = {"input_points": torch.tensor([[[[16.0, 16.0]]]]), "input_labels": torch.tensor([[[1]]])}
    answers = theirs(pixel_values=pixels(picture.numpy(), (40, 64)), multimask_output=True, **said)
    best = int(answers.iou_scores[0, 0].argmax())
    whole = F.interpolate(answers.pred_masks[:, 0], (64, 64), mode="bilinear", align_corners=False)[..., :40, :64]
    expected = F.interpolate(whole, SHAPE, mode="bilinear", align_corners=False)[0, best]
    found = ours.decode(ours.encode(picture), Prompt(None, [(10, 10)]), SHAPE)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (40, 25), (25, 40), (37, 61), (150, 97), (97, 301)])
def test_pictures_enter_as_the_published_processor_makes_them(shape):
    """It sizes grey values of a byte by Pillow, which rounds after columns and after rows: up to half a value each."""
    grey = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    size = sam_folders.SIZE
    processor = transformers_class("SamImageProcessorPil")(
        size={"longest_edge": size}, pad_size={"height": size, "width": size}
    )
    theirs = processor(np.repeat(grey[..., None], 3, 2), return_tensors="pt")
    network = sam("sam")[0]
    ours = network.entering(torch.from_numpy(grey).float() / 255)
    assert theirs["reshaped_input_sizes"].tolist() == [list(network._inner(shape))]
    off = (ours - theirs["pixel_values"]).abs() * torch.tensor([0.229, 0.224, 0.225])[:, None, None] * 255
    assert off.max() < (1e-3 if shape == (size, size) else 1.01)  # grey values of 255
    assert off.mean() < 0.25  # that rounding is right on average, and nothing is shifted


def test_medsam_sees_slices_stretched_and_scaled_to_0_and_1(picture):
    seen = sam("sam", scaling="unit", padded=False)[0].entering(3 * picture + 5)
    assert seen.shape == (1, 3, 64, 64)
    assert (float(seen.min()), float(seen.max())) == (0.0, 1.0)
    assert torch.equal(seen[:, 0], seen[:, 2])
    constant = sam("sam", scaling="unit", padded=False)[0].entering(torch.full(SHAPE, 0.3))
    assert torch.equal(constant, torch.zeros_like(constant))


@every_family
@torch.no_grad()
def test_a_slice_is_encoded_once_and_only_where_something_is_asked_for(family, picture):
    backbone = PromptedBackbone(family, sam_folders.CONFIGS[family], structures=2)
    backbone.network.model.load_state_dict(sam_folders.network(family).state_dict())
    image = torch.zeros(1, 3, 40, 25, 3)
    image[0, 0] = picture.T[..., None] + torch.tensor([0.0, 0.1, 0.2])
    image[0, 1, :, :, 1] = marks_of(BOX, (40, 25))
    image[0, 2, :, :, 1] = marks_of(Prompt(None, [(20, 20), (3, 3)]), (40, 25))
    found = backbone(image)
    assert backbone.encoded == 1
    assert torch.equal(found[0, :, :, :, [0, 2]], torch.full((2, 40, 25, 2), NOTHING))
    own = Sam(family, sam_folders.CONFIGS[family])
    own.model.load_state_dict(backbone.network.model.state_dict())
    expected = own.decode(own.encode(picture + 0.1), BOX, SHAPE)
    torch.testing.assert_close(found[0, 0, :, :, 1].T, expected, atol=2e-4, rtol=1e-3)
    assert torch.equal(backbone(image), found)
    assert backbone.encoded == 1
    hook = backbone.network.encoder[0].register_forward_hook(lambda *_: None)
    backbone(image)
    assert backbone.encoded == 2  # somebody may change what it says
    hook.remove()


@torch.no_grad()
def test_where_there_is_no_room_slices_are_encoded_again_and_say_the_same(picture):
    backbone = PromptedBackbone("sam", sam_folders.CONFIGS["sam"], structures=1)
    image = torch.zeros(1, 2, 40, 25, 3)
    image[0, 0] = picture.T[..., None] + torch.tensor([0.0, 0.1, 0.2])
    image[0, 1] = marks_of(BOX, (40, 25))[..., None]
    found = backbone(image)
    a_slice = backbone.kept_bytes // 3
    let_go_of_slices()
    assert backbone.kept_bytes == 0
    backbone.most_kept = 2 * a_slice
    assert torch.equal(backbone(image), found)
    assert torch.equal(backbone(image), found)
    assert backbone.kept_bytes == 2 * a_slice
    assert backbone.encoded == 9  # each has gone before it is asked about again


def test_marks_say_what_was_drawn():
    prompt = Prompt((3, 2, 8, 9), [(4, 4), (5, 9)], [(0, 0)])
    found = prompt_of(marks_of(prompt, (12, 10)))
    assert found == Prompt((3, 2, 8, 9), [[4, 4], [5, 9]], [[0, 0]])
    assert prompt_of(torch.zeros(4, 4)) == Prompt(None, [], [])


def test_a_configuration_that_makes_no_network_is_refused():
    with pytest.raises(BundleError, match="makes no SAM"):
        Sam("sam", {"vision_config": {"hidden_size": "wide"}})
    with pytest.raises(BundleError, match="there is no SAM of family 'sam9'"):
        Sam("sam9", {})
