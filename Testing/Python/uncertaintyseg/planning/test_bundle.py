"""A plan as a model folder: what stands in it, and what is never lost."""

from __future__ import annotations

import json
import os

import pytest
import torch

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, TRAINING, WEIGHTS
from uncertaintyseg.planning.bundle import CARD, check_place, write_plan
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.plan import make_plan
from uncertaintyseg.training.recipe import Recipe

THICK = ((96, 96, 12), (1.0, 1.0, 5.0))


def planned(found, **given):
    return make_plan(found, "gland", budget="cpu", hours=0.1, overrides=Overrides(features=4, **given))


def test_the_network_of_a_written_plan_takes_its_patch(tmp_path):
    found = fingerprint(*THICK, channels=("T1", "T2"))
    plan = planned(found)
    bundle = write_plan(plan, found, tmp_path)
    network = bundle.network(weights=False)
    assert tuple(network.divisor) == plan.topology.divisor
    with torch.no_grad():
        output = network(torch.randn(1, 2, *plan.patch))
    assert output.distribution.mean.shape == (1, 3, *plan.patch)
    assert bundle.channels == ["T1", "T2"]
    assert bundle.setting("window") == list(plan.patch)
    recipe = Recipe.load(bundle)
    assert recipe.crop == plan.patch
    assert (recipe.steps_per_epoch, recipe.epochs) == (plan.steps_per_epoch, plan.epochs)
    assert recipe.deep_supervision
    assert "| patch and window |" in (bundle.folder / CARD).read_text(encoding="utf-8")


def test_thick_slices_are_turned_within_their_plane_only(tmp_path):
    found = fingerprint(*THICK)
    bundle = write_plan(planned(found), found, tmp_path)
    steps = json.loads((bundle.folder / TRAINING).read_text(encoding="utf-8"))["augmentation"]["transforms"]
    (turn,) = [step for step in steps if step["_target_"] == "RandAffined"]
    assert turn["rotate_range"] == [0.05, 0.05, 0.25]  # about R and A little, about S freely


def test_a_ct_is_scaled_to_mean_0_and_deviation_1_of_its_foreground(tmp_path):
    found = fingerprint(*THICK, modality="CT")
    bundle = write_plan(planned(found), found, tmp_path)
    steps = json.loads((bundle.folder / INFERENCE).read_text(encoding="utf-8"))["preprocessing"]["transforms"]
    assert steps[-1]["b_min"] == pytest.approx((1 - 100) / 50)
    assert steps[-1]["b_max"] == pytest.approx((199 - 100) / 50)


def test_a_plan_is_made_anew_but_a_trained_model_stays(tmp_path):
    found = fingerprint(*THICK)
    plan = planned(found)
    write_plan(plan, found, tmp_path)
    bundle = write_plan(plan, found, tmp_path)
    (bundle.folder / WEIGHTS).parent.mkdir()
    (bundle.folder / WEIGHTS).write_bytes(b"weights")
    with pytest.raises(InputError, match=r"already; --overwrite .* its training begins anew\. To keep it, "):
        write_plan(plan, found, tmp_path)
    assert (bundle.folder / WEIGHTS).read_bytes() == b"weights"
    write_plan(plan, found, tmp_path, overwrite=True)
    assert not (bundle.folder / WEIGHTS).exists()
    assert [path.name for path in tmp_path.iterdir()] == [bundle.name]


def test_a_folder_that_is_no_model_is_left_alone(tmp_path):
    found = fingerprint(*THICK)
    (tmp_path / "gland_deterministic").mkdir()
    (tmp_path / "gland_deterministic" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already and no model"):
        write_plan(planned(found), found, tmp_path, overwrite=True)


def test_a_file_of_the_model_s_name_is_left_alone(tmp_path):
    (tmp_path / "gland_deterministic").write_text("mine")
    with pytest.raises(InputError, match="gland_deterministic: is there already and no model"):
        check_place(tmp_path, "gland", overwrite=True)


@pytest.mark.parametrize("place", ["note.txt", "note.txt/models", "x" * 300])
def test_a_place_that_cannot_be_a_folder_is_refused_before_anything_is_measured(tmp_path, place):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be written.*choose another --output"):
        check_place(tmp_path / place, "gland", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    found = fingerprint(*THICK)
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        write_plan(planned(found), found, tmp_path)
