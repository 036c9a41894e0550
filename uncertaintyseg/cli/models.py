"""`uncertaintyseg models`: what there is to run, and the user's own models renamed or removed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from uncertaintyseg.cli.console import AsJson, ModelName, MoreModels, console, print_json
from uncertaintyseg.inference.bundle import Bundle, find_bundles, shipped_models
from uncertaintyseg.inference.own_models import remove_model, rename_model

models = typer.Typer(help="List the models; rename or remove your own.")


@models.callback(invoke_without_command=True)
def listing(context: typer.Context, models: MoreModels = None, as_json: AsJson = False) -> None:
    """List the models: name, head, structures, whether they are trained and calibrated, and where they came from."""
    if context.invoked_subcommand:
        return
    bundles = find_bundles(*(models or []))
    if as_json:
        print_json(
            [
                {
                    "name": bundle.name,
                    "task": bundle.task,
                    "head": bundle.head,
                    "labels": [label.model_dump() for label in bundle.labels],
                    "channels": bundle.channels,
                    "maps": bundle.maps,
                    "checksum": bundle.checksum,
                    "trained": bool(bundle.checksum),
                    "calibrated": bundle.calibration[0] is not None,
                    "calibration": bundle.calibration[1],
                    "modality": bundle.uncertainty.modality,
                    "origin": bundle.uncertainty.origin,
                    "base": bundle.uncertainty.base and bundle.uncertainty.base.model_dump(),
                    "description": bundle.description,
                    "folder": str(bundle.folder),
                }
                for bundle in bundles.values()
            ]
        )
        return
    several = any(len(bundle.channels) > 1 for bundle in bundles.values())
    table = Table(
        Column("model", no_wrap=True), "structures", *(["channels"] if several else []),
        Column("calibrated", no_wrap=True), "from",
    )  # fmt: skip
    for bundle in bundles.values():
        calibrated = _calibrated(bundle) if bundle.checksum else "untrained"
        channels = [", ".join(bundle.channels)] if several else []
        table.add_row(bundle.name, _structures(bundle), *channels, calibrated, _origin(bundle))
    console.print(table)
    console.print("Checksums and descriptions: uncertaintyseg models --json")


@models.command()
def rename(
    old: ModelName,
    new: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    models: MoreModels = None,
) -> None:
    """Give one of your own models another name; one that others derive from keeps it."""
    folder = rename_model(old, new, *(models or []))
    console.print(f"'{old}' is now '{new}', in {folder}.")


@models.command()
def remove(
    name: ModelName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    models: MoreModels = None,
) -> None:
    """Delete one of your own models; one that others derive from stays."""
    if not yes:
        typer.confirm(f"Delete the model '{name}' for good?", abort=True, err=True)
    remove_model(name, *(models or []))
    console.print(f"'{name}' is gone.")


def _structures(bundle: Bundle) -> str:
    names = [label.name for label in bundle.labels] or ["what --examples show"]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _calibrated(bundle: Bundle) -> str:
    calibration, _ = bundle.calibration
    return f"{calibration.n} cases" if calibration else "no"


def _origin(bundle: Bundle) -> str:
    base, origin = bundle.uncertainty.base, bundle.uncertainty.origin
    if base:
        return f"head on {base.name}"
    # Of several networks there is no one folder, but the task that they make up.
    if origin:
        return f"{origin['source']}: {origin.get('folder') or origin['task']}"
    return "this package" if bundle.folder.parent.samefile(shipped_models()) else "yours"
