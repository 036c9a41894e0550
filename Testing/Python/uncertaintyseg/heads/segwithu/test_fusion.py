"""Taps of several resolutions on one grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.segwithu.fusion import Fusion, resized

TAPS = {"up_0": 6, "up_1": 5}
FEATURES, WIDTH = 4, 3


def fusion(faithful: bool = False) -> Fusion:
    torch.manual_seed(0)
    return Fusion(TAPS, FEATURES, WIDTH, faithful).eval()


def maps(side: int = 8, batch: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def draw(channels: int, size: int) -> torch.Tensor:
        return torch.randn(batch, channels, size, size, size + size // 2, generator=generator)

    return draw(FEATURES, side), {"up_0": draw(6, side // 4), "up_1": draw(5, side // 2)}


@pytest.mark.parametrize(("faithful", "side"), [(False, 4), (True, 8)])
def test_it_fuses_on_the_finest_taps_grid_or_on_the_full_one(faithful, side):
    assert fusion(faithful)(*maps()).shape == (2, WIDTH, side, side, side + side // 2)


@pytest.fixture
def projected() -> list[np.ndarray]:
    """Each part by its own projection, on its own grid: the taps, then the last features."""
    features, taps = maps()
    weights = [layer.weight.detach().numpy()[..., 0, 0, 0] for layer in fusion().project]
    parts = [part.numpy() for part in (taps["up_0"], taps["up_1"], features)]
    return [np.einsum("wc,bcxyz->bwxyz", weight, part) for weight, part in zip(weights, parts, strict=True)]


def test_parts_are_added_up_with_the_last_features_halved_to_means_of_eight_voxels(projected):
    module = fusion()
    module.mix = nn.Identity()
    coarse, middle, last = projected
    b, c, x, y, z = last.shape
    halved = last.reshape(b, c, x // 2, 2, y // 2, 2, z // 2, 2).mean((3, 5, 7))
    coarse = resized(torch.from_numpy(coarse), torch.Size(middle.shape[2:])).numpy()
    np.testing.assert_allclose(module(*maps()).detach(), coarse + middle + halved, atol=1e-5)


def test_the_faithful_fusion_sets_parts_side_by_side_at_full_resolution(projected):
    module = fusion(faithful=True)
    module.mix = nn.Identity()
    grid = torch.Size(projected[-1].shape[2:])
    expected = [resized(torch.from_numpy(part), grid).numpy() for part in projected]
    np.testing.assert_allclose(module(*maps()).detach(), np.concatenate(expected, 1), atol=1e-5)


def test_maps_on_the_grid_are_not_touched_and_constants_stay_constant():
    values = torch.randn(1, 2, 4, 4, 4)
    assert resized(values, values.shape[2:]) is values
    constant = torch.full((1, 2, 3, 4, 5), 1.5)
    torch.testing.assert_close(resized(constant, torch.Size((6, 9, 4))), torch.full((1, 2, 6, 9, 4), 1.5))


def test_a_tap_that_is_not_there_is_named():
    features, taps = maps()
    del taps["up_1"]
    with pytest.raises(BundleError, match=r"reads the tap 'up_1' and was given up_0.*'taps'"):
        fusion()(features, taps)


def test_a_tap_of_another_width_is_named():
    features, taps = maps()
    with pytest.raises(BundleError, match="'up_0' has 5 channels; 'taps' says 6"):
        fusion()(features, taps | {"up_0": taps["up_1"]})


def test_an_image_too_small_to_normalise_is_refused():
    taps = {"up_0": torch.zeros(1, 6, 1, 1, 1), "up_1": torch.zeros(1, 5, 1, 1, 1)}
    with pytest.raises(InputError, match="larger image"):
        fusion()(torch.zeros(1, FEATURES, 2, 2, 2), taps)
    assert torch.isfinite(fusion(faithful=True)(torch.zeros(1, FEATURES, 2, 2, 2), taps)).all()
