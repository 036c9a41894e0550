"""What the metadata of a bundle says of the model, in its section `uncertainty`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from uncertaintyseg.wire import ChannelRange, Label, Modality


class Base(BaseModel):
    """The model whose network another one uses; it stores only what it adds."""

    model_config = ConfigDict(extra="forbid")

    name: str
    checksum: str


class Part(BaseModel):
    """One network of a model that is put together from several; a later one wins where both find a structure.

    Attributes:
        folder: its model folder, within that of the whole.
        labels: id in the whole of each of its structures.
    """

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(pattern=r"^parts/[A-Za-z0-9_ .()+-]*[A-Za-z0-9_)]$")
    labels: list[int]


class Uncertainty(BaseModel):
    """The `uncertainty` section of a bundle's metadata.

    Attributes:
        task: what is segmented; models of one task can stand for one another.
        head: name of the head.
        maps: names of the risk maps.
        labels: the structures.
        modality: of the scans it was made for, where its maker says so.
        dimensions: 3 for a model of volumes; 2 for one of images and clips, which looks at one slice along the third
            axis at a time, counts that axis in frames, and whose spacing counts pixels where the scan's is unknown.
        ignore: id that marks voxels of a label as not labelled: nothing is learnt from them, and nothing judged there.
        values: class id by number in the label files of the data set it was made for, where that is not the same; 0
            for what is not learnt.
        regions: class ids by name of a region, where structures lie within each other and their parts are learnt.
        channel_ranges: intensities of the training scans' foreground, in the order of the channels; they tell channels
            that were swapped (`data.channel_checks`).
        origin: where an imported model came from: "source", "folder" (its name), "folds", "trainer",
            "checkpoint_sha256", "trusted".
        base: the model it was derived from, where it stores only its own tensors.
        parts: the networks it is put together from, where it has none of its own.
        encoder: where an encoder came from that was never trained here: "folder" (its name), "kind", "sha256".
    """

    model_config = ConfigDict(extra="forbid")

    task: str
    head: str
    maps: list[str]
    labels: list[Label]
    modality: Modality | None = None
    dimensions: Literal[2, 3] = 3
    ignore: int | None = None
    values: dict[int, int] | None = None
    regions: dict[str, list[int]] | None = None
    channel_ranges: list[ChannelRange] | None = None
    origin: dict[str, Any] | None = None
    base: Base | None = None
    parts: list[Part] | None = None
    encoder: dict[str, Any] | None = None

    @property
    def unclear(self) -> list[int]:
        """Numbers that are a class id and, in the label files of the data set, something else."""
        ids, values = [label.id for label in self.labels], self.values or {}
        return [number for number in ids if values.get(number, number) != number or number == self.ignore]

    @field_validator("labels")
    @classmethod
    def _ids_are_class_indices(cls, labels: list[Label]) -> list[Label]:
        if [label.id for label in labels] != list(range(1, len(labels) + 1)):
            raise ValueError("ids must be 1, 2, 3, ... in this order: they are the network's class indices")
        return labels

    @model_validator(mode="after")
    def _maps_lead_to_classes(self) -> Uncertainty:
        ids = {0, *(label.id for label in self.labels)}
        if not {*(self.values or {}).values()} <= ids or any(number < 0 for number in self.values or {}):
            raise ValueError("values: each is the id of one of the labels, or 0, by a number from 0 on")
        if any(not held or not {*held} <= ids - {0} for held in (self.regions or {}).values()):
            raise ValueError("regions: each is a list of ids of the labels")
        return self
