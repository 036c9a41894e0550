"""`uncertaintyseg simulate`: active learning on labels that are known already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from uncertaintyseg.cli.console import AsJson, Device, MoreModels, console, print_json, progress_bar, tell, without_nan
from uncertaintyseg.cli.spread import Ray, Threads, Workers, spread
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case
    from uncertaintyseg.training.recipe import Recipe

_DEFAULT = "foreground_random,random,predictive_entropy,diversity,class_stratified"


def simulate(
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    model: Annotated[
        str, typer.Option(help="Whose network is trained, from random weights.")
    ] = "hippocampus_deterministic",
    strategies: Annotated[
        str, typer.Option(help="Names with commas between them, or all that the model gives scores for.")
    ] = _DEFAULT,
    seeds: Annotated[int, typer.Option(min=1, help="Start sets, each the same for all strategies.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="How often labels are asked for.")] = 5,
    start: Annotated[int, typer.Option(min=1, help="Labels to start from.")] = 5,
    step: Annotated[int, typer.Option(min=1, help="Labels a round.")] = 5,
    iterations: Annotated[
        int, typer.Option(min=1, help="Training steps a round; three times as many for the start set.")
    ] = 100,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split whose part train is the pool and whose part validation is held out; else that beside "
            "DATA, drawn by subject if absent."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for models, results.json and curves.png.")] = Path("simulation"),
    resume: Annotated[bool, typer.Option(help="Go on from what is there.")] = True,
    workers: Workers = None,
    threads: Threads = None,
    ray: Ray = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown on stdout.")] = False,
    device: Device = "auto",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Find out which active learning strategy would have paid, on cases whose labels are known.

    From the same random start set each strategy chooses, learns the labels of what it chose, and is measured on cases
    that it never sees. More strategies, seeds or rounds may be added to a finished simulation; a killed one goes on.

    Of Ray's workers every one has to see DATA, the model and --output under the same path.

    Example: uncertaintyseg simulate DATA --split msd_hippocampus --strategies foreground_random,predictive_entropy
    --workers 2
    """
    bundle = find_bundle(model, *(models or []))
    with spread(workers, threads, ray, "path", resume) as way, progress_bar() as progress:
        progress("loading", 0.0)
        from uncertaintyseg.active.strategies import STRATEGIES, check_suits, find_strategy
        from uncertaintyseg.data.layouts import read_cases
        from uncertaintyseg.data.layouts.channel_count import check_channel_count
        from uncertaintyseg.inference.device import checked_device
        from uncertaintyseg.simulation import loop, report
        from uncertaintyseg.simulation.settings import Settings, configs_of, parts_for_simulation
        from uncertaintyseg.training.left_out import without_left_out
        from uncertaintyseg.training.recipe import Recipe

        fitting = [name for name, strategy in STRATEGIES.items() if strategy.suits(bundle.maps)]
        names = fitting if strategies == "all" else [name.strip() for name in strategies.split(",")]
        for name in names:
            find_strategy(name)
            check_suits(name, bundle.name, bundle.maps)
        told: list[str] = []
        check_channel_count(data, bundle.channels)
        cases, left_out = without_left_out(bundle, read_cases(data))
        told += [f"Left out, as by the plan: {', '.join(left_out)}."] if left_out else []
        pool, test = parts_for_simulation(cases, split or _kept(data, cases, told))
        if start >= len(pool):
            raise InputError(f"--start {start} leaves nothing to choose: the pool has {len(pool)} cases.")
        rounds = min(rounds, -(-(len(pool) - start) // step))
        settings = Settings(
            model=model, configs=configs_of(bundle), data=data.resolve().name, pool=pool, test=test, start=start,
            step=step, iterations=iterations, device=checked_device(device),
        )  # fmt: skip
        loop.simulate(
            settings, data, bundle, output, strategies=names, seeds=range(seeds), rounds=rounds,
            crew=way.crew(settings.device), learning_rate=_learning_rate(Recipe, bundle, models or []), resume=resume,
            progress=progress,
        )  # fmt: skip
        result = report.report(settings, output, names, range(seeds), rounds)
    tell(*told)
    _keep(result, output)
    if as_markdown:
        typer.echo(report.markdown(result))
    elif as_json:
        print_json(result)
    else:
        _show(result)
        console.print(f"Curves and figures are in {output.resolve()}.")


def _kept(data: Path, cases: Sequence[Case], told: list[str]) -> Mapping[str, Sequence[str]] | None:
    """The split beside the data; none where there are too few cases to draw one, which `parts_for_simulation` tells."""
    from uncertaintyseg.data.splitting import keep_split

    return keep_split(data, cases, tell=told.append) if sum(case.label is not None for case in cases) > 1 else None


def _learning_rate(recipe: type[Recipe], bundle: Bundle, folders: list[Path]) -> float:
    """That of training from nothing: a head's recipe has the one of its last stage."""
    found = recipe.load(bundle)
    if found.initial:
        return _learning_rate(recipe, find_bundle(found.initial, *folders), folders)
    return found.learning_rate


def _keep(result: dict[str, Any], output: Path) -> None:
    from uncertaintyseg.cli.simulation_picture import simulation_picture
    from uncertaintyseg.data.writing import write_bytes

    write_bytes(output / "results.json", json.dumps(without_nan(result), indent=1).encode())
    simulation_picture(result, output / "curves.png")


def _show(result: dict[str, Any]) -> None:
    labels = result["labels"]
    table = Table("strategy", f"Dice, {labels[-1]} labels", "area of the curve", f"minus {result['baseline']}")
    for name, row in result["strategies"].items():
        last, area, paired = row["dice"][-1], row["area"], row["difference"]
        interval = "" if paired is None else "{mean:+.4f} ({lo:+.4f} to {hi:+.4f})".format(**paired)
        table.add_row(name, f"{last['mean']:.4f}", f"{area['mean']:.4f}", interval)
    console.print(table)
