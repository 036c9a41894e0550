"""Which devices a server computes on: read and checked before it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from monailabel_app.jobs.work import kind_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.workers.local import cores

_EXAMPLES = "name them with commas between, such as cpu,cpu or cuda:0,cuda:1"


def asked_devices(conf: Mapping[str, str | None]) -> list[str]:
    """The devices that `device` or `devices` of the options name, checked.

    Raises:
        InputError: Both are given, a device is not there, or they do not go together.
    """
    device, listed = conf.get("device"), conf.get("devices")
    if listed is None:
        return [_present(device or "auto", "--device")]
    if device is not None:
        raise InputError(f"--device {device}, --devices {listed}: give one of them")
    names = [name.strip() for name in listed.split(",")]
    if not all(names):
        what = "is empty" if not any(names) else f"{listed}: a name is missing"
        raise InputError(f"--devices {what}; {_EXAMPLES}")
    if len(names) > 1 and "auto" in names:
        raise InputError(f"--devices {listed}: auto stands for one device; {_EXAMPLES}")
    found = [_present(name, "--devices") for name in names]
    _check_together(found)
    return found


def device_of_keys(devices: Sequence[str]) -> str:
    """The device that results are named by: whichever of several made one, it is the same."""
    return devices[0] if len(devices) == 1 else kind_of(devices[0])


def _check_together(devices: Sequence[str]) -> None:
    """Raise `InputError` where devices are of several kinds, or more processes than can be of use."""
    kinds = list(dict.fromkeys(map(kind_of, devices)))
    if len(kinds) > 1:
        raise InputError(
            f"--devices: results of {' and '.join(kinds)} differ in their last digits, so that an answer would hang on "
            "which of them was free; name devices of one kind"
        )
    if kinds == ["cpu"] and len(devices) > cores():
        raise InputError(f"--devices: {len(devices)} times cpu, and there are {cores()} cores here; name fewer")
    places = Counter("cuda:0" if name == "cuda" else name for name in devices)
    twice = [name for name, times in places.items() if times > 1]
    if kinds != ["cpu"] and twice:
        raise InputError(
            f"--devices: {twice[0]} is named twice; its processes would take each other's memory: name each GPU once"
        )


def _present(name: str, option: str) -> str:
    """The device that is meant by a name. Raises `InputError` where it is not here."""
    if name == "cpu":
        return name
    from uncertaintyseg.inference.device import checked_device, chosen_device  # noqa: PLC0415 - the CPU needs no torch

    found = chosen_device(name)
    if kind_of(found) == "cuda":
        _check_gpu(found, option)
        return found
    try:
        return checked_device(found)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error


def _check_gpu(name: str, option: str) -> None:
    """Raise `InputError` where there is no such GPU; takes no memory of any."""
    import torch  # noqa: PLC0415

    there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in (there and [*there, "cuda"]):
        known = f"the GPUs here are {', '.join(there)}" if there else "torch sees no GPU here"
        raise InputError(f"{option}: device '{name}' cannot be used; {known}")
