"""A folder of ultrasound phantoms: images, true masks, raters, and a table of what was simulated."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from uncertaintyseg.data.time_axis import AXIS, DESCRIPTION, TIME
from uncertaintyseg.data.ultrasound_phantom.phantom import LABELS, UltrasoundPhantom, make_ultrasound
from uncertaintyseg.data.writing import write_bytes, write_volume

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Of background and the three structures in the palettes of PNG masks."""

Row = dict[str, object]
_NAMES = {value: name for name, value in LABELS.items()}
_DESCRIBED = {AXIS: TIME, "channel_names": {"0": "US"}, "labels": {"background": 0} | LABELS}


def write_ultrasound(
    folder: str | Path,
    count: int,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
    *,
    size: int = 256,
    pathology: float = 0.0,
    shift: str = "none",
    clips: bool = False,
    png: bool = False,
    workers: int = 1,
) -> list[str]:
    """Write `images/`, `labels/` (the truth), `raters/<id>_<n>.nii.gz` and `cases.csv`; of clips `frames.csv` too.

    An image is `[X, Y, 1]`, a clip `[X, Y, 16]` with time as its third axis, as `dataset.json` says then. Case `i`
    depends on `seed` and `i` only: a longer run begins with the cases of a shorter one.

    Lengths in the tables are mm, areas mm2; places are from the centre of the first pixel, x to the right and y
    downwards, the angle of the long axis from x to y. A clip's row in `cases.csv` is that of the frame nearest to the
    plane.

    Args:
        folder: Made where missing.
        count: Number of cases.
        seed: Seed of the whole set.
        progress: Called with the id of each case and the fraction done.
        size: Pixels of the square picture.
        pathology: Share of the cases that have one.
        shift: "none", "elastic" or "acquisition", see `make_ultrasound`.
        clips: Sweeps of 16 frames instead of images.
        png: Copies in `png/images` and `png/labels`; a clip is a folder of frames there.
        workers: Processes that share the work; the files are the same.

    Returns:
        The ids `fetus_000`, ...; of clips `sweep_000`, ...

    Raises:
        InputError: An argument is out of its range, or the folder cannot be written.
    """
    folder = Path(folder)
    ids = [f"{'sweep' if clips else 'fetus'}_{i:03d}" for i in range(count)]
    seeds = [(seed, i) for i in range(count)]
    one = partial(_write_case, folder, size=size, pathology=pathology, shift=shift, clip=clips, png=png)
    rows: list[list[Row]] = []
    with _mapping(min(workers, count)) as each:
        for case_id, frames in zip(ids, each(one, ids, seeds), strict=True):
            rows.append(frames)
            if progress is not None:
                progress(case_id, len(rows) / count)
    write_bytes(folder / "cases.csv", _table([next(row for row in frames if row["middle"]) for frames in rows]))
    if clips:
        write_bytes(folder / DESCRIPTION, json.dumps(_DESCRIBED, indent=1).encode())
        write_bytes(folder / "frames.csv", _table([row for frames in rows for row in frames]))
    return ids


@contextmanager
def _mapping(workers: int) -> Iterator[Callable]:
    """Yield `map`, or one over processes of their own."""
    if workers <= 1:
        yield map
        return
    # fresh processes: a copy of this one may hold locks of threads that it lacks
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_case(
    folder: Path, case_id: str, seed: tuple[int, int], *, size: int, pathology: float, shift: str, clip: bool, png: bool
) -> list[Row]:
    """Write one case and return a row of each frame."""
    case = make_ultrasound(seed, size=size, pathology=pathology, shift=shift, clip=clip)
    write_volume(folder / "images" / f"{case_id}.nii.gz", case.image, case.affine)
    write_volume(folder / "labels" / f"{case_id}.nii.gz", case.label, case.affine, names=_NAMES)
    for n, rater in enumerate(case.raters, start=1):
        write_volume(folder / "raters" / f"{case_id}_{n}.nii.gz", rater, case.affine, names=_NAMES)
    if png:
        for part, volume in (("images", case.image), ("labels", case.label)):
            for frame in range(volume.shape[-1]):
                name = f"{case_id}/{frame:02d}.png" if clip else f"{case_id}.png"
                data = _png(volume[..., frame], case.spacing, coloured=part == "labels")
                write_bytes(folder / "png" / part / name, data)
    return [_row(case_id, case, frame) for frame in range(len(case.ellipses))]


def _png(plane: np.ndarray, spacing: float, *, coloured: bool) -> bytes:
    """A plane `[X, Y]` as PNG with its spacing as resolution; a mask with a palette whose entries are its numbers."""
    picture = Image.fromarray(np.ascontiguousarray(plane.T))
    if coloured:
        picture = picture.convert("P")
        picture.putpalette([part for colour in COLOURS for part in colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", dpi=(25.4 / spacing, 25.4 / spacing))
    return buffer.getvalue()


def _row(case_id: str, case: UltrasoundPhantom, frame: int) -> Row:
    ellipse, sizes, probe = case.ellipses[frame], case.sizes, case.probe
    return {
        "id": case_id,
        "frame": frame,
        "middle": int(frame == case.middle),
        "plane_mm": round(case.planes[frame], 3),
        "age_weeks": round(sizes.age, 3),
        "pathology": sizes.pathology,
        "grade": sizes.grade,
        "shift": case.shift,
        "spacing_mm": round(case.spacing, 6),
        "centre_x_mm": round(ellipse.x, 4),
        "centre_y_mm": round(ellipse.y, 4),
        "long_axis_mm": round(2 * ellipse.long, 4),
        "short_axis_mm": round(2 * ellipse.short, 4),
        "angle_degrees": round(math.degrees(ellipse.angle), 3),
        "circumference_mm": round(ellipse.circumference, 4),
        **{f"area_{name.replace(' ', '_')}_mm2": round(area, 3) for name, area in case.areas(frame).items()},
        "ventricle_widths_mm": " ".join(f"{width:.2f}" for width in sizes.ventricles),
        "cavum_width_mm": round(sizes.cavum[0], 2),
        "megahertz": round(probe.megahertz, 3),
        "gain_db": round(probe.gain_db, 2),
        "range_db": round(probe.range_db, 2),
        "depth_mm": round(probe.depth, 2),
    }


def _table(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
