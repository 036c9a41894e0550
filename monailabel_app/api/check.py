"""What a person should know before a model runs on a scan."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.app.infer_task import check_channels, find_task
from uncertaintyseg import wire
from uncertaintyseg.data.channel_checks import swapped
from uncertaintyseg.data.channels import channel_files, read_channels
from uncertaintyseg.data.doubts import scan_doubts
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.inference.content import content_hash
from uncertaintyseg.wire import Modality

router = APIRouter(tags=["Uncertainty"])


@router.post("/uncertainty/v1/check", summary="Look at a scan before a model runs on it")
def check(asked: wire.CheckRequest, app: AppInstance) -> wire.Check:
    """Say whether the scan looks like what the model was trained on; nothing is refused for it.

    4xx for an unknown model or image, and for a scan that no model can read.
    """
    bundle, path = find_task(app.infers, asked.model).bundle, app.datastore().image_path(asked.image)
    check_channels(bundle, path, asked.image)
    files = [file for channel in channel_files(path, len(bundle.channels)) for file in scan_files(channel)]
    ranges = tuple(_Range(one.low, one.median, one.high) for one in bundle.uncertainty.channel_ranges or ())
    doubts = _doubts(path, content_hash(*files), bundle.modality, tuple(bundle.channels), ranges)
    return wire.Check(warnings=[f"{asked.image} {doubt}" for doubt in doubts])


class _Range(NamedTuple):
    low: float
    median: float
    high: float


@functools.lru_cache(maxsize=4096)
def _doubts(
    path: Path, _content: str, modality: Modality | None, names: tuple[str, ...], ranges: tuple[_Range, ...]
) -> list[str]:
    """The same of a scan that has not changed: reading a large one takes seconds."""
    scan = read_channels(path, len(names), names)
    reason = swapped(scan, names, ranges, modality) if len(names) > 1 else None
    return [*scan_doubts(scan, modality), *([f"may have its channels in another order: {reason}"] if reason else [])]
