"""A fit of so many steps, without validation: for rounds of active learning, whose labels are all there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.weights import load_weights
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.case_cache import hold
from uncertaintyseg.training.loading import as_tensors, read_labelled, reseed, training_loader
from uncertaintyseg.training.loss import make_loss
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.schedule import make_optimizer
from uncertaintyseg.training.steps import StepLoader


def learn(
    bundle: Bundle,
    cases: Sequence[Case],
    *,
    start_from: Path | None,
    steps: int,
    learning_rate: float,
    seed: int,
    device: str = "cpu",
) -> None:
    """Train backbone and head together and write the last weights to the bundle; same seed, same weights.

    Args:
        bundle: whose recipe, augmentation and network are used.
        cases: labelled.
        start_from: weights to go on from; None starts from random ones.
        steps: of the optimiser; the learning rate falls as (1 - done)^0.9.
        learning_rate: at first.
        seed: of weights, order, augmentation and samples.
        device: torch device.

    Raises:
        InputError: for a scan or label that cannot be used.
        BundleError: for a head of which anything is fitted after training, a network that belongs to another model, or
            weights that do not fit.
    """
    if bundle.base:
        raise BundleError(f"{bundle.name} adds a head to '{bundle.base.name}', whose network is not its own to train.")
    recipe = Recipe.load(bundle, seed=seed)
    torch.manual_seed(seed)
    network = bundle.network(weights=False).to(device)
    if network.head.fitted:
        raise BundleError(f"the head '{network.head.name}' is fitted to a trained network, not trained with it.")
    if network.head.completed:
        raise BundleError(
            f"a part of the head '{network.head.name}' is fitted to a trained network by validation cases, of which a "
            "short training has none."
        )
    if start_from is not None:
        load_weights(network, start_from)
    patches = recipe.foreground is not None
    data = read_labelled(
        bundle, cases, "training", lambda stage, fraction: None, voxels=patches, held=hold(bundle, cases)
    )
    network.head.mean.requires_grad_(True)  # also where the head takes it as it is: nobody has trained it before
    loss = make_loss(network, recipe, data)
    optimizer = make_optimizer(list(network.parameters()), recipe.model_copy(update={"learning_rate": learning_rate}))
    network.train()
    for step, batch in zip(range(steps), _batches(training_loader(bundle, data, recipe), seed), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps) ** 0.9
        image, label = as_tensors(batch, torch.device(device))
        optimizer.zero_grad()
        _step_loss(network, image, label, loss).backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
    bundle.save(network)


def _batches(loader: DataLoader | StepLoader, seed: int) -> Iterator[dict[str, Any]]:
    """Epoch after epoch, each in an order of its own."""
    epoch = 0
    while True:
        reseed(loader, 1000 * seed + epoch)
        yield from loader
        epoch += 1


def _step_loss(network: Segmenter, image: Tensor, label: Tensor, loss: HeadLoss) -> Tensor:
    """The head's loss; where that reaches nothing but the head, beside it that of the output layer, for the network."""
    features, taps = network.extract(image)
    if network.head.reaches_backbone:
        return loss(network.read(features, taps), label)
    layer = network.head.mean.requires_grad_(False)
    own = loss(network.read(features, taps), label)
    layer.requires_grad_(True)
    return own + HeadLoss("marginal_nll")(HeadOutput(GaussianLogits(layer(features.float()))), label)
