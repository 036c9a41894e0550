"""`python -m monailabel_app`: check the arguments, then start the stock MONAI Label server with our ASGI app."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import platformdirs

from monailabel_app import preflight
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.inference.bundle import find_bundles

UVICORN_APP = "monailabel_app.asgi:app"


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `uncertaintyseg serve` passes the same options."""
    parser = argparse.ArgumentParser(prog="python -m monailabel_app", description=__doc__)
    parser.add_argument("--studies", type=Path, required=True, help="folder with the scans; labels are saved in it")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--models", type=Path, action="append", default=[], help="folder with more bundles; repeatable")
    parser.add_argument("--cache", type=Path, help="folder for results, by default in the user's cache")
    parser.add_argument("--cache-gb", type=float, default=10.0, help="oldest results go beyond this size")
    parser.add_argument("--device", default="cpu", help="torch device of the worker, such as cpu or cuda")
    return parser.parse_args()


def check(arguments: argparse.Namespace) -> None:
    """Raise `UncertaintySegError` for the first thing that would keep the server from starting."""
    preflight.check_host(arguments.host)
    preflight.check_port(arguments.host, arguments.port)
    preflight.check_studies(arguments.studies)
    find_bundles(*arguments.models)


def writable_app_folder(port: int) -> Path:
    """Make an app folder for `start_server`, which writes logs and empty folders beside `main.py`."""
    folder = platformdirs.user_state_path("uncertaintyseg") / f"server-{port}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("main.py"), folder / "main.py")
    return folder


def start(arguments: argparse.Namespace) -> None:
    """Run MONAI Label's own `start_server` in this process until it is stopped."""
    from monailabel.main import Main  # noqa: PLC0415 - takes seconds; a wrong argument is answered at once

    conf = {
        "models": os.pathsep.join(str(folder.resolve()) for folder in arguments.models),
        "cache": str(arguments.cache.resolve()) if arguments.cache else "",
        "cache_gb": str(arguments.cache_gb),
        "device": arguments.device,
    }
    main = Main(actions="start_server")
    command = ["start_server", "--app", str(writable_app_folder(arguments.port))]
    command += ["--studies", str(arguments.studies), "--uvicorn_app", UVICORN_APP]
    command += ["--host", arguments.host, "--port", str(arguments.port)]
    for name, value in conf.items():
        if value:
            command += ["--conf", name, value]
    main.action_start_server(main.args_parser().parse_args(command))


def main() -> None:
    """Exit with 2 and one message when the user can mend it."""
    arguments = parse_arguments()
    try:
        check(arguments)
    except UncertaintySegError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command's one message
        raise SystemExit(2) from None
    start(arguments)


if __name__ == "__main__":
    main()
