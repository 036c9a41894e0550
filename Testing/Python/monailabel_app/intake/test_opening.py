"""One file of a client: read as every other program reads it, or refused by its header, and never half."""

from __future__ import annotations

import gzip
import re
import time
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.errors import TooLargeError
from monailabel_app.intake.metaimage import _KNOWN
from monailabel_app.intake.opening import MAX_VOXELS, open_volume
from Testing.Python.monailabel_app.intake.files import (
    ARRAY,
    MHA,
    VOXELS,
    good_files,
    mha,
    nifti,
    nrrd,
    packed_zeros,
    write,
)
from uncertaintyseg.errors import InputError

GOOD = good_files()


def voxels(path) -> np.ndarray:
    with open_volume(path) as volume:
        return np.concatenate(list(volume.chunks)).reshape(volume.shape, order="F")


@pytest.mark.parametrize("name", GOOD)
def test_every_form_that_is_taken_gives_the_same_voxels(tmp_path, name):
    found = voxels(write(tmp_path, name, GOOD[name]))
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, ARRAY)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("code", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_what_itk_writes_is_read_as_itk_reads_it(tmp_path, code, suffix, packed):
    dtype, path = np.dtype(code), tmp_path / f"scan{suffix}"
    kind = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    array = np.array([kind.min, kind.max, 0, 1, 2, 3], dtype).reshape(1, 2, 3)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 2, 3)), image.SetOrigin((-4, 5, 6)), image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path), useCompression=packed)
    found = voxels(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.T, array)
    with open_volume(path) as volume:
        place = np.diag([-1.0, -1, 1, 1]) @ volume.affine @ [2, 1, 0, 1]
    np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint((2, 1, 0)), atol=1e-6)


