"""Somebody else's encoders of a few thousand random numbers: what is taken of them, and that they stay as they are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from Testing.Python.uncertaintyseg import encoder_folders
from uncertaintyseg.backbones import EncoderBackbone
from uncertaintyseg.backbones.encoder import ENCODERS, Encoder
from uncertaintyseg.errors import BundleError

pytest.importorskip("transformers")
every_kind = pytest.mark.parametrize("kind", sorted(ENCODERS))


def backbone(kind: str, **settings: int) -> EncoderBackbone:
    torch.manual_seed(0)
    made = EncoderBackbone(kind, encoder_folders.CONFIGS[kind], **settings)
    made.encoder.model.load_state_dict(encoder_folders.network(kind).state_dict(), strict=False)
    return made.eval()


def test_every_kind_is_tried():
    assert encoder_folders.CONFIGS.keys() == ENCODERS.keys()


@pytest.mark.parametrize("kind", ["vit", "deit", "beit", "dinov2", "dinov2_with_registers"])
def test_tokens_become_maps_of_their_patches(kind):
    """Of five layers after the first, second, fourth and last, without tokens of no place."""
    ours, theirs = backbone(kind).encoder, encoder_folders.network(kind)
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said, found = theirs(pictures, output_hidden_states=True).hidden_states, ours(pictures)
    assert ours.widths == [16] * 4
    for layer, each in zip((1, 2, 4, 5), found, strict=True):
        assert each.shape == (2, 16, 4, 4)
        tokens = said[layer][:, said[layer].shape[1] - 16 :]  # row by row
        for row, column in ((0, 0), (1, 3), (3, 2)):
            torch.testing.assert_close(each[:, :, row, column], tokens[:, 4 * row + column])


@pytest.mark.parametrize(
    ("kind", "sides"), [("resnet", (56, 28, 14, 7)), ("convnext", (56, 28, 14, 7)), ("swin", (8, 4, 2))]
)
def test_of_a_pyramid_one_map_of_each_size_is_taken(kind, sides):
    encoder = backbone(kind).encoder
    with torch.no_grad():
        found = encoder(torch.rand(1, 3, encoder.size, encoder.size))
    assert [each.shape[-1] for each in found] == list(sides)
    assert [each.shape[1] for each in found] == encoder.widths


def test_an_encoder_of_any_size_sees_no_more_than_is_usual():
    large = Encoder("dinov2", encoder_folders.CONFIGS["dinov2"] | {"image_size": 518, "patch_size": 14})
    assert (large.size, Encoder("resnet", encoder_folders.CONFIGS["resnet"]).size) == (224, 224)


@every_kind
def test_it_gives_features_on_every_voxel_of_windows_of_any_size(kind):
    made = backbone(kind)
    for shape in ((18, 21, 3), (1, 1, 1), (40, 8, 1)):
        with torch.no_grad():
            features, taps = made.tapped(torch.rand(2, 1, *shape), list(made.taps))
        assert features.shape == (2, made.features, *shape)
        assert {name: each.shape[1] for name, each in taps.items()} == made.taps
        assert all(each.shape[-1] == shape[-1] for each in taps.values())


@every_kind
def test_the_encoder_stays_as_it_is_while_the_decoder_learns(kind):
    made = backbone(kind).train()
    assert made.lateral[0].training
    assert not any(part.training for part in made.encoder.modules())
    before = {name: value.clone() for name, value in made.state_dict().items()}
    optimiser = torch.optim.SGD([each for each in made.parameters() if each.requires_grad], 0.1)
    made(torch.rand(2, 1, 16, 16, 2)).square().mean().backward()
    optimiser.step()
    moved = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in moved if name.startswith("encoder.")}
    assert {name.split(".")[0] for name in moved} == {"stem", "lateral", "steps", "last"}


def test_each_slice_is_encoded_alone_and_grey_is_given_for_each_colour():
    made, image = backbone("vit"), torch.rand(1, 1, 20, 12, 3)
    with torch.no_grad():
        found = made._encoded(image)[-1]
        picture = F.interpolate(image[:, :, :, :, 1], (32, 32), mode="bilinear", align_corners=False, antialias=True)
        alone = made.encoder(picture.expand(-1, 3, -1, -1))[-1]
    torch.testing.assert_close(found[..., 1], alone)


def test_another_number_of_channels_is_refused():
    assert backbone("vit", in_channels=3).in_channels == 3
    with pytest.raises(BundleError, match=r"takes pictures of 3 channels, and the scans have 2"):
        backbone("vit", in_channels=2)


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("vit", {"hidden_size": "wide"}, "makes no ViT"),
        ("vit", {"image_size": 30, "patch_size": 8}, r"makes no ViT: pictures of 30 pixels and patches of 8"),
        ("vit", {"image_size": [32, 48]}, r"makes no ViT: pictures of \[32, 48\] pixels"),
        ("bert", {}, "no encoder of the kind 'bert'"),
    ],
)
def test_a_configuration_that_makes_no_encoder_is_refused(kind, config, said):
    with pytest.raises(BundleError, match=said):
        Encoder(kind, encoder_folders.CONFIGS["vit"] | config)


def test_a_width_that_its_groups_do_not_divide_is_refused():
    with pytest.raises(BundleError, match="'width' is 24"):
        backbone("vit", width=24)
