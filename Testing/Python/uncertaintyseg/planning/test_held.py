"""A plan says what the cases will take while it is trained, and where."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.planning.held import held_choice, held_size
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.plan import make_plan
from uncertaintyseg.training.case_sizes import CaseSize

GB = 10**9


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """500 CTs of 512 x 512 x 300 voxels of 0.8 x 0.8 x 1 mm, planned at 1.6 x 1.6 x 2 mm; 400 are for the training."""
    found, folder = (
        fingerprint((512, 512, 300), (0.8, 0.8, 1.0), count=500, modality="CT"),
        tmp_path_factory.mktemp("data"),
    )
    ids = [case.id for case in found.cases]
    parts = {"train": ids[:350], "validation": ids[350:400], "calibration": ids[400:450], "test": ids[450:]}
    (folder / "uncertaintyseg_split.json").write_text(json.dumps(parts))
    found = replace(found, dataset=replace(found.dataset, folder=folder))
    return make_plan(found, "body", budget="24GB", hours=12, overrides=Overrides(spacing=(1.6, 1.6, 2.0))), found


def test_the_cases_of_the_training_count_on_the_grid_of_the_plan(bodies):
    one = CaseSize.of(512 * 512 * 300 / 8, channels=1, structures=2)
    assert held_size(*bodies) == CaseSize(400 * one.memory, 400 * one.disk)
    assert one.memory == 512 * 512 * 300 + 12 * 20_000


def test_what_is_more_than_half_of_the_memory_goes_to_the_disk(bodies):
    choice = held_choice(*bodies, free=24 * GB, room=200 * GB)
    assert choice.value == "19.8 GB on disk"
    assert choice.why == "31.6 GB are more than half of the 24.0 GB of memory that are free"
    assert choice.flag == "train --cache"
    assert held_choice(*bodies, free=64 * GB, room=0).value == "31.6 GB in memory"


def test_a_disk_too_small_is_told_before_anything_is_trained(bodies):
    choice = held_choice(*bodies, free=24 * GB, room=20 * GB)
    assert "neither memory nor disk" in choice.value
    assert all(words in choice.why for words in ("31.6 GB", "19.8 GB", "20.0 GB", "--cache-folder"))


def test_every_plan_says_it(bodies):
    (choice,) = [one for one in bodies[0].choices if one.name == "cases, preprocessed"]
    assert "GB" in choice.value
