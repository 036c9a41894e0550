"""Prediction on the scan's own grid: geometry, repeatability, and what the numbers mean."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import cache

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.geometry import resample
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import INFERENCE, find_bundles
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.review.regions import LEVELS

UPRIGHT, SHAPE = np.diag([3.0, 3.0, 6.0, 1.0]), (28, 26, 16)
UPRIGHT[:3, 3] = -UPRIGHT[:3, :3] @ ((np.array(SHAPE) - 1) / 2)


@pytest.fixture(scope="module")
def threshold(tmp_path_factory) -> Predictor:
    """Says organ where the blob is bright, whatever the grid."""
    return Predictor(tiny.write_threshold_bundle(tmp_path_factory.mktemp("models")))


@pytest.fixture
def blob(tmp_path):
    tiny.write_blob(tmp_path / "blob.nii.gz", UPRIGHT, SHAPE)
    return tmp_path / "blob.nii.gz"


def onto(prediction, affine, shape) -> np.ndarray:
    """The organ of a prediction on another grid, `[*shape]`, nearest label."""
    organ = torch.from_numpy((prediction.label == 1).astype(np.float32))[None]
    return resample(organ, prediction.affine, affine, shape)[0].numpy() > 0.5


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def predicted(scan, tmp_path_factory) -> Callable[[str, int], tuple[Predictor, Prediction]]:
    """`predicted("low_rank", 3)`: a model of a head and so many classes, and what it says of the scan with seed 3."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def run(head: str, classes: int) -> tuple[Predictor, Prediction]:
        bundle = tiny.give_random_weights(tiny.write_bundle(folder / str(classes), head, classes))
        predictor = Predictor(bundle)
        return predictor, predictor.predict(scan, seed=3)

    return run


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_label_and_maps_lie_on_the_scans_grid(predicted, scan, head, classes):
    predictor, prediction = predicted(head, classes)
    bundle, image = predictor.bundle, nib.load(scan)
    assert prediction.label.dtype == np.uint8
    assert prediction.label.shape == image.shape
    assert np.allclose(prediction.affine, image.affine)
    assert set(np.unique(prediction.label)) <= set(range(classes))
    structures = [label.name for label in bundle.labels]
    of_structures = [f"{measure}_{name}" for name in structures for measure in ("probability", "variance")]
    assert list(prediction.maps) == [*MEASURES, *of_structures, *predictor.network.head.extra_maps()]
    assert prediction.maps.keys() == prediction.map_info.keys()
    for name, value in prediction.maps.items():
        low, high = prediction.map_info[name].range
        assert value.dtype == np.float32
        assert value.shape == image.shape
        assert low <= value.min() <= value.max() <= high * (1 + 1e-5), name


@pytest.mark.parametrize("head", sorted(HEADS))
def test_the_label_is_the_likeliest_class_and_the_error_is_the_rest(predicted, head):
    predictor, prediction = predicted(head, 3)
    structures = np.stack([prediction.maps[f"probability_{label.name}"] for label in predictor.bundle.labels])
    p = np.concatenate([np.clip(1 - structures.sum(0), 0, 1)[None], structures])
    assert np.abs(prediction.maps["error_probability"] - (1 - p.max(0))).max() < 1e-6
    chosen = np.take_along_axis(p, prediction.label[None].astype(int), 0)[0]
    assert np.abs(chosen - p.max(0)).max() < 1e-6
    assert len(np.unique(prediction.label)) > 1


@pytest.mark.parametrize("head", sorted(HEADS))
def test_the_same_seed_gives_the_same_result_bit_for_bit(predicted, scan, head):
    predictor, one = predicted(head, 3)
    two = Predictor(predictor.bundle).predict(scan, seed=3)
    assert np.array_equal(one.label, two.label)
    for name, value in one.maps.items():
        assert np.array_equal(value, two.maps[name]), name
    assert one.structures == two.structures
    assert one.case_score == two.case_score


