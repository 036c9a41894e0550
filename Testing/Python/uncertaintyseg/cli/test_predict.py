"""What `uncertaintyseg predict` writes beside the label and the maps."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.cli.clip_picture import clip_picture
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.wire import FrameCurves


@pytest.fixture
def flat_model(tmp_path) -> tuple[str, str, str]:
    """A model of images, and the options that make the command find it."""
    bundle = tiny.give_random_weights(flat.write_flat_bundle(tmp_path / "models"))
    return bundle.name, "--models", str(bundle.folder.parent)


def test_a_clip_gets_a_picture_of_its_frames_and_an_image_none(command, flat_model, tmp_path):
    flat.write_clip(tmp_path, "sweep", (0, 1, 2))
    picture = flat.write_png(tmp_path / "picture.png", flat.frame(0)[0])
    name, *found = flat_model
    for scan, drawn in ((tmp_path / "images" / "sweep", True), (picture, False)):
        ended = command("predict", name, scan, *found, "--output", tmp_path / scan.stem)
        assert ended.code == 0, ended.err
        assert (tmp_path / scan.stem / "frames.png").is_file() == drawn
        assert ("frames.png" in ended.err) == drawn


@pytest.mark.parametrize(("unit", "shown"), [("mm2", "area, mm²"), ("px", "area, pixels")])
def test_the_picture_has_areas_in_their_unit_and_the_doubt_of_each_frame(tmp_path, monkeypatch, unit, shown):
    monkeypatch.setitem(matplotlib.rcParams, "savefig.format", "svg")
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text stays text
    curves = FrameCurves(
        area={"head": [10.0, 30.0, 20.0], "csp": [1.0, 0.0, 2.0]},
        expected_error=[2.0, 3.0, 2.5],
        uncertainty={"error_probability": [0.1, 0.3, 0.2]},
    )
    clip_picture(curves, unit, tmp_path / "frames.svg")
    drawn = (tmp_path / "frames.svg").read_text(encoding="utf-8")
    for text in (shown, "head", "csp", "expected to be wrong (all)", "error probability, mean of the frame"):
        assert f"{text}</text>" in drawn
    monkeypatch.undo()
    clip_picture(curves, unit, Path(tmp_path / "frames.png"))
    picture = matplotlib.image.imread(tmp_path / "frames.png")[..., :3]
    orange = np.abs(picture - np.array([0xE6, 0x9F, 0x00]) / 255).sum(-1) < 0.05  # the first structure
    rows = [np.nonzero(orange[:, column])[0].mean() for column in np.nonzero(orange.any(0))[0]]
    assert np.argmin(rows) == pytest.approx(len(rows) / 2, abs=len(rows) / 4)  # largest in the middle frame


def test_plausible_segmentations_are_those_of_the_library_the_smallest_first(command, tiny_bundle, scan, tmp_path):
    bundle = tiny_bundle("low_rank")
    asked = ["predict", bundle.name, scan, "--models", bundle.folder.parent, "--output", tmp_path / "out"]
    ended = command(*asked, "--plausible", "3", "--seed", "4")
    assert ended.code == 0, ended.err
    assert "3 plausible segmentations are beside it" in ended.err
    predictor = Predictor(bundle)
    drawn = list(predictor.samples(predictor.predict(scan, seed=4), 3, 4, paths=True))
    sizes = [np.count_nonzero(label) for label in drawn]
    assert len(set(sizes)) == 3
    for number, place in enumerate(np.argsort(sizes)):
        found = nib.load(tmp_path / "out" / f"plausible_{number:02d}.nii.gz")
        np.testing.assert_array_equal(np.asarray(found.dataobj), drawn[place])


def test_where_voxels_share_nothing_no_segmentation_is_drawn_and_the_reason_is_said(
    command, tiny_bundle, scan, tmp_path
):
    bundle = tiny_bundle("deterministic")
    asked = ["predict", bundle.name, scan, "--models", bundle.folder.parent, "--output", tmp_path / "out"]
    assert "no whole segmentations can be drawn: " in command(*asked, "--plausible", "3").message
    assert not (tmp_path / "out").exists()
