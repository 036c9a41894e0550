"""Optimisers and learning rates of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from uncertaintyseg.training.recipe import Recipe

MOMENTUM = 0.99
"""Of "sgd"."""


Parameters = Sequence[nn.Parameter] | Sequence[dict[str, Any]]
"""Of an optimiser: all alike, or groups whose "share" is that of the learning rate."""


def parameter_groups(network: nn.Module, recipe: Recipe) -> Parameters:
    """What learns of a network: alike, or the backbone apart at `recipe.backbone_rate` of the head's learning rate."""
    learning = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
    if recipe.backbone_rate == 1:
        return [each for _, each in learning]
    parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, each in learning:
        parts["backbone" in name.split(".")].append(each)
    shares = zip(parts, (1.0, recipe.backbone_rate), strict=True)
    return [{"params": part, "lr": share * recipe.learning_rate, "share": share} for part, share in shares if part]


def make_optimizer(parameters: Parameters, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser: AdamW takes the weight decay apart from the gradient, the others add it to the gradient.

    "sgd" is stochastic gradient descent with Nesterov momentum 0.99, as nnU-Net has it.
    """
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, momentum=MOMENTUM, nesterov=True
        )
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


class Schedule:
    """The learning rate over a fit; part of the checkpoint, so it survives a kill.

    "poly": falls from iteration to iteration as (1 - share of the fit that is done)^0.9.
    "cosine": falls from iteration to iteration along half a cosine to `final_learning_rate` (METHODS 7.4).
    "plateau": halves, down to 1e-6, after more than 5 validations in a row without a better score (METHODS 6).
    """

    def __init__(self, trainer: Engine, optimizer: Optimizer, recipe: Recipe) -> None:
        self._plateau = None
        if recipe.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=5, threshold=0, min_lr=1e-6)
            return

        @trainer.on(Events.ITERATION_STARTED)
        def decay() -> None:
            done = (trainer.state.iteration - 1) / (trainer.state.epoch_length * recipe.epochs)
            for group in optimizer.param_groups:
                group["lr"] = group.get("share", 1.0) * learning_rate_at(done, recipe)

    def validated(self, score: float) -> None:
        """Take note of a validation score; higher is better."""
        if self._plateau is not None:
            self._plateau.step(score)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return self._plateau.state_dict() if self._plateau is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint; the learning rate itself comes with the optimiser."""
        if self._plateau is not None:
            self._plateau.load_state_dict(state)


def learning_rate_at(done: float, recipe: Recipe) -> float:
    """The learning rate when a share `done` of the steps is behind, of a schedule that falls from step to step."""
    if recipe.schedule == "cosine":
        last = recipe.final_learning_rate
        return last + (recipe.learning_rate - last) * (1 + math.cos(math.pi * done)) / 2
    return recipe.learning_rate * (1 - done) ** 0.9


def clip_gradients(trainer: SupervisedTrainer, parameters: Sequence[nn.Parameter], largest: float) -> None:
    """Scale each step's gradient down to a norm of `largest`."""

    @trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def clip() -> None:
        if trainer.scaler is not None:  # mixed precision scales the loss, and so the gradients
            trainer.scaler.unscale_(trainer.optimizer)
        nn.utils.clip_grad_norm_(parameters, largest)