REFUSED = {
    "another file.nii": nifti(magic=b"ni1"),
    "four values.nii": nifti(dim=[3, 3, 4, 5, 1, 1, 1, 1], bitpix=64),
    "bits.nii": nifti(datatype=1, bitpix=1),
    "colour.nii": nifti(datatype=128, bitpix=24),
    "negative.nii": nifti(dim=[3, 3, -4, 5, 1, 1, 1, 1]),
    "dimensions.nii": nifti(dim=[9, 3, 4, 5, 1, 1, 1, 1]),
    "no dimension.nii": nifti(dim=[0, 3, 4, 5, 1, 1, 1, 1]),
    "empty.nii": nifti(dim=[3, 3, 0, 5, 1, 1, 1, 1]),
    "four.nii": nifti(dim=[4, 3, 4, 1, 5, 1, 1, 1]),
    "scaled.nii": nifti(scl_slope=np.inf),
    "shifted.nii": nifti(scl_slope=2, scl_inter=np.nan),
    "no place.nii": nifti(srow_x=[0, 0, 0, 0], sform_code=1, qform_code=0),
    "more.nii": nifti() + b"\0",
    "fewer.nii": nifti()[:-1],
    "more.nii.gz": gzip.compress(nifti() + b"\0"),
    "behind.nii.gz": gzip.compress(nifti()) + b"behind",
    "padded.nii.gz": gzip.compress(nifti()) + bytes(512),
    "flipped.nii.gz": gzip.compress(nifti())[:-8] + bytes(8),
    "cut.nii.gz": gzip.compress(nifti())[:-4],
    "not packed.nii.gz": nifti(),
    **{f"offset {offset}.nii": nifti(vox_offset=offset) for offset in (2e9, -1, 0, 348, 352.5, np.nan, np.inf, 3e6)},
    "text.mha": b"hello",
    "text.nrrd": b"hello",
    "nothing.mha": b"",
    "more.mha": mha(VOXELS + b"\0"),
    "fewer.mha": mha(VOXELS[:-1]),
    "packed more.mha": mha(zlib.compress(VOXELS + b"\0"), CompressedData="True"),
    "packed behind.mha": mha(zlib.compress(VOXELS) + b"x", CompressedData="True"),
    "packed cut.mha": mha(zlib.compress(VOXELS)[:-5], CompressedData="True"),
    "other size.mha": mha(zlib.compress(VOXELS), CompressedData="True", CompressedDataSize="3"),
    "colon.mha": mha(separator=": "),
    "two channels.mha": mha(ElementNumberOfChannels="2"),
    "two dimensions.mha": mha(NDims="2", DimSize="12 5"),
    "spacing.mha": mha(ElementSpacing="1 -1 1"),
    "no spacing.mha": mha(ElementSpacing=None),
    "flat.mha": mha(TransformMatrix="1 0 0 1 0 0 0 0 1"),
    "header size.mha": mha(HeaderSize="-1"),
    "long.mha": mha(Comment="x" * 2**21),
    "long number.mha": mha(ElementSpacing="1 1 " + "9" * 100_000),
    "many.mha": mha(**{f"key{number}": "1" for number in range(200_000)}),
    "return.mha": mha(separator=" =\r"),
    "detached.nrrd": nrrd(data_file="secret.raw"),
    "skip.nrrd": nrrd(byte_skip="-1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exactly_such_a_file_is_refused_fast_and_named(tmp_path, name):
    path, start = write(tmp_path, name, REFUSED[name]), time.process_time()
    with pytest.raises(InputError, match=re.escape(str(path))):
        voxels(path)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", ["scan.txt", "scan.zip", "scan.nhdr", "scan.mhd", "scan.hdr", "scan"])
def test_other_kinds_of_file_are_refused_whatever_they_hold(tmp_path, name):
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        voxels(write(tmp_path, name, nifti()))


@pytest.mark.parametrize("name", ["scan.dcm", "scan.png", "scan.JPEG", "scan.tif"])
def test_what_needs_a_decoder_is_the_clients_to_decode(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: .*which the client decodes.*uncertaintyseg convert"):
        voxels(write(tmp_path, name, nifti()))


TARGETS = ("/etc/passwd", "../secret.raw", "secret.raw", "LIST", "", "LOCAL.raw", "LOCAL 1", "local", "LOCAL\0")
KEYS = ("ElementDataFile", "elementdatafile", "ELEMENTDATAFILE", "ElementDatafile")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("separator", [" = ", "=", ": ", ":", "  =  ", " =\t"])
def test_promise_3_a_metaimage_header_cannot_name_a_file_of_the_server(tmp_path, key, separator, target):
    last = f"{key}{separator}{target}\n".encode()
    one = mha(b"", DimSize="1 1 1", ElementType="MET_UCHAR").replace(b"ElementDataFile = LOCAL\n", b"")
    for data in (one + last + b"\0", one + last + b"ElementDataFile = LOCAL\n\0"):
        with pytest.raises(InputError):
            voxels(write(tmp_path, "scan.mha", data))


@pytest.mark.parametrize("target", [*TARGETS[:3], "LIST", "scan.%d 1 2 1"])
@pytest.mark.parametrize("field", ["data file: {}", "datafile: {}", "DATA FILE: {}", "Data File:{}", "datafile:={}"])
def test_promise_3_an_nrrd_header_cannot_name_a_file_of_the_server(tmp_path, field, target):
    data = nrrd(b"").removesuffix(b"\n") + f"{field.format(target)}\n\n".encode() + VOXELS
    with pytest.raises(InputError):
        voxels(write(tmp_path, "scan.nrrd", data))


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_field_of_a_metaimage_is_spelled_as_it_is_and_stands_once(tmp_path, data):
    name = data.draw(st.sampled_from(sorted(_KNOWN.values())))
    value = data.draw(st.sampled_from(["1", "3", "True", "LOCAL", "Image", "1 1 1", "-1", "99999999999", "1e999"]))
    spelled = "".join(letter.swapcase() if data.draw(st.booleans()) else letter for letter in name)
    lines = mha(b"").decode().splitlines()[:-1]
    lines.insert(data.draw(st.integers(0, len(lines))), f"{spelled} = {value}")
    content = "\n".join([*lines, "ElementDataFile = LOCAL", ""]).encode() + VOXELS
    path = write(tmp_path, "scan.mha", content)
    if spelled != name or name in MHA:
        with pytest.raises(InputError):
            voxels(path)
        return
    try:
        np.testing.assert_array_equal(voxels(path), ARRAY)  # a field that changes nothing
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - or one that is refused


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(GOOD)), place=st.integers(0, 600), noise=st.binary(max_size=60))
def test_no_damage_raises_anything_else(tmp_path, name, place, noise):
    data = GOOD[name]
    if name.lower().endswith(".gz"):
        data = gzip.decompress(data)
    data = data[:place] + noise + data[place + len(noise) :]
    path = write(tmp_path, name, gzip.compress(data, 1) if name.lower().endswith(".gz") else data)
    try:
        voxels(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - it may as well raise nothing


def peak_of(read) -> int:
    tracemalloc.start()
    try:
        read()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("side", [1024, 32767])
def test_a_small_file_that_promises_much_is_refused_by_its_header(tmp_path, side):
    promised = {
        "scan.nii.gz": gzip.compress(nifti(dim=[3, side, side, side, 1, 1, 1, 1])),
        "scan.mha": mha(zlib.compress(bytes(1000)), CompressedData="True", DimSize=f"{side} {side} {side}"),
    }
    assert side**3 > MAX_VOXELS
    for name, data in promised.items():
        path = write(tmp_path, name, data)

        def read(path=path) -> None:
            with pytest.raises(TooLargeError, match=f"{side} x {side} x {side}"), open_volume(path):
                pass

        assert peak_of(read) < 5e6
    with pytest.raises(InputError, match=f"{side} x {side} x {side}"):
        voxels(write(tmp_path, "scan.nrrd", nrrd(gzip.compress(bytes(9)), encoding="gzip", sizes=f"{side} " * 3)))


def test_a_file_that_holds_more_than_it_promises_is_not_expanded(tmp_path):
    path = write(tmp_path, "scan.nii.gz", packed_zeros(500, nifti()))
    assert path.stat().st_size < 1e6

    def read() -> None:
        with pytest.raises(InputError, match="goes on behind its voxels"):
            voxels(path)

    assert peak_of(read) < 5e6


def test_millions_of_empty_members_are_refused(tmp_path):
    path = write(tmp_path, "scan.nii.gz", gzip.compress(b"", mtime=0) * 500_000 + gzip.compress(nifti()))
    start = time.process_time()
    with pytest.raises(InputError, match="behind its packed voxels"):
        voxels(path)
    assert time.process_time() - start < 20


def test_extensions_of_a_nifti_file_are_passed_over(tmp_path):
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"anything" * 50))
    np.testing.assert_array_equal(voxels(write(tmp_path, "scan.nii", image.to_bytes())), ARRAY)


