"""What is kept of an inference: the foreground region, on disk and back, and shapes drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.inference.state import MARGIN, InferenceState

SHAPE = (40, 36, 30)
AFFINE = np.array([[2.0, 0, 0, -30], [0, 2, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]])


def possible(*foreground: tuple[int, int, int]) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    for voxel in foreground:
        found[voxel] = True
    return found


def features() -> np.ndarray:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0)).half().numpy()


def head() -> LowRankHead:
    torch.manual_seed(0)
    network = LowRankHead(features=4, classes=3, rank=3).eval()
    with torch.no_grad():
        network.factor.weight *= 10
    return network


def test_the_region_surrounds_all_possible_foreground_by_the_margin():
    state = InferenceState.around_foreground(features(), possible((12, 20, 3), (15, 22, 28)), AFFINE)
    assert state.region == (
        slice(12 - MARGIN, 16 + MARGIN),
        slice(20 - MARGIN, 23 + MARGIN),
        slice(0, 30),
    )
    wanted = features()[(slice(None), *state.region)]
    assert state.features.dtype == np.float16
    assert np.array_equal(state.features, wanted)


def test_without_possible_foreground_there_is_no_state():
    assert InferenceState.around_foreground(features(), possible(), AFFINE) is None


def test_a_saved_state_comes_back_from_disk(tmp_path):
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    state.save(tmp_path / "state")
    loaded = InferenceState.load(tmp_path / "state")
    assert isinstance(loaded.features, np.memmap)
    assert np.array_equal(loaded.features, state.features)
    assert loaded.region == state.region
    assert np.array_equal(loaded.affine, AFFINE)
    one, two = (list(s.labels(head(), 4, torch.Generator().manual_seed(2))) for s in (state, loaded))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_drawn_labels_are_whole_shapes_of_the_region():
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    draws = list(state.labels(head(), 8, torch.Generator().manual_seed(1)))
    assert len(draws) == 8
    assert all(draw.shape == state.features.shape[1:] for draw in draws)
    assert {int(c) for draw in draws for c in draw.unique()} <= {0, 1, 2}
    assert len({draw.numpy().tobytes() for draw in draws}) == 8


def test_of_several_paths_come_as_many_draws_each():
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    both = make_head("l_fusion", features=4, classes=3, rank=2, passes=2).eval()
    own = list(state.labels(both, 3, generator()))
    draws = list(state.labels(both, 5, generator(), (None, "dropout")))
    assert len(draws) == 5
    assert all(torch.equal(a, b) for a, b in zip(own, draws[:3], strict=True)), "the first ones are its own"
    region, random = torch.from_numpy(state.features.astype(np.float32))[None], generator()
    with torch.no_grad():
        output = both(region)
        list(output.distribution.sample(3, random))
        passes = [logits[0].argmax(0) for logits in output.paths["dropout"].sample(2, random)]
    assert all(torch.equal(a, b) for a, b in zip(passes, draws[3:], strict=True))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_on_the_models_grid_a_draw_is_where_its_region_is():
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    for label, whole in zip(
        state.labels(head(), 3, generator()), state.labels_on(AFFINE, SHAPE, head(), 3, generator()), strict=True
    ):
        assert (whole.dtype, whole.shape) == (np.uint8, SHAPE)
        assert np.array_equal(whole[state.region], label.numpy())
        assert whole.astype(bool).sum() == (label > 0).sum()


@pytest.mark.parametrize("degrees", [(0, 0, 0), (180, 0, 90), (15, -20, 35)])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 3.0), (0.9, 1.1, 4.7)])
def test_on_another_grid_a_draw_is_its_nearest_voxels(degrees, spacing):
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    grid, shape = np.eye(4), (70, 50, 40)
    grid[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    grid[:3, 3] = (AFFINE @ [20.3, 20.1, 19.8, 1])[:3] - grid[:3, :3] @ [30, 20, 21]
    index = np.stack(np.meshgrid(*map(range, shape), [1], indexing="ij")).reshape(4, -1)
    at = (np.linalg.inv(AFFINE) @ grid @ index)[:3]
    clear = (np.abs(at - np.rint(at)) < 0.5 - 1e-3).all(0)  # halfway either neighbour will do
    (label,), (whole,) = (
        list(draws) for draws in (
            state.labels(head(), 1, generator()), state.labels_on(grid, shape, head(), 1, generator())
        )
    )  # fmt: skip
    model = np.zeros(SHAPE, np.uint8)
    model[state.region] = label
    wanted = map_coordinates(model, np.rint(at), order=0, mode="constant")
    assert wanted.any()
    assert np.array_equal(whole.ravel()[clear], wanted[clear])


def test_a_grid_that_the_region_does_not_reach_is_background():
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    for shift in (1000, -1000):
        away = AFFINE.copy()
        away[:3, 3] += (shift, 0.3, 0)
        (whole,) = state.labels_on(away, (5, 6, 7), head(), 1, generator())
        assert whole.shape == (5, 6, 7)
        assert not whole.any()


def test_between_two_draws_the_caller_may_train():
    state = InferenceState.around_foreground(features(), possible((20, 20, 20)), AFFINE)
    for _ in state.labels_on(AFFINE, SHAPE, head(), 2, generator()):
        assert not torch.is_inference_mode_enabled()
