"""Pictures as scans of one slice, folders of frames as clips, and masks whose colours stand for structures.

Columns are the first axis, rows the second. A picture says nothing of millimetres (the resolution that its file may
name is that of a print), so its spacing is unknown: the affine counts pixels, as ITK and Slicer place a picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME
from uncertaintyseg.data.writing import MAX_LABEL
from uncertaintyseg.errors import InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
COLOURS = ("colours.json", "colors.json")
"""The table of a mask's colours, beside the masks or one folder above."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value, ITU-R BT.601."""

PAGED = (".tif", ".tiff")
"""Pictures that may have several pages."""

_JPEG = (".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG", "TIFF")
"""That Pillow may find in a file: it reads dozens by their content, some by starting other programs."""
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")
_LISTED = 8
_NUMBERS = re.compile(r"(\d+)")
_GREY_MODES = ("L", "I;16", "I;16B", "I;16L", "I", "F", "1")


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
        array: `[X, Y, Z]`.
        affine: float64 4x4, voxel to RAS+ mm.
        about: entries of `meta`, see `time_axis`.
    """

    array: np.ndarray
    affine: np.ndarray
    about: dict[str, object]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name."""
    return path.name.lower().endswith(PICTURE_SUFFIXES)


def frames_in(folder: Path) -> list[Path]:
    """The frames of a clip, in the order of the numbers in their names; none where a folder holds anything else."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if not _is_beside(path.name)]
    if not all(path.is_file() and is_picture(path) for path in files):
        return []
    return sorted(files, key=lambda path: [int(v) if v.isdecimal() else v for v in _NUMBERS.split(path.name.lower())])


def _is_beside(name: str) -> bool:
    """Whether a file among frames says nothing of what the folder is."""
    return name.startswith(".") or name in COLOURS or name.lower() in _LEFT_BY_SYSTEMS


def plane(spacing: Sequence[float] = (1.0, 1.0)) -> np.ndarray:
    """Where an image lies: columns to the left, rows to the back, as ITK reads one; frames follow in steps of 1."""
    return np.diag([-float(spacing[0]), -float(spacing[1]), 1.0, 1.0])


def read_picture(path: Path) -> Stored:
    """One picture, or the pages of a TIFF as frames, in grey.

    Raises:
        InputError: It cannot be read, or pages differ in size.
    """
    pages = [to_grey(page) for page in _pages(path, coded=False)]
    return _stacked(pages, [f"{path}: page {number}" for number in range(1, len(pages) + 1)], clip=len(pages) > 1)


def read_frames(files: Sequence[Path]) -> Stored:
    """The frames of a clip, in grey.

    Raises:
        InputError: One cannot be read, or has another size than the first; the message names it.
    """
    return _stacked([to_grey(_only_page(path, coded=False)) for path in files], files, clip=True)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Grey of an image `[..., 3]` of red, green and blue: 0.299 R + 0.587 G + 0.114 B; where these agree, their value.

    Args:
        image: `[rows, columns]`, which stays, or `[rows, columns, 3]`.

    Returns:
        float32 `[rows, columns]`.
    """
    if image.ndim == 2:
        return image.astype(np.float32)
    red, green, blue = (image[..., number].astype(np.float64) for number in range(3))
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return np.where((red == green) & (green == blue), red, luma).astype(np.float32)


def read_mask(path: Path, colours: Mapping[tuple[int, int, int], int] | None = None) -> Stored:
    """A mask: what its colours stand for, else its grey values, or the entries of its palette by their number.

    Args:
        path: PNG or TIFF; or a folder of frames.
        colours: number by red, green and blue; None: the `COLOURS` beside the mask, where there is one. Black is 0
            unless it says otherwise.

    Raises:
        InputError: It is a JPEG, whose values are not exact, holds a colour that is not in the table, colours without
            any table, or as `read_picture`.
    """
    files = frames_in(path) if path.is_dir() else [path]
    found = colours_beside(path) if colours is None else ("the table of colours", colours)
    if path.is_dir():
        masks = [_numbers(file, _only_page(file, coded=not found), found) for file in files]
        return _stacked(masks, files, clip=True)
    masks = [_numbers(path, page, found) for page in _pages(path, coded=not found)]
    return _stacked(masks, [f"{path}: page {n}" for n in range(1, len(masks) + 1)], clip=len(masks) > 1)


def colours_beside(path: Path) -> tuple[str, dict[tuple[int, int, int], int]] | None:
    """The table of colours of a mask and its name, from its folder or one above; None where there is none.

    Raises:
        InputError: It is no such table.
    """
    folders = [path, *path.parents[:2]] if path.is_dir() else path.parents[:2]
    table = next((folder / name for folder in folders for name in COLOURS if (folder / name).is_file()), None)
    return None if table is None else (str(table), read_colours(table))


