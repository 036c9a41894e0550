"""Where TotalSegmentator keeps the weights that it has downloaded (NETWORKS 2)."""

from __future__ import annotations

import os
from pathlib import Path

from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.totalsegmentator.tasks import Task


def results_folder() -> Path:
    """`$TOTALSEG_WEIGHTS_PATH`, or `nnunet/results` in `$TOTALSEG_HOME_DIR` or `~/.totalsegmentator`."""
    if chosen := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(chosen)
    return Path(os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator") / "nnunet" / "results"


def trained_folders(task: Task) -> list[Path]:
    """The nnU-Net training of each of a task's data sets, in their order.

    Raises:
        BundleError: when one is not there, or is there twice; the message names all that are missing and the command
            that downloads them.
    """
    results = results_folder()
    found = {dataset: _training(results, dataset, task) for dataset in task.datasets}
    missing = [dataset for dataset, folder in found.items() if folder is None]
    if missing:
        which = ", ".join(f"Dataset{dataset:03d}" for dataset in missing)
        there = f"{len(missing)} of {len(found)} networks are" if len(found) > 1 else "its network is"
        raise BundleError(
            f"TotalSegmentator's task '{task.name}': {there} not in {results} ({which}). Download with "
            f"`pip install TotalSegmentator` and `totalseg_download_weights -t {task.download}`, or say with "
            "TOTALSEG_WEIGHTS_PATH or TOTALSEG_HOME_DIR where the weights are."
        )
    return [folder for folder in found.values() if folder is not None]


def _training(results: Path, dataset: int, task: Task) -> Path | None:
    named = sorted(results.glob(f"Dataset{dataset:03d}_*"))
    if len(named) > 1:
        raise BundleError(
            f"{results} has {' and '.join(folder.name for folder in named)}: remove all but the one to import."
        )
    folders = [folder for name in named for folder in sorted(name.glob(f"*__*__{task.configuration}"))]
    usual = [folder for folder in folders if folder.name.split("__")[:2] == [task.trainer, "nnUNetPlans"]]
    chosen = usual or folders
    if len(chosen) > 1:
        raise BundleError(
            f"{named[0]} has {' and '.join(folder.name for folder in chosen)}: give one to `uncertaintyseg import`."
        )
    return chosen[0] if chosen else None
