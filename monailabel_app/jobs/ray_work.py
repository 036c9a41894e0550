"""Work for actors of a Ray cluster, as a process beside the server hands it on.

The server itself imports no Ray. A Ray client ends its process where the cluster's head is gone, and unpickles what
comes from the cluster; both are the affair of a process of its own, which is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from monailabel_app.errors import DeviceFailedError, ModelAwayError
from monailabel_app.jobs.predict import Predict
from monailabel_app.jobs.results import Report as Result
from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.work import Report, Work
from uncertaintyseg.errors import InputError, UncertaintySegError


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each of its actors has.

    Attributes:
        address: HOST:PORT of its head.
        scans: how scans get there: by a path that every node sees, or as bytes.
        gpus: of an actor, 0 or 1.
        threads: of an actor.
    """

    address: str
    scans: Literal["path", "bytes"] = "path"
    gpus: int = 0
    threads: int = 1


@dataclass(frozen=True)
class LookForRoom(Work):
    """How many actors a cluster has room for, and how many threads each: `ray_cluster.room`."""

    address: str
    gpus: int
    workers: int | None = None
    key = None

    def run(self, report: Report) -> tuple[int, int]:
        """Connect and look. Raises `UncertaintySegError` where that cannot be done."""
        from uncertaintyseg.workers.ray_cluster import connected, room  # noqa: PLC0415 - belongs to the worker

        report("connecting", 0.0)
        with connected(self.address):
            return room(bool(self.gpus), self.workers)


@dataclass(frozen=True)
class ByRay(Work):
    """A prediction that an actor makes, and whose files end in the server's store."""

    work: Predict
    cluster: Cluster

    @property
    def key(self) -> str:
        """Of the result."""
        return self.work.key

    def run(self, report: Report) -> str:
        """Send it, wait, and store what comes.

        Raises:
            DeviceFailedError: The cluster is away, has no room, or does not see the scan.
            ModelAwayError: An actor does not have the model, or another one.
            UncertaintySegError: What is wrong with the scan.
            MemoryError: Actors died under it.
        """
        from monailabel_app.jobs.ray_hand import hand_to  # noqa: PLC0415 - Ray belongs to the worker
        from monailabel_app.jobs.ray_task import Order, Scan, models_of  # noqa: PLC0415

        report("handed to Ray", 0.0)
        scan = Scan(self.work.case or "the scan", Path(self.work.image))
        order = Order(self.work, models_of(self.work), scan)
        delivery = hand_to(self.cluster).deliver(order)
        if delivery.kind == "made":
            return self._stored(delivery.text, delivery.files)
        if delivery.kind == "model":
            raise ModelAwayError(delivery.text)
        if delivery.kind == "memory":
            raise MemoryError(delivery.text)
        if delivery.kind == "unseen" and not scan.image.exists():
            raise InputError(f"{scan.image} is gone")
        raise DeviceFailedError(delivery.text)

    def _stored(self, key: str, files: dict[str, bytes]) -> str:
        """Keep a result under its own key, or that of the stand-in that it says it is; no other."""

        def is_right(report: Result) -> bool:
            made_by = report.risk.provenance
            stand_in = self.work.stand_in_key(made_by.device, " x ".join(map(str, made_by.window)))
            return key == (stand_in if made_by.fallback else self.work.key)

        ResultStore(Path(self.work.results)).put_files(key, files, is_right)
        return key


def room_for(address: str, gpus: int, workers: int | None) -> tuple[int, int]:
    """Actors, and threads of each, that a cluster has room for; looked up by a process that ends with that.

    Raises:
        UncertaintySegError: It cannot be reached, or has none.
    """
    from monailabel_app.jobs.worker import Worker  # noqa: PLC0415 - imports this module's neighbours

    worker = Worker()
    try:
        return worker.submit(LookForRoom(address, gpus, workers)).result()
    except UncertaintySegError:
        raise
    except Exception as error:
        raise InputError(f"--ray {address}: cannot connect ({type(error).__name__}: {error})") from error
    finally:
        worker.close()
