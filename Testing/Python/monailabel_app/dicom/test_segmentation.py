"""Labels as DICOM SEG and maps as Parametric Map, read back and held against the volumes they were made from."""

from __future__ import annotations

import gzip

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom import Dataset

from monailabel_app.dicom.coding import Source, text
from monailabel_app.dicom.outbox import encode
from monailabel_app.dicom.parametric_map import parametric_map
from monailabel_app.dicom.segmentation import segmentation
from monailabel_app.dicom.series import read_series
from Testing.Python.monailabel_app.dicom.conftest import SHAPE
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import encode_map, write_volume
from uncertaintyseg.errors import InputError

MODEL = Source("liver_low_rank", "ab" * 32)
ENTROPY = wire.MapInfo(unit="nats", range=(0, float(np.log(3))), source="total")


@pytest.fixture(scope="module")
def series(series_folder):
    return read_series(series_folder)


@pytest.fixture
def label() -> np.ndarray:
    return np.random.default_rng(0).choice([0, 2, 5], SHAPE).astype(np.uint8)


def read_back(instance: Dataset, tmp_path) -> Dataset:
    path = tmp_path / "object.dcm"
    path.write_bytes(encode(instance))
    return hd.seg.segread(path) if instance.Modality == "SEG" else pydicom.dcmread(path)


def frame_positions(instance: Dataset) -> np.ndarray:
    groups = instance.PerFrameFunctionalGroupsSequence
    return np.array([group.PlanePositionSequence[0].ImagePositionPatient for group in groups], dtype=float)


def by_place(seg: Dataset, series, labels) -> np.ndarray:
    """Class ids `[X, Y, Z]` of the series: each frame where its position says, whatever its number."""
    volume = np.zeros(series.shape, np.uint8)
    first = np.array(series.headers[0].ImagePositionPatient, dtype=float)
    apart = np.linalg.norm(frame_positions(seg) - first, axis=1) / float(series.headers[0].SpacingBetweenSlices)
    frames = seg.pixel_array.reshape(-1, *series.shape[1::-1])
    for k, frame, group in zip(np.rint(apart).astype(int), frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        volume[:, :, k] += frame.T * labels[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1].id
    return volume


def test_a_label_comes_back_voxel_by_voxel(series, label, labels, tmp_path):
    seg = read_back(segmentation(label, series.affine, labels, series, MODEL), tmp_path)
    slices = [str(header.SOPInstanceUID) for header in series.headers]
    numbers = seg.get_pixels_by_source_instance(slices, combine_segments=True).transpose(2, 1, 0)
    assert np.array_equal(np.array([0, 2, 5])[numbers], label)
    assert np.array_equal(by_place(seg, series, labels), label)


def test_each_frame_is_where_itk_sees_its_slice(series, series_folder, label, labels, tmp_path):
    seg = segmentation(label, series.affine, labels, series, MODEL)
    write_volume(tmp_path / "label.nii.gz", label, read_scan(series_folder).affine.numpy())
    image = sitk.ReadImage(str(tmp_path / "label.nii.gz"))
    values = sitk.GetArrayFromImage(image)
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        x, y, z = image.TransformPhysicalPointToIndex(position)
        class_id = labels[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1].id
        assert (x, y) == (0, 0)
        assert np.array_equal(frame, values[z] == class_id)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.reshape(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3))
    np.testing.assert_allclose(orientation, np.reshape(image.GetDirection(), (3, 3)).T[:2], atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(values=arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 2, 5])))
def test_any_label_survives_even_an_empty_one(series_folder, labels, tmp_path_factory, values):
    series = read_series(series_folder)
    seg = read_back(segmentation(values, series.affine, labels, series, MODEL), tmp_path_factory.mktemp("seg"))
    assert seg.number_of_segments == 2
    assert np.array_equal(by_place(seg, series, labels), values)


def test_the_seg_says_what_of_which_series_and_by_whom(series, label, labels):
    seg = segmentation(label, series.affine, labels, series, MODEL)
    liver, lesion = seg.SegmentSequence
    assert (liver.SegmentLabel, lesion.SegmentLabel) == ("liver", "liver lesion")
    code = liver.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("10200004", "SCT")
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99USEG"
    algorithm = liver.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "liver_low_rank"
    assert algorithm.AlgorithmParameters == f"weights_sha256={'ab' * 32}"
    assert seg.FrameOfReferenceUID == series.headers[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == series.headers[0].StudyInstanceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    referenced = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == {header.SOPInstanceUID for header in series.headers}
    assert seg.PatientID == "phantom"


@pytest.mark.parametrize(
    ("source", "kind"),
    [(MODEL, "AUTOMATIC"), (Source("m", "ab", edited=True), "SEMIAUTOMATIC"), (Source(edited=True), "MANUAL")],
)
def test_the_seg_tells_a_models_label_from_a_persons(series, label, labels, source, kind):
    seg = segmentation(label, series.affine, labels, series, source)
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence} == {kind}


def test_a_class_that_the_model_lacks_is_refused(series, label, labels):
    label[0, 0, 0] = 3
    with pytest.raises(InputError, match=r"class ids \[3\]"):
        segmentation(label, series.affine, labels, series, MODEL)


def test_a_map_comes_back_as_exactly_as_our_nifti(series, tmp_path):

    values = np.random.default_rng(0).uniform(*ENTROPY.range, SHAPE).astype(np.float32)
    saved = read_back(parametric_map(values, series.affine, "predictive_entropy", ENTROPY, series, MODEL), tmp_path)
    mapping = saved.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    real = saved.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    ours = nib.Nifti1Image.from_bytes(gzip.decompress(encode_map(values, series.affine, ENTROPY.range))).get_fdata()
    np.testing.assert_allclose(real.transpose(2, 1, 0), ours, atol=1e-9)
    assert np.abs(real.transpose(2, 1, 0) - values).max() < 1e-5 * ENTROPY.range[1]
    np.testing.assert_allclose(
        frame_positions(saved), [np.array(h.ImagePositionPatient, float) for h in series.headers], atol=1e-6
    )
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "{nat}"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeMeaning == "predictive_entropy"
    assert saved.SeriesDescription == "predictive_entropy liver_low_rank"
    assert saved.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid


def test_a_map_out_of_its_range_is_refused(series):
    with pytest.raises(InputError, match="outside its range"):
        parametric_map(np.full(SHAPE, 2.0), series.affine, "predictive_entropy", ENTROPY, series, MODEL)


@given(st.text(max_size=100))
def test_any_name_becomes_a_long_string(name):
    made = text(name)
    assert 1 <= len(made) <= 64
    assert made.isascii()
    assert made.isprintable()
    assert "\\" not in made
