"""DICOM volumes: every frame where it lies, or refused; several volumes in one series by name."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from Testing.Python.uncertaintyseg.dicom_files import SERIES, UPRIGHT, Slice, write_classic, write_enhanced
from uncertaintyseg.data import dicom
from uncertaintyseg.data.dicom_frames import frames_of
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError

COLUMNS, ROWS, SLICES, STEP = 7, 6, 5, 2.0
STORED = np.random.default_rng(0).integers(0, 1000, (SLICES, ROWS, COLUMNS))
AFFINE = np.array([[-0.7, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, STEP, 5], [0, 0, 0, 1]])


def stack(stored=STORED, first=5.0, orientation=UPRIGHT, origin=(10.0, 20.0, 0.0), **said):
    normal = np.cross(orientation[:3], orientation[3:])
    start = np.array(origin) + first * normal
    return [Slice(one, (start + STEP * k * normal).tolist(), orientation, dict(said)) for k, one in enumerate(stored)]


def classic(tmp_path, slices):
    return write_classic(tmp_path / "classic", slices)


def enhanced(tmp_path, slices):
    return write_enhanced(tmp_path / "enhanced" / "one.dcm", slices)


def enhanced_folder(tmp_path, slices):
    return enhanced(tmp_path, slices).parent


KINDS = pytest.mark.parametrize("write", [classic, enhanced, enhanced_folder])


def refused(path, *words, **options):
    with pytest.raises(InputError) as caught:
        read_scan(path, **options)
    for word in (str(path), *words):
        assert word in str(caught.value)


def assert_is(scan, stored=STORED, affine=AFFINE):
    np.testing.assert_array_equal(scan[0].numpy().T, 2.0 * stored - 1000)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-5)


@KINDS
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_frames_lie_by_their_positions_whatever_their_order(tmp_path, write, seed):
    slices = stack()
    if seed is not None:
        random.Random(seed).shuffle(slices)
    assert_is(read_scan(write(tmp_path, slices)))


@KINDS
def test_an_oblique_volume_lies_where_it_was_made(tmp_path, write):
    turn = Rotation.from_euler("xyz", (20, -30, 50), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.7, 0.9, STEP)
    affine[:3, 3] = np.array((10, 20, 0)) + 5 * turn[:, 2]
    scan = read_scan(write(tmp_path, stack(orientation=(*turn[:, 0], *turn[:, 1]))))
    assert_is(scan, affine=np.diag([-1, -1, 1, 1]) @ affine)


@KINDS
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_frame_is_refused(tmp_path, write, missing):
    slices = stack()
    del slices[missing]
    refused(write(tmp_path, slices), "2 to 4 mm apart", "missing")


@KINDS
def test_shifted_frames_are_refused(tmp_path, write):
    slices = [
        dataclasses.replace(one, position=[one.position[0] + 0.2 * k, *one.position[1:]])
        for k, one in enumerate(stack())
    ]
    refused(write(tmp_path, slices), "tilted gantry, 0.8 mm")


@KINDS
@pytest.mark.parametrize("name", ["position", "orientation"])
def test_frames_without_a_place_are_refused(tmp_path, write, name):
    slices = [dataclasses.replace(one, **{name: None}) for one in stack()]
    refused(write(tmp_path, slices), f"slices without Image{name.title()}Patient", "not known")


@KINDS
def test_frames_without_a_spacing_are_refused(tmp_path, write):
    refused(write(tmp_path, stack(PixelSpacing=None)), "slices without PixelSpacing")


def test_frames_that_have_one_place_for_all_are_refused(tmp_path):
    path = write_enhanced(tmp_path / "one.dcm", stack(), PerFrameFunctionalGroupsSequence=None)
    refused(path, "5 frames")


@KINDS
def test_doubled_frames_are_refused(tmp_path, write):
    refused(write(tmp_path, stack() + stack()), "nothing in their headers tells them apart")


TWO = {
    "temporal position": ("TemporalPositionIdentifier", "TemporalPositionIndex", (1, 2)),
    "type": ("ImageType", "FrameType", ("WATER", "FAT")),
    "echo time": ("EchoTime", "EffectiveEchoTime", (4.6, 9.2)),
    "b-value": ("DiffusionBValue", "DiffusionBValue", (0, 1000)),
}


@KINDS
@pytest.mark.parametrize("mark", TWO)
@pytest.mark.parametrize("offset", [0.0, 0.6])  # the second one's slices lie between those of the first
def test_two_volumes_in_one_series_are_offered_by_name(tmp_path, write, mark, offset):
    keyword = TWO[mark][0 if write is classic else 1]
    one, other = TWO[mark][2]
    second = STORED[::-1] + 1
    slices = stack(**{keyword: one}) + stack(second, 5.0 + offset, **{keyword: other})
    random.Random(0).shuffle(slices)
    path = write(tmp_path, slices)
    refused(path, "2 volumes", f"'{mark} {one}' (5 slices)", f"'{mark} {other}' (5 slices)", "--volume")
    assert_is(read_scan(path, f"{mark} {one}"))
    affine = AFFINE.copy()
    affine[2, 3] += offset
    assert_is(read_scan(path, f"{mark} {other}"), second, affine)
    refused(path, "no volume 'third'", f"'{mark} {one}'", volume="third")


def test_what_two_marks_tell_apart_is_named_by_both(tmp_path):
    slices = [
        one
        for b, echo in ((0, 1), (0, 2), (500, 1), (500, 2))
        for one in stack(STORED + b + echo, DiffusionBValue=float(b), EchoTime=echo)
    ]
    path = classic(tmp_path, slices)
    refused(path, "4 volumes", "'echo time 2, b-value 500' (5 slices)")
    assert_is(read_scan(path, "echo time 2, b-value 500"), STORED + 502)


SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@KINDS
def test_views_are_told_apart(tmp_path, write):
    path = write(tmp_path, stack() + stack(orientation=SAGITTAL)[:3])
    refused(path, "'axial 7 x 6' (5 slices)", "'sagittal 7 x 6' (3 slices)")
    assert_is(read_scan(path, "axial 7 x 6"))


@KINDS
def test_a_localizer_is_named_as_such(tmp_path, write):
    kind = {"ImageType" if write is classic else "FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    refused(write(tmp_path, stack(**kind)), "a localizer", "give the series of the scan itself")


def test_a_localizer_beside_a_scan_does_not_stand_in_its_way(tmp_path):
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    assert_is(read_scan(classic(tmp_path, stack(orientation=SAGITTAL, **kind)[:2] + stack())))


@pytest.mark.parametrize("write", [enhanced, enhanced_folder])
def test_every_frame_is_rescaled_by_its_own_slope(tmp_path, write):
    slices = stack()
    for k, one in enumerate(slices):
        one.said = {"RescaleSlope": 1 + k, "RescaleIntercept": -10 * k}
    expected = np.stack([one * (1.0 + k) - 10 * k for k, one in enumerate(STORED)])
    np.testing.assert_allclose(read_scan(write(tmp_path, slices))[0].numpy().T, expected, atol=1e-3)


def test_two_series_are_listed(tmp_path):
    folder = write_classic(tmp_path / "s", stack())
    write_classic(folder, stack(SeriesDescription="portal venous"), series=SERIES + ".9")
    refused(folder, "2 DICOM series", "'portal venous' (number 7)", "exactly one")


def test_other_files_in_the_folder_do_not_matter(tmp_path):
    folder = classic(tmp_path, stack())
    (folder / "readme.txt").write_text("exported on Monday")
    (folder / ".DS_Store").write_bytes(bytes(200))
    assert_is(read_scan(folder))


def test_colours_are_refused(tmp_path):
    path = write_enhanced(tmp_path / "one.dcm", stack(), SamplesPerPixel=3)
    refused(path, "3 channels")


def test_a_volume_has_a_name_in_dicom_only(tmp_path):
    (tmp_path / "scan.nii").touch()
    refused(tmp_path / "scan.nii", "only of a DICOM series", volume="1")


def test_slices_of_too_many_spacings_are_refused_and_not_compared_with_each_other(tmp_path, monkeypatch):
    slices = [
        dataclasses.replace(one, said={"PixelSpacing": [1 + k, 1]}) for k, one in enumerate(stack(STORED[:1] * 1) * 80)
    ]
    compared = []
    same_view = dicom._same_view
    monkeypatch.setattr(dicom, "_same_view", lambda *frames: compared.append(0) or same_view(*frames))
    refused(classic(tmp_path, slices), "more than 64 orientations, sizes or spacings")
    assert len(compared) == 64 * 65 / 2


def test_a_frame_computes_its_place_once():
    header = dicom.Dataset()
    header.ImagePositionPatient, header.ImageOrientationPatient, header.PixelSpacing = [1, 2, 3], list(UPRIGHT), [1, 1]
    (frame,) = frames_of(header)
    assert frame.normal is frame.normal
    assert frame.depth == 3


def test_of_many_volumes_some_are_listed(tmp_path):
    slices = [one for number in range(12) for one in stack(STORED[:2], TemporalPositionIdentifier=number)]
    refused(classic(tmp_path, slices), "12 volumes", "temporal position 0' (2 slices)", "and 2 more")
