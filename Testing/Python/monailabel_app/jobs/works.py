"""Work for queues that are under test: it ends when the test says so, and leaves notes of what became of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel_app.jobs import Work
from monailabel_app.jobs.work import Report


@dataclass(frozen=True)
class Hold(Work):
    """Begins, goes on until the test lets it, and ends with where it was done.

    Attributes:
        name: of its notes in `folder`: NAME.begun (a line each time: device and process), NAME.ticks (grows as it goes
            on) and NAME.go, which the test makes.
        fails: what happens to it by device: "error" of the GPU, "exit" before it reports, "killed" afterwards, "wrong"
            input.
    """

    name: str
    folder: str
    key: str | None = None
    device: str = "cpu"
    fails: tuple[tuple[str, str], ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """As if it read one."""
        return (f"{self.name}.nii.gz",)

    def run(self, report: Report) -> Any:
        """Go on until it may end; returns the key, else device and process."""
        place, fate = Path(self.folder) / self.name, dict(self.fails).get(self.device)
        with place.with_suffix(".begun").open("a") as file:
            file.write(f"{self.device} {os.getpid()}\n")
        if fate == "error":
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")
        if fate == "memory":
            raise RuntimeError("CUDA error: out of memory")
        if fate == "exit":
            os._exit(1)
        report("holding", 0.25)
        if fate == "killed":
            os._exit(1)
        while not place.with_suffix(".go").exists():
            with place.with_suffix(".ticks").open("a") as file:
                file.write(".")
            time.sleep(0.01)
            report("holding", 0.5)
        if self.key is None:
            return self.device, os.getpid()
        (Path(self.folder) / self.key).touch()
        return self.key


@dataclass(frozen=True)
class Threads(Work):
    """Ends with the threads that torch computes with."""

    key: str | None = None

    def run(self, report: Report) -> int:
        """Ask torch."""
        import torch

        report("asking", 0.5)
        return torch.get_num_threads()
