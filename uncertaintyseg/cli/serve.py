"""`uncertaintyseg serve`: start the MONAI Label server, which is a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    studies: Annotated[Path, typer.Option(help="Folder with the scans; labels and scores are saved in it.")],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    models: Annotated[list[Path] | None, typer.Option(help="Folder with more bundles; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for results; by default in the user's cache.")] = None,
    cache_gb: Annotated[float, typer.Option(min=0, help="The least recently used results go beyond this size.")] = 10,
    device: Annotated[str, typer.Option(help="Torch device, such as cpu or cuda.")] = "cpu",
) -> None:
    """Serve the models to 3D Slicer and other MONAI Label clients, on this machine only."""
    command = [sys.executable, "-m", "monailabel_app", "--studies", str(studies), "--port", str(port), "--host", host]
    for folder in models or []:
        command += ["--models", str(folder)]
    if cache is not None:
        command += ["--cache", str(cache)]
    command += ["--cache-gb", str(cache_gb), "--device", device]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - signals to this command reach the server itself
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own program
