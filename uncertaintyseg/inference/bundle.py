"""Models as data: a MONAI bundle folder with our metadata, and the network it describes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.channel_names import channel_names
from uncertaintyseg.inference.content import content_hash
from uncertaintyseg.inference.label_shift import read_shift
from uncertaintyseg.inference.metadata import Uncertainty
from uncertaintyseg.inference.weights import load_weights, save_weights
from uncertaintyseg.metrics.frames import apart
from uncertaintyseg.wire import Label, LabelShift, Modality

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from monai.transforms import Compose

    from uncertaintyseg.review.calibration import Calibration
    from uncertaintyseg.segmenter import Segmenter

WEIGHTS = Path("models") / "model.safetensors"
METADATA = Path("configs") / "metadata.json"
INFERENCE = Path("configs") / "inference.json"
TRAINING = Path("configs") / "train.json"
CALIBRATION = Path("calibration.json")
SHIFT = Path("label_shift.json")
IN_CONTEXT = "universeg"
"""Source, in its origin, of a model that segments what examples show."""
_ROW = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
"""A list of plain values, which a person reads on one line."""


@dataclass(frozen=True)
class Bundle:
    """A model folder. Reading it touches only the metadata; network and weights come when asked for.

    Attributes:
        folder: where it lies; its name is the model's name, `<task>_<method>`.
        description: one line for people.
        uncertainty: task, head, maps and labels.
    """

    folder: Path
    description: str
    uncertainty: Uncertainty

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Bundle:
        """Read a bundle's metadata.

        Raises:
            BundleError: when the folder is no bundle of ours; the message says what is missing.
        """
        folder = Path(folder).resolve()
        path = folder / METADATA
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise BundleError(f"{folder} is not a model folder: it has no {METADATA}.") from None
        except ValueError as error:
            raise BundleError(f"{path} is not valid JSON: {error}.") from error
        if not isinstance(metadata, dict) or "uncertainty" not in metadata:
            raise BundleError(f"{path} has no 'uncertainty' section, so this bundle is not one of ours.")
        try:
            section = Uncertainty.model_validate(metadata["uncertainty"])
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(("uncertainty", *map(str, first["loc"])))
            raise BundleError(f"{path}: field '{field}': {first['msg']}.") from error
        return cls(folder, metadata.get("description", ""), section)

    @property
    def name(self) -> str:
        """Name of the folder, `<task>_<method>`."""
        return self.folder.name

    @property
    def head(self) -> str:
        """Name of its head."""
        return self.uncertainty.head

    @property
    def task(self) -> str:
        """What it segments."""
        return self.uncertainty.task

    @property
    def labels(self) -> list[Label]:
        """Its structures, background left out."""
        return self.uncertainty.labels

    @property
    def examples(self) -> int | None:
        """How many slices it is shown, 0 before it was shown any; None of a model that takes no examples."""
        origin = self.uncertainty.origin or {}
        takes = origin.get("source") == IN_CONTEXT and self.uncertainty.base is None
        return len(origin.get("slices", ())) if takes else None

    @property
    def modality(self) -> Modality | None:
        """What it was trained on, "CT", "MR" or "US"; None where nobody has said."""
        return self.uncertainty.modality

    @property
    def label_reading(self) -> dict[str, Any]:
        """How a label of its data set is read: `ignore` and `values` of `data.case_labels.read_case_label`."""
        return {"ignore": self.uncertainty.ignore, "values": self.uncertainty.values}

    @property
    def flat(self) -> bool:
        """Whether it looks at images and frames, one slice at a time."""
        return self.uncertainty.dimensions == 2

    @property
    def reach(self) -> tuple[float, ...]:
        """Spacing of its grid in mm for what links voxels; slices that it sees one by one are too far apart for any."""
        return apart(self.setting("spacing"), clip=self.flat or self.prompted)

    @property
    def prompted(self) -> bool:
        """Whether it segments what boxes and points ask for, slice by slice."""
        return self.imported and self.uncertainty.origin.get("source") == "sam"

    @cached_property
    def channels(self) -> list[str]:
        """Names of a scan's channels, in the order in which the network takes them."""
        return channel_names(self.folder / INFERENCE)

    @property
    def imported(self) -> bool:
        """Whether it is somebody else's network as it came, without a head of ours; it is run, never trained."""
        return self.uncertainty.origin is not None and self.uncertainty.base is None

    @property
    def weights(self) -> Path:
        """Path of its weights; the file may not exist before training."""
        return self.folder / WEIGHTS

    @cached_property
    def parts(self) -> list[Bundle]:
        """The models it is put together from, in the order in which they are merged; none for a usual one.

        Raises:
            BundleError: when one is missing, damaged, or has another number of structures than the whole counts on.
        """
        found = []
        for part in self.uncertainty.parts or []:
            bundle = Bundle.load(self.folder / part.folder)
            if len(part.labels) != len(bundle.labels) or not set(part.labels) <= {label.id for label in self.labels}:
                raise BundleError(
                    f"{bundle.folder} has other structures than {self.folder / METADATA} says: import again."
                )
            found.append(bundle)
        return found

    @property
    def symmetries(self) -> list[int] | None:
        """Axes that it may be mirrored along, as it was trained; None where it does not say.

        Of several networks those that all of them know.

        Raises:
            BundleError: as `parts`.
        """
        if not self.parts:
            return self.config.get("symmetries")
        known = [set(part.symmetries) for part in self.parts if part.symmetries is not None]
        return sorted(set.intersection(*known)) if known else None

    @property
    def maps(self) -> list[str]:
        """Names of the risk maps it makes."""
        return self.uncertainty.maps

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the weights file; with a base or of parts, of all checksums. "" before it has been trained."""
        if self.uncertainty.parts:
            ids = [part.labels for part in self.uncertainty.parts]
            known = [(part.checksum, *labels) for part, labels in zip(self.parts, ids, strict=True)]
            return hashlib.sha256(json.dumps(known).encode()).hexdigest() if all(row[0] for row in known) else ""
        if not self.weights.is_file():
            return ""
        own, base = content_hash(self.weights), self.uncertainty.base
        return own if base is None else hashlib.sha256(f"{base.checksum}{own}".encode()).hexdigest()

    @cached_property
    def base(self) -> Bundle | None:
        """The model whose network it uses, storing only a head of its own; None for a model that stores all.

        It is looked for in the folders above it (two for a neighbour, more for a version that was kept), in the user's
        and among the shipped ones.

        Raises:
            BundleError: when it is not there, or has other weights than those the head was made for.
        """
        wanted = self.uncertainty.base
        if wanted is None:
            return None
        places = [place / wanted.name for place in (*self.folder.parents[:4], user_models(), shipped_models())]
        found = [Bundle.load(place) for place in places if (place / METADATA).is_file()]
        fitting = next((bundle for bundle in found if bundle.checksum == wanted.checksum), None)
        if fitting is None:
            raise BundleError(
                f"{self.folder}: this {self.head} model needs '{wanted.name}', which "
                f"{'has other weights' if found else 'is not here'}: put the model of checksum {wanted.checksum[:12]} "
                f"beside it or into {user_models()}, or make the head again (uncertaintyseg train {wanted.name} DATA "
                f"--head {self.head})."
            )
        return fitting

    @property
    def calibration(self) -> tuple[Calibration | None, str | None]:
        """What is known of its error probability on calibration cases; or None, and why there is nothing."""
        from uncertaintyseg.review.calibration import read_calibration

        try:
            found = read_calibration(self.folder / CALIBRATION)
        except BundleError as error:
            return None, str(error)
        if found is None:
            return None, f"uncalibrated: run `uncertaintyseg calibrate {self.name} DATA`"
        if found.weights_checksum != self.checksum:
            return None, "uncalibrated: calibration.json belongs to other weights"
        return found, None

    @property
    def label_shift(self) -> LabelShift | None:
        """How far its head moves the label of the model it was put on; None where nobody counted for these weights."""
        return read_shift(self.folder / SHIFT, self.checksum)

    @cached_property
    def config(self) -> ConfigParser:
        """The inference configuration.

        Raises:
            BundleError: when it is missing or not valid JSON.
        """
        parser = read_config(self.folder / INFERENCE)
        parser["bundle_root"] = str(self.folder)
        return parser

    def setting(self, name: str) -> Any:
        """A plain value of the inference configuration, such as "window" or "overlap"."""
        value = self.config.get(name)
        if value is None:
            raise BundleError(f"{self.folder / INFERENCE} has no '{name}'.")
        return value

    def preprocessing(self) -> Compose:
        """The transform from file paths under "image" (and "label") to tensors on the model's grid.

        Its parts that have a `reading` read labels as the metadata says (`label_reading`), and take images or volumes;
        those of a flat model leave the third axis as it is.

        Raises:
            BundleError: when the configuration makes none, or there is no base to take it from.
        """
        self.base  # noqa: B018 - refused by name, before anything is built
        found = self._built("preprocessing")
        for transform in getattr(found, "transforms", ()):
            if hasattr(transform, "reading"):
                transform.reading, transform.dimensions = self.label_reading, self.uncertainty.dimensions
            if self.flat and hasattr(transform, "spacing_transform"):  # MONAI's Spacingd: frames are not interpolated
                transform.spacing_transform.pixdim[2] = -1.0
        return found

    def network(self, weights: bool = True) -> Segmenter:
        """The network, with its weights unless told otherwise, in evaluation mode; a base's are always loaded.

        Raises:
            BundleError: when the configuration makes no network, the weights are missing, damaged, or of another
                architecture, or there is no such base.
        """
        if self.uncertainty.parts:
            raise BundleError(
                f"{self.name} is put together from {len(self.parts)} networks and has none of its own for a head to be "
                "trained on: take a model of one network, such as TotalSegmentator's total_fast."
            )
        if self.examples == 0:
            raise BundleError(
                f"{self.name} was shown nothing yet: show it slices with --examples FOLDER (images/ and labels/), or "
                f"make a model of them (uncertaintyseg import {self.name} --examples FOLDER --name NAME)."
            )
        self.base  # noqa: B018 - refused by name, before anything is built
        network = self._built("network_def")
        if network.head.classes != len(self.labels) + 1:
            raise BundleError(
                f"{self.folder / INFERENCE}: the network has {network.head.classes} classes, background included; the "
                f"metadata lists {len(self.labels)} labels. Mend 'classes' or the labels."
            )
        if weights:
            load_weights(network, self.weights, part=self._part)
        return network.eval()

    def save(self, network: Segmenter) -> None:
        """Write a network's weights as this model's, all or nothing: of a derived model only the head's.

        An imported network, and what is derived from one, keeps its precision.
        """
        about = self.uncertainty
        save_weights(network, self.weights, part=self._part, exact=bool(about.base or about.origin))

    @property
    def _part(self) -> str:
        """How the names of its own tensors begin."""
        return "head." if self.uncertainty.base else ""

    def _built(self, name: str) -> Any:
        try:
            return self.config.get_parsed_content(name, lazy=False)  # anew: MONAI would hand out one network twice
        except (ImportError, KeyError, RuntimeError, ValueError) as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # MONAI wraps what went wrong
                cause = cause.__cause__
            raise BundleError(f"{self.folder / INFERENCE}: '{name}' cannot be built: {cause}") from error


def read_config(path: Path) -> ConfigParser:
    """A configuration file of a bundle.

    Raises:
        BundleError: when it is missing or not valid JSON.
    """
    from uncertaintyseg.inference.components import config_parser  # brings MONAI

    if not path.is_file():
        raise BundleError(f"{path.parents[1]} has no {path.parent.name}/{path.name}.")
    parser = config_parser()
    try:
        parser.read_config(path)
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    return parser


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as JSON, with lists of plain values on one line."""
    return _ROW.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(config, indent=4)) + "\n"


