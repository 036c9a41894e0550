"""The way to a Ray cluster: one of our own on this machine, or one that runs somewhere.

Who can reach a Ray cluster can run code on it. Ours listens on loopback alone and asks for a token of its own; another
address has to be one that Ray's token protects.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.workers.local import cores

HERE = "local"
"""In place of an address: a cluster of this machine's own, which ends with the command."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_ANSWERS_IN = 5.0
"""Seconds."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def connected(address: str, cpus: int = 1) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        address: `HERE`, or HOST:PORT of a cluster's head.
        cpus: that one of our own lets workers take at least, whatever the machine has.

    Raises:
        InputError: Ray is not installed; no address; nothing answers there, or another version of Ray or Python; or it
            is not on loopback and no token is set.
    """
    check_installed()
    if address != HERE:
        check_address(address)
    before = dict(os.environ)
    os.environ.update(_QUIET | (_loopback() if address == HERE else {}))
    try:
        with _ray(address, max(cpus, cores())):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ray(address: str, cpus: int) -> Iterator[None]:
    import ray  # noqa: PLC0415 - reads its environment when it is imported

    options = {"num_cpus": cpus, "include_dashboard": False} if address == HERE else {}
    try:
        _join(address, options)
        yield
    finally:
        ray.shutdown()


def _join(address: str, options: dict[str, Any]) -> None:
    import ray  # noqa: PLC0415

    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, **options)
    except RuntimeError as error:
        raise InputError(f"--ray {address}: {_one_line(error)}") from error
    except (ConnectionError, TimeoutError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(
            f"--ray {address}: cannot connect ({_one_line(error)}). Is it the head's address as `ray start` printed "
            "it, with the same token on both sides, and this machine a node of it (`ray start --address HEAD:PORT`)?"
        ) from error


def room(gpus: bool, workers: int | None = None, threads: int | None = None) -> tuple[int, int]:
    """Workers, and threads of each, that suit the cluster that this process is connected to.

    By default one worker a GPU, or one a node, with what the smallest node has of cores for each.

    Args:
        gpus: whether workers are to have a GPU.
        workers: how many, where somebody says so.
        threads: of each, where somebody says so.

    Raises:
        UncertaintySegError: no node has cores.
    """
    import ray  # noqa: PLC0415

    kind = "GPU" if gpus else "CPU"
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind, 0) >= 1]
    if not nodes:
        raise UncertaintySegError(f"the Ray cluster has no node with a free {kind}.")
    workers = workers or (int(sum(node["GPU"] for node in nodes)) if gpus else len(nodes))
    a_node = -(-workers // len(nodes))
    return workers, threads or max(1, int(min(node["CPU"] for node in nodes)) // a_node)


def gpus_there() -> int:
    """How many GPUs the cluster has."""
    import ray  # noqa: PLC0415

    return int(ray.cluster_resources().get("GPU", 0))


def check_installed() -> None:
    """Raise `InputError` where there is no Ray."""
    if importlib.util.find_spec("ray") is None:
        raise InputError("--ray needs Ray: pip install 'uncertaintyseg[ray]'.")


def check_address(address: str) -> None:
    """Look whether something answers there, and whether it may be asked.

    Raises:
        InputError: it may not, or nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    host = host.strip("[]")
    if address.startswith("ray://") or not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(
            f"--ray {address}: give {HERE} for a cluster of this machine's own, or HOST:PORT of the head of one, as "
            "`ray start --head` printed it, such as 127.0.0.1:6379."
        )
    if host not in _LOOPBACK and not _has_token():
        raise InputError(
            f"--ray {address}: who can reach a Ray cluster can run code on it, so one that is not on this machine has "
            f"to ask for Ray's token. Start every node with {_MODE}=token and the same token, and set {_MODE}=token "
            f"and {_TOKEN} (or {_TOKEN_PATH}) here too; docs/scaling.md has the steps."
        )
    try:
        socket.create_connection((host, int(port)), _ANSWERS_IN).close()
    except OSError as error:
        raise InputError(
            f"--ray {address}: nothing answers there ({error.strerror or error}). Start the cluster with `ray start "
            "--head` and give the address that it prints, or look at the firewall."
        ) from error


def _has_token() -> bool:
    if os.environ.get(_MODE, "").lower() != "token":
        return False
    default = os.path.expanduser("~/.ray/auth_token")  # noqa: PTH111 - where Ray looks
    return bool(os.environ.get(_TOKEN)) or os.path.isfile(os.environ.get(_TOKEN_PATH) or default)  # noqa: PTH113


def _loopback() -> dict[str, str]:
    """What a cluster of our own is started with: loopback as Ray does it on desktops, and a token that nobody keeps.

    Ray's workers stand back for every other process unless they are told not to: beside one they would starve.
    """
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
    return own | {_MODE: "token", _TOKEN: uuid.uuid4().hex}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
