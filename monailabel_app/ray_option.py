"""The Ray cluster that a server hands background work to: read and looked at before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from monailabel_app.access import number_in
from monailabel_app.jobs.ray_device import RayDevice, RayWorker
from monailabel_app.jobs.ray_work import Cluster, room_for
from monailabel_app.jobs.work import kind_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.workers.ray_cluster import HERE, check_address, check_installed

RAY_OPTIONS = ("ray", "ray_workers", "ray_scans")
_KINDS = ("cpu", "cuda")
_SCANS = ("path", "bytes")


def asked_ray(conf: Mapping[str, str | None], device: str) -> list[RayDevice]:
    """The cluster that `ray`, `ray_workers` and `ray_scans` of the options name, as a device; none where none is.

    Args:
        conf: the options.
        device: one of the server's own, whose kind actors have as well: results are the same.

    Raises:
        InputError: It cannot be reached, or the options make no sense.
        UncertaintySegError: It has no room.
    """
    cluster, workers = _asked(conf, device)
    if cluster is None:
        return []
    count, threads = room_for(cluster.address, cluster.gpus, workers)
    cluster = Cluster(cluster.address, cluster.scans, cluster.gpus, threads)
    return [RayDevice(kind_of(device), [RayWorker(cluster) for _ in range(count)])]


def _asked(conf: Mapping[str, str | None], device: str) -> tuple[Cluster | None, int | None]:
    address, kind, scans = conf.get("ray"), kind_of(device), conf.get("ray_scans") or "path"
    if not address:
        for name in RAY_OPTIONS:
            if conf.get(name):
                raise InputError(f"--{name.replace('_', '-')} is of --ray: say the cluster's address")
        return None, None
    if scans not in _SCANS:
        raise InputError(f"--ray-scans {scans}: give path, where every node sees the scans, or bytes")
    if address == HERE:
        raise InputError(f"--ray {HERE}: for this machine alone say --devices, such as cpu,cpu; else give HOST:PORT")
    if kind not in _KINDS:
        raise InputError(f"--ray: a server on {kind} cannot share its work, for no actor of Ray has such a device")
    workers = int(number_in(conf, "ray_workers", 0, low=0, high=10_000)) or None
    check_installed()
    check_address(address)
    return Cluster(address, scans, int(kind == "cuda")), workers
