"""One scan of `uncertaintyseg predict`, in whichever process it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from uncertaintyseg.cli.clip_picture import clip_picture
from uncertaintyseg.cli.plausible import draw_plausible, write_plausible
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.doubts import scan_doubts
from uncertaintyseg.data.writing import write_bytes

FRAMES, REPORT = "frames.png", "report.json"

if TYPE_CHECKING:
    from uncertaintyseg.data.channels import Image
    from uncertaintyseg.inference.fallback import Fallback


@dataclass(frozen=True)
class ScanToDo:
    """A scan.

    Attributes:
        id: name of the case; "" of a single one.
        image: as of `read_channels`.
    """

    id: str
    image: Image


def predict_case(
    predictor: Fallback,
    scan: ScanToDo,
    progress: Callable[[str, float], None],
    *,
    output: Path | None,
    given: dict[str, Any],
    plausible: int,
) -> dict[str, Any]:
    """Predict a scan and write what comes of it.

    Args:
        predictor: of the model.
        scan: to segment.
        progress: told where it stands.
        output: folder of all cases; None where this machine does not have it.
        given: arguments of `Predictor.predict`.
        plausible: whole segmentations to draw.

    Returns:
        JSON with arrays: the `report` that was written, how many segmentations were `drawn`, why one of many does not
        look like what the model knows (`doubts`), and without `output` the `files` by name, uint8 `[n]`, for
        `write_files`.

    Raises:
        InputError: the scan cannot be used, or the folder not be written.
    """
    with _folder(scan, output) as folder:
        prediction = predictor.predict(scan.image, progress=progress, **given)
        drawn = draw_plausible(predictor, prediction, plausible, given["seed"]) if plausible else []
        report = prediction.save(folder)
        write_plausible(drawn, prediction, folder)
        if curves := prediction.frames:
            clip_picture(curves, prediction.measure.unit, folder / FRAMES)
        found = {"report": report, "drawn": len(drawn), "doubts": []}
        if scan.id:
            bundle = predictor.bundle
            found["doubts"] = scan_doubts(first_channel(scan.image, len(bundle.channels)), bundle.modality)
        if output is None:
            found["files"] = {path.name: np.fromfile(path, np.uint8) for path in sorted(folder.iterdir())}
        return found


def is_written(output: Path, scan: ScanToDo, found: Mapping[str, Any]) -> bool:
    """Whether the folder of a scan still holds what `predict_case` found: another run may have written there since."""
    report = found["report"]
    try:
        there = json.loads((output / scan.id / REPORT).read_bytes())
    except (OSError, ValueError):
        return False
    return json.dumps(there) == json.dumps(report) and all(
        Path(path).is_file() for path in (report["label"], *report["maps"].values())
    )


def write_files(found: dict[str, Any], folder: Path) -> None:
    """Write what came from another machine, whose paths then are those of this folder.

    Raises:
        InputError: the folder cannot be written.
    """
    report, files = found["report"], found.pop("files")
    report["label"] = str(folder / Path(report["label"]).name)
    report["maps"] = {name: str(folder / Path(path).name) for name, path in report["maps"].items()}
    for name, data in files.items():
        if name != REPORT:
            write_bytes(folder / name, data.tobytes())
    write_bytes(folder / REPORT, json.dumps(report, indent=2).encode())


@contextmanager
def _folder(scan: ScanToDo, output: Path | None) -> Iterator[Path]:
    if output is not None:
        yield output / scan.id
        return
    with TemporaryDirectory(prefix="uncertaintyseg_") as folder:
        yield Path(folder)
