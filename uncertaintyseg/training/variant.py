"""The same model with another head: a bundle derived from a trained one."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS, make_head
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, Bundle
from uncertaintyseg.measures import MEASURES

_KEPT = ("_target_", "backbone", "head", "classes")
_ROW = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
"""A list of plain values, which a person reads on one line."""
HEAD_RECIPE = {"epochs": 16, "patience": 2, "validate_every": 2, "learning_rate": 5e-4}
"""Settings of a head on a backbone that stays as it is."""


def with_head(
    bundle: Bundle, head: str, folder: str | os.PathLike[str], *, name: str | None = None, **options: Any
) -> Bundle:
    """Write a bundle like `bundle`, with another head on its backbone, ready for `training.fit`.

    Args:
        bundle: a trained model; its backbone and output layer are what the new head starts from, and stay as they are.
        head: name of a registered head.
        folder: folder of models to write to.
        name: of the new model; `<task>_<head>` by default.
        options: of the head.

    Raises:
        BundleError: for an unknown head, options it cannot take, or a bundle without a recipe.
        InputError: when the folder cannot be written, or holds a model of that name with other settings.
    """
    inference, metadata, training = (_read(bundle.folder / part) for part in (INFERENCE, METADATA, TRAINING))
    network = inference["network_def"]
    built = make_head(head, features=network["backbone"].get("filters", [8])[0], classes=network["classes"], **options)
    inference["network_def"] = {k: v for k, v in network.items() if k in _KEPT} | {"head": head} | options

    name = name or f"{bundle.task}_{head}"
    structures = [f"{kind}_{item.name}" for item in bundle.labels for kind in ("probability", "variance")]
    metadata |= {"name": name, "description": f"{bundle.task.capitalize()}: {HEADS[head].summary}."}
    metadata["references"] = [HEADS[head].paper]
    metadata["uncertainty"] |= {"head": head, "maps": [*MEASURES, *structures, *built.extra_maps()]}

    shared = {key: training["recipe"][key] for key in ("crop", "batch_size", "seed") if key in training["recipe"]}
    start = {"stage": "head", "initial": bundle.name, "backbone": "frozen"}
    training["recipe"] = start | shared | ({} if built.fitted else HEAD_RECIPE)

    target = Path(folder).resolve() / name
    for part, config in ((INFERENCE, inference), (METADATA, metadata), (TRAINING, training)):
        _write(target / part, config, fixed=part == INFERENCE)
    return Bundle.load(target)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BundleError(f"{path.parents[1]} has no {path.parent.name}/{path.name}, so no head can be trained on it.")
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, config: dict[str, Any], *, fixed: bool) -> None:
    text = _ROW.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(config, indent=4)) + "\n"
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        if fixed and path.is_file():
            raise InputError(f"{path.parents[1]} is another model already: choose another name or folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        shutil.move(partial, path)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): choose another output folder.") from error