def test_another_seed_moves_the_volume_interval_but_no_map(predicted, scan):
    predictor, one = predicted("low_rank", 3)
    two = predictor.predict(scan, seed=2)
    assert all(np.array_equal(value, two.maps[name]) for name, value in one.maps.items())
    assert one.structures[0].volume_ml_95 != two.structures[0].volume_ml_95


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA", "IPL", "ARS"])
def test_the_axis_order_of_a_file_does_not_matter(predicted, scan, tmp_path, axes):
    """Bit for bit after turning back, whatever way the same voxels are stored."""
    (predictor, one), image = predicted("low_rank", 3), nib.load(scan)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
    turned = image.as_reoriented(turn)
    write_volume(tmp_path / "turned.nii.gz", np.asarray(turned.dataobj), turned.affine)
    two = predictor.predict(tmp_path / "turned.nii.gz", seed=3)
    back = resample(torch.from_numpy(two.label)[None], two.affine, one.affine, one.label.shape)[0].numpy()
    assert (back == one.label).mean() > 0.999
    assert [row.volume_ml for row in two.structures] == pytest.approx(
        [row.volume_ml for row in one.structures], rel=0.01
    )


@pytest.mark.parametrize("degrees", [5, 25, 44])
def test_an_oblique_scan_is_segmented_at_the_same_place(threshold, blob, tmp_path, degrees):
    reference = threshold.predict(blob)
    axis = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1, 2, 0.5])
    affine, shape = np.diag([2.5, 2.5, 5.0, 1.0]), (40, 40, 24)
    affine[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    tiny.write_blob(tmp_path / "oblique.nii.gz", affine, shape)
    prediction = threshold.predict(tmp_path / "oblique.nii.gz")
    assert np.allclose(prediction.affine, affine, atol=1e-5)
    organ = onto(prediction, UPRIGHT, SHAPE)
    assert (organ == (reference.label == 1)).mean() > 0.99
    assert dice(organ, reference.label == 1) > 0.93
    assert prediction.structures[0].volume_ml == pytest.approx(reference.structures[0].volume_ml, rel=0.03)


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((3, 3, 6), SHAPE), ((1, 1, 12), (84, 78, 8)), ((6, 1.5, 4), (14, 52, 24)), ((2, 2, 2), (42, 39, 48))],
)
def test_the_spacing_of_a_scan_does_not_change_where_the_organ_is(threshold, blob, tmp_path, spacing, shape):
    reference = threshold.predict(blob)
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    tiny.write_blob(tmp_path / "other.nii.gz", affine, shape)
    prediction = threshold.predict(tmp_path / "other.nii.gz")
    assert prediction.label.shape == shape
    assert dice(onto(prediction, UPRIGHT, SHAPE), reference.label == 1) > 0.85
    assert prediction.structures[0].volume_ml == pytest.approx(reference.structures[0].volume_ml, rel=0.06)


def test_the_label_is_where_the_blob_is_bright(threshold, blob):
    bright = read_scan(blob).numpy()[0] > -60
    prediction = threshold.predict(blob)
    assert (prediction.label == bright).all()
    assert prediction.structures[0].volume_ml == pytest.approx(bright.sum() * 0.054, abs=1e-3)
    border = np.abs(read_scan(blob).numpy()[0] + 60) < 10
    assert prediction.maps["predictive_entropy"][border].min() > prediction.maps["predictive_entropy"][~border].max()


@pytest.mark.parametrize("shape", [(5, 26, 16), (28, 3, 2), (6, 7, 4), (3, 3, 2)])
def test_a_volume_smaller_than_the_window_is_segmented(tiny_bundle, scan, tmp_path, shape):
    """With every head where no side is as long as the window's; where some are, with one of each way to run."""
    image = nib.load(scan)
    cut = image.slicer[2 : 2 + shape[0], 4 : 4 + shape[1], : shape[2]]
    write_volume(tmp_path / "small.nii.gz", np.asarray(cut.dataobj), cut.affine)
    every = max(shape) < 12
    heads = sorted(HEADS) if every else ("dropout", "low_rank", "segwithu")
    for head, options in (*((head, {}) for head in heads), ("mixture_of_bases", {"noise": "cube"})):
        prediction = Predictor(tiny_bundle(head, 3, **options)).predict(tmp_path / "small.nii.gz", samples=4)
        assert prediction.label.shape == cut.shape
        assert all(np.isfinite(value).all() for value in prediction.maps.values())


