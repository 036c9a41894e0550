"""What workers gain and cost: one and two of one thread each, as processes and over Ray, beside this process alone.

`--calculate N` prints how long N cases take on some devices, from the seconds a case that a table here says.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import torch
from common import console, machine, show
from scale_side import nothing

from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.case_figures import score_case
from uncertaintyseg.inference.case_loop import ByWorkers, CaseLoop, Here, PredictorSpec, Work
from uncertaintyseg.inference.model_hash import model_hash
from uncertaintyseg.inference.shipping import shipped
from uncertaintyseg.workers import LocalCrew
from uncertaintyseg.workers.ray_cluster import HERE, connected

ALONE = "this process"
DEVICES = (1, 2, 4, 8)


def timed(loop: CaseLoop, cases: list[Case], workers: int, work: Work = score_case) -> tuple[float, float, float]:
    """Seconds until every worker has done a case, seconds a case after that, and MB that this process grew then."""
    began, ends, sizes = time.perf_counter(), [], []
    for outcome in loop.each(work, cases, lambda *_: None):
        if outcome.error:
            raise SystemExit(outcome.error)
        ends.append(time.perf_counter() - began)
        sizes.append(psutil.Process().memory_info().rss)
    first = workers - 1
    return ends[first], (ends[-1] - ends[first]) / (len(cases) - workers), (sizes[-1] - sizes[first]) / 1e6


@contextmanager
def ways(spec: PredictorSpec) -> Iterator[dict[str, tuple[CaseLoop, int]]]:
    """The loops, each with its number of workers."""

    def over_ray(size: int, pack: Callable | None = None) -> CaseLoop:
        from uncertaintyseg.workers.ray_crew import RayCrew

        return ByWorkers(spec, lambda: RayCrew(size, 1, 0, pack), elsewhere=True)

    with connected(HERE):
        yield {
            ALONE: (Here(spec.load()), 1),
            "1 process": (ByWorkers(spec, lambda: LocalCrew(1, 1)), 1),
            "2 processes": (ByWorkers(spec, lambda: LocalCrew(2, 1)), 2),
            "Ray, 1 worker": (over_ray(1), 1),
            "Ray, 2 workers": (over_ray(2), 2),
            "Ray, 2 workers, scans as bytes": (over_ray(2, partial(shipped, channels=1)), 2),
        }


def measure(cases: int, repeats: int, model: str, data: Path | None) -> None:
    """Print the table: every way in turns."""
    torch.set_num_threads(1)
    bundle = find_bundle(model)
    spec = PredictorSpec(bundle.folder, model_hash(bundle))
    with tempfile.TemporaryDirectory() as name:
        if data is None:
            write_phantoms(Path(name), count=cases, seed=1)
        known = [case for case in read_cases(data or name) if case.label is not None][:cases]
        found: dict[str, list[tuple[float, float, float]]] = {}
        with ways(spec) as loops:
            many = [replace(case, id=f"{case.id}_{n}") for n in range(10) for case in known]
            cost = {way: timed(loop, many, workers, nothing)[1] for way, (loop, workers) in loops.items()}
            for _ in range(repeats):
                for way, (loop, workers) in loops.items():
                    found.setdefault(way, []).append(timed(loop, known, workers))
    median = {way: [statistics.median(column) for column in zip(*rows, strict=True)] for way, rows in found.items()}
    rows = []
    for way, (start, seconds, grown) in median.items():
        one = {"2 processes": "1 process", "Ray, 2 workers": "Ray, 1 worker"}.get(way.partition(", scans")[0])
        efficiency = f"{median[one][1] / (2 * seconds):.2f}" if one else "-"
        rows.append([way, f"{start:.1f}", f"{seconds:.3f}", f"{1000 * cost[way]:.1f}", efficiency, f"{grown:.0f}"])
    console.print(f"{len(known)} cases, {model}, evaluate; one thread a worker; {machine()}")
    columns = ["way", "s to the first", "s a case", "ms a case without work", "efficiency", "MB grown"]
    show("Workers", columns, rows)


def calculate(cases: int, seconds: float, efficiency: float) -> None:
    """Print how long so many cases take."""
    rows = [[str(n), _span(cases * seconds / (n * (efficiency if n > 1 else 1)))] for n in DEVICES]
    show(f"{cases} cases of {seconds:g} s each, efficiency {efficiency:g}", ["devices", "takes"], rows)


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="phantom_low_rank")
    parser.add_argument("--data", type=Path, help="labelled cases; by default phantoms")
    parser.add_argument("--calculate", type=int, metavar="N", help="only: how long N cases take")
    parser.add_argument("--seconds", type=float, default=1.0, help="a case on one device, of --calculate")
    parser.add_argument("--efficiency", type=float, default=0.9, help="of several devices, of --calculate")
    given = parser.parse_args()
    if given.calculate:
        calculate(given.calculate, given.seconds, given.efficiency)
    else:
        measure(given.cases, given.repeats, given.model, given.data)


if __name__ == "__main__":
    main()