def read_colours(path: Path) -> dict[tuple[int, int, int], int]:
    """Number by red, green and blue, from a file such as {"#ff0000": 1, "0,255,0": 2}.

    Raises:
        InputError: It is no such file.
    """
    wanted = f'{path}: a table of colours is a JSON object such as {{"#ff0000": 1, "0,255,0": 2}}'
    try:
        pairs = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{wanted}. ({error})") from error
    if not isinstance(pairs, dict) or not pairs:
        raise InputError(f"{wanted}.")
    found: dict[tuple[int, int, int], int] = {}
    for key, value in pairs.items():
        colour = _colour(key)
        if colour is None or not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_LABEL:
            raise InputError(f"{wanted}; {json.dumps({key: value})[:80]} is no colour and number up to {MAX_LABEL}.")
        if colour in found:
            raise InputError(f"{path}: the colour {_hex(colour)} is there twice.")
        found[colour] = value
    return found


def _colour(text: str) -> tuple[int, int, int] | None:
    text = text.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(re.fullmatch(r"\d{1,3}", part) and int(part) < 256 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    return None


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def _numbers(path: Path, page: np.ndarray, table: tuple[str, Mapping[tuple[int, int, int], int]] | None) -> np.ndarray:
    """The numbers of a mask's page."""
    if path.name.lower().endswith(_JPEG):
        raise InputError(f"{path}: a JPEG, which does not keep the values of a mask exactly; save it as PNG.")
    if table is None:
        if page.ndim == 2:
            return page
        if (page[..., :1] == page).all():
            return page[..., 0]
        raise InputError(
            f"{path}: a mask in colours; say which number each stands for in {COLOURS[0]} beside the masks, such as "
            f'{{"#ff0000": 1}}.'
        )
    name, colours = table
    if page.dtype != np.uint8:
        raise InputError(f"{path}: values of {page.dtype} are no colours, and {name} says what colours stand for.")
    codes = np.stack([page] * 3, axis=-1) if page.ndim == 2 else page
    present, place = np.unique(codes.reshape(-1, 3), axis=0, return_inverse=True)
    known = {(0, 0, 0): 0, **colours}
    unknown = [tuple(int(v) for v in colour) for colour in present if tuple(int(v) for v in colour) not in known]
    if unknown:
        count = int((codes == np.array(unknown[0])).all(-1).sum())
        more = f", and {len(unknown) - 1} more colours," if len(unknown) > 1 else ""
        listed = ", ".join(_hex(colour) for colour in list(known)[:_LISTED])
        raise InputError(
            f"{path}: {_hex(unknown[0])} ({count} pixels){more} is not in {name}, which has {listed}"
            f"{', ...' if len(known) > _LISTED else ''}. Add it, or export the mask without smoothed edges."
        )
    values = np.array([known[tuple(int(v) for v in colour)] for colour in present])
    return values[place.reshape(-1)].reshape(codes.shape[:2])


def _stacked(pages: Sequence[np.ndarray], names: Sequence[object], *, clip: bool) -> Stored:
    """Pages `[rows, columns]` as one scan."""
    for page, name in zip(pages, names, strict=True):
        if page.shape != pages[0].shape:
            sizes = [" x ".join(map(str, shape[::-1])) for shape in (page.shape, pages[0].shape)]
            raise InputError(
                f"{name}: {sizes[0]} pixels, the first frame has {sizes[1]}: a clip has frames of one size."
            )
    about: dict[str, object] = {SPACING_KNOWN: False, **({AXIS: TIME} if clip else {})}
    return Stored(np.stack([page.T for page in pages], axis=-1), plane(), about)


def _only_page(path: Path, *, coded: bool) -> np.ndarray:
    pages = _pages(path, coded=coded)
    if len(pages) > 1:
        raise InputError(f"{path}: {len(pages)} pages in one frame of a clip; give one picture for each frame.")
    return pages[0]


def _pages(path: Path, *, coded: bool) -> list[np.ndarray]:
    """Each `[rows, columns]` or `[rows, columns, 3]`; with `coded` those of a palette are numbers of its entries."""
    from PIL import Image, ImageSequence  # noqa: PLC0415 - most scans are no pictures

    try:
        with Image.open(path, formats=_FORMATS) as image:
            several = path.name.lower().endswith(PAGED)  # an animated PNG shows its first page to all who read one
            return [_values(page, coded) for page in (ImageSequence.Iterator(image) if several else [image])]
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not a readable picture, perhaps cut short or too large: copy or export it again. ({error})"
        ) from error


def _values(image: object, coded: bool) -> np.ndarray:
    mode = image.mode
    if coded and mode == "P":
        return np.array(image)
    if mode in _GREY_MODES:
        values = np.array(image)
        return values.astype(np.uint8) if mode == "1" and coded else _bright(values)
    return np.array(image.convert("L" if mode == "LA" else "RGB"))


def _bright(values: np.ndarray) -> np.ndarray:
    """Of one bit, black and white are 0 and 255."""
    return values.astype(np.uint8) * 255 if values.dtype == bool else values
