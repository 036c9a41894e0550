"""The same model with another head: a bundle derived from a trained one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import (
    INFERENCE,
    METADATA,
    TRAINING,
    Bundle,
    config_text,
    shipped_models,
    user_models,
)
from uncertaintyseg.inference.derived import BACKBONE, PREPROCESSING
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.segmenter import Segmenter

_OF_PLAIN_LOGITS = ("average", "mirrors")
"""Settings of an imported network that a head does not share: it averages moments."""
_KEPT = ("_target_", "backbone", "head", "classes")
_SHARED = ("crop", "batch_size", "steps_per_epoch", "foreground", "seed")
"""Of a recipe, what the data asks for, whatever is trained."""
ENCODER = "uncertaintyseg.backbones.EncoderBackbone"
_WITH_DROPOUT = ("DynUNetBackbone", "AttentionUNetBackbone")
HEAD_RECIPE = {"epochs": 16, "patience": 2, "validate_every": 2, "learning_rate": 5e-4}
"""Settings of a head on a backbone that stays as it is."""


def with_head(
    bundle: Bundle,
    head: str,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Bundle:
    """Write a bundle like `bundle`, with another head on its backbone, ready for `training.fit`.

    On an imported model it is a derived one: it stores only the head's tensors and uses the other's network, which it
    names with its checksum (docs/adr/0013).

    Args:
        bundle: a trained model; its backbone and output layer are what the new head starts from, and stay as they are.
        head: name of a registered head.
        folder: folder of models to write to.
        name: of the new model; `<task>_<head>` by default.
        tell: called with a sentence where that model is there already with another train.json, which stays.
        options: of the head.

    Raises:
        BundleError: for an unknown head, options it cannot take, a bundle without a recipe, or one whose network or
            output layer the head cannot stand on.
        InputError: when the folder cannot be written, or holds a model of that name with other settings, or on another.
    """
    inference, metadata, training = (_read(bundle.folder / part) for part in (INFERENCE, METADATA, TRAINING))
    network, options = _checked(bundle, inference), dict(options)
    if head in HEADS and HEADS[head].fuses and "taps" not in options:
        options["taps"] = _taps(bundle, network, head)
    if head in HEADS and bundle.flat:
        options = dict(HEADS[head].of_images) | options
    built = Segmenter(network.backbone, head, network.head.classes, **options).head
    if built.taken_over is not None and built.taken_over.name != network.head.name:
        raise BundleError(
            f"'base': a posterior over a '{built.taken_over.name}' head starts from a trained one, and '{bundle.name}' "
            f"has '{network.head.name}': train --head {built.taken_over.name} first, and put {head} on that model."
        )
    kept = {key: value for key, value in inference["network_def"].items() if key in _KEPT}
    inference["network_def"] = kept | {"head": head} | options
    about = bundle.uncertainty
    if about.origin or about.base:  # not ours: what is added refers to it
        inference = {key: value for key, value in inference.items() if key not in _OF_PLAIN_LOGITS}
        inference["network_def"]["backbone"] = {"_target_": BACKBONE, "folder": "@bundle_root"}
        inference["preprocessing"] = {"_target_": PREPROCESSING, "folder": "@bundle_root"}
        metadata["uncertainty"]["base"] = {"name": bundle.name, "checksum": bundle.checksum}

    name = name or f"{bundle.task}_{head}"
    structures = [f"{kind}_{item.name}" for item in bundle.labels for kind in ("probability", "variance")]
    metadata |= {"name": name, "description": f"{bundle.task.capitalize()}: {built.summary}."}
    metadata["references"] = [HEADS[head].paper]
    metadata["uncertainty"] |= {"head": head, "maps": [*MEASURES, *structures, *built.extra_maps()]}

    shared = {key: training["recipe"][key] for key in _SHARED if key in training["recipe"]}
    start = {"stage": "head", "initial": bundle.name, "backbone": "frozen"}
    training["recipe"] = start | shared | ({} if built.fitted else HEAD_RECIPE | dict(built.recipe))

    target = Path(folder).resolve() / name
    _check_place(bundle, target, metadata["uncertainty"].get("base"))
    training = _kept(target / TRAINING, training, tell)
    for part, config in ((INFERENCE, inference), (METADATA, metadata), (TRAINING, training)):
        _write(target / part, config, fixed=part == INFERENCE)
    return Bundle.load(target)


def with_dropout(
    bundle: Bundle,
    rate: float,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Bundle:
    """Write a bundle like `bundle`, whose network has dropout behind its convolutions, ready for `training.fit`.

    It is trained from the start by the other's recipe: the Dropout U-Net that `mc_dropout` is published with.

    Args:
        bundle: a model whose recipe trains a whole network.
        rate: chance of dropping.
        folder: folder of models to write to.
        name: of the new model; `<task>_dropout_unet` by default.
        tell: as of `with_head`.

    Raises:
        BundleError: for a model without a network of ours to train.
        InputError: for a rate that is none, or a folder that cannot be written or holds another model of that name.
    """
    if not 0 < rate < 1:
        raise InputError(f"--dropout {rate:g}: it is a chance above 0 and below 1, such as 0.2.")
    inference, metadata, training = (_read(bundle.folder / part) for part in (INFERENCE, METADATA, TRAINING))
    backbone = inference["network_def"].get("backbone")
    target = backbone.get("_target_", "") if isinstance(backbone, dict) else ""
    if target.rpartition(".")[2] not in _WITH_DROPOUT or (training.get("recipe") or {}).get("stage") != "backbone":
        raise BundleError(
            f"--dropout trains a whole DynUNet or Attention U-Net, and '{bundle.name}' is none that is trained here "
            "from the start: name such a model (hippocampus_deterministic, or one made by plan)."
        )
    inference["network_def"]["backbone"] = backbone | {"dropout": rate}
    name = name or f"{bundle.task}_dropout_unet"
    metadata |= {
        "name": name,
        "description": f"{bundle.task.capitalize()}: trained with dropout {rate:g} behind its convolutions.",
        "references": ["Gal and Ghahramani 2016, Dropout as a Bayesian approximation"],
    }
    target = Path(folder).resolve() / name
    _check_place(bundle, target, None)
    training = _kept(target / TRAINING, training, tell)
    for part, config in ((INFERENCE, inference), (METADATA, metadata), (TRAINING, training)):
        _write(target / part, config, fixed=part == INFERENCE)
    return Bundle.load(target)


def with_encoder(
    bundle: Bundle,
    settings: Mapping[str, Any],
    origin: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Bundle:
    """Write a bundle like `bundle`, whose network is somebody else's encoder below a light decoder.

    Its decoder is trained from the start by the other's recipe; `fit` is given the encoder.

    Args:
        bundle: a model whose recipe trains a whole network.
        settings: of `EncoderBackbone`: "kind" and "config".
        origin: of the encoder, as `Uncertainty.encoder` has it.
        folder: folder of models to write to.
        name: of the new model; `<task>_<kind>` by default.
        tell: as of `with_head`.

    Raises:
        BundleError: for a model without a network of ours to train, or an encoder that does not fit its channels.
        InputError: for a folder that cannot be written or holds another model of that name.
    """
    inference, metadata, training = (_read(bundle.folder / part) for part in (INFERENCE, METADATA, TRAINING))
    backbone = inference["network_def"].get("backbone")
    if bundle.imported or not isinstance(backbone, dict) or (training.get("recipe") or {}).get("stage") != "backbone":
        raise BundleError(
            f"--encoder trains a decoder by the recipe of a whole network, and '{bundle.name}' has none: name a model "
            "that is trained here from the start (hippocampus_deterministic, or one made by plan)."
        )
    inference["network_def"]["backbone"] = {"_target_": ENCODER, **settings, "in_channels": len(bundle.channels)}
    name = name or f"{bundle.task}_{settings['kind']}"
    metadata |= {
        "name": name,
        "description": f"{bundle.task.capitalize()}: a light decoder on the encoder {origin['folder']}, which stays as "
        f"it is ({origin['kind']}).",
        "references": [],
    }
    metadata["uncertainty"]["encoder"] = dict(origin)
    target = Path(folder).resolve() / name
    _check_place(bundle, target, None)
    there = Bundle.load(target) if (target / METADATA).is_file() else None
    if there is not None and there.uncertainty.encoder != dict(origin):
        raise InputError(f"{target} is another model already: choose another name or folder.")
    training = _kept(target / TRAINING, training, tell)
    for part, config in ((INFERENCE, inference), (METADATA, metadata), (TRAINING, training)):
        _write(target / part, config, fixed=part == INFERENCE)
    made = Bundle.load(target)
    made.network(weights=False)  # what does not fit is said now
    return made


def _check_place(bundle: Bundle, target: Path, base: dict[str, str] | None) -> None:
    """Refuse a folder that holds another model, or from which the base would not be found."""
    there = json.loads((target / METADATA).read_text(encoding="utf-8")) if (target / METADATA).is_file() else None
    if there and there["uncertainty"].get("base") != base:
        raise InputError(f"{target} is another model already: choose another name or folder.")
    if base and bundle.folder.parent not in (target.parent, user_models().resolve(), shipped_models().resolve()):
        raise InputError(
            f"a model in {target.parent} would not find '{bundle.name}', whose network it uses: write it beside that, "
            f"with --output {bundle.folder.parent}."
        )


def _kept(path: Path, new: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    """The train.json that is there already, which somebody may have edited; else a new one.

    Raises:
        InputError: the one that is there starts from another model, or is no JSON.
    """
    if not path.is_file():
        return new
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        recipe = dict(there["recipe"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no train.json of ours ({error}): mend it, or delete it for a new one.") from error
    start, wanted = (one.get("initial") for one in (recipe, new["recipe"]))
    if start != wanted:
        raise InputError(
            f"{path}: this head starts from '{start}', not from '{wanted}': choose another --name or --output, or "
            "delete the file."
        )
    if there != new:
        keys = {key for key in recipe.keys() | new["recipe"].keys() if recipe.get(key) != new["recipe"].get(key)}
        which = f"its {', '.join(sorted(keys))}" if keys else "what it says beside the recipe"
        tell(f"{path} is kept, though {which} differs from a new one's; delete it for a new one.")
    return there


def _checked(bundle: Bundle, inference: dict[str, Any]) -> Segmenter:
    """The network of a model, if a head can be put on it."""
    network = bundle.network(weights=False)
    if not isinstance(network, Segmenter):
        raise BundleError(f"'{bundle.name}' has several networks, and a head belongs on one: import a single fold.")
    if not network.head.direct:
        initial = (_read(bundle.folder / TRAINING).get("recipe") or {}).get("initial")
        other = f", such as '{initial}', which it started from" if initial else ""
        raise BundleError(
            f"the output layer of '{bundle.name}' reads what its {bundle.head} head makes of the features, so no other "
            f"head can stand on it: take a model without such layers{other}."
        )
    if inference.get("regions"):
        raise BundleError(
            f"'{bundle.name}' has a sigmoid for each of its nested regions; heads are for classes that exclude each "
            "other. It can run with passes (--method tta), without a head."
        )
    return network


def _taps(bundle: Bundle, network: Segmenter, head: str) -> dict[str, int]:
    """The two taps above the last (METHODS 7.1), or the last where there is none above."""
    taps = list(network.backbone.taps.items())
    if not taps:
        raise BundleError(
            f"{head} fuses inner maps of the network (taps), and that of '{bundle.name}' hands out none: put it on a "
            "model with a DynUNet or an nnU-Net, or read the last features alone, with --option taps={}."
        )
    return dict(taps[-3:-1] or taps[-1:])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BundleError(f"{path.parents[1]} has no {path.parent.name}/{path.name}, so no head can be trained on it.")
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, config: dict[str, Any], *, fixed: bool) -> None:
    text = config_text(config)
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