def test_a_volume_larger_than_the_window_takes_several_and_progress_ends_at_one(tiny_bundle, scan):
    said: list[tuple[str, float]] = []
    bundle = tiny_bundle("low_rank", 3, window=(16, 16, 8), overlap=0.5)
    Predictor(bundle).predict(scan, progress=lambda stage, fraction: said.append((stage, fraction)))
    fractions = [fraction for _, fraction in said]
    assert sum(stage.startswith("running the network, ") for stage, _ in said) > 8
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert said[-1] == ("done", 1.0)


def test_a_cropped_scan_agrees_with_the_whole_where_the_network_sees_the_same(threshold, blob, tmp_path):
    image = nib.load(blob)
    cut = image.slicer[4:26, 2:24, 1:14]
    write_volume(tmp_path / "cut.nii.gz", np.asarray(cut.dataobj), cut.affine)
    whole, part = threshold.predict(blob), threshold.predict(tmp_path / "cut.nii.gz")
    assert np.array_equal(part.label, whole.label[4:26, 2:24, 1:14])


def test_the_case_score_is_the_mean_entropy_near_the_foreground(threshold, blob):
    prediction = threshold.predict(blob)
    assert 0 < prediction.case_score < math.log(2)
    entropy = prediction.maps["predictive_entropy"]
    assert entropy.mean() < prediction.case_score < entropy.max()


def test_provenance_says_how_to_make_it_again(predicted):
    predictor, prediction = predicted("low_rank", 3)
    bundle, made = predictor.bundle, prediction.provenance
    assert (made.model, made.head, made.weights_checksum) == (bundle.name, "low_rank", bundle.checksum)
    assert (made.seed, made.device, made.dtype, made.nodes) == (3, "cpu", "float32", 32)
    assert (made.window, made.overlap) == ((24, 24, 12), 0.25)
    assert made.seconds.keys() == {"read", "network", "samples", "maps", "review"}
    assert made.seconds == prediction.seconds
    assert predicted("deterministic", 3)[1].provenance.nodes is None
    assert predicted("low_rank", 2)[1].provenance.nodes is None


def test_doubts_about_a_scan_are_told_with_its_result(threshold, blob, tmp_path):
    assert threshold.predict(blob).provenance.warnings == []
    tiny.write_blob(tmp_path / "thick.nii.gz", UPRIGHT * np.diag([1, 1, 10, 1]), SHAPE)
    (warning,) = threshold.predict(tmp_path / "thick.nii.gz").provenance.warnings
    assert warning.startswith("the scan has voxels of 3 x 3 x 60 mm, larger than")


def test_structures_that_are_named_get_maps_and_rows_and_the_label_keeps_all(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("low_rank", 5))
    whole, some = predictor.predict(scan, samples=4), predictor.predict(scan, samples=4, structures=["lesion"])
    assert np.array_equal(some.label, whole.label)
    assert [row.name for row in some.structures] == ["lesion"]
    assert some.structures[0] == next(row for row in whole.structures if row.name == "lesion")
    assert list(some.maps) == [*MEASURES, "probability_lesion", "variance_lesion"]
    for name in some.maps:
        assert np.array_equal(some.maps[name], whole.maps[name]), name
    assert some.provenance.params == {"structures": ["lesion"]}
    with pytest.raises(InputError, match="no structure 'spleen': it has organ, lesion"):
        predictor.predict(scan, structures=["spleen"])


