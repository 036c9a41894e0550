"""`uncertaintyseg token`: make an access token for a person."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from uncertaintyseg.cli.console import console
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Role, add_token


def token(
    name: Annotated[str, typer.Argument(help="Who the token is for; the audit log shows this name.")],
    token_file: Annotated[Path, typer.Option(help="File of the server's tokens; made when missing.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(Role.__members__)}.")] = "annotator",
) -> None:
    """Make an access token, print it once, and add its hash to the server's token file.

    A running server takes it from the next request on. To withdraw it, delete its line.
    """
    if role not in Role.__members__:
        raise InputError(f"--role {role}: there are {', '.join(Role.__members__)}")
    secret = add_token(token_file, name, Role[role])
    console.print(f"{name} ({role}): this is the only time the token is shown.")
    sys.stdout.write(f"{secret}\n")
