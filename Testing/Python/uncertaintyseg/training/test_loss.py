"""The loss of a recipe: which weights it takes."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.loss import make_loss
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe

LABEL = torch.tensor([0] * 12 + [1] * 3 + [2]).reshape(1, 4, 4, 1)
INVERSE = [weight / 17 * 3 for weight in (1, 4, 12)]
"""1 / 12, 1 / 3 and 1 / 1 with mean 1."""


@pytest.fixture(scope="module")
def network():
    return Segmenter(DynUNetBackbone(filters=[4, 4, 4]), "deterministic", 3)


def loss(network, **settings):
    recipe = Recipe(stage="backbone", crop=(4, 4, 1), **{"objective": "hybrid"} | settings)
    return make_loss(network, recipe, [{"label": LABEL}])


@pytest.mark.parametrize(
    ("settings", "hybrid"),
    [
        ({}, {}),
        ({"cross_entropy_weights": "inverse_frequency"}, {"weights": INVERSE}),
        ({"focal_alpha": "inverse_frequency", "focal_gamma": 1.0}, {"alpha": INVERSE, "gamma": 1.0}),
        ({"cross_entropy_weights": [1, 2, 3], "focal_alpha": [3, 2, 1]}, {"weights": [1, 2, 3], "alpha": [3, 2, 1]}),
        ({"class_weights": "inverse_frequency", "focal_gamma": 2.0}, {}),
    ],
)
def test_weights_are_those_given_or_one_over_the_frequency(network, settings, hybrid):
    output = HeadOutput(GaussianLogits(torch.randn(1, 3, 4, 4, 1, generator=torch.Generator().manual_seed(0))))
    found = loss(network, **settings)(output, LABEL[None])
    assert found.item() == pytest.approx(
        HeadLoss("hybrid", class_weights=INVERSE, hybrid=hybrid)(output, LABEL[None]).item()
    )


@pytest.mark.parametrize("field", ["class_weights", "cross_entropy_weights", "focal_alpha"])
def test_weights_of_another_number_are_refused(network, field):
    with pytest.raises(InputError, match=rf"'recipe\.{field}' needs 3 positive numbers"):
        loss(network, **{field: [1, 2]})


def test_weights_of_a_dice_that_is_not_taken_are_refused(network):
    with pytest.raises(InputError, match="of the Dice that 'hybrid' brings, not of 'squared'"):
        loss(network, class_weights=[1, 2, 3], dice="squared")
    with pytest.raises(InputError, match="of the objective 'hybrid', not of 'marginal_nll'"):
        loss(network, class_weights=[1, 2, 3], objective="marginal_nll")
    with pytest.raises(InputError, match="of the objective 'hybrid', not of 'marginal_nll': add --objective hybrid"):
        loss(network, focal_gamma=2.0, objective="marginal_nll")
    loss(network, objective="marginal_nll")
