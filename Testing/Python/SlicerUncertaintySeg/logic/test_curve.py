"""Coverage, expected error and threshold hold together on any curve that a server may send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.logic.curve import Curve
from UncertaintySegLib.server.results import RiskCoveragePoint

probability = st.floats(0, 1, allow_subnormal=False)


@st.composite
def curves(draw, calibrated: bool = True) -> Curve:
    """Any rising table, with plateaus and with a single row."""
    count = draw(st.integers(1, 12))
    steps = draw(st.lists(st.integers(0, 10_000), min_size=count, max_size=count, unique=True))
    thresholds = [step / 10_000 for step in sorted(steps)]
    coverages = sorted(draw(st.lists(probability, min_size=count, max_size=count)))
    errors = sorted(draw(st.lists(probability, min_size=count, max_size=count)))
    points = [
        RiskCoveragePoint(
            threshold=threshold,
            coverage=coverage,
            reviewed_ml=100 * (1 - coverage),
            regions=index,
            expected_error=error if calibrated else None,
            lo=error / 2 if calibrated else None,
            hi=error * 2 if calibrated else None,
        )
        for index, (threshold, coverage, error) in enumerate(zip(thresholds, coverages, errors, strict=True))
    ]
    return Curve(draw(st.permutations(points)))


@given(curves(), probability)
def test_coverage_and_back(curve, share):
    coverage = curve.coverages[0] + share * (curve.coverages[-1] - curve.coverages[0])
    assert curve.at(curve.threshold_for_coverage(coverage)).coverage == pytest.approx(coverage, abs=1e-6)


@given(curves(), probability)
def test_expected_error_and_back(curve, share):
    error = curve.errors[0] + share * (curve.errors[-1] - curve.errors[0])
    assert curve.at(curve.threshold_for_error(error)).expected_error == pytest.approx(error, abs=1e-6)


@given(curves(), probability)
def test_putting_a_slider_where_it_stands_moves_no_other(curve, threshold):
    before = curve.at(threshold)
    by_coverage = curve.at(curve.threshold_for_coverage(before.coverage))
    by_error = curve.at(curve.threshold_for_error(before.expected_error))
    assert by_coverage.coverage == pytest.approx(before.coverage, abs=1e-6)
    assert by_error.expected_error == pytest.approx(before.expected_error, abs=1e-6)


@given(curves(), probability, probability)
def test_a_higher_threshold_never_means_more_work_or_less_error(curve, one, other):
    low, high = curve.at(min(one, other)), curve.at(max(one, other))
    assert low.coverage <= high.coverage
    assert low.expected_error <= high.expected_error
    assert low.reviewed_ml >= high.reviewed_ml


@given(curves(), probability)
def test_volume_and_regions_are_the_servers_own_numbers(curve, threshold):
    point = curve.at(threshold)
    assert point.counted_at <= point.threshold + 1e-9
    assert point.regions == int(np.flatnonzero(curve.thresholds <= point.threshold + 1e-9)[-1])


@given(curves(), st.floats(-5, 5))
def test_nothing_is_made_up_beyond_the_ends(curve, anywhere):
    for threshold in (anywhere, curve.threshold_for_coverage(anywhere), curve.threshold_for_error(anywhere)):
        assert curve.thresholds[0] <= curve.at(threshold).threshold <= curve.thresholds[-1]


@given(curves(calibrated=False), probability)
def test_without_calibration_there_is_no_error(curve, threshold):
    point = curve.at(threshold)
    assert point.expected_error is None
    assert point.interval is None
    with pytest.raises(ValueError, match="no expected errors"):
        curve.threshold_for_error(0.1)


@pytest.mark.parametrize("coverages", [(), (0.9, 0.5), (0.5, float("nan"))])
def test_a_table_that_is_no_curve_is_refused(coverages):
    points = [RiskCoveragePoint(0.1 * i, coverage, 1.0, 1) for i, coverage in enumerate(coverages)]
    with pytest.raises(ServerError, match="are server and module of one version"):
        Curve(points)
