"""What is written: small, the same bytes each time, whole or not at all."""

from __future__ import annotations

import gzip
import threading

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.data.segments import Segment, segments_in
from uncertaintyseg.data.writing import check_file, encode_map, write_volume
from uncertaintyseg.errors import InputError

AFFINE = np.array([[0.8, 0, 0, -10], [0, 0.8, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]])


def scan_array(shape=(6, 5, 4)):
    return np.random.default_rng(0).normal(40, 15, shape).astype(np.float32)


@pytest.fixture
def scan_file(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, scan_array(), AFFINE)
    return path


@pytest.mark.parametrize(
    ("array", "stored"),
    [
        (np.array([[[True, False]]]), np.uint8),
        (np.array([[[0, 255]]]), np.uint8),
        (np.array([[[0, 256]]]), np.uint16),
        (np.array([[[0.5, 2]]]), np.float32),
        (torch.tensor([[[0.5, 2]]]), np.float32),
    ],
)
def test_dtypes_are_as_small_as_the_kind_of_values_allows(tmp_path, array, stored):
    write_volume(tmp_path / "new" / "v.nii.gz", array, AFFINE)
    image = nib.load(tmp_path / "new" / "v.nii.gz")
    assert image.get_data_dtype() == stored
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_array_equal(image.get_fdata(), np.asarray(array, np.float64))


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    write_volume(tmp_path / "a.nii.gz", scan_array(), AFFINE)
    write_volume(tmp_path / "b.nii.gz", scan_array(), AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("value", [-1, 65536])
def test_a_label_out_of_range_is_refused_and_the_old_file_stays(tmp_path, scan_file, value):
    before = scan_file.read_bytes()
    with pytest.raises(InputError, match="65535"):
        write_volume(scan_file, np.full((2, 2, 2), value), AFFINE)
    assert scan_file.read_bytes() == before


def test_a_name_that_is_no_nifti_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write_volume(tmp_path / "v.nrrd", scan_array(), AFFINE)


def test_a_place_that_cannot_be_written_is_named_and_left_clean(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_volume(tmp_path / "file" / "v.nii.gz", scan_array(), AFFINE)
    (tmp_path / "v.nii.gz").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_volume(tmp_path / "v.nii.gz", scan_array(), AFFINE)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "v.nii.gz"}


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, stop, seen = tmp_path / "v.nii.gz", threading.Event(), set()
    volumes = [np.full((24, 24, 24), v, np.float32) for v in (1, 2)]
    write_volume(path, volumes[0], AFFINE)

    def write():
        while not stop.is_set():
            for volume in volumes:
                write_volume(path, volume, AFFINE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            values = np.unique(decode(path.read_bytes()).get_fdata())
            assert len(values) == 1
            seen.add(float(values[0]))
    finally:
        stop.set()
        writer.join()
    assert seen <= {1.0, 2.0}


# Maps


def decode(data):
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


@given(low=st.floats(-5, 5), width=st.floats(1e-6, 100), seed=st.integers(0, 99))
def test_an_encoded_map_is_off_by_less_than_its_promise(low, width, seed):
    values = (low + width * np.random.default_rng(seed).random((4, 5, 6))).astype(np.float32)
    decoded = decode(encode_map(values, AFFINE, (low, low + width))).get_fdata()
    rounding = 2 * np.spacing(np.float32(abs(low) + width))  # float32 values and offsets
    assert np.abs(decoded - values).max() <= 1e-5 * width + rounding


def test_an_encoded_map_is_uint16_with_slope_and_place(tmp_path):
    values = np.zeros((4, 5, 6), np.float32)
    values[1, 2, 3] = np.log(3)
    data = encode_map(values, AFFINE, (0, np.log(3)))
    image = decode(data)
    assert image.get_data_dtype() == np.uint16
    assert np.count_nonzero(image.get_fdata()) == 1
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    assert data == encode_map(torch.from_numpy(values), AFFINE, (0, np.log(3)))
    (tmp_path / "m.nii.gz").write_bytes(data)
    itk = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    assert itk[1, 2, 3] == pytest.approx(np.log(3), abs=1e-5)


@pytest.mark.parametrize("value_range", [(0, 1), (0, 0)])
def test_a_map_of_zeros_stays_zero(value_range):
    assert not decode(encode_map(np.zeros((4, 5, 6)), AFFINE, value_range)).get_fdata().any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.1, -0.1])
def test_a_map_that_breaks_its_range_is_refused(bad):
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 0, 0] = bad
    with pytest.raises(InputError, match="the map"):
        encode_map(values, AFFINE, (0, 1))


def test_rounding_past_the_range_is_clipped():
    values = np.full((4, 5, 6), 1 + 1e-6, np.float32)
    assert decode(encode_map(values, AFFINE, (0, 1))).get_fdata().max() == pytest.approx(1, abs=1e-6)


def test_a_label_keeps_the_names_of_its_numbers(tmp_path):
    array, names = np.zeros((4, 3, 2), np.uint8), {1: "left <kidney> & more", 2: "Läsion"}
    array[1], array[2] = 1, 2
    path = tmp_path / "label.nii.gz"
    write_volume(path, array, AFFINE, names=names)
    assert segments_in(path) == [Segment(name, number) for number, name in names.items()]
    image = nib.load(path)
    np.testing.assert_array_equal(image.dataobj, array)
    np.testing.assert_allclose(image.affine, AFFINE)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)).T, array)
    for name in ("a]b", "a" * 501):
        write_volume(path, array, AFFINE, names={1: "a", 2: name})
        assert segments_in(path) == []


@pytest.mark.parametrize("place", ["note.txt", "note.txt/figures", "x" * 300])
def test_a_place_where_no_file_can_be_is_refused_before_long_work(tmp_path, place):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be written.*choose another --page"):
        check_file(tmp_path / place / "page.html", "--page")
    with pytest.raises(InputError, match="is a folder; give --page the file"):
        check_file(tmp_path, "--page")
    check_file(tmp_path / "not yet" / "page.html", "--page")
    check_file(None, "--page")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
