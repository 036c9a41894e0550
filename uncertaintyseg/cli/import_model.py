"""`uncertaintyseg import`: somebody else's network as a model of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from uncertaintyseg.cli.console import AsJson, console, print_json, progress_bar
from uncertaintyseg.cli.examples import MOST, ExampleFolder, Plane, Slices
from uncertaintyseg.inference.bundle import Bundle, user_models

_OF_ONE_NETWORK = ("trainer", "folds", "channels", "spacing", "patch")


def import_model(
    given: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_FILE",
            help="An nnU-Net v2 folder (TRAINER__PLANS__CONFIG) or a zip; the word totalsegmentator, for what "
            "TotalSegmentator has downloaded; a MONAI bundle; a TorchScript file; a folder of SAM, MedSAM or SAM 2 "
            "(config.json, model.safetensors); or UniverSeg's weights (.pt, .safetensors), or the name of a model of "
            "them, to show it --examples.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the new model; by default after its data set.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of models to write to; by default the user's own.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option(help="Which folds of an nnU-Net: all (by default), or numbers such as 0,1.")
    ] = None,
    mirroring: Annotated[
        bool, typer.Option(help="Average an nnU-Net over mirrored images, as it was trained; up to 8 times slower.")
    ] = True,
    task: Annotated[
        str | None, typer.Option(help="Which of TotalSegmentator's tasks: total (by default), total_fast, ...")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run what a MONAI bundle's configuration runs: you trust its maker.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            help="TorchScript, MONAI, SAM: names of the structures, such as 1=liver,2=spleen. UniverSeg: of those "
            "that are yet to be drawn on a server.",
        ),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(help="TorchScript, MONAI: voxel sizes that the network takes, in mm: 1.5,1.5,2.")
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(
            help="TorchScript, MONAI: voxels that the network takes at once: 96,96,96. UniverSeg: pixels of a slice's "
            "side, 128 where you say nothing."
        ),
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(
            help="TorchScript: none, zscore, nonzero (zscore of the voxels that are not 0), unit (the scan's range to "
            "0..1), ct:LOW,HIGH or percentile:LOW,HIGH (to 0..1, cut off). UniverSeg: unit (of each slice, by default) "
            "or ct:LOW,HIGH, which cuts off first. SAM: percentile:0.5,99.5 (by default), ct:LOW,HIGH or unit."
        ),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="TorchScript: what the network ends with: none (logits), softmax or sigmoid.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="TorchScript: names of the image channels, if there are several: T1,T2.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="SAM: medsam, where the folder is MedSAM's: slices stretched to a square, and scaled to 0..1 each."
        ),
    ] = None,
    examples: ExampleFolder = None,
    plane: Plane = None,
    slices: Slices = MOST,
    as_json: AsJson = False,
) -> None:
    """Import a trained network: afterwards it is a model like any other, with risk maps and guided correction.

    Nothing is trained, and nothing is run that came with the network, unless you trust a MONAI bundle with --trust.

    Example: uncertaintyseg import Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres --name hippo

    Example: uncertaintyseg import totalsegmentator --task total_fast

    Example: uncertaintyseg import spleen_ct_segmentation, which lists what this MONAI bundle runs and asks for --trust

    Example: uncertaintyseg import brain.ts --labels brain --spacing 1,1,1 --patch 96,96,96 --normalization zscore
    --activation softmax

    Example: uncertaintyseg import universeg_v1_nf64_ss64_STA.pt --name universeg, then from slices that you have
    corrected uncertaintyseg import universeg --examples corrected --name my_structure, a model like any other

    Example: uncertaintyseg import medsam-vit-base --like medsam --normalization ct:-160,240 --labels liver --name sam
    """
    options = {
        "fold": fold, "task": task, "mirroring": None if mirroring else False, "trust": trust or None,
        "labels": labels, "spacing": spacing, "patch": patch, "normalization": normalization,
        "activation": activation, "channels": channels, "like": like, "examples": examples, "plane": plane,
        "slices": None if slices == MOST else slices,
    }  # fmt: skip
    with progress_bar() as progress:
        progress("loading", 0.0)
        from uncertaintyseg.imports import import_model

        given_options = {option: value for option, value in options.items() if value is not None}
        bundle = import_model(given, output=output, name=name, progress=progress, **given_options)
    found = what_was_found(bundle)
    if as_json:
        print_json({"name": bundle.name, "folder": str(bundle.folder), "checksum": bundle.checksum, **found})
        return
    table = Table("", f"{bundle.name}", show_lines=False)
    if found["parts"]:  # which have folds, patch and the like of their own
        found = {key: value for key, value in found.items() if value is not None or key not in _OF_ONE_NETWORK}
        found["parts"] = f"{len(found['parts'])} parts: {', '.join(found['parts'])}"
    else:
        del found["parts"]
    for key, value in found.items():
        table.add_row(key, _in_words(value))
    console.print(table)
    more = "" if output in (None, user_models()) else f" --models {output}"
    console.print(f"The model is in {bundle.folder}. Next:")
    of_one_network = (
        f"uncertaintyseg predict {bundle.name} SCAN --method tta{more}",
        f"uncertaintyseg train {bundle.name} DATA --head laplace --output runs{more}",
    )
    if not bundle.labels:
        console.print(f"  uncertaintyseg predict {bundle.name} SCAN --examples FOLDER{more}", highlight=False)
        console.print(
            f"  uncertaintyseg import {bundle.folder if more else bundle.name} --examples FOLDER --name NAME",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        return
    if bundle.prompted:
        asked = f'--box "8,12,6; 20,31,6={bundle.labels[0].name}"'
        console.print(
            f"  uncertaintyseg predict {bundle.name} SCAN {asked} --method dropout_injection{more}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        console.print(f"  uncertaintyseg evaluate {bundle.name} DATA --prompts-from MODEL{more}", highlight=False)
        return
    for line in (
        f"uncertaintyseg predict {bundle.name} SCAN --output prediction{more}",
        f"uncertaintyseg audit DATA --model {bundle.name}{more}",
        *(() if bundle.uncertainty.parts else of_one_network),
        f"uncertaintyseg serve --studies STUDIES{more}",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)


def what_was_found(bundle: Bundle) -> dict[str, Any]:
    """What an import has read off a foreign network, for people and as JSON."""
    origin, config = bundle.uncertainty.origin or {}, bundle.config.get()
    size = sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file())
    return {
        "source": origin.get("source"),
        "trainer": origin.get("trainer"),
        "folds": origin.get("folds"),
        "labels": [label.name for label in bundle.labels],
        "renamed": origin.get("renamed") or {},
        "modality": bundle.uncertainty.modality,
        "channels": config.get("channels"),
        "spacing": config.get("spacing"),
        "patch": config.get("window"),
        "parts": [part.name for part in bundle.parts],
        "mirroring": config.get("mirrors") or [],
        "size_mb": round(size / 1e6, 1),
        **({"runs": origin["runs"]} if "runs" in origin else {}),
        **({"examples": [f"{case} {place}" for case, place in origin["slices"]]} if "slices" in origin else {}),
        **({"left_out": origin["left_out"]} if origin.get("left_out") else {}),
    }


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{old!r} is now {new!r}" for old, new in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value) or "none"
    return "-" if value is None else str(value)
