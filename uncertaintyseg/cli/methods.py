"""`uncertaintyseg methods`: every way to say where a segmentation is unsure."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Column, Table

from uncertaintyseg.cli.console import AsJson, console, print_json


def methods(as_json: AsJson = False) -> None:
    """List the methods: heads, which a model is trained with, and passes, which run on any model as it is.

    Example: uncertaintyseg evaluate hippocampus_deterministic DATA --method tta
    """
    from uncertaintyseg.inference.methods import methods as known

    found = known().values()
    if as_json:
        print_json([asdict(method) for method in found])
        return
    table = Table(Column("method", no_wrap=True), "kind", Column("passes", justify="right"), "what it does", "source")
    for method in found:
        table.add_row(method.name, method.kind, str(method.passes), method.summary, method.paper)
    console.print(table)
    console.print("Options of a method: --option name=value, with these names: uncertaintyseg methods --json.")
