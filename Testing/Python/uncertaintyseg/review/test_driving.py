"""Another map than the error probability drives: what a calibration makes of it, and that its promises hold."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.review.test_calibration import ABOUT, tallied
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import CALIBRATION, shipped_models
from uncertaintyseg.review.calibration import MEASURE, Calibration, TalliedCase, make_calibration, read_calibration
from uncertaintyseg.review.promise import OutOfReachError, guarantee
from uncertaintyseg.review.tally import GRID, fine_edges, pooled, tally, telling_edges

LIMITS = (0.0, 8.0)
POPULATION, VOXELS, REFERENCE = 120, 1200, 90
DRAWS, CASES = 100, 24
KINDS = {"smooth": lambda score: 4 + score, "crowded at the low end": lambda score: 0.03 + np.exp(score - 4)}
"""How a map says what it ranks by."""


class Population:
    """Cases of which all is known: a map ranks their voxels, not perfectly, and some are wrong.

    Attributes:
        values: of the map, float32 `[cases, voxels]`.
        wrong: bool `[cases, voxels]`.
        tallied: each case as a calibration takes it.
    """

    def __init__(self, kind: str) -> None:
        rng = np.random.default_rng(7)
        harder = rng.gamma(2.0, 0.5, (POPULATION, 1))
        true = np.minimum(harder * rng.beta(0.15, 3, (POPULATION, VOXELS)), 0.95)
        score = np.log(np.maximum(true, 1e-4)) / 2.5 + rng.normal(0, 0.3, true.shape)
        self.values = np.clip(KINDS[kind](score), *LIMITS).astype(np.float32)
        self.wrong = rng.random(true.shape) < true
        edges = fine_edges(LIMITS)
        self.tallied = [
            TalliedCase(str(i), tally(values, wrong, edges), REFERENCE, 1.0, tally(said, wrong))
            for i, (values, wrong, said) in enumerate(zip(self.values, self.wrong, true, strict=True))
        ]

    def calibration(self, chosen) -> Calibration:
        """That of some cases, which may be the same twice."""
        return make_calibration([self.tallied[i] for i in chosen], measure="ranking", limits=LIMITS, **ABOUT)

    @cached_property
    def calibrations(self) -> list[Calibration]:
        """Many, of cases drawn at random."""
        rng = np.random.default_rng(1)
        return [self.calibration(rng.integers(0, POPULATION, CASES)) for _ in range(DRAWS)]

    def promised_risk(self, calibration: Calibration, alpha: float, delta: float | None) -> float:
        """Expected loss where what a promise asks for is reviewed on the map that reviewers see."""
        try:
            threshold = guarantee(calibration, alpha, delta).threshold
        except OutOfReachError:
            return 0.0  # everything is reviewed
        left = self.wrong & (calibration.recalibrated(self.values) <= threshold)
        return float(np.minimum(left.sum(1) / REFERENCE, 1).mean())


@pytest.fixture(scope="module", params=KINDS)
def population(request) -> Population:
    return Population(request.param)


@pytest.mark.parametrize(("alpha", "delta"), [(0.1, None), (0.2, None), (0.2, 0.2), (0.25, 0.1)])
def test_promises_hold_though_fit_thresholds_and_promise_come_from_the_same_cases(population, alpha, delta):
    risks = np.array([population.promised_risk(calibration, alpha, delta) for calibration in population.calibrations])
    assert risks.max() > 0
    if delta is None:
        assert alpha / 3 < risks.mean() <= alpha + 3 * risks.std() / np.sqrt(DRAWS)
    else:
        assert (risks > alpha).mean() <= delta + 3 * np.sqrt(delta * (1 - delta) / DRAWS)


def test_reviewing_by_the_error_probability_is_reviewing_by_the_map(population):
    calibration = population.calibration(range(CASES))
    values, wrong = population.values[:CASES], population.wrong[:CASES]
    seen = calibration.recalibrated(values)
    assert seen.dtype == np.float32
    assert 0 <= seen.min() <= seen.max() <= 1
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(seen.reshape(-1)[order]) >= 0).all()
    for index, threshold in enumerate(calibration.thresholds):
        unreviewed = seen <= threshold
        for number, case in enumerate(calibration.cases):
            loss = min((wrong[number] & unreviewed[number]).sum() / REFERENCE, 1)
            assert case.loss[index] == pytest.approx(loss, abs=1.1e-5)
            assert case.reviewed[index] == pytest.approx(1 - unreviewed[number].mean(), abs=1e-5)


def test_what_lies_above_a_value_of_the_map_lies_above_what_becomes_of_it(population):
    recalibration = population.calibration(range(CASES)).recalibration
    edges = np.sort(np.random.default_rng(0).uniform(*LIMITS, 400))
    above = np.nextafter(edges.astype(np.float32), np.float32(9))
    above = np.where(above > edges, above, np.nextafter(above, np.float32(9)))
    assert (recalibration(above) > recalibration(edges)).all()
    assert recalibration(np.array(LIMITS)).tolist() == [0, 1]


def test_the_error_probability_that_a_map_gives_comes_true(population):
    calibration = population.calibration(range(0, POPULATION, 2))
    said, wrong = calibration.recalibrated(population.values[1::2]), population.wrong[1::2]
    for low, high in ((0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)):
        inside = (said > low) & (said <= high)
        if inside.sum() > 500:
            error = np.sqrt(wrong[inside].mean() / inside.sum()) + 0.1 * said[inside].mean()
            assert wrong[inside].mean() == pytest.approx(said[inside].mean(), abs=3 * error)
    assert calibration.recalibration.ece_after < 0.02
    assert calibration.recalibration.ece_before < 0.02  # the truth itself


def test_few_edges_tell_what_many_do(population):
    fine, edges = [case.tally for case in population.tallied[:CASES]], fine_edges(LIMITS)
    kept = telling_edges(pooled(fine))
    assert len(kept) <= 110
    assert (kept[0], kept[-1]) == (0, len(edges) - 1)
    for case, values, wrong in zip(fine, population.values, population.wrong, strict=False):
        merged, counted = case.merged(kept), tally(values, wrong, edges[kept])
        assert all((one == other).all() for one, other in zip(merged[:2], counted[:2], strict=True))
        assert np.allclose(merged.said, counted.said)
        assert (merged.loss(REFERENCE) == case.loss(REFERENCE)[kept]).all()
    steps = np.diff(np.mean([case.loss(REFERENCE)[kept] for case in fine], axis=0))
    assert steps.max() < 0.1


def test_a_map_that_says_the_same_everywhere_cannot_drive():
    rng = np.random.default_rng(0)
    flat = [
        TalliedCase(case.id, tally(np.zeros(50), rng.random(50) < 0.1, fine_edges(LIMITS)), 50, 1.0, case.tally)
        for case in tallied()
    ]
    with pytest.raises(InputError, match="'variance' is the same everywhere"):
        make_calibration(flat, measure="variance", limits=LIMITS, **ABOUT)


def test_a_map_at_its_ends_is_calibrated_as_well():
    rng = np.random.default_rng(0)
    cases = []
    for case in tallied():
        values = rng.choice([0.0, 4.0, 8.0], 4000)
        wrong = rng.random(4000) < values / 10
        cases.append(TalliedCase(case.id, tally(values, wrong, fine_edges(LIMITS)), 2000, 2.0, case.tally))
    calibration = make_calibration(cases, measure="ranking", limits=LIMITS, **ABOUT)
    assert calibration.recalibrated(np.array([0.0, 4.0, 8.0])) == pytest.approx([0, 0.4, 1], abs=0.02)


def test_the_promise_names_the_map(population):
    calibration = population.calibration(range(CASES))
    assert "an error probability (read from the map 'ranking') above" in guarantee(calibration, 0.2).text


def test_files_of_old_load_unchanged_and_mean_the_error_probability(tmp_path):
    files = sorted(shipped_models().glob(f"*/{CALIBRATION}"))
    assert len(files) >= 14
    for file in files:
        text = file.read_text(encoding="utf-8")
        found = read_calibration(file)
        assert found.model_dump_json() == text, file
        if found.measure == MEASURE:
            old = tmp_path / f"{file.parent.name}.json"
            old.write_text(text.replace('"measure":"error_probability",', ""))
            assert read_calibration(old).checksum == found.checksum
            grid = GRID[::4]
            expected = found.recalibration(grid) if found.recalibration else grid
            merged = len(expected) - len(found.thresholds)  # near 1 some fall together in float32
            assert 0 <= merged <= 2
            assert np.allclose(found.thresholds[:-3], expected[: len(found.thresholds) - 3], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recalibration": None}, "no error probability without a recalibration"),
        ({"recalibration": {"said": [0, 1], "found": [0, 0.5], "ece_before": 0, "ece_after": 0}}, "from 0 to 1"),
        ({"recalibration": {"said": [0, 0, 8], "found": [0, 0.5, 1], "ece_before": 0, "ece_after": 0}}, "rises"),
        ({"recalibration": {"said": [0, 8], "found": [0, 0.5, 1], "ece_before": 0, "ece_after": 0}}, "as many"),
    ],
)
def test_a_table_that_is_none_is_refused(population, change, reason):
    values = population.calibration(range(CASES)).model_dump() | change
    with pytest.raises(ValueError, match=reason):
        Calibration.model_validate(values)
