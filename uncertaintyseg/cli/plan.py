"""`uncertaintyseg plan`: from a folder of one's own data to a model that can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncertaintyseg.cli.console import AsJson, print_json, progress_bar, read_structures
from uncertaintyseg.cli.plan_told import tell, tell_next, usable
from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.planning.fingerprint import Fingerprint
    from uncertaintyseg.planning.plan import Plan

_CHOICES = "Instead of the plan"


def plan(
    task: Annotated[str, typer.Argument(help="Name of what is segmented; the model is called <task>_deterministic.")],
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of the data: images/ and labels/ (volumes, or images and clips), an nnU-Net or Decathlon data "
            "set, TotalSegmentator, BTCV, KiTS, LiTS or BraTS."
        ),
    ],
    budget: Annotated[str, typer.Option(help="What trains it: cpu, or a GPU with 8GB, 24GB or 80GB.")] = "cpu",
    hours: Annotated[float, typer.Option(help="How long the training may take.")] = 1.0,
    output: Annotated[Path, typer.Option(help="Folder of models to write to.")] = Path("runs"),
    structures: Annotated[
        str | None, typer.Option(help="Names of the structures to learn, with commas between; by default all.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="What voxel values mean, where the files do not say: 1=liver,5=tumour; background, ignore."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out the cases that cannot be used; train does so too.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(help="Where to write the page of what was found and chosen; beside the model.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete a trained model of that name, and plan it anew.")
    ] = False,
    trial: Annotated[bool, typer.Option(help="Make a real step, to measure memory and time.")] = True,
    spacing: Annotated[str | None, typer.Option(help="Voxel size in mm: 1,1,3.", rich_help_panel=_CHOICES)] = None,
    patch: Annotated[
        str | None, typer.Option(help="Voxels of a patch, and of a window: 64,64,32.", rich_help_panel=_CHOICES)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Patches in a step.", rich_help_panel=_CHOICES)] = None,
    features: Annotated[
        int | None, typer.Option(min=1, help="Channels of the first level.", rich_help_panel=_CHOICES)
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(help="ct, zscore or nonzero; one, or one a channel: ct,zscore.", rich_help_panel=_CHOICES),
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Of windows, 0 to 0.9.", rich_help_panel=_CHOICES)] = None,
    symmetries: Annotated[
        str | None,
        typer.Option(help="Axes to mirror: 0 (left-right), 1, 2 with commas; or none.", rich_help_panel=_CHOICES),
    ] = None,
    foreground: Annotated[
        float | None, typer.Option(help="Share of the patches on a structure.", rich_help_panel=_CHOICES)
    ] = None,
    deep_supervision: Annotated[
        bool | None, typer.Option(help="Inner levels learn from the label too.", rich_help_panel=_CHOICES)
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of --hours.", rich_help_panel=_CHOICES)] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Each ends with a validation.", rich_help_panel=_CHOICES)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At first.", rich_help_panel=_CHOICES)] = None,
    seed: Annotated[int, typer.Option(help="Of the training.", rich_help_panel=_CHOICES)] = 0,
    clahe: Annotated[
        bool,
        typer.Option("--clahe", help="Equalise local contrast, slice by slice (CLAHE).", rich_help_panel=_CHOICES),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a data set, choose all that a training needs, and write a model that `train` takes.

    All cases are read, and what is wrong with them is told by case. Spacing, patch, network and steps follow from what
    was found and from --budget and --hours; each is explained, and a flag changes it.

    Example: uncertaintyseg plan liver DATA --budget 8GB --hours 12, then uncertaintyseg train liver_deterministic DATA
    --models runs

    Images (PNG, JPEG, TIFF, ultrasound DICOM, volumes of one slice) and clips get a 2D network.

    Example: uncertaintyseg plan heads ULTRASOUND --labels 1=brain,2=cavum --clahe

    Example: uncertaintyseg plan kidneys TOTALSEGMENTATOR --structures kidney_left,kidney_right
    """
    from uncertaintyseg.data.dataset import read_dataset

    dataset = read_dataset(data, structures=read_structures(structures), labels=read_labels(labels))
    with progress_bar() as progress:
        progress("loading", 0.0)
        from uncertaintyseg.data.writing import check_file
        from uncertaintyseg.planning.bundle import check_place, plan_json, write_plan
        from uncertaintyseg.planning.fingerprint import take_fingerprint
        from uncertaintyseg.planning.following import next_steps
        from uncertaintyseg.planning.overrides import Overrides, read_axes, read_three
        from uncertaintyseg.planning.plan import make_plan
        from uncertaintyseg.planning.trial import try_step

        check_place(output, task, overwrite=overwrite)
        check_file(page, "--page")
        given = Overrides(
            read_three(spacing, "--spacing", float), read_three(patch, "--patch"), batch_size, features, normalization,
            overlap, read_axes(symmetries), deep_supervision, foreground, steps, epochs, learning_rate, seed, clahe,
        )  # fmt: skip
        given.check()
        fingerprint = usable(take_fingerprint(dataset, progress=progress), skip_bad)
        made = make_plan(
            fingerprint, task, budget=budget, hours=hours, overrides=given, progress=progress,
            try_step=(lambda draft: try_step(draft, fingerprint)) if trial else None,
        )  # fmt: skip
        bundle = write_plan(made, fingerprint, output, overwrite=overwrite)
        written = _page(page or bundle.folder / "plan.html", fingerprint, made, output, progress)
    following = next_steps(made, fingerprint, output)
    if as_json:
        problems = [
            {"case": one.case_id, "kind": one.kind, "text": one.text, "severity": one.severity}
            for one in fingerprint.problems
        ]
        print_json(
            {
                "model": bundle.name, "folder": str(bundle.folder), "page": str(written),
                "cases": len(fingerprint.cases), "left_out": list(fingerprint.left_out), "plan": plan_json(made),
                "problems": problems, "next": [one.command for one in following if one.command],
            }
        )  # fmt: skip
        return
    tell(fingerprint, made)
    tell_next(following, bundle.folder, written)


def read_labels(text: str | None) -> dict[int, str] | None:
    """Names by voxel value, given as 1=liver,5=tumour.

    Raises:
        InputError: for anything else, or a value that occurs twice.
    """
    if text is None:
        return None
    found: dict[int, str] = {}
    for pair in text.split(","):
        value, equals, name = pair.partition("=")
        if not (equals and name.strip() and value.strip().isdecimal()) or int(value) in found:
            raise InputError(f"--labels {text}: write it as value=name, each value once: 1=liver,5=tumour.")
        found[int(value)] = name.strip()
    return found


def _page(path: Path, fingerprint: Fingerprint, made: Plan, made_in: Path, progress: object) -> Path:
    progress("the page", 1.0)  # type: ignore[operator]
    from uncertaintyseg.planning.page import write_page

    try:
        write_page(path, fingerprint, made, models=made_in)
    except InputError as error:
        model = made_in / f"{made.task}_deterministic"
        raise type(error)(
            f"{error} Only this page is missing: the model in {model} is whole, and can be trained."
        ) from error
    return path