FOUR = {"dimension": "4", "kinds": "vector domain domain domain", "space_directions": "none (1,0,0) (0,1,0) (0,0,1)"}


def test_one_channel_of_nrrd_is_a_volume_and_several_are_none(tmp_path):
    np.testing.assert_array_equal(voxels(write(tmp_path, "one.nrrd", nrrd(sizes="1 3 4 5", **FOUR))), ARRAY)
    for sizes in ("3 4 5 1", "5 3 4 1", "2 3 2 5"):
        with pytest.raises(InputError, match=f"{sizes[0]} layers or channels"):
            voxels(write(tmp_path, "several.nrrd", nrrd(sizes=sizes, **FOUR)))


def test_a_nrrd_scan_is_read_a_part_at_a_time(tmp_path):
    side = 256
    packer = zlib.compressobj(1, wbits=31)
    data = [packer.compress(bytes(2 * side**2)) for _ in range(side)]
    path = write(tmp_path, "scan.nrrd", nrrd(b"".join([*data, packer.flush()]), encoding="gzip", sizes=f"{side} " * 3))

    def read() -> None:
        with open_volume(path) as volume:
            assert sum(chunk.size for chunk in volume.chunks) == side**3

    assert peak_of(read) < 2 * side**3 / 2


def test_a_nrrd_file_is_one_gzip_stream(tmp_path):
    for data in (gzip.compress(VOXELS[:60]) + gzip.compress(VOXELS[60:]), gzip.compress(VOXELS) + b"\0"):
        with pytest.raises(InputError, match="behind its packed voxels"):
            voxels(write(tmp_path, "scan.nrrd", nrrd(data, encoding="gzip")))


@pytest.mark.parametrize("end", [".mha", ".nrrd"])
def test_what_the_header_of_nifti_cannot_say_is_refused(tmp_path, end):
    def scan(sizes: str, origin: str) -> bytes:
        if end == ".mha":
            return mha(DimSize=sizes, Offset=origin)
        return nrrd(sizes=sizes, space_origin=f"({origin.replace(' ', ',')})")

    for sizes, origin, word in (
        ("32768 4 5", "0 0 0", "more than 32767 along an axis"),
        ("3 4 5", "1e39 0 0", "is no place"),
        ("3 4 5", "1000000017 0 0", "moves it"),
    ):
        path = write(tmp_path, f"scan{end}", scan(sizes, origin))
        with pytest.raises(InputError, match=word) as refused:
            voxels(path)
        assert str(path) in str(refused.value)
    np.testing.assert_array_equal(voxels(write(tmp_path, f"scan{end}", scan("3 4 5", "1e5 -1e5 0.3"))), ARRAY)
