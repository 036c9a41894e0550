"""NRRD: read as SimpleITK reads it, or refused. Refused headers are made here and never reach ITK."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from uncertaintyseg.data.nrrd import read_nrrd, read_nrrd_header
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError

SIZES = (4, 3, 2)
VOXELS = np.arange(24, dtype="<i2").tobytes()
HEADER = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(1.5,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,-2,3.25)",
}


def text(fields=HEADER, *lines):
    return "\n".join(["NRRD0004", *(f"{name}: {value}" for name, value in fields.items()), *lines, "", ""]).encode()


def header(**changes):
    changes = {name.replace("_", " "): value for name, value in changes.items()}
    return {name: value for name, value in (HEADER | changes).items() if value is not None}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("nrrd") / "file.nrrd"


def refused(path, content, *words, **options):
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_nrrd(path, **options)
    assert str(path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# Read as ITK reads it

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_what_itk_writes_is_read_with_its_values_type_and_place(tmp_path, dtype, packed):
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo("float32")
    array = rng.uniform(limits.min / 2, limits.max / 2, (5, 4, 3)).astype(dtype)
    array.flat[:2] = limits.min, limits.max
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 1.25, 3))
    image.SetOrigin((-12.5, 1e-3, 250))
    turn = Rotation.from_euler("xyz", (10, -35, 190), degrees=True).as_matrix() @ np.diag((1, -1, 1))
    image.SetDirection(turn.ravel())
    sitk.WriteImage(image, tmp_path / "file.nrrd", packed)

    found = read_nrrd(tmp_path / "file.nrrd")

    assert found.array.dtype == dtype
    assert found.array.dtype.isnative
    np.testing.assert_array_equal(found.array, array.T)
    np.testing.assert_allclose(found.affine[:3, :3], np.diag((-1, -1, 1)) @ turn * (0.7, 1.25, 3), atol=1e-9)
    np.testing.assert_allclose(found.affine[:, 3], (12.5, -1e-3, 250, 1), atol=1e-9)


@pytest.mark.parametrize(("space", "packed", "endian"), list(product(["LPS", "left-posterior-superior", "RAS",
    "right-anterior-superior", "LAS", "left-anterior-superior"], [False, True], ["little", "big"])))  # fmt: skip
def test_spaces_encodings_and_byte_orders_are_read_as_itk_does(scratch, space, packed, endian):
    rng = np.random.default_rng(1)
    array = rng.integers(-(2**15), 2**15, SIZES).astype("<i2" if endian == "little" else ">i2")
    voxels = array.tobytes(order="F")
    fields = header(space=space, endian=endian, encoding="gzip" if packed else "raw",
                    space_directions="(0,-1.5,0) (0.1,0,2) (3,0,-0.15)")  # fmt: skip
    scratch.write_bytes(text(fields) + (gzip.compress(voxels) if packed else voxels))

    found, itk = read_nrrd(scratch), read_scan(scratch)

    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_array_equal(found.array, itk[0].numpy())
    np.testing.assert_allclose(found.affine, itk.affine.numpy(), atol=1e-9)


def test_pairs_are_unescaped_and_windows_line_ends_are_read(scratch):
    content = text(HEADER, r"Segment0_Name:=Leber\nlinks \\ Ärzte: a:=b", "# a comment", "empty:=")
    scratch.write_bytes(content.replace(b"\n", b"\r\n") + VOXELS)
    assert read_nrrd(scratch).fields == {"Segment0_Name": "Leber\nlinks \\ Ärzte: a:=b", "empty": ""}


@pytest.mark.parametrize("kind", ["list", "vector"])
def test_layers_come_first(scratch, kind):
    array = np.random.default_rng(2).integers(0, 9, (5, *SIZES)).astype(np.uint8)
    fields = header(type="unsigned char", dimension="4", sizes="5 4 3 2", kinds=f"{kind} domain domain domain",
                    space_directions=f"none {HEADER['space directions']}", endian=None)  # fmt: skip
    scratch.write_bytes(text(fields) + array.tobytes(order="F"))
    found = read_nrrd(scratch)
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.affine, [[-1.5, 0, 0, -1], [0, -2, 0, 2], [0, 0, 3, 3.25], [0, 0, 0, 1]])


def test_vectors_that_itk_writes_are_layers(tmp_path):
    array = np.random.default_rng(3).integers(0, 9, (4, 3, 2, 5)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), tmp_path / "file.nrrd", True)
    np.testing.assert_array_equal(read_nrrd(tmp_path / "file.nrrd").array, array.T)


# Refused


@pytest.mark.parametrize("name", [name for name in HEADER if name != "kinds"])
def test_a_missing_field_is_named(scratch, name):
    refused(scratch, text(header(**{name: None})) + VOXELS, f"'{name}'")


@given(st.sampled_from(list(HEADER)), st.sampled_from([str.lower, str.upper, str.title]), st.booleans())
def test_a_field_stands_once_in_whatever_case(scratch, name, case, other_value):
    again = f"{case(name)}: {'1' if other_value else HEADER[name]}"
    refused(scratch, text(HEADER, again) + VOXELS, "twice", name)


@given(
    st.sampled_from([*HEADER, "data file", "Data File", "datafile", "byte skip", "byteskip", "Line Skip", "lineskip"]),
    st.sampled_from(
        [":{}", " : {}", "= {}", " = {}", ":= {}", ":={}", "\t: {}", " :={}", "{}", "\x0b: {}", "\xa0: {}"]
    ),
    st.sampled_from(
        ["4 3 2", "LIST", "LIST 2", "x.raw", "/etc/hostname", "-1", "0", "raw", "SKIPLIST", "f%d.raw 1 9 1"]
    ),
)
@settings(max_examples=200)
def test_a_field_spelled_otherwise_or_pointing_elsewhere_is_refused(scratch, name, form, value):
    line = name + form.format(value)
    refused(scratch, text(HEADER, line) + VOXELS)
    refused(scratch, text({name: value for name, value in HEADER.items() if name not in line}, line) + VOXELS)


@pytest.mark.parametrize("name", ["data file", "datafile", "DATA FILE", "byte skip", "byteskip", "line skip",
    "lineskip", "block size", "spacings", "axis mins", "space dimension", "old min", "anything"])  # fmt: skip
@pytest.mark.parametrize("value", ["LIST", "0", "-1", "other.raw"])
def test_fields_beside_those_that_are_needed_are_refused(scratch, name, value):
    refused(scratch, text(HEADER, f"{name}: {value}") + VOXELS, name, "not read")


def test_a_pair_stands_once(scratch):
    refused(scratch, text(HEADER, "Segment0_Name:=a", "Segment0_Name:=b") + VOXELS, "Segment0_Name", "twice")


WRONG = {
    "type": ["block", "string", "half", "short short", "", "Ⅳ"],
    "dimension": ["2", "4", "0", "-3", "three", "3 3", "", "٣", "99999999999999999999"],
    "space": ["scanner-xyz", "right-up", "3D-right-handed", "LPST", "", "left-posterior-superior-time"],
    "sizes": ["-4 3 2", "0 3 2", "4 3", "4 3 2 1", "4.0 3 2", "+4 3 2", "4_0 3 2", "٤ 3 2", "0x4 3 2", "4e0 3 2",
              "4 3 9999999999999999999", "4 3 -2", "4,3,2", ""],
    "space directions": ["(1,0,0) (0,1,0)", "(1,0,0) (0,1,0) none", "none none none", "(1,0) (0,1) (0,0)", "1 0 0",
                         "(1,0,0) (0,1,0) (0,0,nan)", "(1,0,0) (0,1,0) (0,0,inf)", "(1,0,0) (0,1,0) (0,0,0)",
                         "(1,0,0) (1,0,0) (0,0,1)", "(1,0,0) (0,1,0) (1,1,0)", "(1,0,0) (0,1,0) (0,0,1e400)",
                         "(1,0,0) (0,1,0) (0,0,1) (0,0,1)", "none (1,0,0) (0,1,0) (0,0,1)", "(1,0,0),(0,1,0),(0,0,1)",
                         "((1,0,0) (0,1,0) (0,0,1)", ""],
    "kinds": ["domain domain", "domain domain list", "domain domain time", "RGB-color domain domain", "3-vector", ""],
    "endian": ["middle", "native", "", "little big"],
    "encoding": ["ascii", "text", "txt", "hex", "bzip2", "zrl", "raw gzip", ""],
    "space origin": ["(0,0)", "(0,0,0,0)", "0 0 0", "(nan,0,0)", "(0,inf,0)", "(0,1e999,0)", "none", "", "(0,0,0) 0"],
    "space units": ['"m" "m" "m"', "um um um", '"mm" "mm" "in"'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_values_that_mean_nothing_here_are_refused_with_the_name_of_their_field(scratch, name, value):
    refused(scratch, text(header(**{name: value})) + VOXELS, name)


@given(st.integers(min_value=-len(VOXELS), max_value=64).filter(bool), st.booleans())
def test_voxels_are_as_many_as_the_header_says(scratch, more, packed):
    voxels = VOXELS[: len(VOXELS) + min(more, 0)] + bytes(max(more, 0))
    fields = header(encoding="gzip" if packed else "raw")
    refused(scratch, text(fields) + (gzip.compress(voxels) if packed else voxels), "48 bytes")


PACKED = gzip.compress(VOXELS)


@given(st.integers(min_value=0, max_value=len(PACKED) - 1))
def test_a_packed_stream_that_is_cut_short_is_refused(scratch, length):
    refused(scratch, text(header(encoding="gzip")) + PACKED[:length])


@given(st.integers(min_value=0, max_value=len(text()) - 2))
def test_a_header_that_is_cut_short_is_refused(scratch, length):
    refused(scratch, text()[:length])


@given(st.integers(min_value=10, max_value=len(PACKED) - 1), st.integers(min_value=1, max_value=255))
def test_a_damaged_packed_stream_never_gives_other_voxels(scratch, place, change):
    damaged = bytearray(PACKED)
    damaged[place] ^= change
    scratch.write_bytes(text(header(encoding="gzip")) + damaged)
    with suppress(InputError):  # its checksum does not match; a few bytes of the stream's own header say nothing
        assert read_nrrd(scratch).array.tobytes(order="F") == VOXELS


@pytest.mark.parametrize("behind", [b"\0", b"\n", PACKED, VOXELS])
def test_nothing_stands_behind_the_voxels(scratch, behind):
    refused(scratch, text(header(encoding="gzip")) + PACKED + behind, "behind its voxels")


@pytest.mark.parametrize("stream", [VOXELS, zlib.compress(VOXELS), zlib.compress(VOXELS)[2:-4]])
def test_packed_voxels_are_a_gzip_stream(scratch, stream):
    refused(scratch, text(header(encoding="gzip")) + stream)


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused_or_read_but_never_fail_otherwise(scratch, noise):
    for content in (noise, b"NRRD0004\n" + noise, text()[:-1] + noise, text(header(encoding="gzip")) + noise):
        scratch.write_bytes(content)
        with suppress(InputError):
            assert read_nrrd(scratch).array.shape == SIZES


@pytest.mark.parametrize("magic", [b"NRRD0000", b"NRRD0006", b"NRRD00.01", b"nrrd0004", b"NRRD0004 ", b"", b"\0" * 8])
def test_another_magic_is_refused(scratch, magic):
    refused(scratch, text().replace(b"NRRD0004", magic, 1) + VOXELS, "not a NRRD file")


@pytest.mark.parametrize("letter", [b"\0", b"\x0b", b"\x1b", b"\xff", b"\r"])
def test_a_header_is_text(scratch, letter):
    refused(scratch, text(HEADER, "key:=val").replace(b"val", b"v" + letter + b"l") + VOXELS, "no text")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.nrrd", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_nrrd(path)


# Bounds


def peak_bytes(path, content, *words, **options):
    path.write_bytes(content)
    tracemalloc.start()
    try:
        refused(path, content, *words, **options)
        return tracemalloc.get_traced_memory()[1] - 2 * len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sizes", ["4 3 2", "60 60 60"])
def test_a_stream_that_holds_more_than_promised_is_not_expanded(scratch, sizes):
    bomb = gzip.compress(bytes(2**27))
    assert peak_bytes(scratch, text(header(sizes=sizes, encoding="gzip")) + bomb, "more") < 2**23


def test_no_room_is_made_for_what_the_file_cannot_hold(scratch):
    for encoding, sizes in product(("raw", "gzip"), ("4000 4000 4000", "4294967300 3 2")):
        content = text(header(sizes=sizes, encoding=encoding)) + PACKED
        assert peak_bytes(scratch, content, "fewer") < 2**22


def test_an_endless_header_is_not_read_to_its_end(scratch):
    for content in (text(HEADER, "k:=" + "x" * 2**25), text(HEADER, *(f"k{i}:=v" for i in range(2**18)))):
        assert peak_bytes(scratch, content) < 2**25


def test_voxels_are_bounded_before_they_are_expanded(scratch):
    content = text(header(encoding="gzip")) + PACKED
    refused(scratch, content, "4 x 3 x 2", max_voxels=23)
    assert read_nrrd(scratch, max_voxels=24).array.shape == SIZES


@pytest.mark.parametrize("field", ["space_origin", "space_directions"])
def test_a_vector_of_endless_digits_is_refused_by_its_length(scratch, field):
    for number in ("1" * 8000, "1" * 8000 + "x"):
        value = f"({number},0,0)" + (" (0,1,0) (0,0,1)" if field == "space_directions" else "")
        refused(scratch, text(header(**{field: value})) + VOXELS, field.replace("_", " "), "letters")
    refused(scratch, text(header(space_origin=f"({'1' * 41},0,0)")) + VOXELS, "no vectors of three numbers")


def test_a_header_is_known_before_its_voxels_are_read(scratch):
    scratch.write_bytes(text(HEADER | {"encoding": "gzip"}, "key:=value"))
    with scratch.open("rb") as file:
        found = read_nrrd_header(file)
        assert file.read() == b""
    assert (found.shape, found.dtype, found.is_packed, found.fields) == (SIZES, "<i2", True, {"key": "value"})
    np.testing.assert_array_equal(found.affine[:3, 3], (-1, 2, 3.25))
