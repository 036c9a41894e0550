"""`uncertaintyseg correct`: what a person says of some voxels moves the label, as the library does it."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.inference.bundle import WEIGHTS, Bundle
from uncertaintyseg.inference.conditioned import Click, ConditionedCase
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.enclosing import Box, Lasso


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose voxels share noise."""
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), "low_rank"))


@pytest.fixture(scope="module")
def case(model, scan) -> ConditionedCase:
    predictor = Predictor(model)
    return ConditionedCase(predictor.network.head, predictor.predict(scan), model.labels)


def correct(command, model, scan, output, *said: str):
    return command("correct", model.name, scan, *said, "--models", model.folder.parent, "--output", output)


def written(folder, name: str) -> np.ndarray:
    return nib.load(folder / f"{name}.nii.gz").get_fdata()


def test_all_kinds_of_corrections_move_the_label_as_the_library_does(command, model, case, scan, tmp_path):
    label = case.base.label
    i, j, k = np.unravel_index(case.base.maps["error_probability"].argmax(), label.shape)
    wrong = [int(index) for index in (i, j, k)]
    name = "organ" if label[i, j, k] == 0 else "background"
    said = int(name == "organ")
    ended = correct(
        command, model, scan, tmp_path / "out",
        "--click", f"{','.join(map(str, wrong))}={name}",
        "--scribble", "3,4,5; 4,4,5; 5,4,5=lesion",
        "--lasso", "9.5,20,11; 14.5,20,11; 12,26,11=organ",
        "--box", "6,6,4; 25,25,12=lesion",
        "--reach-mm", "12", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    clicks = [Click(tuple(wrong), said), *(Click((x, 4, 5), 2, stroke=True) for x in (3, 4, 5))]
    lasso = Lasso(1, ((9.5, 20.0, 11.0), (14.5, 20.0, 11.0), (12.0, 26.0, 11.0)))
    wanted = case.given(clicks, [lasso], [Box(2, (6, 6, 4), (25, 25, 12))], reach_mm=12.0)
    assert (ended.json["moved"], ended.json["alone"]) == (wanted.moved, wanted.alone) == ("shape", wanted.alone)
    np.testing.assert_array_equal(written(tmp_path / "out", "label"), wanted.label)
    assert (wanted.label != label).sum() > 4
    maps = wanted.maps()
    assert set(ended.json["maps"]) == set(maps)
    for name in ("error_probability", "probability_organ"):
        np.testing.assert_allclose(written(tmp_path / "out", name), maps[name], atol=2 / 65535)


def test_what_was_moved_is_said(command, model, scan, tmp_path):
    ended = correct(command, model, scan, tmp_path / "out", "--click", "16,16,8=background")
    assert ended.code == 0
    assert "Corrections moved the shapes around them." in " ".join(ended.err.split())
    assert written(tmp_path / "out", "label")[16, 16, 8] == 0


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((), "nothing is corrected: say something by --click, --scribble, --lasso, --box"),
        (("--click", "1,2,3=cyst"), "--click 1,2,3=cyst: end it with =NAME, one of background, organ, lesion."),
        (("--click", "1,2,3"), "end it with =NAME"),
        (("--click", "1,2=organ"), 'give voxels as i,j,k from 0, with ; between, such as "20,25,11=organ".'),
        (("--click", "1.5,2,3=organ"), "give voxels as i,j,k"),
        (("--click", "1,2,3;1,2,4=organ"), "give voxels as i,j,k"),
        (("--box", "1,2,3=organ"), 'such as "8,12,6; 20,31,18=organ".'),
        (("--lasso", "1,2,3; 1,2,4=organ"), 'such as "9,20,11; 14,20,11; 12,26,11=organ".'),
        (("--click", "nan,2,3=organ"), "give voxels as i,j,k"),
        (("--click", "1,2,99=organ"), "click [1, 2, 99]: outside the scan of "),
        (("--click", "1,2,3=organ", "--click", "1,2,3=lesion"), "it can be one of them"),
        (("--box", "1,2,3; 1,2,99=organ"), "is no box in the scan of "),
        (("--box", "1,2,3; 4,5,6=background"), "a box holds a structure"),
    ],
)
def test_corrections_that_cannot_be_are_refused_by_name(command, model, scan, tmp_path, said, message):
    ended = correct(command, model, scan, tmp_path / "out", *said)
    assert message in ended.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (("--click", "1,2,99=organ"), "click [1, 2, 99]: outside the scan of "),
        (("--lasso", "9,20,11; 99,20,11; 12,26,11=organ"), "a lasso leaves the scan of "),
        (("--click", "1,2,3=organ"), "model.safetensors"),
    ],
)
def test_what_cannot_be_is_refused_before_the_network_is_read(command, model, scan, tmp_path, said, message):
    bundle = Bundle.load(shutil.copytree(model.folder, tmp_path / "models" / model.name))
    (bundle.folder / WEIGHTS).unlink()
    assert message in correct(command, bundle, scan, tmp_path / "out", *said).message


def test_a_model_of_images_takes_none(command, tmp_path):
    bundle = tiny.give_random_weights(flat.write_flat_bundle(tmp_path / "models", "low_rank"))
    picture = flat.write_png(tmp_path / "a.png", flat.frame(0)[0])
    ended = correct(command, bundle, picture, tmp_path / "out", "--click", "1,2,0=organ")
    assert "is a model of images: clicks move shapes in volumes; edit the label instead." in ended.message
