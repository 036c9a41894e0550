"""TotalSegmentator's tasks as models of ours: one network, or a composite of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncertaintyseg import __version__
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports import nnunet
from uncertaintyseg.imports.names import plain
from uncertaintyseg.imports.nnunet.importer import inference_config, metadata, training_config
from uncertaintyseg.imports.nnunet.training import Training, read_training
from uncertaintyseg.imports.palette import as_labels
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.totalsegmentator.tasks import DEFAULT, Task
from uncertaintyseg.imports.totalsegmentator.tasks import task as task_of
from uncertaintyseg.imports.totalsegmentator.weights import trained_folders
from uncertaintyseg.imports.writing import check_free, write_files, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.measures import MEASURES

_PAPER = (
    "Wasserthal, J. et al. (2023). TotalSegmentator: robust segmentation of 104 anatomic structures in CT images. "
    "Radiology: Artificial Intelligence 5(5), e230024."
)
_SAME = 1e-3
"""Relative difference of spacings that makes no difference to a grid."""


def import_model(
    given: Path,  # noqa: ARG001 - the word says all
    output: Path,
    name: str | None,
    progress: Progress,
    *,
    task: str = DEFAULT,
) -> Bundle:
    """Write the model of a task whose weights TotalSegmentator has downloaded.

    Args:
        given: the word "totalsegmentator".
        output: folder of models to write to.
        name: of the model; by default `totalsegmentator_<task>`.
        progress: called with a line of text and the fraction done.
        task: name of the task.

    Raises:
        BundleError: when weights are missing or are not what the task needs.
        InputError: for a task that cannot be imported, a name that is taken, or a folder that cannot be written.
    """
    chosen = task_of(task)
    folders = trained_folders(chosen)
    name = name or f"totalsegmentator_{task}"
    check_free(output, name)
    if chosen.parts is None:
        training = _read(folders[0], chosen, chosen.classes, progress)
        files = _files(training, chosen, name)
        progress("writing the model", 0.9)
        return write_model(output, name, **files)

    parts = {f"parts/{plain(folder.parent.name, 'part')}": folder for folder in folders}

    def write_parts(target: Path) -> None:
        for place, (part, trained) in enumerate(parts.items()):
            classes = (chosen.parts or [])[place]
            tell = _part_of(progress, place, len(parts))
            write_files(target / part, **_files(_read(trained, chosen, classes, tell), chosen, name))

    about = _composite_metadata(chosen, name, list(parts))
    return write_model(output, name, metadata=about, inference=_composite_config(chosen), fill=write_parts)


def _part_of(progress: Progress, place: int, count: int) -> Progress:
    return lambda text, fraction: progress(f"part {place + 1} of {count}: {text}", (place + fraction) / count)


def _read(folder: Path, task: Task, classes: list[str], progress: Progress) -> Training:
    """A network of a task, under the names that TotalSegmentator has for its classes.

    Raises:
        BundleError: when it has another number of classes or another grid than the task.
    """
    with nnunet.opened(folder) as found:
        training = read_training(found, task.folds, progress)
    where = f"{folder.parent.name}/{folder.name}"
    if len(training.labels.names) != len(classes) or training.labels.regions:
        raise BundleError(
            f"{where} has {len(training.labels.names)} structures, TotalSegmentator's task '{task.name}' has "
            f"{len(classes)} there: the weights are of another version. Download them again with "
            "the TotalSegmentator of today."
        )
    plan = training.configuration
    asked = [task.spacing[2 - axis] for axis in plan.transpose_forward]  # plans have z, y, x
    if any(abs(a - b) > _SAME * b for a, b in zip(plan.spacing, asked, strict=True)):
        raise BundleError(
            f"{where}: its plans want {_mm(plan.spacing)}, TotalSegmentator resamples to {_mm(asked)} for the task "
            f"'{task.name}': weights and task do not belong together."
        )
    return replace(training, labels=replace(training.labels, names=list(classes), renamed={}))


def _files(training: Training, task: Task, name: str) -> dict[str, Any]:
    """What is written of one network."""
    inference = inference_config(training, overlap=task.overlap)
    (transform,) = inference["preprocessing"]["transforms"]
    transform |= {
        "_target_": "uncertaintyseg.imports.totalsegmentator.preprocessing.Preprocess", "zoom_to": list(task.spacing),
    }  # fmt: skip
    about = metadata(training, name)
    about |= {
        "description": f"TotalSegmentator's task {task.name}: {training.name}.",
        "references": [_PAPER, *about["references"]],
    }
    section = about["uncertainty"]
    section["modality"] = task.modality
    section["origin"] |= {"source": "totalsegmentator", "task": task.name}
    return {
        "metadata": about, "inference": inference, "training": training_config(training), "network": training.network,
    }  # fmt: skip


def _composite_metadata(task: Task, name: str, folders: list[str]) -> dict[str, Any]:
    ids = {structure: number for number, structure in enumerate(task.classes, start=1)}
    parts = [
        {"folder": folder, "labels": [ids[structure] for structure in structures]}
        for folder, structures in zip(folders, task.parts or [], strict=True)
    ]
    structures = [f"probability_{structure}" for structure in task.classes]
    return {
        "version": "0.1.0",
        "name": name,
        "task": f"Segmentation of {', '.join(task.classes[:8])} and {len(task.classes) - 8} more",
        "description": f"TotalSegmentator's task {task.name}: {len(parts)} networks, merged as TotalSegmentator does.",
        "authors": "see where the networks came from",
        "required_packages_version": {"uncertaintyseg": __version__},
        "intended_use": "Research and teaching. Not for clinical decisions.",
        "references": [_PAPER],
        "uncertainty": {
            "task": name,
            "head": "deterministic",
            "maps": [*MEASURES, *structures],
            "labels": [label.model_dump() for label in as_labels(task.classes)],
            "modality": task.modality,
            "origin": {"source": "totalsegmentator", "task": task.name, "trainer": task.trainer, "trusted": False},
            "parts": parts,
        },
    }


def _composite_config(task: Task) -> dict[str, Any]:
    return {
        "bundle_root": ".",
        "dataset_dir": "",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "cpu",
        "spacing": list(reversed(task.spacing)),
        "overlap": task.overlap,
        "layout": "nnunet",
        "average": "logits",
        "predictor": {
            "_target_": "uncertaintyseg.inference.composite_predictor.CompositePredictor",
            "bundle": "@bundle_root",
            "device": "@device",
        },
        "run": ["$@predictor.predict_folder(@dataset_dir, @output_dir)"],
    }


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in spacing) + " mm"
