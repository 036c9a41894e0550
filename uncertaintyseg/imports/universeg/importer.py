"""Weights of UniverSeg as a model folder: without examples it knows no structure yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uncertaintyseg.backbones import InContextBackbone
from uncertaintyseg.data.examples import MOST
from uncertaintyseg.data.slices import PLANES
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import configs
from uncertaintyseg.imports.checkpoint import file_sha256
from uncertaintyseg.imports.names import model_name, plain
from uncertaintyseg.imports.options import read_labels, read_normalization, read_numbers
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.universeg.showing import inference, show
from uncertaintyseg.imports.universeg.weights import looks_like, read_network
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import IN_CONTEXT, METADATA, Bundle, model_folders

OPTIONS = ("labels", "examples", "plane", "slices", "patch", "normalization")
_SIZE = 128
"""Of the published network's slices."""


def recognises(given: Path) -> bool:
    """Whether it is a file of UniverSeg's weights, or the name or folder of a model of them."""
    return looks_like(given) or _model(given) is not None


def _model(given: Path) -> Bundle | None:
    """The model of that folder or name, where it takes examples."""
    places = [given, *(folder / given for folder in model_folders() if len(given.parts) == 1)]
    place = next((place for place in reversed(places) if (place / METADATA).is_file()), None)
    try:
        found = place and Bundle.load(place)
    except BundleError:
        return None
    return found if found and found.examples is not None else None


def import_model(
    given: Path,
    output: Path,
    name: str | None,
    progress: Progress,
    *,
    labels: str | None = None,
    examples: Path | None = None,
    plane: str | None = None,
    slices: int = MOST,
    patch: str | None = None,
    normalization: str | None = None,
) -> Bundle:
    """Write a model of weights, or of a model and examples.

    Args:
        given: file of weights, or name or folder of a model that was made of one.
        output: folder of models to write to.
        name: of the model; by default after the file, or after the model and the folder of examples.
        progress: called with a line of text and the fraction done.
        labels: names of structures that are yet to be drawn, for a server, whose corrected slices are the examples.
        examples: folder with images/ and labels/ that shows what to segment; None: for `predict` to say.
        plane: "axial", "coronal" or "sagittal"; by default that of the thickest slices.
        slices: how many to show.
        patch: pixels of a slice's longer side, for weights; 128 by default, as the published network has it.
        normalization: "unit", or "ct:LOW,HIGH" to cut off what lies beyond first, for weights.

    Raises:
        BundleError: for weights that cannot be used.
        InputError: as `read_examples`, and for an option of no use.
    """
    if examples is None and (slices != MOST or (plane is not None and labels is None)):
        raise InputError("--plane and --slices say how examples are read: name their folder with --examples.")
    if examples is not None and labels is not None:
        raise InputError("--labels names what is yet to be drawn; with --examples their labels say what it is called.")
    names = [] if labels is None else read_labels(labels)
    if plane is not None and plane not in PLANES:
        raise InputError(f"--plane '{plane}': choose {', '.join(PLANES)}.")
    known, size, clip = _model(given), _size(patch), _clip(normalization)
    if known is None:
        own_name = (name if examples is None else None) or model_name(given.stem)
        progress("reading the weights", 0.1)
        if examples is None:
            return _written(given, output, own_name, size, clip, names, plane)
        with TemporaryDirectory(prefix="uncertaintyseg-") as scratch:
            base = _written(given, Path(scratch), own_name, size, clip)
            return _shown(base, examples, output, name, progress, plane=plane, most=slices)
    if patch is not None or normalization is not None:
        raise InputError(f"{known.name} says itself how its slices are made: leave --patch and --normalization out.")
    if examples is None and names:
        return _written(
            known.weights, output, name or model_name(known.name, names[0]), known.setting("size"),
            known.config.get("clip"), names, plane, known.uncertainty.origin,
        )  # fmt: skip
    if examples is None:
        raise InputError(
            f"{known.name} is a model already: show it something with --examples FOLDER, or name with --labels what "
            "is to be drawn on a server."
        )
    return _shown(known, examples, output, name, progress, plane=plane, most=slices)


def _shown(base: Bundle, examples: Path, output: Path, name: str | None, progress: Progress, **how: Any) -> Bundle:
    name = name or model_name(base.name, examples.resolve().name)
    check_free(output, name)
    progress("reading the examples", 0.3)
    return show(base, examples, output, name, **how)


def _written(
    given: Path,
    output: Path,
    name: str,
    size: int,
    clip: list[float] | None,
    names: Sequence[str] = (),
    plane: str | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Bundle:
    """The model of weights, without examples."""
    check_free(output, name)
    network = read_network(given)
    if size % network.divisor:
        raise InputError(f"--patch {size}: the sides of its slices are multiples of {network.divisor}.")
    made_of = {name: (origin or {}).get(name) for name in ("folder", "checkpoint_sha256")}
    if origin is None:
        made_of = {"folder": plain(given.name, "weights"), "checkpoint_sha256": [file_sha256(given)]}
    title, about = made_of["folder"], {"source": IN_CONTEXT, **made_of, "trusted": False}
    metadata = configs.metadata(name, f"UniverSeg of {title}: segments what examples show.", names, about)
    backbone = {
        "_target_": f"{InContextBackbone.__module__}.{InContextBackbone.__name__}",
        "features_of_levels": list(network.features), "size": size, "examples": 0, "structures": len(names),
    }  # fmt: skip
    task = {} if names else {"task": "Segmentation of what examples show"}
    labels = [(label["name"], label["id"]) for label in metadata["uncertainty"]["labels"]]
    return write_model(
        output, name, metadata=metadata | task,
        inference=inference(backbone, labels, size=size, clip=clip, plane=plane), network=network,
    )  # fmt: skip


def _size(patch: str | None) -> int:
    if patch is None:
        return _SIZE
    sides = read_numbers(patch, "patch", whole=True)
    if len(set(sides)) > 1:
        raise InputError(f"--patch '{patch}': slices are square; give one number, such as {_SIZE}.")
    return int(sides[0])


def _clip(normalization: str | None) -> list[float] | None:
    """Lowest and highest intensity of `ct:LOW,HIGH`."""
    if normalization in (None, "unit"):
        return None
    found = read_normalization(normalization)
    if not normalization.startswith("ct:"):
        raise InputError(f"--normalization '{normalization}': UniverSeg takes 0..1: choose unit, or ct:LOW,HIGH.")
    return [float(found[0]["a_min"]), float(found[0]["a_max"])]
