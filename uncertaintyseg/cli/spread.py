"""How a command's cases are spread: in this process, by several, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
import typer

from uncertaintyseg.cli.console import tell
from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.inference.case_loop import CaseLoop, PredictorSpec
    from uncertaintyseg.inference.fallback import Fallback
    from uncertaintyseg.inference.journal import Journal
    from uncertaintyseg.workers import Crew

CASES_FAILED, WORKERS_DIED = 1, 3
"""Exit statuses: some cases could not be used; some killed their workers. 2 is a user's mistake."""
_WHAT = "Many cases, several processes or machines"
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="cpu, cuda, cuda:N, or auto: a GPU where there is one. Several with commas, such as cuda:0,cuda:1, "
        "are taken by --workers in turn.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes, each with a model of its own; they share the cores, and one that dies is replaced. By default "
        "this process alone; of Ray one a GPU, or one a node.",
        rich_help_panel=_WHAT,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Workers of a Ray cluster: HOST:PORT of its head, or local for one of this machine's own. Who can reach "
        "a cluster can run code on it: docs/scaling.md.",
        rich_help_panel=_WHAT,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Threads of each worker; by default its share of the cores. Sums differ in their last digits with it.",
        rich_help_panel=_WHAT,
    ),
]
Scans = Annotated[
    Literal["path", "bytes"],
    typer.Option(
        "--scans",
        help="How Ray's workers get scans: by a path that every node sees, or as bytes.",
        rich_help_panel=_WHAT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        help="Go on where the same command was stopped, or do only the cases that failed.", rich_help_panel=_WHAT
    ),
]


