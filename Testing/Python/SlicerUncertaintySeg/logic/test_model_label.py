"""What a model moves and what a person drew, kept apart."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.logic.model_label import ModelLabel

MOVED, DRAWN, BOTH = np.s_[2:5, 2:5, 2:5], np.s_[40:44, 38:42, 18:22], np.s_[8:11, 8:11, 8:11]
"""What of the file's voxels, all background at first, a model moves to 1 and a person draws as 2."""


@pytest.fixture
def moved(phantom_case, tmp_path) -> Path:
    """The phantom's label, where a model has moved something."""
    image = nib.load(phantom_case.label)
    label = np.asarray(image.dataobj).copy()
    label[MOVED] = label[BOTH] = 1
    nib.Nifti1Image(label, image.affine).to_filename(tmp_path / "moved.nii")
    return tmp_path / "moved.nii"


def draw(case) -> None:
    ids = case.label_ids()
    file = in_file(ids)
    file[DRAWN] = file[BOTH] = 2
    case.draw(ids)


def in_file(ids: np.ndarray) -> np.ndarray:
    """The ids of the node as I J K of the file, which is left-handed."""
    return ids[::-1].transpose(2, 1, 0)


def test_without_edits_the_label_is_the_models(shown_case, phantom_case, moved):
    label = ModelLabel(shown_case)
    answer = label.moved_to(moved, phantom_case.label, [])
    np.testing.assert_array_equal(in_file(answer.ids), nib.load(moved).get_fdata())
    assert not answer.is_edited


def test_what_was_drawn_stays_and_all_is_undone_exactly(shown_case, phantom_case, moved):
    draw(shown_case)
    before = shown_case.label_ids()
    label = ModelLabel(shown_case)
    answer = label.moved_to(moved, phantom_case.label, [])
    assert answer.is_edited
    assert (in_file(answer.ids)[MOVED] == 1).all()
    assert (in_file(answer.ids)[DRAWN] == 2).all()
    assert (in_file(answer.ids)[BOTH] == 2).all()
    shown_case.draw(answer.ids)
    label.take_back(answer)
    np.testing.assert_array_equal(shown_case.label_ids(), before)
    label.move_again(answer)
    np.testing.assert_array_equal(shown_case.label_ids(), answer.ids)


def test_a_click_is_newer_than_what_was_drawn_under_it(shown_case, phantom_case, moved):
    draw(shown_case)
    answer = ModelLabel(shown_case).moved_to(moved, phantom_case.label, [(9, 9, 9)])
    assert in_file(answer.ids)[9, 9, 9] == 1
    assert in_file(answer.ids)[8, 9, 9] == 2


def test_somebody_elses_label_changes_only_where_the_model_moves(shown_case, phantom_case, moved):
    ids = shown_case.label_ids()
    in_file(ids)[20:30] = 2  # far from what the model says
    shown_case.draw(ids)
    label = ModelLabel(shown_case)
    label.begin(shown_case.label_ids())
    answer = label.moved_to(moved, phantom_case.label, [])
    assert answer.is_edited
    assert (in_file(answer.ids)[MOVED] == 1).all()
    assert (in_file(answer.ids)[20:30] == 2).all()
