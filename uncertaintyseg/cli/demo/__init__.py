"""`uncertaintyseg demo`: the whole road once, on this machine, with pictures and one report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from uncertaintyseg.cli.console import console, progress_bar
from uncertaintyseg.errors import InputError, UncertaintySegError

HEADS = ("low_rank", "mixture_of_bases")


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Real scans (images/, labels/); by default phantoms are made.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Models to use: phantom, or hippocampus (the default with --data).")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for studies, pictures and report.html.")] = Path("demo"),
    cases: Annotated[int, typer.Option(min=2, max=50, help="How many scans to serve.")] = 5,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running, for 3D Slicer to connect to.")
    ] = False,
) -> None:
    """Show the main job: serve studies, ask for the next case, infer, view the risk, correct, score again.

    Starts a real server process on loopback, loads label and maps into a real MRML scene, saves pictures and writes
    one HTML report. Example: uncertaintyseg demo --data DATA
    """
    started = time.perf_counter()
    task = task or ("hippocampus" if data else "phantom")
    models = [f"{task}_{head}" for head in HEADS]
    try:
        import slicer  # noqa: F401 - says early that the viewer is missing

        import UncertaintySegLib  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the demo needs the viewer ({error}): pip install 'uncertaintyseg[server,viewer]'."
        ) from error
    from uncertaintyseg.cli.demo.report import write_report
    from uncertaintyseg.cli.demo.server import running_server
    from uncertaintyseg.cli.demo.studies import prepare
    from uncertaintyseg.cli.demo.tour import Tour

    with progress_bar() as progress:
        progress("preparing studies", 0.02)
        studies = prepare(output, data, cases)
        progress("starting the server", 0.05)
        with running_server(studies.folder, output / "server.log", keep=keep) as server:
            tour = Tour(server.client, studies, output / "pictures", models)
            try:
                story = tour.run(progress)
            except UncertaintySegError:
                raise
            except Exception as error:
                raise InputError(f"the demo stopped: {error} The server's log is {output / 'server.log'}.") from error
        report = write_report(output / "report.html", story, time.perf_counter() - started)
    lines = [
        f"Report: {report.resolve()}",
        "To work with a server in 3D Slicer: uncertaintyseg serve --studies FOLDER, then open the module",
        "Uncertainty Segmentation, enter the server's address and press Connect.",
    ]
    if keep:
        lines.append(f"The demo's server goes on at {server.url}; stop it with: kill {server.pid}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False)
