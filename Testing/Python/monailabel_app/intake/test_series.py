"""DICOM slices: as GDCM reads them, without GDCM; codecs only within limits; what is damaged is refused by its name."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from monailabel_app.dicom import codec, parsing
from monailabel_app.intake.scan import write_scan
from monailabel_app.intake.series import open_series
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, rotation, write_series
from Testing.Python.monailabel_app.intake.files import packed_zeros
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError

VALUES = np.random.default_rng(0).integers(-1000, 1000, (16, 24, 4))
AFFINE = make_affine((0.8, 1.1, 2.5), (-40, 25, 310), rotation(15, -20, 30))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "series"


def read(folder):
    return read_scan(write_scan(open_series(folder), folder.parent, "written"))


def rewrite(folder, change) -> None:
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        change(one)
        one.save_as(path, write_like_original=False)


def implicit(one):
    one.is_implicit_VR, one.file_meta.TransferSyntaxUID = True, ImplicitVRLittleEndian


def big_endian(one):
    one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
    one.is_little_endian, one.file_meta.TransferSyntaxUID = False, ExplicitVRBigEndian


def deflated(one):
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def rle(one):
    one.compress(RLELossless)


def twelve_signed_bits(one):
    stored = np.clip(np.frombuffer(one.PixelData, "<u2").astype(int) - 1024, -2048, 2047).astype("<i2")
    one.BitsStored, one.HighBit, one.PixelRepresentation, one.PixelData = 12, 11, 1, stored.tobytes()


def overlay_in_the_spare_bits(one):
    one.BitsStored, one.HighBit = 12, 11
    one.PixelData = (np.frombuffer(one.PixelData, "<u2") | 0x3000).tobytes()


def eight_bits(one):
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit, one.PixelData = 7, (np.frombuffer(one.PixelData, "<u2") % 256).astype("u1").tobytes()


def slopes_that_differ(one):
    one.RescaleSlope = 0.1 * int(one.InstanceNumber)


CHANGES = (
    implicit, big_endian, deflated, rle, twelve_signed_bits, overlay_in_the_spare_bits, eight_bits, slopes_that_differ,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_values_are_those_that_gdcm_reads(folder, change):
    write_series(folder, VALUES, AFFINE, shuffle=1)
    rewrite(folder, change)
    ours, theirs = read(folder), read_scan(folder)
    assert np.array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)


def refused(folder, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        read(folder)
    assert "Errno" not in str(error.value)


def colour(one):
    one.PhotometricInterpretation = "RGB"


def table(one):
    one.ModalityLUTSequence = Sequence([Dataset()])


def cut_pixels(one):
    one.PixelData = one.PixelData[:-4]


def more_pixels(one):
    one.PixelData += bytes(4)


def no_pixels(one):
    del one.PixelData


def no_slope(one):
    one.RescaleSlope = 0


def unknown_codec(one):
    one.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    one.PixelData = encapsulate([b"frame"])
    one["PixelData"].is_undefined_length = True


def cut_runs(one):
    rle(one)
    one.PixelData = encapsulate([b"\2" + bytes(3) + (64).to_bytes(4, "little") + bytes(60)])


def long_runs(one):
    rle(one)
    one.PixelData = encapsulate([bytes(200_000)])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (colour, "RGB pixels"), (table, "Modality LUT"), (cut_pixels, "other pixels"), (more_pixels, "other pixels"),
        (no_pixels, "0000"), (no_slope, "scales pixels by 0"), (unknown_codec, "compressed"), (cut_runs, "cut short"),
        (long_runs, "not packed one by one"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_by_the_name_of_a_file(folder, change, word):
    write_series(folder, VALUES, AFFINE)
    rewrite(folder, change)
    refused(folder, word)


def explicit(tag: tuple[int, int], kind: bytes, value: bytes) -> bytes:
    group, element = (number.to_bytes(2, "little") for number in tag)
    return group + element + kind + bytes(2) + len(value).to_bytes(4, "little") + value


def one_file(folder, dataset: bytes, syntax: str = "1.2.840.10008.1.2.1") -> None:
    folder.mkdir()
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\2\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    (folder / "0000.dcm").write_bytes(bytes(128) + b"DICM" + meta + dataset)


def test_sequences_without_an_end_are_refused(folder):
    one_file(folder, b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 5000)
    refused(folder, "0000.dcm: cannot be read as DICOM")


def test_a_kind_of_object_that_cannot_be_unpacked_is_refused(folder):
    one_file(folder, b"\x08\0\x16\0AT\x03\0abc")
    refused(folder, "0000.dcm: cannot be read as DICOM")


def test_a_header_that_is_cut_short_is_refused_by_its_name(folder):
    one_file(folder, b"\x20\0\x32\0DS\xff\xff1")
    refused(folder, "0000.dcm: cut short")


def test_a_header_of_too_many_elements_is_refused(folder, monkeypatch):
    assert parsing._READS + parsing._READS_A_FILE < 600_000
    monkeypatch.setattr(parsing, "_READS", 2**14)
    one_file(folder, b"".join(b"\x09\0" + n.to_bytes(2, "little") + b"LO\0\0" for n in range(20_000)))
    refused(folder, "larger than any")


def test_an_element_that_promises_gigabytes_takes_no_memory(folder):
    one_file(folder, b"\x09\0\x10\0OB\0\0" + (2**32 - 2).to_bytes(4, "little") + b"x")
    tracemalloc.start()
    refused(folder, "larger than any")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def implicit_element(tag: int, value: bytes) -> bytes:
    return (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + element_value(value)


def element_value(value: bytes) -> bytes:
    return len(value).to_bytes(4, "little") + value


PLACE = 0x00200032  # ImagePositionPatient


def test_an_element_that_would_become_thousands_of_values_is_refused(folder):
    one_file(folder, implicit_element(PLACE, b"1\\" * 200_000), ImplicitVRLittleEndian)
    refused(folder, "0000.dcm: its ImagePositionPatient has 400000 bytes")


def test_an_element_is_no_sequence_because_a_file_says_so(folder):
    one_file(folder, explicit((0x20, 0x32), b"SQ", b"\xfe\xff\0\xe0\0\0\0\0" * 50_000))
    refused(folder, "0000.dcm: its ImagePositionPatient has 400000 bytes")


def test_values_of_all_elements_count_together(folder):
    tags = sorted(tag for tag, entry in DicomDictionary.items() if entry[0] == "DS" and tag < 0x7FE00000)[:40]
    elements = [implicit_element(tag, b"1\\" * 2000) for tag in tags]
    one_file(folder, b"".join(elements), ImplicitVRLittleEndian)
    refused(folder, "larger than any")


@pytest.mark.parametrize("name", ["PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"])
def test_slices_hold_no_groups_of_frames(folder, name):
    write_series(folder, VALUES, AFFINE)
    rewrite(folder, lambda one: setattr(one, name, Sequence([Dataset()] * 50)))
    refused(folder, "several frames each")


def test_deflated_files_of_a_series_count_together(folder, monkeypatch):
    write_series(folder, VALUES, AFFINE)
    rewrite(folder, deflated)
    monkeypatch.setattr(parsing, "_EXPANDED", 3 * VALUES[..., 0].size * 2)  # there are four
    refused(folder, r"000\d\.dcm: the series is deflated")


def test_a_deflated_file_that_expands_hugely_is_refused(folder):
    one_file(folder, packed_zeros(160, form="raw"), DeflatedExplicitVRLittleEndian)
    refused(folder, "more than 128 MB")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    change=st.sampled_from([None, deflated, rle, implicit]), place=st.integers(0, 1500), noise=st.binary(max_size=40)
)
def test_no_damage_raises_anything_else(tmp_path_factory, change, place, noise):
    folder = tmp_path_factory.mktemp("damaged") / "series"
    write_series(folder, VALUES[:3, :4, :2], AFFINE)
    if change:
        rewrite(folder, change)
    path = folder / "0001.dcm"
    data = path.read_bytes()
    path.write_bytes(data[:place] + noise + data[place + len(noise) :])
    try:
        read(folder)
    except InputError as error:
        assert "0001.dcm" in str(error) or str(folder) in str(error) or "affine" in str(error)  # noqa: PT017


@pytest.fixture
def packed(folder):
    """JPEG 2000 of one slice, empty: what a process within limits makes of it is nothing."""
    write_series(folder, VALUES, AFFINE)

    def compress(one):
        one.file_meta.TransferSyntaxUID = JPEG2000Lossless
        one.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        one["PixelData"].is_undefined_length = True

    rewrite(folder, compress)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="refused elsewhere, as the next test says")
def test_a_codec_that_fails_in_its_process_is_a_refusal(packed):
    refused(packed, r"0000\.dcm: its pixels \(JPEG 2000.*cannot be expanded")


def test_where_processes_cannot_be_limited_no_codec_runs(packed, monkeypatch):
    monkeypatch.setattr(codec, "HAS_LIMITS", False)
    refused(packed, r"0000\.dcm: its pixels are compressed \(JPEG 2000")


@pytest.mark.skipif(sys.platform != "linux", reason="refused elsewhere")
def test_the_process_of_codecs_gives_what_gdcm_gives(shared_data, tmp_path):
    source = shared_data / "totalsegmentator_examples" / "images" / "example_ct_dicom"
    if not source.is_dir():
        pytest.skip("no real DICOM series beside the checkout")
    folder = tmp_path / "series"
    folder.mkdir()
    for path in source.iterdir():
        one = pydicom.dcmread(path)  # its identifiers were taken out with the patient's name
        one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", "1.2.4"
        one.SOPClassUID, one.SOPInstanceUID = (
            one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID
        )  # fmt: skip
        one.save_as(folder / path.name, write_like_original=False)
    assert np.array_equal(read(folder).numpy(), read_scan(folder).numpy())
