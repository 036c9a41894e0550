"""`uncertaintyseg evaluate`: a model against labelled cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from uncertaintyseg.cli.console import AsJson, Device, ModelName, MoreModels, console, print_json, progress_bar
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case


def evaluate(
    model: ModelName,
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    cases: Annotated[
        str | None,
        typer.Option(help="File with case ids (JSON list or one a line), or SPLIT:PART such as msd_hippocampus:test."),
    ] = None,
    device: Device = "cpu",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Measure Dice, likelihood and calibration of a model on labelled cases.

    Example: uncertaintyseg evaluate hippocampus_low_rank DATA --cases msd_hippocampus:validation
    """
    bundle = find_bundle(model, *(models or []))
    with progress_bar() as progress:
        progress("loading the model", 0.0)
        from uncertaintyseg.data.layouts import read_cases
        from uncertaintyseg.inference.evaluation import evaluate as measure
        from uncertaintyseg.inference.predictor import Predictor

        chosen = chosen_cases(read_cases(data), cases)
        result = measure(Predictor(bundle, device), chosen, progress)
    if as_json:
        print_json(result)
        return
    table = Table("structure", "Dice", "95 % interval", title=f"{bundle.name}, {result['n']} cases")
    for name, row in result["structures"].items():
        table.add_row(name, f"{row['dice']['mean']:.3f}", "{lo:.3f} to {hi:.3f}".format(**row["dice"]))
    console.print(table)
    console.print("NLL {nll:.4f} nats, ECE {ece:.4f}, {seconds_per_case:.2f} s a case".format(**result))


def chosen_cases(cases: list[Case], choice: str | None) -> list[Case]:
    """The cases named by `choice`: a file of ids, SPLIT:PART, or None for all of them.

    Raises:
        InputError: when the choice cannot be read, or names a case that is not there.
    """
    from uncertaintyseg.data.layouts import SPLIT_NAMES, read_split

    if choice is None:
        return cases
    name, _, part = choice.rpartition(":")
    ids = read_split(name)[part] if name and part in SPLIT_NAMES else _ids_in(Path(choice))
    found = {case.id: case for case in cases}
    absent = [i for i in ids if i not in found]
    if absent:
        raise InputError(f"{choice} names {len(absent)} cases that DATA does not hold, first '{absent[0]}'.")
    return [found[i] for i in ids]


def _ids_in(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: no such list of cases. Give a file with ids, or SPLIT:PART such as msd_hippocampus:validation."
        ) from error
    if text.lstrip().startswith("["):
        try:
            return [str(i) for i in json.loads(text)]
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON ({error}).") from error
    return text.split()
