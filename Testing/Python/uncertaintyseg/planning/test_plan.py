"""Plans of data sets as they occur, and of any."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.explained import validation_doubt
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.plan import TooLargeError, Trial, make_plan

HIPPOCAMPUS = ((35, 50, 35), (1.0, 1.0, 1.0))
ABDOMEN = ((512, 512, 100), (0.8, 0.8, 5.0))


def test_a_hippocampus_is_trained_on_whole_scans():
    plan = make_plan(fingerprint(*HIPPOCAMPUS), "hippo", budget="cpu", hours=1)
    assert plan.patch == (40, 56, 40)
    assert plan.features == [16, 32, 64, 128]
    assert plan.spacing == (1.0, 1.0, 1.0)
    assert [one.scheme for one in plan.normalization] == ["zscore"]
    assert plan.symmetries == [0]
    assert plan.deep_supervision
    assert plan.foreground == pytest.approx(1 / 3)


def test_a_ct_is_clipped_to_its_foreground_and_cut_into_patches():
    plan = make_plan(fingerprint(*ABDOMEN, modality="CT"), "liver", budget="24GB", hours=12)
    (one,) = plan.normalization
    assert one.scheme == "ct"
    assert (one.low, one.high, one.mean, one.std) == pytest.approx((1.0, 199.0, 100.0, 50.0), abs=0.05)
    assert plan.topology.strides[1] == (2, 2, 1)
    assert plan.features[0] == 32
    assert 64**3 < math.prod(plan.patch) < math.prod(ABDOMEN[0])
    long, wide, high = (side * mm for side, mm in zip(plan.patch, plan.spacing, strict=True))
    assert max(long, wide, high) < 3 * min(long, wide, high)


def test_thick_slices_that_most_scans_have_finer_keep_the_tenth_percentile():
    spacings = [(1.0, 1.0, mm) for mm in (4.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)]
    plan = make_plan(fingerprint((256, 256, 20), (1, 1, 8), spacings=spacings), "heart", hours=1)
    assert plan.spacing == (1.0, 1.0, 4.0)


def test_a_head_without_its_skull_is_scaled_by_what_is_not_0():
    plan = make_plan(fingerprint((200, 200, 150), (1, 1, 1), cropped=(140, 170, 140)), "brain", hours=1)
    assert [one.scheme for one in plan.normalization] == ["nonzero"]


def test_left_and_right_forbid_to_mirror_them():
    plan = make_plan(fingerprint(*HIPPOCAMPUS, names=("kidney_left", "kidney_right")), "kidneys", hours=1)
    assert plan.symmetries == []
    (choice,) = [one for one in plan.choices if one.name == "mirroring"]
    assert "kidney_left" in choice.why


def test_every_choice_says_why_and_what_was_asked_for_says_so():
    plan = make_plan(fingerprint(*HIPPOCAMPUS), "hippo", hours=1, overrides=Overrides(patch=(32, 32, 32), overlap=0.25))
    assert plan.patch == (32, 32, 32)
    assert plan.overlap == 0.25
    assert all(one.value and one.why for one in plan.choices)
    assert {one.name for one in plan.choices if one.why == "you asked for it"} == {
        "patch and window",
        "overlap of windows",
    }


def reason(plan, name):
    (choice,) = [one for one in plan.choices if one.name == name]
    return choice.why


def quick(plan):
    return Trial(0.1, 0.5, plan.memory.total)


def test_a_validation_takes_as_long_as_the_cases_that_the_split_beside_the_data_holds_out(tmp_path):
    found = fingerprint((70, 56, 40), (1.0, 1.0, 1.0))
    found = replace(found, dataset=replace(found.dataset, folder=tmp_path))
    given = Overrides(patch=(40, 56, 40), overlap=0.5)
    drawn = make_plan(found, "hippo", hours=1, overrides=given, try_step=quick)
    assert drawn.validation_cases == 3  # 15 % of 20
    assert drawn.validation_seconds == pytest.approx(3 * 3 * 0.5)  # windows at 0, 15 and 30
    ids = [case.id for case in found.cases]
    split = {"train": ids[:12], "validation": ids[12:], "calibration": [], "test": []}
    (tmp_path / "uncertaintyseg_split.json").write_text(json.dumps(split))
    large = replace(found.cases[12], shape=(120, 56, 40))
    kept = make_plan(
        replace(found, cases=[large if case.id == large.id else case for case in found.cases]),
        "hippo", hours=1, overrides=given, try_step=quick,
    )  # fmt: skip
    assert kept.validation_cases == 8
    assert kept.validation_seconds == pytest.approx((7 * 3 + 5) * 0.5)
    (choice,) = [one for one in kept.choices if one.name == "epochs"]
    assert "8 cases (13 s)" in choice.why


def test_a_step_that_runs_out_of_memory_is_tried_again_smaller():
    tried = []

    def try_step(plan):
        tried.append(plan)
        if len(tried) == 1:
            raise TooLargeError
        return Trial(0.1, 0.01, plan.memory.total)

    plan = make_plan(fingerprint(*ABDOMEN), "liver", budget="8GB", hours=1, try_step=try_step)
    assert len(tried) == 2
    assert tried[1].memory.total < 0.71 * tried[0].memory.total
    assert plan.measured_bytes == plan.memory_bytes
    assert plan.step_seconds == 0.1


def test_a_step_that_takes_more_than_was_estimated_is_tried_again_until_it_fits():
    plan = make_plan(
        fingerprint(*ABDOMEN), "liver", budget="8GB", hours=1,
        try_step=lambda draft: Trial(0.1, 0.01, round(1.5 * draft.memory.total)),
    )  # fmt: skip
    assert plan.measured_bytes <= plan.budget.bytes


def test_a_slow_processor_takes_smaller_patches_before_it_takes_too_few_steps():
    def try_step(plan):
        return Trial(math.prod(plan.patch) / 64**3 * 30, 1.0, plan.memory.total)

    slow = make_plan(fingerprint(*ABDOMEN), "liver", hours=0.5, try_step=try_step)
    assert math.prod(slow.patch) <= 32**3 * 2
    assert slow.steps * slow.pace <= 1.1 * 1800
    why = reason(slow, "patch and window")
    for said in ("2 of 112 x 112 x 20 voxels took 29 s", "of which --hours 0.5 holds 63", "needs 250", "busy"):
        assert said in why
    assert "memory" not in why


def test_a_patch_that_memory_cuts_says_so():
    why = reason(make_plan(fingerprint(*ABDOMEN), "liver", budget="8GB"), "patch and window")
    assert "what the memory of --budget 8GB holds" in why
    whole_limit = reason(make_plan(fingerprint(*ABDOMEN), "liver"), "patch and window")
    assert "at most 64^3 voxels with --budget cpu" in whole_limit


@pytest.mark.parametrize(
    ("try_step", "said"),
    [
        (quick, "then measured with a real step"),
        (lambda draft: None, "there is no such GPU here"),
        (None, "not measured, for --no-trial"),
    ],
)
def test_why_memory_was_not_measured_is_told_as_it_is(try_step, said):
    plan = make_plan(fingerprint(*HIPPOCAMPUS), "hippo", budget="8GB", try_step=try_step)
    assert said in reason(plan, "memory")


def test_the_share_that_validations_take_is_told_and_one_above_15_percent_is_warned_of():
    def try_step(plan):
        return Trial(1.0, 60.0, plan.memory.total)

    given = Overrides(patch=(40, 56, 40))  # three scans of one window: 180 s
    long, short = (
        make_plan(fingerprint(*HIPPOCAMPUS), "hippo", hours=hours, overrides=given, try_step=try_step)
        for hours in (1, 0.1)
    )
    assert (long.epochs, short.epochs) == (3, 1)
    assert "validation of 3 cases (3 min); all together take 15 % of the time" in reason(long, "epochs")
    assert validation_doubt(long) is None
    assert "it takes 50 % of the time" in reason(short, "epochs")
    assert "Validation takes 50 % of the time, more than 15 %: a longer training" in validation_doubt(short)


def test_fewer_hours_than_the_fewest_steps_take_are_not_said_to_hold_them():
    plan = make_plan(fingerprint(*HIPPOCAMPUS), "hippo", hours=0.001, try_step=quick)
    assert "take longer than --hours 0.001" in reason(plan, "steps")
    assert "as many as fit into 1 h" in reason(make_plan(fingerprint(*HIPPOCAMPUS), "hippo", try_step=quick), "steps")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"patch": (60, 50, 40)}, r"nearest is --patch"),
        ({"patch": (80, 80, 80)}, r"larger than the median scan.*--patch 40,56,40"),
        ({"overlap": 1.0}, "share from 0 to 0.9"),
        ({"foreground": 2.0}, "share from 0 to 1"),
        ({"symmetries": [3]}, "axes 0"),
        ({"spacing": (1.0, 1.0, -1.0)}, "three lengths"),
        ({"normalization": "ct,zscore"}, "one for all channels"),
        ({"normalization": "magic"}, "take ct, zscore, nonzero"),
        ({"batch_size": 100_000}, "smaller --batch-size"),
        ({"spacing": (0.0, 1.0, 1.0)}, "three lengths"),
        ({"spacing": (float("nan"), 1.0, 1.0)}, "three lengths"),
        ({"spacing": (0.01, 0.01, 0.01)}, "more than any memory holds: choose a coarser --spacing"),
        ({"learning_rate": 0.0}, "--learning-rate 0: above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan: above 0"),
        ({"features": 3_000_000_000}, "--features 3000000000: .* at most 100000"),
        ({"seed": -1}, "--seed -1: a whole number"),
        ({"patch": (0, 8, 8)}, "three numbers of voxels"),
    ],
)
def test_a_flag_that_cannot_be_says_what_can(given, what):
    with pytest.raises(InputError, match=what):
        make_plan(fingerprint(*HIPPOCAMPUS), "hippo", hours=1, overrides=Overrides(**given))


def test_a_thousand_classes_with_a_very_wide_network_fit_no_patch():
    many = fingerprint((400, 400, 400), (1, 1, 1), names=[f"part {i}" for i in range(1000)], count=3)
    with pytest.raises(InputError, match=r"fits no patch: 1000 structures take .* GB.*--structures"):
        make_plan(many, "all", budget="8GB", hours=1, overrides=Overrides(features=2000))


def test_scans_of_two_voxels_name_the_case():
    with pytest.raises(InputError, match=r"case case_0: its scan has 2 x 2 x 2 voxels.*take it out of the folder"):
        make_plan(fingerprint((2, 2, 2), (1, 1, 1)), "dust", hours=1)


@pytest.mark.parametrize(("settings_", "what"), [({"budget": "1TB"}, "take cpu"), ({"hours": 0}, "--hours 0")])
def test_a_budget_that_is_none_is_refused(settings_, what):
    with pytest.raises(InputError, match=what):
        make_plan(fingerprint(*HIPPOCAMPUS), "hippo", **({"hours": 1} | settings_))


@settings(max_examples=6)
@given(
    st.tuples(*[st.integers(12, 400)] * 3),
    st.tuples(*[st.floats(0.4, 8.0)] * 3),
    st.sampled_from(["cpu", "8GB", "24GB", "80GB"]),
    st.integers(1, 30),
    st.floats(0.01, 100),
)
def test_any_plan_keeps_to_its_budget_and_to_what_the_network_takes(shape, spacing, budget, classes, hours):
    found = fingerprint(shape, spacing, names=[f"part {i}" for i in range(classes)], count=3)
    plan = make_plan(found, "any", budget=budget, hours=hours)
    assert plan.memory_bytes <= plan.budget.bytes
    assert all(side % step == 0 for side, step in zip(plan.patch, plan.topology.divisor, strict=True))
    assert len(plan.features) == plan.topology.stages >= 3
    assert plan.batch_size >= 2
    assert plan.epochs >= 1
    assert plan.steps >= 1
