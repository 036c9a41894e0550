"""What a source of models has to offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from uncertaintyseg.inference.bundle import Bundle

Progress = Callable[[str, float], None]


class ImportModel(Protocol):
    """Turns what the user gave into a model."""

    def __call__(self, given: Path, output: Path, name: str | None, progress: Progress, **options: object) -> Bundle:
        """Write a model into the folder `output`, called `name` or as the source sees fit, all or nothing.

        Raises:
            BundleError: for what cannot be imported; the message says why and how to mend it.
            InputError: for an option of no use, or a folder that cannot be written.
        """


@dataclass(frozen=True)
class Source:
    """One kind of foreign network.

    Attributes:
        title: what it is, with its article, for messages.
        options: names of the options that its `import_model` takes.
        recognises: whether what the user gave is of this kind; cheap, and never raises.
        import_model: does it.
    """

    title: str
    options: tuple[str, ...]
    recognises: Callable[[Path], bool]
    import_model: ImportModel
