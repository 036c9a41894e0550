"""Calibrating new weights on cases that were kept for it."""

from __future__ import annotations

import pytest

from monailabel_app.app.labelled import check_reserved
from monailabel_app.jobs.calibrate import Calibrate
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> tuple[tuple[str, str, str], ...]:
    folder = tmp_path_factory.mktemp("reserved")
    tiny.write_phantoms(folder, 10)
    images = sorted((folder / "images").glob("*.nii.gz"))
    return tuple((path.name, str(path), str(folder / "labels" / path.name)) for path in images)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("shipped")))


def test_the_model_in_use_is_calibrated_and_a_shipped_one_stays_as_it_is(bundle, cases, tmp_path):
    stages = []
    work = Calibrate(str(bundle.folder), bundle.checksum, cases, str(tmp_path / "home"))
    answer = work.run(lambda *stage: stages.append(stage))
    assert answer == {"model": bundle.name, "checksum": bundle.checksum, "cases": 10}
    calibration, reason = find_bundle(bundle.name, tmp_path / "home").calibration
    assert reason is None
    assert calibration.n == 10
    assert bundle.calibration[0] is None
    assert stages[-1][1] == 1.0


def test_too_few_cases_are_refused_with_how_to_reserve_more(bundle, cases):
    check_reserved(cases, bundle)
    with pytest.raises(InputError, match="9 labelled images are reserved to calibrate it; 10 are needed"):
        check_reserved(cases[:9], bundle)
