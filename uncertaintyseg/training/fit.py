"""The two-stage fit on MONAI engines: a backbone with its plain output layer, then a head on top of it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from monai.data import CacheDataset
from monai.utils import set_determinism
from torch import Tensor, nn

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import CALIBRATION, INFERENCE, SHIFT, WEIGHTS, Bundle, find_bundle
from uncertaintyseg.inference.content import content_hash
from uncertaintyseg.inference.device import checked_device
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.inference.weights import copy_weights
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.beside import keep_shift, score_beside
from uncertaintyseg.training.case_cache import Held, Wanted, hold
from uncertaintyseg.training.deep import supervised
from uncertaintyseg.training.epochs import Keeper, Progress, make_trainer, run_epochs
from uncertaintyseg.training.held_out_loss import held_out_loss
from uncertaintyseg.training.history import CURVES, TABLE
from uncertaintyseg.training.loading import read_labelled, training_loader
from uncertaintyseg.training.loss import make_loss
from uncertaintyseg.training.posterior import LabelledVolumes, fit_posterior
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import make_evaluator
from uncertaintyseg.training.volume_matching import VolumeMatch, check_matching, match_volumes
from uncertaintyseg.wire import LabelShift

UNFINISHED = Path("training")
"""Where a fit keeps its state, to go on from after a kill."""
_STATE = 2
"""Raised when what is kept there changes, so that a fit does not go on from what it cannot read."""


@dataclass(frozen=True)
class FitReport:
    """What a fit ended with.

    Attributes:
        bundle: the trained bundle.
        best_epoch: epoch whose weights were kept (1 is the first); 0 for a head that is fitted without epochs.
        validation: scores at that epoch: "dice" (mean over structures) and "nll" (mean over voxels); after them what a
            fitted head says of its fit.
        epochs: how many ran in all.
        seconds: wall time of this call.
        by_structure: at that epoch, the mean Dice of each structure over the validation cases that hold it; None where
            none does. Empty for a fitted head, and after matching volumes.
        diverged: epoch in which the loss stopped being a number, which ended the fit.
        shift: how far a head on a network that stays as it is moves the label of the model it was put on.
        volumes: what `match_volumes` of the recipe did; `validation` are then the scores after it.
        held: where the preprocessed cases were; None for a fitted head, which reads each of them once or twice.
        resumed: after how many epochs of a fit that was stopped it went on; 0 for one from the start.
        anew: one that was stopped is there no more, since it had other settings or cases.
    """

    bundle: Bundle
    best_epoch: int
    validation: dict[str, float]
    epochs: int
    seconds: float
    by_structure: dict[str, float | None] = field(default_factory=dict)
    diverged: int | None = None
    shift: LabelShift | None = None
    volumes: VolumeMatch | None = None
    held: Held | None = None
    resumed: int = 0
    anew: bool = False


def fit(
    bundle: Bundle,
    training: Sequence[Case],
    validation: Sequence[Case],
    output: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    models: Sequence[Path] = (),
    device: str = "cpu",
    resume: bool = True,
    cache: Wanted = "auto",
    cache_folder: Path | None = None,
    encoder: nn.Module | None = None,
    progress: Progress = lambda stage, fraction: None,
) -> FitReport:
    """Fit a bundle and write it, with its new weights, to `output / bundle.name`.

    A fit that was killed goes on from its last epoch when called again with the same output, settings and cases; with
    others it starts anew. Same seed and device: same weights, killed or not.

    Args:
        bundle: the model to fit; its own weights are read for a warm start only.
        training: labelled cases.
        validation: labelled cases that choose the epoch.
        output: folder of models to write to; weights there are replaced when the first epoch is validated.
        recipe: settings; the bundle's own by default.
        models: further folders in which the initial model is looked for; `output` comes first.
        device: torch device; mixed precision is used on CUDA only.
        resume: go on from a killed fit; otherwise start anew.
        cache: where preprocessed cases are held (`case_cache.hold`); the weights are the same.
        cache_folder: for those on disk.
        encoder: what a backbone's `given` part is given; by default that of the bundle's own weights.
        progress: called with a line of text and the fraction done.

    Raises:
        InputError: for a set without labelled cases or structures, a scan or label that cannot be used, a device that
            is absent, or cases that neither memory nor disk can hold.
        BundleError: for a configuration or an initial model that does not fit.
    """
    started = time.perf_counter()
    device = checked_device(device)
    recipe = recipe or Recipe.load(bundle)
    target = _copied(bundle, Path(output))
    start = bundle.checksum if recipe.warm_start else json.dumps(bundle.uncertainty.encoder or "")[1:-1]
    checkpoint = _checkpoint(target, recipe, training, validation, start)
    if not resume:
        checkpoint.unlink(missing_ok=True)
    set_determinism(recipe.seed)
    network = target.network(weights=False).to(device)
    check_matching(network, recipe)
    base = _start_from(network, recipe, bundle, [Path(output), *models])
    if base is None and not recipe.warm_start:
        _give(network, bundle, encoder)

    kept = not network.head.fitted  # which reads each case once or twice
    patches = kept and recipe.foreground is not None
    held = hold(target, [*training, *validation], cache, cache_folder) if kept else None
    cases = read_labelled(target, training, "training", progress, kept=kept, voxels=patches, held=held)
    held_out = read_labelled(target, validation, "validation", progress, kept=kept, held=held)
    if network.head.fitted:
        volumes = (LabelledVolumes(part, torch.device(device)) for part in (cases, held_out))
        found = fit_posterior(network, *volumes, WindowLayout.of(target, network.divisor), progress)
        scores, shift = score_beside(target, network, base, held_out, device)
        target.save(network)
        fitted = keep_shift(Bundle.load(target.folder), shift)
        return FitReport(fitted, 0, scores | found, 0, time.perf_counter() - started, shift=shift)

    objective = make_loss(network, recipe, cases)
    learner, loss = supervised(network, objective, recipe)
    trainer = make_trainer(
        learner, recipe, device, training_loader(target, cases, recipe, threads=loader_threads(device)), loss
    )
    measure = recipe.best or ("dice" if recipe.stage == "backbone" else "nll")
    keeper = Keeper(network, target, measure, recipe.patience)
    evaluator = make_evaluator(target, network, device, held_out)
    if measure == "validation_loss":
        layout = WindowLayout.of(target, network.divisor)
        evaluator.scores.beside[measure] = partial(held_out_loss, network, objective, layout, held_out, device)
    anew = not checkpoint.is_file() and any(checkpoint.parent.glob("*.pt"))
    resumed = run_epochs(trainer, evaluator, keeper, recipe, checkpoint, progress)
    if not keeper.state["epoch"]:
        raise InputError(
            f"{bundle.name}: the loss or the validation score stopped being a number before any weights were kept: "
            "lower 'recipe.learning_rate' in train.json, or set 'recipe.clip' to 1."
        )
    found = complete(target, training, validation, device, progress) if network.head.completed else {}
    trained, shift, volumes = _completed(target, recipe, base, held_out, checkpoint, device, progress)
    names, dice = [label.name for label in bundle.labels], keeper.state["by_structure"]
    return FitReport(
        trained,
        keeper.state["epoch"],
        volumes.validation if volumes else keeper.state["best"] | found,
        trainer.state.epoch,
        time.perf_counter() - started,
        {} if volumes else {n: None if math.isnan(v) else v for n, v in zip(names, dice, strict=True)},
        keeper.diverged,
        shift,
        volumes,
        held,
        resumed,
        anew,
    )


def complete(
    target: Bundle,
    training: Sequence[Case],
    validation: Sequence[Case],
    device: str = "cpu",
    progress: Progress = lambda stage, fraction: None,
) -> dict[str, float]:
    """Fit what a `completed` head has beyond its learnt weights, as they were written, and write both.

    Args:
        target: the model, whose file of weights is replaced.
        training: labelled cases.
        validation: labelled cases that choose what the training set cannot.
        device: torch device.
        progress: called with a line of text and the fraction done.

    Returns:
        The head's own report.

    Raises:
        InputError: as `fit_posterior`.
    """
    network = target.network().to(device)
    cases = (read_labelled(target, part, name, progress, kept=False) for part, name in
             ((training, "training"), (validation, "validation")))  # fmt: skip
    volumes = (LabelledVolumes(part, torch.device(device)) for part in cases)
    found = fit_posterior(network, *volumes, WindowLayout.of(target, network.divisor), progress)
    target.save(network)
    return found


def _completed(
    target: Bundle,
    recipe: Recipe,
    base: Bundle | None,
    held_out: CacheDataset,
    checkpoint: Path,
    device: str,
    progress: Progress,
) -> tuple[Bundle, LabelShift | None, VolumeMatch | None]:
    """What is done with the best weights of a fit: the shift of the label is counted, or volumes are matched."""
    trained, shift, volumes = Bundle.load(target.folder), None, None
    if recipe.backbone == "frozen" and base:
        shift = score_beside(trained, trained.network().to(device), base, held_out, device)[1]
    shutil.rmtree(checkpoint.parent)  # before weights change: volumes are not to be matched twice after a kill
    if recipe.match_volumes:
        volumes = match_volumes(trained, held_out, device, progress)
        trained = Bundle.load(target.folder)
    return keep_shift(trained, shift), shift, volumes


def _copied(bundle: Bundle, output: Path) -> Bundle:
    """The bundle in the output folder, without its weights if it was not there yet."""
    folder = output.resolve() / bundle.name
    if folder != bundle.folder:
        try:
            ignored = shutil.ignore_patterns(
                WEIGHTS.parent.name, UNFINISHED.name, CALIBRATION.name, SHIFT.name, TABLE.name, CURVES.name, "versions"
            )
            # Contents alone: a model may come from a place where nobody may write.
            shutil.copytree(bundle.folder, folder, ignore=ignored, dirs_exist_ok=True, copy_function=shutil.copyfile)
            for place in (folder, *folder.rglob("*")):
                if place.is_dir():
                    place.chmod(place.stat().st_mode | stat.S_IRWXU)
        except OSError as error:
            raise InputError(f"cannot write to {folder} ({error.strerror}): choose another output folder.") from error
    elif not os.access(folder, os.W_OK | os.X_OK):  # not after the first epoch
        raise InputError(f"cannot write to {folder} (no permission): choose another output folder.")
    return Bundle.load(folder)


def _checkpoint(
    target: Bundle, recipe: Recipe, training: Sequence[Case], validation: Sequence[Case], start: str
) -> Path:
    cases = [[(case.id, _changed(case.label), *_seen(case)) for case in part] for part in (training, validation)]
    settings = json.dumps(
        [_STATE, recipe.model_dump(), (target.folder / INFERENCE).read_text(encoding="utf-8"), cases, start]
    )
    return target.folder / UNFINISHED / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.pt"


def _seen(case: Case) -> tuple[str, ...]:
    """What was looked at of a label, by content, as a server writes the mask anew each time; and its numbers."""
    seen = () if case.verified is None else (content_hash(case.verified),)
    return (*seen, *(("own ids",) if case.own_ids else ()))


def _changed(label: Path | None) -> int | None:
    """When a label was last written: a fit does not go on with other labels."""
    return label.stat().st_mtime_ns if label is not None and label.exists() else None


def _start_from(network: Segmenter, recipe: Recipe, bundle: Bundle, folders: Sequence[Path]) -> Bundle | None:
    """Give the network the weights that it starts from, and freeze what stays as it is.

    Returns:
        The model that a head is put on; None for a backbone, or a model of ours that goes on from its own weights.
    """
    if bundle.base and recipe.backbone != "frozen":
        raise BundleError(
            f"{bundle.name} adds a head to '{bundle.base.name}', whose network is not its own: 'recipe.backbone' must "
            "be 'frozen'."
        )
    initial = bundle.base or (None if recipe.warm_start else _initial(network, recipe, folders))
    if recipe.warm_start:
        network.load_state_dict(_learnt(network, bundle.network().state_dict()), strict=False)
    elif initial is not None:
        _copy_initial(network, initial)
    if recipe.backbone == "frozen":
        network.backbone.requires_grad_(False)
    return initial


def _give(network: Segmenter, bundle: Bundle, encoder: nn.Module | None) -> None:
    """Fill the part of a backbone that no training makes."""
    given = network.backbone.given
    if given is None:
        return
    if encoder is None and not bundle.checksum:
        raise BundleError(f"'{bundle.name}' was never trained, so it has no encoder yet: name its folder (--encoder).")
    copy_weights(given, encoder or bundle.network().backbone.given, "the encoder has")


def _learnt(network: Segmenter, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network without what is fitted after training: that belongs to the weights as they were."""
    fitted = {f"head.{name}" for name, _ in network.head.named_buffers()} if network.head.completed else set()
    return {name: value for name, value in state.items() if name not in fitted}


