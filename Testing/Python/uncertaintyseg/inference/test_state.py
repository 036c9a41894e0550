"""What is kept of an inference: the foreground region, on disk and back, and shapes drawn from it."""

from __future__ import annotations

import numpy as np
import torch

from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.inference.state import MARGIN, InferenceState

SHAPE = (40, 36, 30)


def probability(*foreground: tuple[int, int, int]) -> torch.Tensor:
    p = torch.zeros(1, 3, *SHAPE)
    p[:, 0] = 1
    for voxel in foreground:
        p[(0, slice(None), *voxel)] = torch.tensor([0.9, 0.06, 0.04])
    return p


def features() -> torch.Tensor:
    return torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(0))


def head() -> LowRankHead:
    torch.manual_seed(0)
    network = LowRankHead(features=4, classes=3, rank=3).eval()
    with torch.no_grad():
        network.factor.weight *= 10
    return network


def test_the_region_surrounds_all_possible_foreground_by_the_margin():
    state = InferenceState.around_foreground(features(), probability((12, 20, 3), (15, 22, 28)))
    assert state.region == (
        slice(12 - MARGIN, 16 + MARGIN),
        slice(20 - MARGIN, 23 + MARGIN),
        slice(0, 30),
    )
    wanted = features()[(0, slice(None), *state.region)]
    assert state.features.dtype == np.float16
    assert np.abs(state.features.astype(np.float32) - wanted.numpy()).max() < 4e-3


def test_without_possible_foreground_there_is_no_state():
    p = probability()
    p[0, 0, 5, 5, 5], p[0, 1, 5, 5, 5] = 0.96, 0.04
    assert InferenceState.around_foreground(features(), p) is None


def test_a_saved_state_comes_back_from_disk(tmp_path):
    state = InferenceState.around_foreground(features(), probability((20, 20, 20)))
    state.save(tmp_path / "state")
    loaded = InferenceState.load(tmp_path / "state")
    assert isinstance(loaded.features, np.memmap)
    assert np.array_equal(loaded.features, state.features)
    assert loaded.region == state.region
    one, two = (list(s.labels(head(), 4, torch.Generator().manual_seed(2))) for s in (state, loaded))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_drawn_labels_are_whole_shapes_of_the_region():
    state = InferenceState.around_foreground(features(), probability((20, 20, 20)))
    draws = list(state.labels(head(), 8, torch.Generator().manual_seed(1)))
    assert len(draws) == 8
    assert all(draw.shape == state.features.shape[1:] for draw in draws)
    assert {int(c) for draw in draws for c in draw.unique()} <= {0, 1, 2}
    assert len({draw.numpy().tobytes() for draw in draws}) == 8
