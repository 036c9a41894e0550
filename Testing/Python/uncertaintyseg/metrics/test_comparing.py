"""Paired tests, corrections, and pooled figures, against scipy and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon

from uncertaintyseg.metrics.comparing import holm, paired_test, pooled, ratio_with_interval
from uncertaintyseg.metrics.intervals import mean_with_interval


def test_holms_correction_is_that_of_its_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, math.nan, 0.8]) == pytest.approx([1, math.nan, 1], nan_ok=True)
    assert holm([]) == []


def test_without_repeated_subjects_an_interval_is_that_of_cases():
    values = np.random.default_rng(0).random(12)
    found = ratio_with_interval(values, np.ones(12), [f"s{i:02}" for i in range(12)])
    assert found == pytest.approx(mean_with_interval(values))


def test_the_bootstrap_draws_subjects_with_all_their_cases():
    random = np.random.default_rng(1)
    subjects = np.repeat(np.arange(9), [1, 2, 3, 4, 1, 2, 3, 4, 2])
    values = random.normal(size=9)[subjects] + random.normal(0, 0.1, subjects.size)
    sums, counts = np.bincount(subjects, values), np.bincount(subjects)
    wanted = bootstrap(
        (sums, counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, method="percentile", rng=random
    ).confidence_interval
    found = ratio_with_interval(values, np.ones(values.size), [f"s{i}" for i in subjects])
    assert found.mean == pytest.approx(values.mean())
    assert (found.lo, found.hi) == pytest.approx(tuple(wanted), abs=0.05)
    alone = mean_with_interval(values)
    assert found.hi - found.lo > alone.hi - alone.lo  # cases of a subject say less than as many subjects


def test_a_paired_test_is_wilcoxons_over_the_means_of_subjects():
    random = np.random.default_rng(2)
    first, second = random.random(12), random.random(12) + 0.2
    subjects = [f"s{i // 2}" for i in range(12)]
    found = paired_test(first, second, subjects)
    differences = (second - first).reshape(6, 2).mean(1)
    assert (found["n"], found["p"]) == (6, pytest.approx(wilcoxon(differences).pvalue))
    assert found["difference"]["mean"] == pytest.approx(differences.mean())
    assert paired_test(first, first, subjects)["p"] == 1
    nothing = paired_test([math.nan], [0.5], ["s"])
    assert nothing["n"] == 0
    assert math.isnan(nothing["p"])


def test_pooled_figures_are_of_all_voxels_in_one_pot():
    rows = [
        {"counts": {"organ": {"tp": 90, "fp": 10, "fn": 10}}, "voxels": 1000, "nll": 0.1, "brier": 0.2,
         "bins": {"right": [400.0, 500.0], "confidence": [380.0, 520.0]}},
        {"counts": {"organ": {"tp": 1, "fp": 0, "fn": 9}}, "voxels": 3000, "nll": 0.3, "brier": 0.1,
         "bins": {"right": [1400.0, 1500.0], "confidence": [1450.0, 1500.0]}},
    ]  # fmt: skip
    found = pooled(rows, ["a", "b"])
    organ = {name: row["mean"] for name, row in found["structures"]["organ"].items()}
    assert organ == pytest.approx({"dice": 182 / 211, "iou": 91 / 120, "precision": 91 / 101, "recall": 91 / 110})
    assert (found["nll"]["mean"], found["brier"]["mean"]) == pytest.approx((0.25, 0.125))
    assert found["ece"] == pytest.approx((30 + 20) / 4000)
    assert found["structures"]["organ"]["dice"]["lo"] == pytest.approx(2 / 11)
