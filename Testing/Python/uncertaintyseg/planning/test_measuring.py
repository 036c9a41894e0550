"""What is measured of one case, against numpy, however its files store it."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.planning import small_cases
from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.scan import count_volumes
from uncertaintyseg.data.segments import Segment, segments_in
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.planning import measuring
from uncertaintyseg.planning.measuring import SAMPLE, Meaning, measure

ONE = Meaning({"organ": 1, "lesion": 2}, {}, None, 1)


def write(folder, image, drawn, affine=None, ending=".nii.gz"):
    affine = np.diag([*small_cases.SPACING, 1.0]) if affine is None else affine
    write_volume(folder / f"scan{ending}", image, affine)
    write_volume(folder / f"label{ending}", drawn, affine)
    return Case("case", folder / f"scan{ending}", folder / f"label{ending}")


def kinds(measured):
    return [(problem.kind, problem.severity) for problem in measured.problems]


def test_all_is_as_numpy_says(tmp_path):
    image, drawn = small_cases.scan(0), small_cases.label()
    image[:, :2], image[..., -1] = 0, 0
    facts, problems = measure(write(tmp_path, image, drawn), ONE)
    inside = image[drawn > 0].astype(np.float64)
    found = facts.channels[0]
    assert problems == []
    assert (facts.shape, facts.spacing, facts.cropped_shape) == ((12, 10, 8), (1.0, 2.0, 3.0), (12, 8, 7))
    assert facts.voxels == {1: int((drawn == 1).sum()), 2: 8}
    assert facts.volumes == {1: (drawn == 1).sum() * 6.0, 2: 48.0}
    assert (facts.orientation, facts.ignored, facts.unknown, facts.nonfinite) == ("RAS", 0.0, {}, 0)
    assert [found.mean, found.std] == pytest.approx([inside.mean(), inside.std()], rel=1e-9)
    assert (found.minimum, found.maximum) == (inside.min(), inside.max())
    whole = image.astype(np.float64)
    assert [found.image_mean, found.image_std] == pytest.approx([whole.mean(), whole.std()], rel=1e-9)
    assert (found.image_minimum, found.image_maximum) == (0.0, image.max())
    for number, contrast in found.contrast.items():
        assert contrast == pytest.approx((whole[drawn == number].mean() - whole.mean()) / whole.std(), rel=1e-6)
    assert found.sample.size == SAMPLE
    assert np.isin(found.sample, inside).all()
    shares = np.linspace(0.05, 0.95, 19)
    assert np.quantile(found.sample, shares) == pytest.approx(np.quantile(inside, shares), abs=1.5)


@given(
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 2.5, 5.0])] * 3),
    ending=st.sampled_from([".nii.gz", ".nii", ".mha"]),
)
def test_facts_do_not_depend_on_how_a_case_is_stored(tmp_path_factory, order, flips, spacing, ending):
    folder = tmp_path_factory.mktemp("stored")
    image, drawn = small_cases.scan(1), small_cases.label()
    image[0], image[:, -2:] = 0, 0
    affine = np.diag([*spacing, 1.0])
    plain = measure(write(folder, image, drawn, affine), ONE).facts
    turn = np.column_stack([order, np.where(flips, -1, 1)])
    turned = [nib.orientations.apply_orientation(volume, turn) for volume in (image, drawn)]
    place = affine @ nib.orientations.inv_ornt_aff(turn, image.shape)
    case = write(folder, *turned, place) if ending == ".nii.gz" else write_other(folder, ending, *turned, place)
    stored = measure(case, ONE).facts
    assert stored.orientation == "".join(nib.aff2axcodes(place))
    assert stored.spacing == pytest.approx(plain.spacing, rel=1e-6)
    for field in ("shape", "cropped_shape", "voxels", "image_hash", "label_hash", "ignored"):
        assert getattr(stored, field) == getattr(plain, field), field
    ours, theirs = stored.channels[0], plain.channels[0]
    assert np.array_equal(ours.sample, theirs.sample)
    for field in ("mean", "std", "minimum", "maximum", "image_mean", "image_std", "contrast"):
        assert getattr(ours, field) == getattr(theirs, field), field


def write_other(folder, ending, image, drawn, affine):
    import SimpleITK as sitk

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    size = np.linalg.norm(lps[:3, :3], axis=0)
    for name, volume in (("scan", image), ("label", drawn)):
        written = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
        written.SetSpacing(size.tolist())
        written.SetDirection((lps[:3, :3] / size).ravel().tolist())
        written.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(written, str(folder / f"{name}{ending}"))
    return Case("case", folder / f"scan{ending}", folder / f"label{ending}")


def test_a_label_on_turned_axes_is_that_of_the_scan(tmp_path):
    image, drawn = small_cases.scan(2), small_cases.label()
    case = write(tmp_path, image, drawn)
    straight = measure(case, ONE).facts
    turn = np.array([[1, -1], [0, 1], [2, -1]])
    place = np.diag([*small_cases.SPACING, 1.0]) @ nib.orientations.inv_ornt_aff(turn, drawn.shape)
    write_volume(case.label, nib.orientations.apply_orientation(drawn, turn), place)
    turned = measure(case, ONE).facts
    assert (turned.voxels, turned.label_hash) == (straight.voxels, straight.label_hash)
    assert np.array_equal(turned.channels[0].sample, straight.channels[0].sample)


def test_of_many_voxels_some_are_taken_and_the_same_ones_at_every_time(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    image = rng.gamma(2.0, 50.0, (48, 48, 48)).astype(np.float32)
    drawn = np.ones(image.shape, np.uint8)
    case = write(tmp_path, image, drawn)
    monkeypatch.setattr(measuring, "_MOST", 20000)
    first, second = (measure(case, ONE).facts.channels[0] for _ in range(2))
    other = measure(replace(case, id="other"), ONE).facts.channels[0]
    assert np.array_equal(first.sample, second.sample)
    assert not np.array_equal(first.sample, other.sample)
    assert first.mean == pytest.approx(image.mean(dtype=np.float64), rel=1e-6)  # of all voxels
    shares = np.array([0.005, 0.1, 0.5, 0.9, 0.995])
    ranks = np.searchsorted(np.sort(image.ravel()), np.quantile(first.sample, shares)) / image.size
    assert np.abs(ranks - shares).max() < 0.01


def test_values_of_the_files_become_our_ids_and_others_are_counted(tmp_path):
    image, drawn = small_cases.scan(4), small_cases.label()
    drawn[drawn == 2], drawn[0, 0, :3], drawn[1, 1, :4] = 7, 9, 255
    facts, problems = measure(
        write(tmp_path, image, drawn), Meaning({"organ": 1, "lesion": 2}, {1: 1, 7: 2, 3: 0}, 255, 1)
    )
    assert problems == []
    assert facts.voxels == {1: int((drawn == 1).sum()), 2: 8}
    assert facts.unknown == {9: 3}
    assert facts.ignored == 4 / drawn.size
    assert facts.channels[0].maximum == image[(drawn == 1) | (drawn == 7)].max()


def test_an_empty_label_leaves_the_structures_open(tmp_path):
    image = small_cases.scan(5)
    facts, problems = measure(write(tmp_path, image, np.zeros(image.shape, np.uint8)), ONE)
    assert problems == []
    assert (facts.voxels, facts.label_hash) == ({}, None)
    assert facts.channels[0].sample.size == 0
    assert np.isnan(facts.channels[0].mean)
    assert facts.channels[0].image_maximum == image.max()


def test_voxels_that_are_no_numbers_count_for_nothing_and_are_an_error(tmp_path):
    image, drawn = small_cases.scan(6), small_cases.label()
    spoilt = image.copy()
    spoilt[5, 5, 3], spoilt[0, 0, 0] = np.nan, np.inf
    measured = measure(write(tmp_path, spoilt, drawn), ONE)
    usable = np.isfinite(spoilt)
    assert kinds(measured) == [("nonfinite", "error")]
    assert "2 voxels are NaN or infinite" in measured.problems[0].text
    assert measured.facts.nonfinite == 2
    assert measured.facts.channels[0].image_mean == pytest.approx(spoilt[usable].mean(dtype=np.float64), rel=1e-9)
    assert measured.facts.channels[0].maximum == spoilt[usable & (drawn > 0)].max()


@pytest.mark.parametrize(
    ("image", "drawn", "kind"),
    [
        (np.full((9, 9, 9), 5.0, np.float32), np.ones((9, 9, 9), np.uint8), "constant"),
        (np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.ones((2, 2, 2), np.uint8), "size"),
    ],
)
def test_a_scan_without_anything_to_learn_from_is_an_error(tmp_path, image, drawn, kind):
    assert kinds(measure(write(tmp_path, image, drawn), ONE)) == [(kind, "error")]


def test_a_label_on_another_grid_is_told_with_the_difference(tmp_path):
    case = write(tmp_path, small_cases.scan(7), small_cases.label())
    write_volume(case.label, small_cases.label(), np.diag([1.0, 2.0, 3.5, 1.0]))
    facts, (problem,) = measure(case, ONE)
    assert facts is None
    assert (problem.kind, problem.severity, problem.case_id) == ("grid", "error", "case")
    assert "spacing 1 x 2 x 3.5 mm where the scan has 1 x 2 x 3" in problem.text


def test_a_label_of_fractions_is_no_label(tmp_path):
    image = small_cases.scan(8)
    facts, (problem,) = measure(write(tmp_path, image, image / 200), ONE)
    assert facts is None
    assert problem.kind == "unreadable"
    assert "whole numbers" in problem.text


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.98])
@pytest.mark.parametrize("which", ["image", "label"])
def test_a_file_that_was_cut_short_is_a_problem_of_its_case(tmp_path, keep, which):
    case = write(tmp_path, small_cases.scan(9), small_cases.label())
    path = getattr(case, which)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    facts, (problem,) = measure(case, ONE)
    assert facts is None
    assert (problem.kind, problem.severity) == ("unreadable", "error")
    assert path.name in problem.text


def test_a_flipped_bit_inside_a_packed_file_is_found(tmp_path):
    case = write(tmp_path, small_cases.scan(10), small_cases.label())
    data = bytearray(case.image.read_bytes())
    data[-8] ^= 0xFF  # of the checksum
    case.image.write_bytes(bytes(data))
    assert kinds(measure(case, ONE)) == [("unreadable", "error")]


def test_several_channels_are_measured_each_in_its_unit(tmp_path):
    images = [small_cases.scan(11), small_cases.scan(12) * 50]
    small_cases.write_case(tmp_path, "a", images, small_cases.label())
    case = Case("a", tmp_path / "imagesTr" / "a_0000.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    facts, problems = measure(case, replace(ONE, channels=2))
    inside = small_cases.label() > 0
    assert problems == []
    assert [channel.mean for channel in facts.channels] == pytest.approx(
        [float(i[inside].mean()) for i in images], 1e-5
    )


def test_channels_in_one_file_are_those_of_several(tmp_path):
    images = [small_cases.scan(17), small_cases.scan(18) * 50]
    small_cases.write_case(tmp_path, "a", images, small_cases.label())
    label = tmp_path / "labelsTr" / "a.nii.gz"
    apart, _ = measure(Case("a", tmp_path / "imagesTr" / "a_0000.nii.gz", label), replace(ONE, channels=2))
    affine = np.diag([*small_cases.SPACING, 1.0])
    nib.save(nib.Nifti1Image(np.stack(images, -1), affine), tmp_path / "both.nii.gz")
    both, problems = measure(Case("a", tmp_path / "both.nii.gz", label), replace(ONE, channels=2))
    assert problems == []
    assert both.image_hash == apart.image_hash
    assert [channel.mean for channel in both.channels] == [channel.mean for channel in apart.channels]


@pytest.mark.parametrize("count", [1, 3])
def test_a_channel_too_many_or_too_few_is_told(tmp_path, count):
    small_cases.write_case(tmp_path, "a", [small_cases.scan(13)] * 2, small_cases.label())
    case = Case("a", tmp_path / "imagesTr" / "a_0000.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    measured = measure(case, replace(ONE, channels=count))
    assert kinds(measured) == [("channels", "error")]
    assert ("a_0001" if count == 1 else "a_0002") in measured.problems[0].text


def test_channels_on_different_grids_are_told(tmp_path):
    small_cases.write_case(tmp_path, "a", [small_cases.scan(14)] * 2, small_cases.label())
    write_volume(tmp_path / "imagesTr" / "a_0001.nii.gz", small_cases.scan(14), np.diag([1.0, 2.0, 4.0, 1.0]))
    case = Case("a", tmp_path / "imagesTr" / "a_0000.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    assert kinds(measure(case, replace(ONE, channels=2))) == [("grid", "error")]


def test_segments_with_names_and_folders_of_binary_volumes_count_as_they_are_learnt(tmp_path):
    image, drawn = small_cases.scan(15), small_cases.label()
    plain = measure(write(tmp_path, image, drawn), ONE).facts
    affine = np.diag([*small_cases.SPACING, 1.0])
    segments = tmp_path / "label.seg.nrrd"
    swapped = np.array([0, 2, 1], np.uint8)[drawn]
    write_segmentation(segments, swapped, affine, [Segment("lesion", 1), Segment("organ", 2)])
    folder = tmp_path / "binary"
    for name, inside in (("organ", drawn > 0), ("lesion", drawn == 2)):
        write_volume(folder / f"{name}.nii.gz", inside, affine)
    for stored in (segments, folder):
        facts, problems = measure(Case("case", tmp_path / "scan.nii.gz", stored), ONE)
        assert problems == []
        assert (facts.voxels, facts.label_hash) == (plain.voxels, plain.label_hash)


def test_a_packed_header_that_promises_the_world_is_refused(tmp_path):
    case = write(tmp_path, small_cases.scan(16), small_cases.label())
    data = bytearray(gzip.decompress(case.image.read_bytes()))
    data[42:48] = np.array([30000] * 3, "<i2").tobytes()
    case.image.write_bytes(gzip.compress(bytes(data)))
    measured = measure(case, ONE)
    assert kinds(measured) == [("unreadable", "error")]
    assert "promises" in measured.problems[0].text


def test_meaning_is_that_of_the_data_set(tmp_path):
    dataset = small_cases.make(tmp_path, 2, channels=("T1", "T2"))
    assert Meaning.of(dataset) == Meaning({"organ": 1, "lesion": 2}, {}, None, 2)
    assert Meaning.of(read_dataset(tmp_path, labels={2: "spot"})).values == {2: 1}


def test_one_image_in_the_place_of_two_channels_is_an_error(tmp_path):
    def change(number, parts):
        if number == 2:
            parts[0][2][:] = parts[0][0]

    dataset = small_cases.make(tmp_path, 3, channels=("T1", "T2", "FLAIR"), change=change)
    meaning = Meaning.of(dataset)
    assert [kinds(measure(case, meaning)) for case in dataset.cases] == [[], [], [("channels", "error")]]
    assert "case_2_0002.nii.gz: channel 3 is channel 1" in measure(dataset.cases[2], meaning).problems[0].text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("which", ["image", "label"])
def test_a_named_pipe_is_no_file_and_nobody_waits_for_it(tmp_path, which):
    case = write(tmp_path, small_cases.scan(0), small_cases.label())
    path = getattr(case, which)
    path.unlink()
    os.mkfifo(path)
    assert kinds(measure(case, ONE)) == [("unreadable", "error")]
    assert segments_in(path) == []
    assert count_volumes(path) == 1
