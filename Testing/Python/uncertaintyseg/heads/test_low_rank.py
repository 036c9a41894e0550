"""The layout of SSN's factor layer (golden test 7)."""

from __future__ import annotations

import torch

from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.logits import Diagonal, LowRank

SHAPE = (3, 2, 2)


def covariance(head: LowRankHead, features: torch.Tensor) -> tuple[LowRank, Diagonal]:
    return head(features).distribution.covariance.parts


def test_one_channel_of_the_factor_layer_is_one_column_of_one_class():
    head, features = LowRankHead(features=4, classes=3, rank=5), torch.randn(2, 4, *SHAPE)
    before = covariance(head, features)[0].factor
    rank, chosen = 2, 1
    with torch.no_grad():
        head.factor.bias[rank * 3 + chosen] += 1.0
    change = covariance(head, features)[0].factor - before
    assert torch.allclose(change[:, chosen, rank], torch.ones(2, *SHAPE), atol=1e-6)
    change[:, chosen, rank] = 0
    assert change.abs().max() == 0


def test_a_row_of_the_factor_depends_on_the_features_of_its_voxel_only():
    head, features = LowRankHead(features=4, classes=2, rank=3), torch.randn(1, 4, *SHAPE)
    before = covariance(head, features)[0].factor
    features[0, :, 1, 0, 1] += 1.0
    changed = (covariance(head, features)[0].factor != before).nonzero()
    assert {tuple(index[3:].tolist()) for index in changed} == {(1, 0, 1)}
    assert len(changed) == 2 * 3


def test_the_diagonal_is_a_variance_and_never_zero():
    head, features = LowRankHead(features=4, classes=2), torch.randn(1, 4, *SHAPE)
    with torch.no_grad():
        head.log_variance.bias[:] = torch.tensor([1.5, -1e3])
    variance = covariance(head, features)[1].variance
    assert torch.allclose(variance[:, 0], torch.tensor(1.5).exp() + 1e-5)
    assert (variance[:, 1] >= 1e-5).all()
