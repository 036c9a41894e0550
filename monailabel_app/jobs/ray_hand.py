"""In the process beside the server: its connection to a Ray cluster and the one actor that it keeps there."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Hashable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel_app.errors import DeviceFailedError, NoRoomError
from monailabel_app.jobs.ray_task import Delivery, Order, PredictTask
from monailabel_app.jobs.ray_work import Cluster
from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.training.versions import bundle_with
from uncertaintyseg.workers.crew import Answer, Heard
from uncertaintyseg.workers.ray_cluster import check_address, connected

IDLE_SECONDS = 60.0
"""An actor that has nothing to do for so long gives its cores back to the cluster."""
_DEATHS = 2
"""Work that so many actors died of is not given to another."""


@functools.cache
def hand_to(cluster: Cluster) -> Hand:
    """The one of this process, connected when first asked for. Raises `DeviceFailedError` where that fails."""
    return Hand(cluster)


class Hand:
    """Hands predictions to an actor, which is replaced when it dies.

    Args:
        cluster: Where.

    Raises:
        DeviceFailedError: It is not there.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._actor: Hashable | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._connection = ExitStack()  # never left: the process ends with the server
        try:
            self._connection.enter_context(connected(cluster.address))
        except UncertaintySegError as error:
            raise DeviceFailedError(str(error)) from error
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's own writes a trace of the stack whenever a server stops
        from uncertaintyseg.workers.ray_crew import RayCrew  # noqa: PLC0415 - reads its environment when imported

        pack = self._packed if cluster.scans == "bytes" else None
        self._crew = RayCrew(1, cluster.threads, cluster.gpus, pack)

    def deliver(self, order: Order) -> Delivery:
        """Have it done; by a second actor where the first one dies under it.

        Raises:
            DeviceFailedError: The cluster is away, has no room or a full disk, or no actor gets ready.
            UncertaintySegError: What is wrong with the scan.
            MemoryError: It died as well.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            try:
                return self._delivered(order)
            finally:
                self._timer = threading.Timer(IDLE_SECONDS, self._let_go)
                self._timer.daemon = True
                self._timer.start()

    def _delivered(self, order: Order) -> Delivery:
        deaths, how = 0, ""
        while deaths < _DEATHS:
            waited = self._actor is not None  # it may have died meanwhile of something else
            self._get_ready()
            self._crew.give(self._actor, order)
            heard = self._hear()
            if heard.kind == "answer" and not _is_broken(heard.value):
                return _told(heard.value)
            if heard.kind == "answer":
                self._crew.end(self._actor)
            how = heard.value if heard.kind == "died" else heard.value.value.text
            self._actor = None
            deaths += not waited
        raise MemoryError(f"{_DEATHS} actors of the Ray cluster died under it ({how})")

    def _get_ready(self) -> None:
        """See that there is an actor. Raises `DeviceFailedError` where there is none to be had."""
        stillborn = 0
        while self._actor is None:
            self._actor = self._crew.start(0, PredictTask())
            heard = self._hear()
            if heard.kind == "answer":
                self._let_go_of_actor()
                raise DeviceFailedError(heard.value.value)
            if heard.kind == "died":
                self._actor, stillborn = None, stillborn + 1
                if stillborn == _DEATHS:
                    raise DeviceFailedError(f"actors of the Ray cluster die before they are ready ({heard.value})")

    def _hear(self) -> Heard:
        """Wait for the actor, and see to it that the cluster is still there."""
        from uncertaintyseg.workers.ray_crew import NoRoomError as NoRoomOnRay  # noqa: PLC0415 - as above

        try:
            while not (news := self._crew.hear()):
                check_address(self.cluster.address)
        except NoRoomOnRay as error:
            self._let_go_of_actor()
            raise NoRoomError(str(error)) from error
        except UncertaintySegError as error:
            raise DeviceFailedError(str(error)) from error
        except Exception as error:  # of Ray's own, or of the connection
            raise DeviceFailedError(f"the Ray cluster fails ({type(error).__name__}: {error})") from error
        return news[0]

    def _let_go(self) -> None:
        with self._lock:
            if self._actor is not None:
                self._let_go_of_actor()

    def _let_go_of_actor(self) -> None:
        self._crew.end(self._actor)
        self._actor = None

    @staticmethod
    def _packed(order: Order) -> Order:
        """With the bytes of the scan."""
        from uncertaintyseg.inference.shipping import shipped  # noqa: PLC0415 - torch, which paths do without

        model = bundle_with(Path(order.work.bundle), order.work.checksum)
        return replace(order, scan=shipped(order.scan, len(model.channels)))


def _is_broken(answer: Answer) -> bool:
    """Whether an actor can do nothing more, because its GPU does not."""
    return isinstance(answer.value, Delivery) and answer.value.kind == "device"


def _told(answer: Answer) -> Any:
    if answer.kind == "full":
        raise DeviceFailedError(answer.value)
    if answer.kind == "unusable":
        raise InputError(answer.value)
    if answer.kind == "wrong":
        raise UncertaintySegError(answer.value)
    return answer.value
