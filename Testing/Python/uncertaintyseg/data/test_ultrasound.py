"""Ultrasound in DICOM: images are scans of one slice, cine is a clip, in grey, as large as its regions say."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import encapsulate
from pydicom.pixel_data_handlers.util import convert_color_space
from pydicom.uid import UID, JPEGBaseline8Bit, RLELossless

from Testing.Python.uncertaintyseg.data.small_volume import refused
from Testing.Python.uncertaintyseg.ultrasound_files import region, write
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.time_axis import is_clip, spacing_known

MPEG4, LOSSLESS_JPEG = UID("1.2.840.10008.1.2.4.102"), UID("1.2.840.10008.1.2.4.70")
ROWS, COLUMNS = 16, 24
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (3, ROWS, COLUMNS), np.uint8)
COLOUR = RNG.integers(0, 256, (3, ROWS, COLUMNS, 3), np.uint8)
LUMA = np.array([0.299, 0.587, 0.114])


def jpeg(frame):
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_a_grey_image_is_one_slice_and_as_large_as_its_region_says(tmp_path):
    scan = read_scan(write(tmp_path / "a.dcm", GREY[:1], regions=[region()]))
    assert scan.shape == (1, COLUMNS, ROWS, 1)
    np.testing.assert_array_equal(scan[0, :, :, 0].numpy(), GREY[0].T)
    np.testing.assert_allclose(scan.affine, np.diag([-0.2, -0.3, 1, 1]))
    assert spacing_known(scan)
    assert not is_clip(scan)


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [region(units=4)],  # seconds
        [region(kind=3)],  # a spectrum
        [region(), region(0.05, 0.05)],  # two scales in one image
    ],
)
def test_without_one_scale_in_cm_the_spacing_is_unknown(tmp_path, regions):
    scan = read_scan(write(tmp_path / "a.dcm", GREY[:1], regions=regions))
    assert not spacing_known(scan)
    np.testing.assert_array_equal(scan.affine.numpy(), np.diag([-1, -1, 1, 1]))


def test_beside_a_spectrum_the_image_has_its_scale(tmp_path):
    scan = read_scan(write(tmp_path / "a.dcm", GREY[:1], regions=[region(), region(0.5, 0.7, units=4, kind=3)]))
    np.testing.assert_allclose(scan.affine, np.diag([-0.2, -0.3, 1, 1]))


def test_pixel_spacing_counts_where_no_region_says_anything(tmp_path):
    scan = read_scan(write(tmp_path / "a.dcm", GREY[:1], PixelSpacing=[0.3, 0.2]))
    np.testing.assert_allclose(scan.affine, np.diag([-0.2, -0.3, 1, 1]))


def test_cine_is_a_clip(tmp_path):
    scan = read_scan(write(tmp_path / "a.dcm", GREY, regions=[region()]))
    assert is_clip(scan)
    np.testing.assert_array_equal(scan[0].numpy(), GREY.transpose(2, 1, 0))
    np.testing.assert_allclose(scan.affine, np.diag([-0.2, -0.3, 1, 1]))


@pytest.mark.parametrize("frames", [1, 3])
def test_rgb_becomes_luma(tmp_path, frames):
    scan = read_scan(write(tmp_path / "a.dcm", COLOUR[:frames], "RGB"))
    np.testing.assert_allclose(scan[0].numpy(), (COLOUR[:frames] @ LUMA).transpose(2, 1, 0), atol=1e-4)


def test_ybr_is_its_luma(tmp_path):
    stored = convert_color_space(COLOUR, "RGB", "YBR_FULL")
    scan = read_scan(write(tmp_path / "a.dcm", stored, "YBR_FULL"))
    np.testing.assert_allclose(
        scan[0].numpy(), (COLOUR @ LUMA).transpose(2, 1, 0), atol=0.51
    )  # stored as whole numbers


def test_ybr_of_half_the_colours_is_its_luma(tmp_path):
    full = convert_color_space(COLOUR, "RGB", "YBR_FULL").reshape(3, -1, 2, 3)
    packed = np.stack([full[..., 0, 0], full[..., 1, 0], full[..., 0, 1], full[..., 0, 2]], axis=-1)
    path = write(tmp_path / "a.dcm", COLOUR, "YBR_FULL_422")
    data = pydicom.dcmread(path)
    data.PixelData = packed.tobytes()
    data.save_as(path)
    np.testing.assert_allclose(read_scan(path)[0].numpy(), (COLOUR @ LUMA).transpose(2, 1, 0), atol=0.51)


def test_a_palette_is_looked_up(tmp_path):
    path = write(tmp_path / "a.dcm", GREY[:1] // 64, "PALETTE COLOR")
    table = RNG.integers(0, 256, (3, 4)).astype(np.uint16) * 257
    data = pydicom.dcmread(path)
    for name, values in zip(("Red", "Green", "Blue"), table, strict=True):
        data.add_new(tag_for_keyword(f"{name}PaletteColorLookupTableDescriptor"), "US", [4, 0, 16])
        data.add_new(tag_for_keyword(f"{name}PaletteColorLookupTableData"), "OW", values.tobytes())
    data.save_as(path)
    wanted = (table.T[GREY[0] // 64] @ LUMA).T
    np.testing.assert_allclose(read_scan(path)[0, :, :, 0].numpy(), wanted, rtol=1e-6)


def test_white_is_bright_where_the_file_has_it_the_other_way_round(tmp_path):
    scan = read_scan(write(tmp_path / "a.dcm", GREY[:1], "MONOCHROME1"))
    np.testing.assert_array_equal(scan[0, :, :, 0].numpy(), 255 - GREY[0].T)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "YBR_FULL_422"])
def test_jpeg_is_decoded(tmp_path, photometric):
    ramp = np.add.outer(4 * np.arange(ROWS), 5 * np.arange(COLUMNS)).astype(np.uint8)
    frames = np.stack([ramp, ramp + np.uint8(40)])
    pixels = frames if photometric == "MONOCHROME2" else np.stack([frames] * 3, -1)
    data = encapsulate([jpeg(frame) for frame in pixels])
    scan = read_scan(write(tmp_path / "a.dcm", pixels, photometric, syntax=JPEGBaseline8Bit, data=data))
    np.testing.assert_allclose(scan[0].numpy(), frames.transpose(2, 1, 0), atol=4)


def test_run_lengths_are_decoded(tmp_path):
    path = write(tmp_path / "a.dcm", GREY, regions=[region()])
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)
    np.testing.assert_array_equal(read_scan(path)[0].numpy(), GREY.transpose(2, 1, 0))


@pytest.mark.parametrize(("syntax", "name"), [(MPEG4, "MPEG-4 AVC/H.264"), (LOSSLESS_JPEG, "JPEG Lossless")])
def test_what_cannot_be_decoded_is_refused_by_the_name_of_its_syntax(tmp_path, syntax, name):
    data = encapsulate([b"no such stream"])
    path = write(tmp_path / "a.dcm", COLOUR[:1], "YBR_FULL_422", syntax=syntax, data=data)
    refused(path, name, "without compression")


def test_several_ultrasound_files_are_no_clip(tmp_path):
    for number in range(2):
        write(tmp_path / f"{number}.dcm", GREY[:1])
    refused(tmp_path, "2 ultrasound files")
    (tmp_path / "1.dcm").unlink()
    assert read_scan(tmp_path).shape == (1, COLUMNS, ROWS, 1)


def test_pixels_that_are_cut_short_are_refused(tmp_path):
    refused(write(tmp_path / "a.dcm", GREY, data=None, NumberOfFrames=5), "cannot be read")
