"""What a simulation is: cases to choose from, cases to measure on, and how much is learnt in a round."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from uncertaintyseg import NUMBERS
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, TRAINING, Bundle

SETTINGS = "settings.json"
_TEST_SHARE = 0.2


class Settings(BaseModel):
    """What every cell of a simulation shares; strategies, seeds and rounds may be added later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    configs: list[str] = Field(description="The bundle's configuration, which the outcome depends on.")
    data: str = Field(description="Name of the data folder.")
    pool: list[str] = Field(description="Ids to choose from.")
    test: list[str] = Field(description="Ids that are measured on and never learnt from.")
    start: int = Field(ge=1, description="Labels in the random set that a seed starts from.")
    step: int = Field(ge=1, description="Labels a round adds.")
    iterations: int = Field(ge=1, description="Training steps a round; the start set gets three times as many.")
    device: str
    numbers: int = Field(NUMBERS, description="Of the code; rounds of two that count differently are not one curve.")

    def budget(self, number: int) -> int:
        """How many labels there are after a round; round 0 is the start set."""
        return self.start + number * self.step

    def keep(self, output: Path) -> None:
        """Write them to the output folder, or check that those which are there are the same.

        Raises:
            InputError: when the folder holds another simulation; the message says what differs.
        """
        path = output / SETTINGS
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            other = [name for name, value in self.model_dump().items() if before.get(name) != value]
            if other:
                raise InputError(
                    f"{output} holds a simulation with another '{other[0]}': choose another --output, or --no-resume "
                    "to throw that one away."
                )
        else:
            write_bytes(path, self.model_dump_json(indent=1).encode())


def parts_for_simulation(
    cases: Sequence[Case], split: str | Mapping[str, Sequence[str]] | None
) -> tuple[list[str], list[str]]:
    """Ids of the pool and of the held-out cases.

    Args:
        cases: of a data set.
        split: by name or by parts; its parts train and validation are taken; None holds out a random 20 %, the
            same at every call.

    Raises:
        InputError: a case of the split has no label here, or there are fewer than five labelled cases.
    """
    labelled = sorted(case.id for case in cases if case.label is not None)
    if len(labelled) < 5:
        raise InputError(f"a simulation needs the labels of at least five cases, DATA has {len(labelled)}.")
    if split is not None:
        parts = split if isinstance(split, Mapping) else read_split(split)
        absent = sorted({*parts["train"], *parts["validation"]} - set(labelled))
        if absent:
            raise InputError(f"split '{split}' names {len(absent)} cases without a label in DATA, first '{absent[0]}'.")
        return list(parts["train"]), list(parts["validation"])
    random.Random(0).shuffle(labelled)
    held_out = max(1, round(_TEST_SHARE * len(labelled)))
    return sorted(labelled[held_out:]), sorted(labelled[:held_out])


def configs_of(bundle: Bundle) -> list[str]:
    """The texts of the configuration that a fit and an inference read."""
    return [(bundle.folder / part).read_text(encoding="utf-8") for part in (INFERENCE, TRAINING)]
