"""A new model folder, written whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from uncertaintyseg.data.writing import sync_folder
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle


def write_new_model(
    output: Path, name: str, fill: Callable[[Path], None], *, check: Callable[[], None] = lambda: None
) -> Bundle:
    """Write a model folder beside the others and move it into place at the end, once it can be read.

    What is there under its name is replaced, unless `check` refuses.

    Args:
        output: folder of models; made where it is missing.
        name: of the new one.
        fill: writes the files into the folder that it is called with.
        check: called just before the folder is moved; raises where it must not be, for a name that was taken meanwhile.

    Raises:
        InputError: when the folder cannot be written.
        BundleError: when what was written is no model.
    """
    scratch = output / f".new-{uuid.uuid4().hex}"
    folder, before = scratch / name, scratch / "before"  # two levels down: nobody who lists models meets them
    try:
        fill(folder)
        Bundle.load(folder)
        check()
        if (output / name).exists():
            (output / name).rename(before)
        try:
            folder.rename(output / name)
        except OSError:
            if before.exists():
                before.rename(output / name)
            raise
        sync_folder(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); choose another --output.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle.load(output / name)