def _initial(network: Segmenter, recipe: Recipe, folders: Sequence[Path]) -> Bundle | None:
    """The model whose backbone and output layer a head starts from."""
    if recipe.stage == "backbone":
        if network.head.fitted:
            raise BundleError(f"the head '{network.head.name}' needs a trained network: 'recipe.stage' must be 'head'.")
        return None
    if recipe.initial is None:
        raise BundleError("a head is fitted on a trained backbone: name the model in 'recipe.initial' of train.json.")
    return find_bundle(recipe.initial, *[folder for folder in reversed(folders) if folder.is_dir()])


def _copy_initial(network: Segmenter, initial: Bundle) -> None:
    start = initial.network()
    if not isinstance(start, Segmenter):
        raise BundleError(f"'{initial.name}' has several networks, and a head belongs on one: import a single fold.")
    parts = [(network.backbone, start.backbone, "backbone")]
    if network.head.taken_over is not None:
        parts.append((network.head.taken_over, start.head, "head"))
    else:
        parts.append((network.head.mean, start.head.mean, "output layer"))
    for own, other, name in parts:
        copy_weights(own, other, f"the {name} of '{initial.name}'")


def loader_threads(device: str) -> int:
    """How many make cases ready: a GPU would wait for one; on the CPU they take cores from the network."""
    return min(8, max(os.cpu_count() or 1, 1)) if torch.device(device).type == "cuda" else 1