class Spread:
    """Makes the loops over cases of one command.

    Args:
        workers: of `Workers`; so are the next ones.
        threads: of each.
        ray: address; None: no Ray.
        scans: how they travel.
        resume: whether to go on from what an earlier run has done.
    """

    def __init__(
        self, workers: int | None, threads: int | None, ray: str | None, scans: Literal["path", "bytes"], resume: bool
    ) -> None:
        self.workers, self.threads, self.ray, self.scans, self.resume = workers, threads, ray, scans, resume
        self._journals: list[Journal] = []

    @property
    def here(self) -> bool:
        """Whether this process does all."""
        return self.workers is None and self.ray is None

    def spec(self, bundle: Bundle, device: str, method: str | None = None, **given: Any) -> PredictorSpec:
        """How workers load a predictor.

        Args:
            bundle: the model.
            device: of `Device`; several with commas between, which workers take in turn.
            method: as of `predictor_for`.
            given: further fields of `PredictorSpec`.

        Raises:
            InputError: there is no such device here; with Ray also for a device of one machine.
        """
        from uncertaintyseg.inference.case_loop import PredictorSpec
        from uncertaintyseg.inference.device import checked_device
        from uncertaintyseg.inference.methods import model_with
        from uncertaintyseg.inference.model_hash import run_hash

        devices = [name.strip() for name in device.split(",") if name.strip()]
        if not devices:
            raise InputError("--device names no device; give cpu, cuda or several such as cuda:0,cuda:1.")
        if self.ray is None:
            if len(devices) > 1 and (self.workers or 0) < len(devices):
                raise InputError(f"--device {device}: {len(devices)} devices need --workers {len(devices)} or more.")
            devices = [checked_device(name) for name in devices]
        elif len(devices) > 1 or ":" in devices[0]:
            raise InputError(f"--device {device}: Ray gives each worker a GPU of its own; say --device cuda, or cpu.")
        else:
            devices = [self._device_of_ray(devices[0])]
        folders = tuple(given.pop("folders", ()))
        model, _ = model_with(bundle, method, *folders)
        checksum = run_hash(model, method, given.get("options") or {}, *folders)
        return PredictorSpec(
            bundle.folder.resolve(), checksum, method, tuple(Path(folder).resolve() for folder in folders),
            devices=tuple(devices), **given,
        )  # fmt: skip

    def predictor(self, spec: PredictorSpec) -> Fallback:
        """The predictor of this process; where workers do the work it only knows the model, on the CPU.

        Raises:
            UncertaintySegError: the model cannot be loaded.
        """
        from dataclasses import replace

        return spec.load() if self.here else replace(spec, devices=("cpu",)).load()

    def loop(
        self,
        spec: PredictorSpec,
        predictor: Fallback,
        about: Any,
        is_there: Callable[[Any, Any], bool] = lambda case, answer: True,
    ) -> CaseLoop:
        """The loop over cases with one predictor.

        Args:
            spec: of it.
            predictor: it, in this process.
            about: the command, what it works on, and what else its answers depend on: plain JSON. What one command is
                through with is dropped, and nothing of another.
            is_there: as of `GoingOn`.
        """
        from dataclasses import fields

        from uncertaintyseg.inference.case_loop import ByWorkers, GoingOn, Here
        from uncertaintyseg.inference.journal import Journal

        channels = len(predictor.bundle.channels)
        loop = Here(predictor)
        if not self.here:
            loop = ByWorkers(
                spec, lambda: self._crew(spec.devices[0] != "cpu", channels), elsewhere=self.ray is not None
            )
        plain = {part.name: getattr(spec, part.name) for part in fields(spec)} | {
            "folder": predictor.bundle.name,
            "folders": None,
            "devices": spec.devices[0],
        }
        folder = platformdirs.user_cache_path("uncertaintyseg") / "unfinished"
        journal = Journal(folder, [plain, about, self.threads], channels)
        if not self.resume:
            journal.close()
        self._journals.append(journal)
        return GoingOn(loop, journal, is_there)

    def crew(self, device: str) -> Callable[[], Crew] | None:
        """Makes workers that need no predictor; None where this process does all."""
        return None if self.here else lambda: self._crew(device != "cpu", None)

    def close(self, failed: bool) -> None:
        """All cases are through: forget what was done, unless some failed, which the next run does again."""
        for journal in self._journals:
            journal.tell(tell)
            if not failed:
                journal.close()

    def _device_of_ray(self, device: str) -> str:
        from uncertaintyseg.workers.ray_cluster import gpus_there

        if device == "auto":
            return "cuda" if gpus_there() else "cpu"
        if device == "cuda" and not gpus_there():
            raise InputError("--device cuda: the Ray cluster has no GPU; say --device cpu.")
        return device

    def _crew(self, on_gpu: bool, channels: int | None) -> Crew:
        from uncertaintyseg.workers.local import LocalCrew, share_of_cores

        if self.ray is None:
            workers = self.workers or 1
            return LocalCrew(workers, self.threads or share_of_cores(workers))
        from uncertaintyseg.inference.shipping import shipped
        from uncertaintyseg.workers.ray_cluster import room
        from uncertaintyseg.workers.ray_crew import RayCrew

        workers, threads = room(on_gpu, self.workers, self.threads)
        pack = (lambda item: shipped(item, channels)) if self.scans == "bytes" else None
        return RayCrew(workers, threads, int(on_gpu), pack)


@contextmanager
def spread(
    workers: int | None, threads: int | None, ray: str | None, scans: Literal["path", "bytes"], resume: bool
) -> Iterator[Spread]:
    """The way of a command, connected to Ray where that is asked for.

    Raises:
        InputError: as `ray_cluster.connected`; threads or a way of scans for nobody.
    """
    if ray is None and scans == "bytes":
        raise InputError("--scans bytes is for workers of Ray; those of this machine read the files themselves.")
    if ray is None and workers is None and threads is not None:
        raise InputError("--threads is of workers: say how many, with --workers.")
    way = Spread(workers, threads, ray, scans, resume)
    if ray is None:
        yield way
        return
    from uncertaintyseg.workers.ray_cluster import connected

    with connected(ray, (workers or 1) * (threads or 1)):
        yield way
