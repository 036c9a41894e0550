"""The epochs of a fit on MONAI engines: what is kept of them, and how they go on after a kill."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, ValidationHandler

from uncertaintyseg.errors import StorageError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.deep import DeepLoss
from uncertaintyseg.training.history import History
from uncertaintyseg.training.loading import as_tensors, reseed
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.schedule import Schedule, clip_gradients, make_optimizer, parameter_groups
from uncertaintyseg.training.steps import StepLoader

Progress = Callable[[str, float], None]
_SKIPPED = 20
"""Steps in a row that half precision may skip for a gradient that is too large, before a fit is given up."""


class Keeper:
    """Keeps the best weights and stops a fit that no longer improves; part of the checkpoint, so it survives a kill.

    Attributes:
        diverged: the epoch in which the loss stopped being a number, which ended the fit.
    """

    def __init__(self, network: Segmenter, bundle: Bundle, measure: str, patience: int) -> None:
        self.network, self.bundle, self.measure, self.patience = network, bundle, measure, patience
        self.state = {"score": -float("inf"), "epoch": 0, "waited": 0, "best": {}, "by_structure": []}
        self.diverged: int | None = None

    def take(self, scores: dict[str, float], by_structure: list[float], trainer: Engine) -> float:
        """Look at the validation scores of the trainer's current epoch; returns the one that counts."""
        score = scores["dice"] if self.measure == "dice" else -scores[self.measure]
        if score > self.state["score"]:
            self.state = {
                "score": score, "epoch": trainer.state.epoch, "waited": 0, "best": scores, "by_structure": by_structure,
            }  # fmt: skip
            self.bundle.save(self.network)
        else:
            self.state["waited"] += 1
            if self.state["waited"] >= self.patience:
                trainer.terminate()
        return score

    def state_dict(self) -> dict:
        """For the checkpoint."""
        return self.state

    def load_state_dict(self, state: dict) -> None:
        """From the checkpoint."""
        self.state = state


def run_epochs(
    trainer: SupervisedTrainer,
    evaluator: SupervisedEvaluator,
    keeper: Keeper,
    recipe: Recipe,
    checkpoint: Path,
    progress: Progress,
) -> int:
    """Train and validate, from the checkpoint on if there is one, and keep the history beside the weights.

    Args:
        trainer: of `make_trainer`.
        evaluator: of `validation.make_evaluator`.
        keeper: of the best weights.
        recipe: settings.
        checkpoint: file that is written after each epoch.
        progress: called with a line of text and the fraction done.

    Returns:
        How many epochs the checkpoint had.
    """
    for engine in (trainer, evaluator):  # what ends one is raised, and told once
        engine.logger.setLevel(logging.CRITICAL)
    schedule = Schedule(trainer, trainer.optimizer, recipe)
    names = [label.name for label in keeper.bundle.labels]
    history, running = History(keeper.bundle.folder, names, keeper.measure), _Running(trainer, keeper, recipe, progress)
    saved = {
        "trainer": trainer, "network": trainer.network, "optimizer": trainer.optimizer, "keeper": keeper,
        "schedule": schedule, "history": history,
    }  # fmt: skip
    if trainer.scaler is not None:
        saved["scaler"] = trainer.scaler

    @trainer.on(Events.EPOCH_STARTED)
    def seed_the_epoch() -> None:
        # So a resumed fit draws what an unbroken one would.
        reseed(trainer.data_loader, recipe.seed + 1000 * trainer.state.epoch)

    @trainer.on(Events.EPOCH_COMPLETED)
    def note() -> None:
        history.add(trainer.state.epoch, running.mean, trainer.optimizer.param_groups[0]["lr"], running.seconds)

    @evaluator.on(Events.COMPLETED)
    def keep() -> None:
        scores = evaluator.scores.compute()
        history.validated(scores, evaluator.scores.by_structure)
        schedule.validated(keeper.take(scores, evaluator.scores.by_structure, trainer))

    ValidationHandler(min(recipe.validate_every, recipe.epochs), evaluator).attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def save() -> None:
        save_checkpoint(checkpoint, {name: part.state_dict() for name, part in saved.items()})
        history.write()
        history.draw()

    before = 0
    if checkpoint.is_file():
        CheckpointLoader(str(checkpoint), saved, map_location=trainer.state.device).attach(trainer)

    @trainer.on(Events.STARTED)
    def stop_at_once() -> None:
        nonlocal before
        before = trainer.state.epoch
        if keeper.state["waited"] >= recipe.patience:  # killed when it had stopped already
            trainer.terminate()

    trainer.run()
    return before


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write what a fit goes on from, whole or not at all.

    Raises:
        StorageError: it cannot be written; the one that was there stays.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave an empty checkpoint
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch makes one of the second kind of a disk that is full
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
        raise StorageError(
            f"{path}: what the training would go on from cannot be written ({reason}). Make room: the same command "
            "then goes on from the last epoch that was kept."
        ) from error


class _Running:
    """Loss and time of the epoch that runs: told after each step, and given up when the loss is no number any more."""

    def __init__(self, trainer: SupervisedTrainer, keeper: Keeper, recipe: Recipe, progress: Progress) -> None:
        self.trainer, self.keeper, self.recipe, self.progress = trainer, keeper, recipe, progress
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)

    def _begin(self) -> None:
        self.started, self.losses, self.bad = time.perf_counter(), [], 0

    def _step(self) -> None:
        state = self.trainer.state
        loss, whole = state.output["loss"].item(), state.epoch_length * self.recipe.epochs
        best = state_text(self.keeper.state)
        self.progress(f"epoch {state.epoch}/{self.recipe.epochs}, loss {loss:.3f}{best}", state.iteration / whole)
        self.losses.append(loss)
        self.bad = 0 if math.isfinite(loss) else self.bad + 1
        if self.bad > (_SKIPPED if self.trainer.scaler is not None else 0):
            self.keeper.diverged = state.epoch
            self.trainer.terminate()

    @property
    def mean(self) -> float:
        """Of the losses so far."""
        return sum(self.losses) / len(self.losses)

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return round(time.perf_counter() - self.started, 2)


def state_text(state: dict) -> str:
    """The best scores so far, for the progress line."""
    return "".join(f", best {name} {value:.4f}" for name, value in state["best"].items())


def make_trainer(
    network: torch.nn.Module,
    recipe: Recipe,
    device: str,
    loader: DataLoader | StepLoader,
    loss: HeadLoss | DeepLoss,
) -> SupervisedTrainer:
    """An engine that takes the recipe's steps; half precision where there is a GPU."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameter_groups(network, recipe), recipe)
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=recipe.epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        prepare_batch=as_tensors,
        decollate=False,
        amp=torch.device(device).type == "cuda",
    )

    if recipe.clip:
        clip_gradients(trainer, parameters, recipe.clip)

    @trainer.on(Events.EPOCH_STARTED)
    def reseed_the_samples() -> None:
        loss.generator.manual_seed(recipe.seed + trainer.state.epoch)

    return trainer
