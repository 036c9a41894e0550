"""`uncertaintyseg models`: what there is to run."""

from __future__ import annotations

from rich.table import Column, Table

from uncertaintyseg.cli.console import AsJson, MoreModels, console, print_json
from uncertaintyseg.inference.bundle import Bundle, find_bundles


def models(models: MoreModels = None, as_json: AsJson = False) -> None:
    """List the models: name, head, structures and whether they are trained and calibrated."""
    bundles = find_bundles(*(models or []))
    if as_json:
        print_json(
            [
                {
                    "name": bundle.name,
                    "task": bundle.task,
                    "head": bundle.head,
                    "labels": [label.model_dump() for label in bundle.labels],
                    "maps": bundle.maps,
                    "checksum": bundle.checksum,
                    "trained": bool(bundle.checksum),
                    "calibrated": bundle.calibration[0] is not None,
                    "calibration": bundle.calibration[1],
                    "description": bundle.description,
                    "folder": str(bundle.folder),
                }
                for bundle in bundles.values()
            ]
        )
        return
    table = Table(Column("model", no_wrap=True), "structures", "weights", "calibrated", "description")
    for bundle in bundles.values():
        names = ", ".join(label.name for label in bundle.labels)
        table.add_row(bundle.name, names, bundle.checksum[:12] or "untrained", _calibrated(bundle), bundle.description)
    console.print(table)


def _calibrated(bundle: Bundle) -> str:
    calibration, _ = bundle.calibration
    return f"{calibration.n} cases" if calibration else "no"
