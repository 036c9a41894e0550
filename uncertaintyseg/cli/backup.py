"""`uncertaintyseg backup`: copy a studies folder, also while a server runs on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def backup(
    studies: Annotated[Path, typer.Argument(help="Studies folder of a server.", exists=True, file_okay=False)],
    destination: Annotated[Path, typer.Argument(help="Empty folder, or an earlier backup of the same studies.")],
    server: Annotated[
        str, typer.Option(help="Address of the server that has the folder open.")
    ] = "http://127.0.0.1:8000",
) -> None:
    """Copy scans, labels, their versions and the records, so that a server can start from the copy.

    Works while people save labels. Run again, it copies what has changed. A server that people log in to wants an
    admin's token in UNCERTAINTYSEG_TOKEN. To restore, copy the folder back and serve it.
    """
    command = [sys.executable, "-m", "monailabel_app.backup", str(studies), str(destination), "--server", server]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own program
