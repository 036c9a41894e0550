"""2D models: trained on pictures, they see each frame of a clip as they see it alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.audit import audit
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.fit import fit

FRAMES = (0, 1, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    flat.write_pictures(folder, FRAMES)
    flat.write_clip(folder, "clip", FRAMES)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A model that `train` has made of pictures."""
    models = tmp_path_factory.mktemp("models")
    bundle = Bundle.load(flat.write_flat_bundle(models, recipe={"epochs": 30}))
    pictures = [case for case in read_cases(data) if case.id != "clip"]
    fit(bundle, pictures, pictures, models)
    return Predictor(models / bundle.name)


@pytest.mark.parametrize(
    ("head", "backbone", "options"),
    [
        ("deterministic", flat.DYNUNET, {}),
        ("deterministic", flat.ATTENTION, {}),
        ("low_rank", flat.DYNUNET, {}),
        ("low_rank", flat.ATTENTION, {}),
        ("dropout", flat.DYNUNET, {"blocks": 1, "passes": 2, "kernel": [3, 3, 1]}),
        ("l_fusion", flat.DYNUNET, {"rank": 2, "passes": 2, "kernel": [3, 3, 1]}),
    ],
)
def test_a_frame_of_a_clip_is_answered_as_the_frame_alone_bit_for_bit(tmp_path, data, head, backbone, options):
    path = flat.write_flat_bundle(tmp_path, head, backbone=backbone, **options)
    predictor = Predictor(tiny.give_random_weights(path))
    clip = predictor.predict(data / "images" / "clip")
    assert clip.label.shape == (*flat.SIZE, len(FRAMES))
    assert clip.label.any()
    for number, seed in enumerate(FRAMES):
        alone = predictor.predict(data / "images" / f"case_{seed}.png")
        np.testing.assert_array_equal(clip.label[..., number], alone.label[..., 0])
        for name, values in alone.maps.items():
            np.testing.assert_array_equal(clip.maps[name][:, :, number : number + 1], values[:, :, :1], err_msg=name)


def test_a_crf_in_a_clip_draws_each_frame_as_it_draws_the_frame_alone(trained, tmp_path):
    """Contrast and doubt are those of the frame, also where another has five times its contrast."""
    pictures = [
        flat.write_png(tmp_path / f"{seed}.png", (flat.frame(seed)[0] * gain).astype(np.uint8))
        for seed, gain in zip(FRAMES, (1.0, 0.2, 0.6), strict=True)
    ]
    (tmp_path / "clip").mkdir()
    for picture in pictures:
        shutil.copy(picture, tmp_path / "clip")
    predictor = Predictor(trained.bundle.folder, crf=CRF(weight=5, sigma_mm=2.0, iterations=3))
    clip, plain = (made.predict(tmp_path / "clip") for made in (predictor, trained))
    for number, picture in enumerate(pictures):
        alone = predictor.predict(picture)
        np.testing.assert_array_equal(clip.label[..., number], alone.label[..., 0])
        for name, values in alone.maps.items():
            np.testing.assert_array_equal(clip.maps[name][:, :, number : number + 1], values[:, :, :1], err_msg=name)
    assert (clip.maps["predictive_entropy"] != plain.maps["predictive_entropy"]).any()


def test_training_on_pictures_learns_what_is_drawn(trained, data):
    found = evaluate(trained, read_cases(data))
    assert found["n"] == 4
    assert not found["failed"]
    assert found["structures"]["organ"]["dice"]["mean"] > 0.7
    by_case = {row["id"]: row["dice"]["organ"] for row in found["cases"]}
    assert min(by_case["case_0"], by_case["case_1"], by_case["case_2"]) <= by_case["clip"]
    assert by_case["clip"] <= max(by_case["case_0"], by_case["case_1"], by_case["case_2"])