def shipped_models() -> Path:
    """The folder of the models that come with the package."""
    installed = Path(__file__).resolve().parents[1] / "_models"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "models"


def user_models() -> Path:
    """The user's own folder of models, which may not exist: `$UNCERTAINTYSEG_MODELS`, or where the system has it."""
    import platformdirs

    chosen = os.environ.get("UNCERTAINTYSEG_MODELS")
    return Path(chosen) if chosen else platformdirs.user_data_path("uncertaintyseg") / "models"


def model_folders(*folders: str | os.PathLike[str]) -> list[Path]:
    """Where models are looked for: the shipped ones, the user's own if there are any, then `folders`; the last wins."""
    own = user_models()
    return [shipped_models(), *([own] if own.is_dir() else []), *map(Path, folders)]


def find_bundles(*folders: str | os.PathLike[str]) -> dict[str, Bundle]:
    """Shipped bundles, the user's own and those in further folders by name; a later folder wins.

    Raises:
        BundleError: when a folder does not exist or a bundle in it is damaged.
    """
    found: dict[str, Bundle] = {}
    for folder in model_folders(*folders):
        if not folder.is_dir():
            raise BundleError(f"there is no model folder {folder}.")
        for path in sorted(folder.glob(f"*/{METADATA}")):
            bundle = Bundle.load(path.parents[1])
            found[bundle.name] = bundle
    return found


def find_bundle(name: str, *folders: str | os.PathLike[str]) -> Bundle:
    """The bundle called `name`.

    Raises:
        BundleError: when there is none; the message lists what there is.
    """
    found = find_bundles(*folders)
    if name not in found:
        raise BundleError(f"there is no model '{name}'; there are {', '.join(found) or 'none'}.")
    return found[name]
