"""Calibrations: curves against counting, recalibration against distortions that are known, and the file."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.review.calibration import FEWEST, Calibration, TalliedCase, make_calibration, read_calibration
from uncertaintyseg.review.recalibration import fit_recalibration
from uncertaintyseg.review.tally import GRID, tally

ABOUT = {
    "weights_checksum": "ab", "window": (8, 8, 8), "overlap": 0.5, "data": "made up", "created": "", "code_version": "",
}  # fmt: skip


def drawn(rng: np.random.Generator, distort=lambda p: p, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Error probabilities as said, most of them small, and where the label is wrong."""
    true = rng.beta(0.2, 2, (size // 20, 4, 5))
    return distort(true).astype(np.float32), rng.random(true.shape) < true


def tallied(count: int = 12, **options) -> list[TalliedCase]:
    rng = np.random.default_rng(0)
    return [TalliedCase(f"case_{i}", tally(*drawn(rng, **options)), 2000, 2.0) for i in range(count)]


def test_losses_and_shares_are_what_counting_gives():
    said, wrong = drawn(np.random.default_rng(1))
    said = said.astype(np.float64)
    said.flat[:3] = (0, 1, GRID[200])
    found = tally(said, wrong)
    for index in (0, 50, 200, 300, 399, 400):
        below = said <= GRID[index]
        assert found.loss(2000)[index] == pytest.approx((wrong & below).sum() / 2000)
        assert found.reviewed()[index] == pytest.approx((~below).mean())
    assert found.loss(10)[-1] == 1
    assert (np.diff(found.loss(2000)) >= 0).all()


def test_without_a_reference_any_wrong_voxel_left_is_the_whole_loss():
    wrong = np.zeros((3, 3, 3), bool)
    assert tally(np.full(wrong.shape, 0.5), wrong).loss(0).max() == 0
    wrong[0, 0, 0] = True
    assert set(tally(np.full(wrong.shape, 0.5), wrong).loss(0)) == {0, 1}


@pytest.mark.parametrize("power", [0.5, 2, 3])
def test_recalibration_undoes_a_distortion(power):
    cases = [case.tally for case in tallied(20, distort=lambda p: p**power)]
    found = fit_recalibration(cases)
    assert found.ece_after < 0.3 * found.ece_before
    said = np.linspace(0.05, 0.6, 12)
    assert np.abs(found(said**power) - said).max() < 0.05


def test_recalibration_keeps_the_order_and_both_ends():
    found = fit_recalibration([case.tally for case in tallied(20, distort=np.square)])
    assert (np.diff(found(GRID)) > 0).all()
    assert (found(GRID)[[0, -1]] == [0, 1]).all()
    assert found(np.zeros((2, 2), np.float32)).dtype == np.float32


def test_recalibration_is_left_out_where_it_helps_nobody():
    certain = [tally(np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool))] * 10
    assert fit_recalibration(certain) is None
    calibration = make_calibration([TalliedCase(str(i), case, 5, 1.0) for i, case in enumerate(certain)], **ABOUT)
    values = np.linspace(0, 1, 7)
    assert (calibration.recalibrated(values) == values).all()


def test_reviewing_above_a_threshold_leaves_the_same_voxels_before_and_after_recalibration():
    calibration = make_calibration(tallied(distort=np.sqrt), **ABOUT)
    rng = np.random.default_rng(0)
    for case in calibration.cases:
        said, wrong = drawn(rng, np.sqrt)
        map_ = calibration.recalibrated(said)
        for index in range(0, len(calibration.thresholds), 7):
            unreviewed = map_ <= calibration.thresholds[index]
            assert case.loss[index] == pytest.approx((wrong & unreviewed).sum() / 2000, abs=2e-5)
            assert case.reviewed[index] == pytest.approx((~unreviewed).mean(), abs=2e-5)


def test_the_band_holds_the_mean_over_cases():
    mean, low, high = make_calibration(tallied(), **ABOUT).band
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert high[-1] > low[-1]


def test_too_few_cases_are_refused():
    with pytest.raises(InputError, match=f"needs {FEWEST} labelled cases at least, not 9"):
        make_calibration(tallied(9), **ABOUT)


def test_a_file_gives_back_what_was_written_and_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "calibration.json"
    assert read_calibration(path) is None
    first, second = (make_calibration(tallied(count), **ABOUT) for count in (12, 13))
    for calibration in (first, second):
        path.write_text(calibration.model_dump_json())
        assert read_calibration(path).checksum == calibration.checksum
    assert first.checksum != second.checksum
    assert Calibration.model_validate_json(path.read_text(encoding="utf-8")).checksum == second.checksum


@pytest.mark.parametrize(
    "damage", [lambda text: text[:100], lambda text: text.replace('"cases":[{', '"cases":[{"x":1,')]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "calibration.json"
    path.write_text(damage(make_calibration(tallied(), **ABOUT).model_dump_json()))
    with pytest.raises(BundleError, match=r"calibration\.json cannot be used .*calibrate again"):
        read_calibration(path)


def test_a_loss_that_falls_is_refused():
    calibration = make_calibration(tallied(), **ABOUT).model_dump()
    calibration["cases"][0]["loss"][50] = 1.0
    with pytest.raises(ValueError, match="losses may not fall"):
        Calibration.model_validate(calibration)
