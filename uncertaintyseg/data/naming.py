"""What the label files of a data set say themselves: the names of their segments, else their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.case_labels import IGNORE_NAME
from uncertaintyseg.data.cases import Case, Facts
from uncertaintyseg.data.images import frames_in, is_picture
from uncertaintyseg.data.layouts import volumes_in
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.errors import InputError

_BACKGROUND = "background"
_MOST_VALUES = 2000  # as many as there are segments at the most


def facts_of_files(cases: Sequence[Case], ignore: int | None = None) -> Facts:
    """Names of the structures in the labels of cases, in the order of their first appearance.

    Those of a folder are its files'. Without names the labels are read, to find their numbers; one that cannot be read
    says nothing.

    Args:
        cases: those without a label are passed over.
        ignore: number that means "no verdict", where that is known.

    Raises:
        InputError: No label can be read, one holds more numbers than a label has, or only some have names.
    """
    files = [case.label for case in cases if case.label is not None]
    names_in = {path: _names_in(path) for path in files}
    named = [path for path in files if names_in[path]]
    nameless = next((path for path in files if not names_in[path] and _is_readable(path)), None) if named else None
    if nameless:
        raise InputError(
            f"{nameless}: its structures have no names, those of {named[0].name} have: save all labels in one way, or "
            "say with --labels what the numbers are, such as 1=liver,2=tumour."
        )
    if not named:
        return _numbers(files, ignore)
    names: list[str] = []
    for path in files:
        same = match_names(names_in[path], names)
        names += [name for name in dict.fromkeys(names_in[path]) if name not in same]
    structures = [name for name in names if name.casefold() not in (_BACKGROUND, IGNORE_NAME)]
    found = dict(enumerate(structures, start=1))
    ignored = any(name.casefold() == IGNORE_NAME for name in names)
    return Facts(found, ignore=len(found) + 1 if ignored else None)


def _names_in(label: Path) -> list[str]:
    if label.is_dir():
        return [] if frames_in(label) else list(volumes_in(label))
    return [] if is_picture(label) else [segment.name for segment in segments_in(label)]


def _is_readable(label: Path) -> bool:
    try:
        read_label(label)
    except InputError:
        return False
    return True


def _numbers(files: Sequence[Path], ignore: int | None) -> Facts:
    found: set[int] = set()
    damaged: list[InputError] = []
    for path in files:
        try:
            found |= set(read_label(path).unique().tolist())
        except InputError as error:  # of this case alone; who measures it tells
            damaged.append(error)
        if len(found) > _MOST_VALUES:
            raise InputError(f"{path}: with it there are more than {_MOST_VALUES} numbers in the labels: is it a scan?")
    if len(damaged) == len(files):
        raise damaged[0]
    numbers = sorted(found - {0, ignore})
    some = ",".join(f"{number}=NAME" for number in numbers[:3])
    note = f"The labels have no names, so their structures are called 'structure 1' and so on: say --labels {some}."
    return Facts({number: f"structure {number}" for number in numbers}, ignore=ignore, notes=(note,))
