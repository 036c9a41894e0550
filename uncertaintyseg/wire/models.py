"""Models of a server, what can be chosen for a run, and their versions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uncertaintyseg.wire.base import MEASURE, Message, Modality
from uncertaintyseg.wire.results import Label


class ModelVersion(Message):
    """One version of a model's weights, and how it came to be."""

    number: int = Field(0, description="1 is the first that was kept.")
    checksum: str = Field("", description="SHA-256 of the weights file.")
    created: str = Field("", description="ISO date and time, UTC.")
    origin: Literal["before training", "trained"] = "trained"
    scope: Literal["whole", "head"] | None = Field(None, description="What was trained.")
    training_cases: int | None = None
    validation_cases: int | None = None
    before: dict[str, float] | None = Field(
        None, description="Validation scores of the weights it replaced: 'dice', 'nll' (nats)."
    )
    after: dict[str, float] | None = Field(None, description="Its own, on the same cases.")
    seconds: float | None = Field(None, description="Wall time of the training.")


class LabelShift(Message):
    """How far a head moves the label of the model that it was put on, counted on the model's grid of labelled cases."""

    base: str = Field(description="Name of that model.")
    voxels: int = Field(ge=0, description="That have another label, of the cases that the head was validated on.")
    foreground: int = Field(ge=0, description="Voxels that the base labels as a structure.")

    @property
    def percent(self) -> float:
        """Of the base's foreground."""
        return 100 * self.voxels / max(self.foreground, 1)


class ChannelRange(Message):
    """Intensities of a channel over the foreground of a model's training scans, all structures together."""

    name: str = Field(description="Of the channel, as `Model.channels` has it.")
    low: float = Field(description="0.5 % lie below, in the unit of the scans: Hounsfield units, or none.")
    median: float
    high: float = Field(description="0.5 % lie above.")


class RunOption(Message):
    """One thing that may be chosen for a run."""

    name: str
    kind: Literal["integer", "number", "switch", "choice", "numbers", "choices"] = Field(
        description="The plural ones are lists."
    )
    default: int | float | bool | str | list[float] | list[str] | None = Field(description="Null: the model's own way.")
    low: int | float | None = Field(None, description="Least number, allowed; of a list each.")
    high: int | float | None = Field(None, description="Largest number, allowed; of a list each.")
    choices: list[str] = Field(default_factory=list, description="What may be chosen; of a list each at most once.")
    fewest: int | None = Field(None, description="A list holds so many at least.")
    most: int | None = Field(None, description="A list holds so many at most.")
    text: str = Field("", description="What it does, in a sentence.")
    required: bool = Field(False, description="Sent also as it stands: without it the run is refused.")
    needs: str = Field("", description="Counts only with this: name of another setting, or name=choice.")


class Method(Message):
    """Passes that can run on a model as it is: `params.method`, with `params.options`."""

    name: str
    summary: str = Field(description="What it does, in a line.")
    passes: int = Field(description="How often the network runs, with the options' defaults.")
    options: list[RunOption]
    maps: list[str] = Field(default_factory=list, description="Those of its own, beside the ones of every run.")


class Model(Message):
    """One model of a server."""

    name: str
    description: str
    task: str
    head: str
    dimensions: Literal[2, 3] = Field(
        3, description="3: it takes volumes; 2: images, and clips frame by frame. Each refuses the other's."
    )
    modality: Modality | None = Field(None, description="What it was trained on; null where nobody has said.")
    checksum: str = Field(description="SHA-256 of the weights in use; empty before training.")
    examples: int | None = Field(
        None, description="How many slices it is shown in place of training; null of a model that takes no examples."
    )
    labels: list[Label]
    channels: list[str] = Field(
        default_factory=lambda: ["image"],
        description="Names of a scan's channels, one file each, in the order in which the network takes them.",
    )
    maps: list[str] = Field(description="Names; one that ends in `_*` stands for one map for each structure.")
    trainable: bool
    version: int | None = Field(description="Number of the version in use; null where nothing was ever published.")
    versions: list[ModelVersion]
    calibrated: bool
    calibration: str = Field(description="On what the weights in use are calibrated, or why they are not.")
    driven_by: str = Field(MEASURE, description="Map that drives its calibration, see `Risk`.")
    label_shift: LabelShift | None = Field(
        None, description="Of a head on another model's network; null where nobody has counted it for these weights."
    )
    origin: str | None = Field(None, description="Where it comes from, where it was not trained here from the start.")
    methods: list[Method] = Field(default_factory=list, description="What can be run in place of the model as it is.")
    run_options: list[RunOption] = Field(
        default_factory=list, description="What may be chosen for every run, under these names in `params`."
    )


class RestoreRequest(Message):
    """Body of POST /uncertainty/v1/models/{name}/restore."""

    version: int = Field(ge=0, lt=2**31)


class TrainResult(Message):
    """What a training ends with. Weights that validate worse than those in use are not published."""

    published: bool
    reason: str = Field(description="Why it was published or not.")
    version: int | None = Field(None, description="Number of the published version.")
    record: ModelVersion
