"""Work on a device: which of those that are equal makes no difference to what it is called."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from monailabel_app.jobs import Predict
from monailabel_app.jobs.samples import Draw

WORK = Predict("a" * 64, "scan.nii.gz", "bundle", "b" * 64, 0, 2, "cuda", "results")


def test_work_goes_to_devices_of_its_kind_only():
    drawn = Draw("a" * 64, 4, 0, "results", "bundle", "b" * 64, "cuda:3")
    assert drawn.on("cuda:1").device == "cuda:1"
    assert drawn.on("cpu").device == "cuda:3"
    assert WORK.on("cuda:1").device == "cuda:1"
    assert WORK.on("cuda:1").key == WORK.key


@pytest.mark.parametrize(
    ("asked", "devices"), [("cuda", ["cuda:0", "cuda:1"]), ("cuda:1", ["cuda:1"]), ("cpu", ["cpu"])]
)
def test_what_stands_in_for_want_of_memory_is_called_the_same_wherever_it_was_made(asked, devices):
    work, window = replace(WORK, device=asked), "48 x 48 x 48"
    key = work.stand_in_key(asked, window)
    assert key == hashlib.sha256(f"{work.key} {asked} {window}".encode()).hexdigest()
    for device in devices:
        assert work.on(device).stand_in_key(device, window) == key
    if asked != "cpu":
        assert work.on(devices[0]).stand_in_key("cpu", window) == work.stand_in_key("cpu", window) != key
