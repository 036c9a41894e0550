"""What an actor of a Ray cluster does for a server: one prediction, into a store of its own that goes again.

It sees neither the datastore nor the server's results. What it answers is bytes that the server looks at.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from monailabel_app.jobs.results import ResultStore
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.device_failure import is_device_failure
from uncertaintyseg.inference.model_hash import model_hash
from uncertaintyseg.inference.out_of_memory import is_out_of_memory
from uncertaintyseg.training.versions import bundle_with
from uncertaintyseg.workers import Task
from uncertaintyseg.workers.crew import Do, Report

if TYPE_CHECKING:
    from monailabel_app.jobs.predict import Predict
    from uncertaintyseg.inference.shipping import Shipped


@dataclass(frozen=True)
class Scan:
    """A scan on its way, as of `inference.shipping`."""

    id: str
    image: Path


@dataclass(frozen=True)
class Model:
    """A model that a prediction needs, as the server has it."""

    folder: str
    checksum: str
    """Of its weights."""
    hash: str
    """Its `model_hash`."""


@dataclass(frozen=True)
class Order:
    """A prediction as an actor gets it."""

    work: Predict
    models: tuple[Model, ...]
    scan: Scan | Shipped


@dataclass(frozen=True)
class Delivery:
    """What comes back.

    Attributes:
        kind: "made", or why not: a "model" that the node does not have, a scan that it does not see ("unseen"), want of
            "memory", a "device" that does not compute.
        text: the key of the result, or a message.
        files: of the result, see `ResultStore.files`.
    """

    kind: Literal["made", "model", "unseen", "memory", "device"]
    text: str
    files: dict[str, bytes] = field(default_factory=dict)


class PredictTask(Task):
    """What an actor gets ready for."""

    def prepare(self, worker: int) -> Do:  # noqa: ARG002 - all are alike
        """Import what predictions need; models are loaded when they are asked for, and stay."""
        import uncertaintyseg.inference.predictor  # noqa: F401, PLC0415 - torch belongs to the worker

        return delivered


def models_of(work: Predict) -> tuple[Model, ...]:
    """The models that a prediction needs, as they are here. Raises `BundleError` where one is not here."""
    named = [(work.bundle, work.checksum), *((folder, Bundle.load(Path(folder)).checksum) for folder in work.others)]
    if work.prompts is not None and work.prompts.other is not None:
        named.append((work.prompts.other, work.prompts.checksum))
    return tuple(Model(folder, checksum, model_hash(bundle_with(Path(folder), checksum))) for folder, checksum in named)


def delivered(order: Order, report: Report) -> Delivery:
    """Do it. Raises `UncertaintySegError` for what is wrong with the scan or what was asked of it."""
    from uncertaintyseg.inference.shipping import Shipped, check_seen  # noqa: PLC0415 - torch belongs to the actor

    try:
        for model in order.models:
            _check(model)
    except UncertaintySegError as error:
        return Delivery("model", str(error))
    try:
        if isinstance(order.scan, Shipped):
            with order.scan.unpacked() as scan:
                return _made(order.work, scan, report)
        try:
            check_seen(order.scan)
        except UncertaintySegError as error:
            return Delivery("unseen", str(error).replace("--scans", "--ray-scans"))
        return _made(order.work, order.scan, report)
    except Exception as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            return Delivery("memory", str(error))
        if is_device_failure(error):
            return Delivery("device", str(error).partition("\n")[0])
        raise


def _made(work: Predict, scan: Scan, report: Report) -> Delivery:
    with TemporaryDirectory(prefix="uncertaintyseg_") as folder:
        key = replace(work, image=str(scan.image), results=folder).run(report)
        return Delivery("made", key, ResultStore(Path(folder)).files(key))


def _check(model: Model) -> None:
    """Raise `UncertaintySegError` where a model is not here, or another one is."""
    node = f"node {platform.node()} of the Ray cluster"
    try:
        found = bundle_with(Path(model.folder), model.checksum)
    except UncertaintySegError as error:
        raise UncertaintySegError(
            f"{node} does not have the model {model.folder} of checksum {model.checksum[:12]} ({error}). Keep models "
            "where every node sees them under the same path, or copy the same folder everywhere."
        ) from error
    if model_hash(found) != model.hash:
        raise UncertaintySegError(
            f"{node} has another configuration or calibration of the model {model.folder}. Copy the same folder "
            "everywhere."
        )
