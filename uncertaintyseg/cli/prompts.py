"""What a model like SAM is asked for on the command line: boxes, points, or what another model has found."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uncertaintyseg.cli.console import bar_away, console
from uncertaintyseg.cli.places import Said, read_place
from uncertaintyseg.data.prompts import MARGIN
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.inference.prompting import Asking

_WHAT = "Prompts, for models of SAM"
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        help='First and last voxel of a box around a structure: "8,12,6; 20,31,6=liver". A box in one slice is carried '
        "on to its neighbours until nothing is found; one over several ends where it says. Repeatable.",
        rich_help_panel=_WHAT,
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point", help="A voxel and what it is: 20,25,11=liver, or =background. Repeatable.", rich_help_panel=_WHAT
    ),
]
PromptsFrom = Annotated[
    str | None,
    typer.Option(
        help="Boxes around what another model finds, slice by slice: its name. Of a single scan also a label file that "
        "a model made. Never a reference: its score would be the reference's.",
        rich_help_panel=_WHAT,
    ),
]
Margin = Annotated[
    float,
    typer.Option(
        help="Share of its side that a box gets wider at each end, where it is not yours.", rich_help_panel=_WHAT
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Begin also what is estimated at more than ten minutes, without a question.",
        rich_help_panel=_WHAT,
    ),
]


def asking_of(
    bundle: Bundle,
    *,
    boxes: Sequence[str] | None = None,
    points: Sequence[str] | None = None,
    source: str | None = None,
    plane: str | None = None,
    margin: float = MARGIN,
    yes: bool = False,
    folders: Sequence[Path] = (),
    device: str = "auto",
) -> Asking:
    """What options ask of a model that is prompted; any other is asked for nothing.

    On a terminal a person is asked before a long run.

    Raises:
        InputError: for prompts to a model that takes none, or that cannot be read.
    """
    from uncertaintyseg.data.prompts import PromptBox, PromptPoint, Prompts
    from uncertaintyseg.inference.prompting import Asking
    from uncertaintyseg.inference.prompts_from import prompts_of_label, prompts_of_model

    if (boxes or points or source) and not bundle.prompted:
        raise InputError(
            f"{bundle.name} has learnt what it segments and takes no prompts; boxes and points are for models of SAM, "
            "corrections for `uncertaintyseg correct`."
        )
    said = {flag: [read_place(flag, t, bundle.labels) for t in texts or ()] for flag, texts in
            (("--box", boxes), ("--point", points))}  # fmt: skip
    allow = allow_of(yes)
    if not (boxes or points or source):
        return Asking(allow=allow)
    given = Prompts(
        tuple(PromptBox(label, _voxel(first), _voxel(last)) for label, (first, last) in said["--box"]),
        tuple(PromptPoint(label, _voxel(one)) for label, (one,) in said["--point"]),
        plane=plane,
        margin=margin,
    )
    if source is None:
        return Asking(lambda _: given, allow)
    if Path(source).is_file():
        return Asking(prompts_of_label(Path(source), bundle, given), allow)
    return Asking(prompts_of_model(find_bundle(source, *folders), bundle, given, device), allow)


def asking_on(bundle: Bundle, device: str, **given: Any) -> Asking:
    """`asking_of` as workers call it."""
    return asking_of(bundle, device=device, **given)


def source_hash(source: str | None, folders: Sequence[Path]) -> str | None:
    """Of what prompts are taken from, a model or a label file; None where there is nothing.

    Raises:
        BundleError: there is no such model.
    """
    if source is None:
        return None
    from uncertaintyseg.inference.model_hash import model_hash

    if Path(source).is_file():
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return model_hash(find_bundle(source, *folders))


def _voxel(place: Said | list[float]) -> tuple[int, int, int]:
    i, j, k = map(int, place)
    return i, j, k


def allow_of(yes: bool) -> Callable[[float], None]:
    """What is done where a run may take long: without --yes a person is asked, once; where nobody is there, it ends."""
    agreed = yes

    def allow(seconds: float) -> None:
        nonlocal agreed
        takes = f"this takes up to {seconds / 60:.0f} minutes"
        if agreed:
            console.print(f"{takes.capitalize()}.")
        elif sys.stdin.isatty() and sys.stderr.isatty():
            with bar_away():
                typer.confirm(f"{takes.capitalize()}. Begin?", abort=True, err=True)
            agreed = True
        else:
            raise InputError(
                f"{takes}: add --yes to run it, or ask for less: a box over fewer slices, fewer passes, a method that "
                "encodes each slice once (dropout_injection, prompt_jitter)."
            )

    return allow
