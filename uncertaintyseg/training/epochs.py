"""The epochs of a fit on MONAI engines: what is kept of them, and how they go on after a kill."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, ValidationHandler

from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.deep import DeepLoss
from uncertaintyseg.training.loading import as_tensors, reseed
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.schedule import Schedule, clip_gradients, make_optimizer
from uncertaintyseg.training.steps import StepLoader

Progress = Callable[[str, float], None]


class Keeper:
    """Keeps the best weights and stops a fit that no longer improves; part of the checkpoint, so it survives a kill."""

    def __init__(self, network: Segmenter, bundle: Bundle, measure: str, patience: int) -> None:
        self.network, self.bundle, self.measure, self.patience = network, bundle, measure, patience
        self.state = {"score": -float("inf"), "epoch": 0, "waited": 0, "best": {}}

    def take(self, scores: dict[str, float], trainer: Engine) -> float:
        """Look at the validation scores of the trainer's current epoch; returns the one that counts."""
        score = scores["dice"] if self.measure == "dice" else -scores["nll"]
        if score > self.state["score"]:
            self.state = {"score": score, "epoch": trainer.state.epoch, "waited": 0, "best": scores}
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
) -> None:
    """Train and validate, from the checkpoint on if there is one; it goes with its folder when all is done.

    Args:
        trainer: of `make_trainer`.
        evaluator: of `validation.make_evaluator`.
        keeper: of the best weights.
        recipe: settings.
        checkpoint: file that is written after each epoch.
        progress: called with a line of text and the fraction done.
    """
    schedule = Schedule(trainer, trainer.optimizer, recipe)
    saved = {
        "trainer": trainer, "network": trainer.network, "optimizer": trainer.optimizer, "keeper": keeper,
        "schedule": schedule,
    }  # fmt: skip
    if trainer.scaler is not None:
        saved["scaler"] = trainer.scaler

    @trainer.on(Events.EPOCH_STARTED)
    def seed_the_epoch() -> None:
        # So a resumed fit draws what an unbroken one would.
        reseed(trainer.data_loader, recipe.seed + 1000 * trainer.state.epoch)

    @trainer.on(Events.ITERATION_COMPLETED)
    def report() -> None:
        state = trainer.state
        done = state.iteration / (state.epoch_length * recipe.epochs)
        best = state_text(keeper.state)
        progress(f"epoch {state.epoch}/{recipe.epochs}, loss {state.output['loss'].item():.3f}{best}", done)

    @evaluator.on(Events.COMPLETED)
    def keep() -> None:
        schedule.validated(keeper.take(evaluator.scores.compute(), trainer))

    ValidationHandler(min(recipe.validate_every, recipe.epochs), evaluator).attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def save() -> None:
        checkpoint.parent.mkdir(exist_ok=True)
        partial = checkpoint.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({name: part.state_dict() for name, part in saved.items()}, file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave an empty checkpoint
        os.replace(partial, checkpoint)

    if checkpoint.is_file():
        CheckpointLoader(str(checkpoint), saved, map_location=trainer.state.device).attach(trainer)

    @trainer.on(Events.STARTED)
    def stop_at_once() -> None:
        if keeper.state["waited"] >= recipe.patience:  # killed when it had stopped already
            trainer.terminate()

    trainer.run()
    shutil.rmtree(checkpoint.parent)


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
    optimizer = make_optimizer(parameters, recipe)
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
