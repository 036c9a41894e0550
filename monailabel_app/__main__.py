"""`python -m monailabel_app`: check the arguments, then start the stock MONAI Label server with our ASGI app."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from monailabel_app import preflight
from monailabel_app.access import Access, check_access, check_audit
from monailabel_app.app_folder import writable_app_folder
from monailabel_app.devices import asked_devices
from monailabel_app.privacy import keep_private
from monailabel_app.ray_option import RAY_OPTIONS, asked_ray
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.inference.bundle import find_bundles
from uncertaintyseg.startup import import_monai_lightly

UVICORN_APP = "monailabel_app.asgi:app"


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `uncertaintyseg serve` passes the same options."""
    parser = argparse.ArgumentParser(prog="python -m monailabel_app", description=__doc__)
    parser.add_argument("--studies", required=True, help="folder with the scans, or address of a DICOMweb server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; beyond loopback with tokens and TLS")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--models", type=Path, action="append", default=[], help="folder with more bundles; repeatable")
    parser.add_argument("--cache", type=Path, help="folder for results, by default in the user's cache")
    parser.add_argument("--cache-gb", type=float, default=10.0, help="oldest results go beyond this size")
    parser.add_argument("--device", help="cpu, cuda, cuda:N, or auto, the default: a GPU where there is one")
    parser.add_argument("--devices", help="several, a job on each: cuda:0,cuda:1, or cpu,cpu which share the cores")
    parser.add_argument("--ray", help="HOST:PORT of a Ray cluster that does what nobody waits for")
    parser.add_argument("--ray-workers", help="how many of it, by default as many as there is room for")
    parser.add_argument("--ray-scans", choices=("path", "bytes"), help="how scans get there, by default by path")
    parser.add_argument("--token-file", type=Path, help="tokens that `uncertaintyseg token` made")
    parser.add_argument("--ssl-certfile", type=Path, help="TLS certificate, PEM")
    parser.add_argument("--ssl-keyfile", type=Path, help="its key, PEM")
    parser.add_argument("--behind-proxy", action="store_true", help="a proxy in front ends TLS")
    parser.add_argument("--allowed-host", action="append", default=[], help="name by which clients reach the server")
    parser.add_argument("--allow-origin", action="append", default=[], help="web page that may use it")
    parser.add_argument("--max-upload-mb", type=float, default=Access.max_upload_mb, help="largest request")
    parser.add_argument("--patience", type=float, default=Access.patience, help="seconds that a slow client may take")
    parser.add_argument("--new", action="store_true", help="begin records anew in a folder that has lost its own")
    parser.add_argument("--keep-versions", type=int, default=0, help="versions of a label to keep; 0 keeps all")
    parser.add_argument("--audit", type=Path, help="folder of the audit log, by default in the user's state")
    return parser.parse_args()


def read_access(arguments: argparse.Namespace) -> Access:
    """Return who may reach the server; an address to listen on is one by which it is reached."""
    return Access(
        token_file=arguments.token_file,
        allowed_hosts=tuple(dict.fromkeys([*arguments.allowed_host, *preflight.own_names(arguments.host)])),
        allow_origins=tuple(arguments.allow_origin),
        behind_proxy=arguments.behind_proxy,
        max_upload_mb=arguments.max_upload_mb,
        patience=arguments.patience,
        **({"audit": arguments.audit} if arguments.audit else {}),
    )


def check(arguments: argparse.Namespace, access: Access) -> None:
    """Raise `UncertaintySegError` for the first thing that would keep the server from starting."""
    Access.from_conf(access.to_conf())  # numbers in their ranges
    check_access(arguments.host, access, arguments.ssl_certfile, arguments.ssl_keyfile)
    check_audit(access.audit)
    preflight.check_port(arguments.host, arguments.port)
    preflight.check_studies(arguments.studies, new=arguments.new)
    find_bundles(*arguments.models)
    given = vars(arguments)
    asked_ray({name: given[name] for name in RAY_OPTIONS}, asked_devices(given)[0])


def start(arguments: argparse.Namespace, access: Access) -> None:
    """Run MONAI Label's own `start_server` in this process until it is stopped."""
    import_monai_lightly()
    from monailabel.main import Main  # noqa: PLC0415 - takes seconds; a wrong argument is answered at once

    conf = {
        "models": os.pathsep.join(str(folder.resolve()) for folder in arguments.models),
        "cache": str(arguments.cache.resolve()) if arguments.cache else "",
        "cache_gb": str(arguments.cache_gb),
        "device": arguments.device,
        "devices": arguments.devices,
        **{name: getattr(arguments, name) for name in RAY_OPTIONS},
        "new": "true" if arguments.new else "",
        "keep_versions": str(arguments.keep_versions) if arguments.keep_versions else "",
        **access.to_conf(),
    }
    main = Main(actions="start_server")
    command = ["start_server", "--app", str(writable_app_folder(arguments.port))]
    command += ["--studies", str(arguments.studies), "--uvicorn_app", UVICORN_APP]
    command += ["--host", arguments.host, "--port", str(arguments.port)]
    if arguments.ssl_certfile:
        command += ["--ssl_certfile", str(arguments.ssl_certfile), "--ssl_keyfile", str(arguments.ssl_keyfile)]
    for name, value in conf.items():
        if value:
            command += ["--conf", name, value]
    main.action_start_server(main.args_parser().parse_args(command))


def main() -> None:
    """Exit with 2 and one message when the user can mend it."""
    arguments = parse_arguments()
    try:
        access = read_access(arguments)
        check(arguments, access)
    except UncertaintySegError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command's one message
        raise SystemExit(2) from None
    keep_private()
    start(arguments, access)


if __name__ == "__main__":
    main()
