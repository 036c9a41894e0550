"""`uncertaintyseg serve`: start the MONAI Label server, which is a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_RAY = "More machines"
_WHO = "Who may reach it"


def serve(
    studies: Annotated[
        str, typer.Option(help="Folder with the scans, or a DICOMweb address; labels go into the folder.")
    ],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    models: Annotated[list[Path] | None, typer.Option(help="Folder with more bundles; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for results; by default in the user's cache.")] = None,
    cache_gb: Annotated[float, typer.Option(min=0, help="The least recently used results go beyond this size.")] = 10,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:N, or auto, the default: a GPU where there is one.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Several in place of one, cuda:0,cuda:1 or cpu,cpu: a job on each at a time. On the CPU they "
            "share the cores: each of N computes with an N-th of them."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster that scores and does batches in place of the devices here. Who can reach a cluster can "
            "run code on it: docs/scaling.md.",
            rich_help_panel=_RAY,
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many scans there at a time; by default one a GPU, or one a node.", rich_help_panel=_RAY
        ),
    ] = None,
    ray_scans: Annotated[
        Literal["path", "bytes"] | None,
        typer.Option(
            help="How scans get there: by a path that every node sees, the default, or as bytes.", rich_help_panel=_RAY
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback with tokens and TLS.", rich_help_panel=_WHO)
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option(help="Tokens that `uncertaintyseg token` made.", rich_help_panel=_WHO)
    ] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.", rich_help_panel=_WHO)] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its key, PEM.", rich_help_panel=_WHO)] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front ends TLS.", rich_help_panel=_WHO)
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address by which clients reach the server; repeatable.", rich_help_panel=_WHO),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page that may use it, such as https://ohif.example.org.", rich_help_panel=_WHO),
    ] = None,
    max_upload_mb: Annotated[float, typer.Option(min=1, help="Largest request, in MB.", rich_help_panel=_WHO)] = 1024,
    patience: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds that a slow client may take.", rich_help_panel=_WHO)
    ] = 30,
    new: Annotated[
        bool, typer.Option("--new", help="Begin records anew in a folder that was served before and lost its own.")
    ] = False,
    keep_versions: Annotated[int, typer.Option(min=0, help="Versions of a label to keep; 0 keeps all.")] = 0,
    audit: Annotated[
        Path | None, typer.Option(help="Folder of the audit log; by default in the user's state.", rich_help_panel=_WHO)
    ] = None,
) -> None:
    """Serve the models to 3D Slicer and other MONAI Label clients.

    On this machine alone, without log-in: `uncertaintyseg serve --studies DIR`. To others in three steps:

    1. uncertaintyseg token anna --role annotator --token-file tokens

    2. uncertaintyseg serve --studies DIR --host 0.0.0.0 --allowed-host seg.example.org --token-file tokens
    --ssl-certfile cert.pem --ssl-keyfile key.pem

    3. in 3D Slicer: address https://seg.example.org:8000 and the token.

    docs/deployment.md has roles, the audit log, backup, and units for systemd and Docker.
    """
    options: dict[str, Any] = dict(locals())  # the server's own program has the same options
    command = [sys.executable, "-m", "monailabel_app"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            command += [flag] if value else []
        elif isinstance(value, list):
            command += [part for item in value for part in (flag, str(item))]
        elif value is not None:
            command += [flag, str(value)]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - signals to this command reach the server itself
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own program