def test_only_a_region_of_interest_is_looked_at(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("low_rank", 3, window=(16, 16, 8), overlap=0.5))
    said: dict[str, list[str]] = {"part": [], "whole": []}
    shape = nib.load(scan).shape
    region = [[0, shape[0] // 3], [shape[1] // 2, shape[1]], [0, shape[2]]]
    part = predictor.predict(scan, samples=4, region=region, progress=lambda stage, _: said["part"].append(stage))
    whole = predictor.predict(scan, samples=4, progress=lambda stage, _: said["whole"].append(stage))
    box = tuple(slice(*ends) for ends in region)
    inside = np.zeros(shape, bool)
    inside[box] = True
    assert np.array_equal(part.valid, inside)
    assert not part.label[~inside].any()
    assert np.array_equal(part.label[box], whole.label[box])
    for name in MEASURES:
        assert np.abs(part.maps[name][box] - whole.maps[name][box]).max() < 1e-6, name
        assert not part.maps[name][~inside].any()
    assert sum("windows" in stage for stage in said["part"]) < sum("windows" in stage for stage in said["whole"])
    assert part.provenance.params == {"region": region}
    assert (part.guarantee, part.guarantee_reason) == (None, whole.guarantee_reason)
    with pytest.raises(InputError, match="is no box of a scan of"):
        predictor.predict(scan, region=[[0, 1], [0, 1], [3, 3]])


def test_what_is_promised_of_whole_scans_is_not_promised_of_a_region(scan):
    predictor = Predictor(find_bundles()["hippocampus_low_rank"])
    whole = predictor.predict(scan, samples=2)
    assert whole.guarantee is not None
    shape = nib.load(scan).shape
    part = predictor.predict(scan, samples=2, region=[[0, shape[0] // 2], [0, shape[1]], [0, shape[2]]])
    assert part.guarantee is None
    assert "only a region of the scan was looked at" in part.guarantee_reason
    assert all(point.expected_error is None for point in part.risk_coverage)
    assert part.provenance.calibration == whole.provenance.calibration  # its map is read as before


def test_a_folder_of_scans_is_predicted_into_one_folder_each(tiny_bundle, phantoms, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("case_0", "case_1"):
        shutil.copy(phantoms / "images" / f"{name}.nii.gz", tmp_path / "images")
    reports = Predictor(tiny_bundle()).predict_folder(tmp_path, tmp_path / "out")
    assert [report["label"] for report in reports] == [
        str(tmp_path / "out" / name / "label.nii.gz") for name in ("case_0", "case_1")
    ]
    assert (tmp_path / "out" / "case_1" / "report.json").is_file()


def test_a_path_will_do_for_a_bundle_and_an_untrained_one_is_refused(tiny_bundle, tmp_path, scan):
    bundle = tiny_bundle()
    assert Predictor(str(bundle.folder)).bundle.name == bundle.name
    with pytest.raises(BundleError, match="train the model first"):
        Predictor(tiny.write_bundle(tmp_path / "untrained"))


def test_a_device_that_is_not_there_is_refused(tiny_bundle):
    with pytest.raises(InputError, match="device 'nonsense'"):
        Predictor(tiny_bundle(), device="nonsense")


def test_a_scan_that_cannot_be_used_is_named_before_anything_runs(tiny_bundle, tmp_path):
    with pytest.raises(InputError, match=r"absent\.nii\.gz: no such file"):
        Predictor(tiny_bundle()).predict(tmp_path / "absent.nii.gz")


def test_what_the_model_did_not_see_is_marked_and_nothing_else_is(tmp_path, blob, threshold):
    everywhere = threshold.predict(blob)
    assert "valid" not in everywhere.maps
    assert everywhere.valid.all()
    folder = tiny.write_threshold_bundle(tmp_path / "models", task="cropped").folder
    config = json.loads((folder / INFERENCE).read_text(encoding="utf-8"))
    config["preprocessing"]["transforms"].append(
        {"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": [8] * 3}
    )
    (folder / INFERENCE).write_text(json.dumps(config))
    cropped = Predictor(folder).predict(blob)
    assert cropped.valid.sum() == 8**3
    assert cropped.map_info["valid"].range == (0, 1)
    assert np.array_equal(cropped.maps["valid"], cropped.valid.astype(np.float32))
    assert not cropped.label[~cropped.valid].any()
    assert all(not values[~cropped.valid].any() for values in cropped.maps.values())
    assert "reaches the edge of the scan" in cropped.structures[0].flag


def test_regions_scores_and_table_come_with_a_prediction(tiny_bundle, scan):
    prediction = Predictor(tiny_bundle("low_rank", 3)).predict(scan, samples=4)
    error = prediction.maps["error_probability"]
    assert prediction.regions[0].rank == 1
    for region in prediction.regions:
        assert error[region.ijk] >= LEVELS[0]
        place = prediction.affine @ [*region.ijk, 1]
        assert region.ras_mm == pytest.approx(place[:3], abs=1e-3)
    assert prediction.case_scores["predictive_entropy"] == prediction.case_score
    assert all(math.isfinite(score) for score in prediction.case_scores.values())
    assert all(row.expected_error_ml >= 0 for row in prediction.structures)
