"""Functions of one volume refuse a batch of them, and functions of several arrays those that lie on other grids.

What broadcasts, or is flattened, gives a number either way: a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from uncertaintyseg.active.acquisition import case_scores, entropy_near_foreground
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.l_fusion.formula import inter_path, of_gaussian
from uncertaintyseg.inference.corrected import drawn_labels
from uncertaintyseg.inference.shapes import shape_spread
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.logits import GaussianLogits, LowRank, Moments, most_likely
from uncertaintyseg.review.conditioning import condition
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import Drawn, structure_table
from uncertaintyseg.review.tally import tally
from uncertaintyseg.wire import Label

SHAPE = (4, 4, 4)
LABELS = [Label(id=1, name="organ", rgb=(0, 0, 0))]
LABEL = np.zeros(SHAPE, np.uint8)
LABEL[1:3] = 1
MAP = np.full(SHAPE, 0.3, np.float32)
MEASURES = ("predictive_entropy", "mutual_information", "variance")
WHOLE = (slice(0, 4),) * 3


def logits(batch: int = 1) -> GaussianLogits:
    factor = LowRank(torch.ones(batch, 2, 1, *SHAPE))
    return GaussianLogits(torch.zeros(batch, 2, *SHAPE), factor)


def moments(values: torch.Tensor) -> Moments:
    return Moments(values, values, torch.zeros(1, 1, *SHAPE))


def clicked(prior: GaussianLogits) -> object:
    return condition(prior, torch.tensor([3]), torch.tensor([1]), (1, 1, 1))


def drawn(given: GaussianLogits) -> list[torch.Tensor]:
    return list(drawn_labels(given, torch.arange(4), 2, torch.Generator().manual_seed(0)))


def spread_of(draw: torch.Tensor) -> object:
    return shape_spread([draw], torch.from_numpy(LABEL), LABELS, 1.0, source="here")


def table(**other: np.ndarray) -> object:
    arrays = {"label": LABEL, "p": MAP, "error": MAP} | other
    given = arrays["label"], {"organ": arrays["p"]}, arrays["error"]
    return structure_table(*given, LABELS, 1.0, Drawn("none"), valid=arrays.get("valid"))


Call = Callable[[object], object]
CONTRACTS: dict[str, tuple[Call, object, object]] = {
    "most_likely": (most_likely, torch.rand(2, *SHAPE), torch.rand(1, 2, *SHAPE)),
    "moments": (moments, torch.rand(1, 2, *SHAPE), torch.rand(2, *SHAPE)),
    "condition": (clicked, logits(), logits(2)),
    "drawn_labels": (drawn, logits(), logits(2)),
    "inter_path": (lambda other: inter_path(of_gaussian(logits()), of_gaussian(other)), logits(), logits(2)),
    "state": (
        lambda f: InferenceState(f, WHOLE, np.eye(4)), np.zeros((5, *SHAPE), np.float16),
        np.zeros((1, 5, *SHAPE), np.float16),
    ),
    "shape_spread, draws": (
        spread_of, torch.from_numpy(LABEL).long(),
        torch.from_numpy(LABEL).long()[None],
    ),
    "shape_spread, classes": (
        spread_of, torch.from_numpy(LABEL).long(),
        torch.from_numpy(LABEL).long() * 2,
    ),
    "case_scores": (lambda m: case_scores(dict.fromkeys(MEASURES, m), LABEL, (1, 1, 1), []), MAP, MAP[None]),
    "entropy_near_foreground": (lambda m: entropy_near_foreground(m, LABEL, (1, 1, 1)), MAP, MAP.reshape(2, 8, 4)),
    "structure_table, error": (lambda m: table(error=m), MAP, MAP.reshape(2, 8, 4)),
    "structure_table, probability": (lambda m: table(p=m), MAP, MAP[None]),
    "structure_table, valid": (lambda m: table(valid=m), MAP, MAP[:, :, :3]),
    "regions": (lambda m: regions(LABEL, m, {"organ": MAP}, LABELS, np.eye(4)), MAP, MAP[None]),
    "review_curve": (lambda m: review_curve(MAP, 1.0, None, valid=m), MAP, MAP[None]),
    "tally": (lambda m: tally(m, LABEL > 0), MAP, MAP[..., None]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRACTS)
def test_another_shape_than_the_contract_has_is_refused(name):
    call, right, wrong = CONTRACTS[name]
    call(right)
    with pytest.raises(InputError, match=r"shape|volumes|class"):
        call(wrong)
