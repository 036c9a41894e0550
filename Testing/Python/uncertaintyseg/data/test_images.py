"""Pictures are scans of one slice, folders of frames clips, and masks may be drawn in colours."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from Testing.Python.uncertaintyseg.data.small_volume import refused
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.dataset_json import read_description
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.time_axis import check_dimensions, is_clip, spacing_known
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import GridError, InputError

GREY = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)
CODES = np.array([[0, 1, 2], [2, 1, 0]])
TABLE = {"#ff0000": 1, "0, 255, 0": 2}


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def drawn(codes=CODES):
    return np.array([BLACK, RED, GREEN], np.uint8)[codes]


def palette(path, codes=CODES):
    image = Image.fromarray(codes.astype(np.uint8), "P")
    image.putpalette([*BLACK, *RED, *GREEN])
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG"])
def test_a_picture_is_one_slice_of_unknown_spacing_with_columns_first(tmp_path, suffix):
    scan = read_scan(save(tmp_path / f"a{suffix}", GREY))
    assert scan.shape == (1, 7, 5, 1)
    np.testing.assert_array_equal(scan[0, :, :, 0].numpy(), GREY.T)
    np.testing.assert_array_equal(scan.affine.numpy(), np.diag([-1, -1, 1, 1]))
    assert not spacing_known(scan)
    assert not is_clip(scan)


@pytest.mark.parametrize("form", ["BMP", "GIF", "EPS"])
def test_what_only_has_the_name_of_a_picture_reaches_no_other_decoder(tmp_path, form):
    """Pillow would go by the content, and start Ghostscript for PostScript."""
    Image.fromarray(GREY).save(tmp_path / "a", form)
    (tmp_path / "a").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: not a readable picture"):
        read_scan(tmp_path / "a.png")


def test_what_systems_leave_in_a_folder_does_not_end_a_clip(tmp_path):
    for number in range(2):
        save(tmp_path / "clip" / f"{number}.png", GREY + np.uint8(number))
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "clip" / name).write_bytes(b"left")
    scan = read_scan(tmp_path / "clip")
    assert is_clip(scan)
    assert scan.shape == (1, 7, 5, 2)


def test_the_resolution_of_a_print_is_no_spacing(tmp_path):
    scan = read_scan(save(tmp_path / "a.png", GREY, dpi=(300, 300)))
    assert not spacing_known(scan)


def test_sixteen_bits_and_floating_point_keep_their_values(tmp_path):
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_scan(save(tmp_path / "a.png", deep))[0, :, :, 0].numpy(), deep.T)
    real = GREY.astype(np.float32) / 7
    np.testing.assert_array_equal(read_scan(save(tmp_path / "a.tif", real))[0, :, :, 0].numpy(), real.T)


def test_colour_becomes_the_luma_of_bt_601(tmp_path):
    found = read_scan(save(tmp_path / "a.png", COLOUR))[0, :, :, 0].numpy()
    np.testing.assert_allclose(found, (COLOUR @ np.array([0.299, 0.587, 0.114])).T, atol=1e-4)


def test_grey_in_three_channels_keeps_its_values_exactly(tmp_path):
    found = read_scan(save(tmp_path / "a.png", np.stack([GREY] * 3, -1)))
    np.testing.assert_array_equal(found[0, :, :, 0].numpy(), GREY.T)


def test_a_jpeg_is_read_in_grey(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    found = read_scan(save(tmp_path / "a.jpg", np.stack([smooth] * 3, -1), quality=95))
    np.testing.assert_allclose(found[0, :, :, 0].numpy(), smooth.T, atol=4)


def test_a_folder_of_frames_is_a_clip_in_the_order_of_the_numbers(tmp_path):
    for number in (10, 9, 1):
        save(tmp_path / "clip" / f"frame_{number}.png", GREY + np.uint8(number))
    scan = read_scan(tmp_path / "clip")
    assert is_clip(scan)
    assert scan.shape == (1, 7, 5, 3)
    for place, number in enumerate((1, 9, 10)):
        np.testing.assert_array_equal(scan[0, ..., place].numpy(), (GREY + np.uint8(number)).T)


def test_frames_that_are_called_as_channels_are_a_clip_too(tmp_path):
    for number in range(3):
        save(tmp_path / "clip" / f"a_{number:04d}.png", GREY + np.uint8(number))
    assert read_channels(tmp_path / "clip", 1).shape == (1, 7, 5, 3)


def test_pages_of_a_tiff_are_frames(tmp_path):
    pages = [Image.fromarray(GREY + np.uint8(number)) for number in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    scan = read_scan(tmp_path / "a.tif")
    assert is_clip(scan)
    np.testing.assert_array_equal(scan[0, ..., 2].numpy(), (GREY + np.uint8(2)).T)


def test_a_frame_of_another_size_is_refused_by_name(tmp_path):
    save(tmp_path / "clip" / "1.png", GREY)
    odd = save(tmp_path / "clip" / "2.png", GREY[:4])
    with pytest.raises(InputError, match=r"2\.png: 7 x 4 pixels, the first frame has 7 x 5") as error:
        read_scan(tmp_path / "clip")
    assert str(odd) in str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_what_is_no_picture_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"patient A, see attachment")
    refused(path, "not a readable picture")
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:500])
    refused(path, "not a readable picture")


def test_a_constant_picture_is_refused(tmp_path):
    refused(save(tmp_path / "a.png", np.full((4, 4), 9, np.uint8)), "every voxel is 9")


# Which model takes what


def test_models_take_what_has_their_dimensions(tmp_path):
    picture = read_scan(save(tmp_path / "a.png", GREY))
    save(tmp_path / "clip" / "1.png", GREY)
    save(tmp_path / "clip" / "2.png", GREY)
    clip = read_scan(tmp_path / "clip")
    write_volume(tmp_path / "v.nii.gz", np.random.default_rng(0).random((4, 5, 6), np.float32), np.eye(4))
    volume = read_scan(tmp_path / "v.nii.gz")
    for scan in (picture, clip):
        check_dimensions(scan, 2)
    check_dimensions(volume, 3)
    for scan, dimensions, message in (
        (picture, 3, "a.png: one slice thick"),
        (clip, 3, "clip: a clip of 2 frames"),
        (volume, 2, "v.nii.gz: a volume"),
    ):
        with pytest.raises(InputError, match=message):
            check_dimensions(scan, dimensions)


# Masks


@pytest.mark.parametrize("make", [palette, lambda path: save(path, CODES.astype(np.uint8))])
def test_a_mask_without_a_table_has_the_numbers_that_it_stores(tmp_path, make):
    make(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png")[0, :, :, 0].numpy(), CODES.T)


def test_a_mask_of_one_bit_is_one_structure(tmp_path):
    save(tmp_path / "a.png", CODES > 0)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", [1])[0, :, :, 0].numpy(), (CODES > 0).T)


@pytest.mark.parametrize("make", [palette, lambda path: save(path, drawn())])
@pytest.mark.parametrize("place", ["", ".."])
def test_a_table_of_colours_decodes_palettes_and_rgb(tmp_path, make, place):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / place / "colours.json").write_text(json.dumps({"#ff0000": 2, "0,255,0": 7}))
    make(folder / "a.png")
    found = read_label(folder / "a.png", [2, 7])[0, :, :, 0].numpy()
    np.testing.assert_array_equal(found, np.array([0, 2, 7])[CODES].T)


def test_a_table_says_what_white_is(tmp_path):
    (tmp_path / "colors.json").write_text(json.dumps({"#ffffff": 1}))
    save(tmp_path / "a.png", (CODES > 0).astype(np.uint8) * 255)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", [1])[0, :, :, 0].numpy(), (CODES > 0).T)


def test_a_colour_outside_of_the_table_is_told(tmp_path):
    (tmp_path / "colours.json").write_text(json.dumps(TABLE))
    image = drawn()
    image[0, 0] = (255, 1, 0)
    save(tmp_path / "a.png", image)
    with pytest.raises(InputError, match=r"a\.png: #ff0100 \(1 pixels\) is not in .*colours\.json, which has #000000"):
        read_label(tmp_path / "a.png")


def test_colours_without_a_table_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.png: a mask in colours; .*colours\.json"):
        read_label(save(tmp_path / "a.png", drawn()))


def test_a_mask_as_jpeg_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.jpg: a JPEG"):
        read_label(save(tmp_path / "a.jpg", CODES.astype(np.uint8)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"red": 1}', '{"#ff0000": "organ"}', '{"300,0,0": 1}'])
def test_a_table_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "colours.json").write_text(text)
    save(tmp_path / "a.png", drawn())
    with pytest.raises(InputError, match=r"colours\.json: a table of colours is"):
        read_label(tmp_path / "a.png")


def test_a_mask_lies_where_its_scan_lies(tmp_path):
    affine = np.diag([0.2, 0.3, 5.0, 1.0])
    write_volume(tmp_path / "s.nii.gz", np.random.default_rng(0).random((3, 2, 1), np.float32), affine)
    scan = read_scan(tmp_path / "s.nii.gz")
    label = read_label(save(tmp_path / "a.png", CODES.astype(np.uint8)), like=scan)
    np.testing.assert_allclose(label.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(label[0, :, :, 0].numpy(), CODES.T)
    with pytest.raises(GridError):
        read_label(save(tmp_path / "b.png", CODES[:, :2].astype(np.uint8)), like=scan)


def test_a_data_set_of_pictures_and_clips(tmp_path):
    (tmp_path / "colours.json").write_text(json.dumps(TABLE))
    save(tmp_path / "images" / "a.png", GREY[:2, :3])
    save(tmp_path / "labels" / "a.png", drawn())
    for frame in range(2):
        save(tmp_path / "images" / "b" / f"{frame}.png", GREY[:2, :3])
        save(tmp_path / "labels" / "b" / f"{frame}.png", drawn(np.roll(CODES, frame, axis=1)))
    one, clip = read_cases(tmp_path)
    ids = {"organ": 1, "lesion": 2}
    label = read_case_label(one, ids, like=read_scan(one.image))
    np.testing.assert_array_equal(label[0, :, :, 0].numpy(), CODES.T)
    label = read_case_label(clip, ids, like=read_scan(clip.image))
    np.testing.assert_array_equal(label[0, :, :, 1].numpy(), np.roll(CODES, 1, axis=1).T)


def test_an_image_has_a_folder_of_binary_masks_by_structure(tmp_path):
    image = save(tmp_path / "a.png", GREY[:2, :3])
    for name, number in (("organ", 1), ("lesion", 2)):
        save(tmp_path / "masks" / f"{name}.png", (number == CODES).astype(np.uint8))
    label = read_case_label(Case("a", image, tmp_path / "masks"), {"organ": 1, "lesion": 2}, like=read_scan(image))
    np.testing.assert_array_equal(label[0, :, :, 0].numpy(), CODES.T)


def test_pictures_beside_volumes_are_previews(tmp_path):
    write_volume(tmp_path / "images" / "a.nii.gz", np.random.default_rng(0).random((4, 5, 6), np.float32), np.eye(4))
    save(tmp_path / "images" / "a.png", GREY)
    (case,) = read_cases(tmp_path)
    assert case.image.name == "a.nii.gz"


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_volume_whose_data_set_says_so_is_a_clip(tmp_path, ending):
    values = np.random.default_rng(2).random((5, 7, 4)).astype(np.float32)
    folder = tmp_path / "images"
    volume, image = folder / f"sweep{ending}", folder / "image.nii.gz"
    write_volume(folder / "sweep.nii.gz", values, np.diag([0.5, 0.5, 1, 1]))
    sitk.WriteImage(sitk.ReadImage(str(folder / "sweep.nii.gz")), str(volume))
    write_volume(image, values[..., :1], np.eye(4))
    assert not is_clip(read_scan(volume))
    described = tmp_path / "dataset.json"
    described.write_text(json.dumps({"axis": "time"}), encoding="utf-8")
    scan = read_scan(volume)
    assert is_clip(scan)
    assert spacing_known(scan)
    assert not is_clip(read_scan(image))  # one slice, and no time
    check_dimensions(scan, 2)
    with pytest.raises(InputError, match="a clip of 4 frames"):
        check_dimensions(scan, 3)
    described.write_text(json.dumps({"axis": "space"}), encoding="utf-8")
    assert not is_clip(read_scan(volume))
    described.write_text(json.dumps({"axis": "depth"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset\.json.*'depth'"):
        read_scan(volume)
    described.write_text("{", encoding="utf-8")
    assert not is_clip(read_scan(volume))


def test_a_dataset_json_may_say_nothing_but_what_the_third_axis_is(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"axis": "time"}), encoding="utf-8")
    assert not read_description(tmp_path).facts.names
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "sweeps"}), encoding="utf-8")
    with pytest.raises(InputError, match="labels"):
        read_description(tmp_path)
