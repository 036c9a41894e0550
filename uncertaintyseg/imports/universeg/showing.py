"""A model that has been shown examples: the network, the slices and their labels in one folder (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uncertaintyseg.backbones import InContextBackbone
from uncertaintyseg.backbones.in_context import read_out_structures
from uncertaintyseg.data.cases import Case
from uncertaintyseg.data.channels import Image, read_channels
from uncertaintyseg.data.dataset import DataSet, Structure
from uncertaintyseg.data.examples import MOST, Examples, examples_of, read_examples
from uncertaintyseg.data.slices import OntoSlicesd
from uncertaintyseg.errors import InputError
from uncertaintyseg.imports import configs
from uncertaintyseg.imports.checkpoint import file_sha256
from uncertaintyseg.imports.universeg.weights import read_network
from uncertaintyseg.imports.writing import write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.ood import content_of
from uncertaintyseg.inference.shown import same_patient
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.wire import Label

STUDIES = "the corrected slices"
"""What messages call the cases of a server."""
SETTINGS = ("size", "clip")
"""In the inference.json of each: how its slices are made."""


@contextmanager
def shown(bundle: Bundle, folder: Path, *, plane: str | None = None, most: int = MOST) -> Iterator[Bundle]:
    """A model that is shown examples, for a while.

    Args:
        bundle: of UniverSeg, with or without examples of its own, which count no more.
        folder: with images/ and labels/, as of `read_examples`.
        plane: as of `read_examples`.
        most: as of `read_examples`.

    Raises:
        InputError: as `read_examples`, or for a model that learns nothing from examples.
    """
    with TemporaryDirectory(prefix="uncertaintyseg-") as output:
        yield show(bundle, folder, Path(output), bundle.name, plane=plane, most=most)


def show(
    bundle: Bundle, folder: Path, output: Path, name: str, *, plane: str | None = None, most: int = MOST
) -> Bundle:
    """Write a model that is shown examples into a folder of models; arguments and errors as of `shown`."""
    if bundle.examples is None:
        raise InputError(
            f"{bundle.name} has learnt what it knows and takes no examples; --examples is for models of UniverSeg "
            "(uncertaintyseg import universeg_v1_nf64_ss64_STA.pt)."
        )
    size, clip = bundle.setting("size"), bundle.config.get("clip")
    plane = plane or (None if bundle.examples else bundle.config.get("plane"))
    examples = read_examples(folder, size, plane=plane, most=most, clip=clip)
    return _written(bundle, examples, output, name, size, clip)


def show_cases(bundle: Bundle, cases: list[Case], output: Path, *, first: str | None = None) -> Bundle:
    """Write a model of the same name and structures that is shown slices of labelled cases, of a server's studies.

    Args:
        bundle: of UniverSeg, with structures; examples of its own count no more.
        cases: their labels, as of `examples_of`.
        output: folder of models.
        first: as of `examples_of`.

    Raises:
        InputError: as `examples_of`.
    """
    size, clip = bundle.setting("size"), bundle.config.get("clip")
    structures = [Structure(**label.model_dump()) for label in bundle.labels]
    dataset = DataSet(Path(STUDIES), "", cases, structures, {}, bundle.channels, bundle.modality, None, {})
    examples = examples_of(
        dataset, size, plane=bundle.config.get("plane"), clip=clip, first=first, flat=bundle.flat
    )  # fmt: skip
    return _written(bundle, examples, output, bundle.name, size, clip)


def of_same_patient(bundle: Bundle, image: Image, case_id: str | None) -> set[str]:
    """The cases whose slices a model is shown that are of a scan's patient, by its id or its voxels.

    Args:
        bundle: shown something.
        image: the scan, as of `read_channels`.
        case_id: of the scan; None where it has none.
    """
    return same_patient(bundle.uncertainty.origin or {}, case_id, read_channels(image, 1).numpy())


def _written(
    bundle: Bundle, examples: Examples, output: Path, name: str, size: int, clip: list[float] | None
) -> Bundle:
    network, dataset = read_network(bundle.weights), examples.dataset
    about = {
        "features_of_levels": list(network.features),
        "size": size,
        "examples": len(examples.slices),
        "structures": len(dataset.labels),
    }
    backbone = InContextBackbone(**about)
    backbone.network.load_state_dict(network.state_dict())
    backbone.images.copy_(examples.images)
    backbone.labels.copy_(examples.labels)
    segmenter = Segmenter(backbone, "deterministic", len(dataset.labels) + 1)
    read_out_structures(segmenter.head.mean, network)
    origin = dict(bundle.uncertainty.origin or {}) | {
        "examples": [case.id for case in examples.scans],
        "contents": [content_of(case, 1) for case in examples.scans],
        "drawn": {case.id: file_sha256(case.label) for case in examples.scans if case.label.is_file()},
        "slices": [[one.case, one.place] for one in examples.slices],
        "voxels": [list(one.voxel) for one in examples.slices],
        "plane": examples.plane,
        "left_out": examples.left_out,
    }
    names = [structure.name for structure in dataset.labels]
    count = f"{len(examples.slices)} slice{'s' * (len(examples.slices) != 1)}"
    metadata = configs.metadata(name, f"UniverSeg, shown {count} of {dataset.folder.name}.", names, origin)
    metadata["uncertainty"] |= {
        "labels": [Label(**asdict(structure)).model_dump() for structure in dataset.labels],
        "modality": dataset.modality,
        "dimensions": 2 if examples.plane is None else 3,
        "ignore": dataset.ignore,
        "values": dataset.values or None,
    }
    target = f"{InContextBackbone.__module__}.{InContextBackbone.__name__}"
    return write_model(
        output,
        name,
        metadata=metadata,
        inference=inference(
            {"_target_": target, **about}, [(s.name, s.id) for s in dataset.labels],
            size=size, clip=clip, plane=examples.plane, spacing=examples.spacing,
        ),
        training=configs.training([size, size, 1], flips=(0, 1)),
        network=segmenter,
    )  # fmt: skip


def inference(
    backbone: dict[str, Any],
    labels: list[tuple[str, int]],
    *,
    size: int,
    clip: list[float] | None,
    plane: str | None = None,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> dict[str, Any]:
    """The inference.json of a model: one window a slice, and flips within it alone."""
    onto = f"{OntoSlicesd.__module__}.{OntoSlicesd.__name__}"
    return configs.inference(
        spacing=[round(step, 6) for step in spacing],
        window=[size, size, 1],
        overlap=0.0,
        network=configs.segmenter(backbone, len(labels) + 1),
        preprocessing=[
            {"_target_": "uncertaintyseg.data.transforms.ReadCased", "labels": dict(labels)},
            {"_target_": onto, "size": size, "plane": plane, "clip": clip},
        ],
        layout="sliding_constant",
        symmetries=[0, 1],
        size=size,
        **{name: value for name, value in {"clip": clip, "plane": plane}.items() if value},
    )