def test_masks_of_pictures_and_clips_are_audited(trained, data):
    found = audit(trained, read_cases(data))
    assert found["n"] == 4
    assert not found["failed"]
    assert {row["case"] for row in found["structures"]} == {"case_0", "case_1", "case_2", "clip"}


def test_a_result_is_saved_on_the_pictures_grid(trained, data, tmp_path):
    found = trained.predict(data / "images" / "case_0.png")
    report = found.save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(report))
    np.testing.assert_array_equal(found.affine, np.diag([-1, -1, 1, 1]))


def test_a_clip_is_told_over_time_and_what_is_unknown_stays_unknown(trained, data, tmp_path):
    found = trained.predict(data / "images" / "clip")
    report = found.save(tmp_path / "out")
    assert (report["axis"], report["size_unit"], report["spacing_mm"]) == ("time", "px", None)
    assert report["frames"]["area"]["organ"] == (found.label == 1).sum((0, 1)).tolist()
    rows = {row["name"]: row for row in report["structures"]}
    assert rows["organ"]["volume_ml"] == pytest.approx(np.mean(report["frames"]["area"]["organ"]), abs=1e-3)
    assert np.sum(report["frames"]["expected_error"]) / 3 == pytest.approx(report["remaining_error_ml"], abs=1e-3)
    for name, values in report["frames"]["uncertainty"].items():
        assert values == pytest.approx(np.asarray(found.maps[name]).mean((0, 1), dtype=np.float64), abs=1e-6), name
    assert "error_probability" in report["frames"]["uncertainty"]
    assert [region["frame"] for region in report["regions"]] == [region["ijk"][2] for region in report["regions"]]
    image = trained.predict(data / "images" / "case_0.png")
    assert (image.axis, image.spacing_mm, image.frames) == (None, None, None)
    assert {region.frame for region in image.regions} <= {None}


def test_a_threshold_says_in_which_unit_it_found_what(trained, data, tmp_path):
    cut = Predictor(trained.bundle, threshold="organ:0.3")
    pixels = cut.predict(data / "images" / "case_0.png")
    assert pixels.threshold.above_ml == (pixels.label == 1).sum()
    assert pixels.threshold.text.endswith(" pixels above.")
    values = flat.frame(0)[0].T[..., None].astype(np.float32)
    write_volume(tmp_path / "s.nii.gz", values, np.diag([-0.5, -0.5, 5.0, 1.0]))
    assert cut.predict(tmp_path / "s.nii.gz").threshold.text.endswith(" mm² above.")


def test_one_thick_slice_in_nifti_is_an_image_too(trained, data, tmp_path):
    values = flat.frame(0)[0].T[..., None].astype(np.float32)
    write_volume(tmp_path / "s.nii.gz", values, np.diag([-1.0, -1.0, 5.0, 1.0]))
    found = trained.predict(tmp_path / "s.nii.gz")
    np.testing.assert_array_equal(found.label, trained.predict(data / "images" / "case_0.png").label)


def test_models_refuse_what_has_other_dimensions(trained, data, tmp_path):
    write_volume(tmp_path / "v.nii.gz", np.random.default_rng(0).random((16, 16, 8), np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"v\.nii\.gz: a volume \(16 x 16 x 8 voxels\), and this model is 2D"):
        trained.predict(tmp_path / "v.nii.gz")
    solid = Predictor(tiny.write_threshold_bundle(tmp_path))
    with pytest.raises(InputError, match=r"clip: a clip of 3 frames.* 3D"):
        solid.predict(data / "images" / "clip")
    with pytest.raises(InputError, match=r"case_0\.png: one slice thick.* 3D"):
        solid.predict(data / "images" / "case_0.png")


def test_a_training_of_volumes_refuses_pictures(data, tmp_path):
    bundle = Bundle.load(tiny.write_bundle(tmp_path, classes=3))
    pictures = [case for case in read_cases(data) if case.id != "clip"]
    with pytest.raises(InputError, match=r"case_0\.png: one slice thick.* 3D"):
        fit(bundle, pictures, pictures, tmp_path)
