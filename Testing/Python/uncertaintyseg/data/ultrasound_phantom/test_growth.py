"""Sizes of heads: the published curves, and pathologies that change what they should."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.ellipse import circumference
from uncertaintyseg.data.ultrasound_phantom.growth import (
    GRADES,
    LARGE_VENTRICLE_MM,
    PATHOLOGIES,
    draw_pathology,
    draw_sizes,
    head_circumference,
)


def draw(seed, share):
    body, illness = np.random.default_rng(seed).spawn(2)
    return draw_pathology(draw_sizes(body), illness, share)


@pytest.fixture(scope="module")
def ill():
    return [(draw(seed, 0.0), draw(seed, 1.0)) for seed in range(120)]


@pytest.mark.parametrize(("weeks", "mean"), [(14, 97.9), (20, 172.5), (30, 278.4)])
def test_the_circumference_is_that_of_intergrowth(weeks, mean):
    found, sd = head_circumference(weeks)
    assert found == pytest.approx(mean, abs=0.1)
    assert 0.03 < sd / found < 0.06  # of a week's growth, about 10 mm, in the middle


def test_healthy_heads_are_those_of_their_age():
    for seed in range(60):
        sizes = draw(seed, 0.0)
        mean, sd = head_circumference(sizes.age)
        assert 18 <= sizes.age <= 32
        assert abs(sizes.circumference - mean) <= 2 * sd + 1e-9
        assert circumference(sizes.long, sizes.short) == pytest.approx(sizes.circumference)
        assert 0.69 < sizes.short / sizes.long < 0.88
        assert max(sizes.ventricles) < LARGE_VENTRICLE_MM
        assert abs(sizes.ventricles[0] - sizes.ventricles[1]) < 1
        assert 2 <= sizes.cavum[0] <= 9
        assert sizes.cavum[1] > sizes.cavum[0]
        assert (sizes.pathology, sizes.grade) == ("none", 0)


def test_every_pathology_and_grade_is_drawn(ill):
    assert {(sizes.pathology, sizes.grade) for _, sizes in ill} == {(p, g) for p in PATHOLOGIES for g in GRADES}


def test_a_pathology_changes_what_it_should_and_nothing_else(ill):
    for healthy, sizes in ill:
        for name in ("age", "circumference", "long", "short", "skull"):
            assert getattr(sizes, name) == getattr(healthy, name)
        if sizes.pathology == "absent_cavum":
            assert sizes.ventricles == healthy.ventricles
            assert sizes.cavum[0] < 0.6 * healthy.cavum[0]
            assert (sizes.cavum[0] == 0) == (sizes.grade == 3)
            continue
        assert sizes.cavum == healthy.cavum
        widest, other = max(sizes.ventricles), min(sizes.ventricles)
        if sizes.pathology == "ventriculomegaly":
            low, high = {1: (10, 12), 2: (12, 15), 3: (15, 20)}[sizes.grade]
            assert low <= widest <= high
            assert other >= LARGE_VENTRICLE_MM
        else:
            low, high = {1: (2.5, 3.5), 2: (3.5, 5), 3: (5, 7)}[sizes.grade]
            assert low <= widest - other <= high
        assert widest < 0.75 * sizes.short  # room between midline and skull


def test_the_share_of_the_ill_is_that_asked_for():
    ill = sum(draw((1, seed), 0.3).pathology != "none" for seed in range(400))
    assert 85 < ill < 155  # 120 +- 4 standard deviations


def test_who_is_ill_at_a_share_is_so_at_a_larger_one():
    for seed in range(40):
        small, large = draw(seed, 0.3), draw(seed, 0.6)
        assert small.pathology in {"none", large.pathology}
