"""A label by its bytes: on its scan's grid, by names where there are names, and no larger than its scan."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from itertools import product

import nibabel as nib
import numpy as np
import pytest
from fastapi import UploadFile

from monailabel_app.intake import label
from monailabel_app.intake.received import received_label
from Testing.Python.monailabel_app.intake.files import good_files, mha, nifti, nrrd, packed_zeros
from uncertaintyseg.data.label_grid import Grid
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.errors import InputError

SHAPE = (7, 6, 5)
AFFINE = np.array([[0, -2.0, 0, 4], [1.5, 0, 0, -3], [0, 0, 3, 9], [0, 0, 0, 1]])
GRID = Grid(SHAPE, AFFINE, "scan")
IDS = {"front": 1, "back": 2, "far": 300}
VALUES = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


def received(name: str, data: bytes, told=(), ids=IDS, grid=GRID) -> np.ndarray:
    return received_label(UploadFile(io.BytesIO(data), filename=name), ids, grid, told)


def packed(values: np.ndarray, affine: np.ndarray = AFFINE, *, slope: float = 1, inter: float = 0) -> bytes:
    image = nib.Nifti1Image(values, affine, dtype=values.dtype)
    data = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    header["scl_slope"], header["scl_inter"] = slope, inter
    data[:348] = header.binaryblock
    return gzip.compress(bytes(data))


@pytest.mark.parametrize("code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_class_ids_come_as_small_integers_from_any_type(code):
    found = received("l.nii.gz", packed(VALUES.astype(code)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, VALUES)


def test_ids_beyond_one_byte_are_kept():
    values = VALUES.astype(np.uint16)
    values[3, 3, 3] = 300
    found = received("l.nii.gz", packed(values))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)


def test_scaled_numbers_are_what_the_scale_makes_of_them():
    found = received("l.nii.gz", packed(VALUES.astype(np.int16) * 2 - 4, slope=0.5, inter=2))
    np.testing.assert_array_equal(found, VALUES)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [*product([1, -1], repeat=3)])
def test_a_label_in_any_order_and_direction_of_its_axes_lands_on_the_grid(order, flips):
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    values = VALUES.transpose(order)
    for axis, (source, sign) in enumerate(zip(order, flips, strict=True)):
        turn[source, axis] = sign
        if sign < 0:
            values = np.flip(values, axis)
            turn[source, 3] = SHAPE[source] - 1
    np.testing.assert_array_equal(received("l.nii.gz", packed(values, AFFINE @ turn)), VALUES)


def shifted() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += 1
    return affine


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (packed(VALUES + 7), "unknown class id 7, 8, 9"),
        (packed(VALUES.astype(np.int16) - 1), "whole numbers"),
        (packed(VALUES.astype(np.float32) / 2), "whole numbers"),
        (packed(np.where(VALUES == 1, np.nan, 0)), "whole numbers"),
        (packed(np.full(SHAPE, 1e300)), "whole numbers"),
        (packed(VALUES, shifted()), "origin"),
        (packed(VALUES[1:]), "6 x 6 x 5"),
        (packed(np.ones((7, 6, 5, 2), np.uint8)), "more than the 210|one 3D volume"),
    ],
    ids=["unknown", "negative", "halves", "nan", "huge", "elsewhere", "shorter", "channels"],
)
def test_what_is_no_label_of_the_scan_is_refused(data, word):
    with pytest.raises(InputError, match=word) as refused:
        received("mine.nii.gz", data)
    assert str(refused.value).startswith("mine.nii.gz: ")


def seg_nrrd(layers: np.ndarray, segments: list[Segment], first=(0, 0, 0)) -> bytes:
    """As Slicer writes it: layers first, in LPS, gzipped; `first` is the scan's voxel where the file begins."""
    ras = AFFINE.copy()
    ras[:, 3] = AFFINE @ [*first, 1]
    lps = np.diag([-1.0, -1, 1, 1]) @ ras
    vectors = ["none"] * (layers.ndim - 3) + [f"({','.join(map(repr, lps[:3, axis].tolist()))})" for axis in range(3)]
    fields = {
        "type": "uchar", "dimension": str(layers.ndim), "sizes": " ".join(map(str, layers.shape)), "encoding": "gzip",
        "kinds": "list domain domain domain" if layers.ndim > 3 else "domain domain domain",
        "space_directions": " ".join(vectors), "space_origin": f"({','.join(map(repr, lps[:3, 3].tolist()))})",
    }  # fmt: skip
    pairs = "".join(
        f"Segment{n}_Name:={s.name}\nSegment{n}_LabelValue:={s.value}\nSegment{n}_Layer:={s.layer}\n"
        for n, s in enumerate(segments)
    )
    head = nrrd(b"", **fields).removesuffix(b"\n") + pairs.encode() + b"\n"
    return head + gzip.compress(layers.astype(np.uint8).tobytes(order="F"))


def test_segments_of_slicer_count_by_their_names_in_layers_and_cropped():
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    layers[0, 0], layers[0, 1], layers[1, 1, :2] = 1, 2, 1
    segments = [Segment("back", 1, 0), Segment("front", 2, 0), Segment("far", 1, 1)]
    expected = np.zeros(SHAPE, np.uint16)
    expected[1:4, 2:6][0], expected[1:4, 2:6][1] = 2, 1
    expected[2, 2:4] = 300
    found = received("s.seg.nrrd", seg_nrrd(layers, segments, first=(1, 2, 0)))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)


def test_a_layer_for_each_of_many_segments_is_read_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(label, "_PART_VALUES", 200)
    layers = np.stack([VALUES == 1, VALUES == 2, *[VALUES == 3] * 62])
    found = received("s.seg.nrrd", seg_nrrd(layers, [Segment("back", 1, 0), Segment("front", 1, 1)]))
    np.testing.assert_array_equal(found, np.array([0, 2, 1])[VALUES])


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ((65, *SHAPE), {}, "65 layers of segments, more than the 64"),
        ((2, *SHAPE), {b"type: uchar": b"type: float"}, "whole numbers"),
        ((2, 8, 6, 5), {}, "8 x 6 x 5 voxels, its scan has 7 x 6 x 5"),
        ((2, *SHAPE), {b"space origin: (-4.0": b"space origin: (-4.3"}, "its grid"),
    ],
)
def test_layers_are_refused_by_their_header_before_anything_is_expanded(shape, change, message):
    data = seg_nrrd(np.zeros(shape, np.uint8), [Segment("back", 1)])
    for old, new in change.items():
        data = data.replace(old, new)
    with pytest.raises(InputError, match=message):
        received("s.seg.nrrd", data[: data.index(b"\n\n") + 2])  # there are no voxels to expand


def test_a_segment_that_is_none_of_the_models_is_refused():
    data = seg_nrrd(VALUES, [Segment("back", 1), Segment("kidney", 2)])
    with pytest.raises(InputError, match=r"^mine\.seg\.nrrd: segment 'kidney'"):
        received("mine.seg.nrrd", data)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_names_that_a_client_tells_count_too(suffix):
    told = [Segment("back", 1), Segment("front", 2)]
    flat = VALUES.tobytes(order="F")
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    axes = lps[:3, :3] / [1.5, 2, 3]
    data = {
        ".nii.gz": packed(VALUES),
        ".nrrd": seg_nrrd(VALUES, []),
        ".mha": mha(
            flat, DimSize="7 6 5", ElementType="MET_UCHAR", ElementSpacing="1.5 2 3",
            TransformMatrix=" ".join(map(str, axes.T.ravel())), Offset=" ".join(map(str, lps[:3, 3])),
        ),
    }[suffix]  # fmt: skip
    np.testing.assert_array_equal(received(f"l{suffix}", data), VALUES)
    np.testing.assert_array_equal(received(f"l{suffix}", data, told), np.array([0, 2, 1])[VALUES])


def test_a_table_of_names_in_nifti_counts():
    rows = '<Label Key="1"><![CDATA[back]]></Label><Label Key="2"><![CDATA[front]]></Label>'
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, f"<LabelTable>{rows}</LabelTable>".encode()))
    np.testing.assert_array_equal(received("l.nii", image.to_bytes()), np.array([0, 2, 1])[VALUES])


LARGE = Grid((256, 256, 128), np.eye(4), "scan")


def bomb(kind: str, count: int) -> bytes:
    """A small file that holds `count` zeros, whatever it says."""
    head = nifti(array=np.zeros(1, np.uint8), dim=[3, *LARGE.shape, 1, 1, 1, 1], srow_x=[1, 0, 0, 0])[:352]
    form = "zlib" if kind == ".mha" else "gzip"
    body = packed_zeros(count // 2**20, head if kind == ".nii.gz" else b"", form)
    sizes = " ".join(map(str, LARGE.shape))
    plain = {
        ".nii.gz": b"",
        ".mha": mha(
            b"", DimSize=sizes, ElementType="MET_UCHAR", CompressedData="True", TransformMatrix="-1 0 0 0 -1 0 0 0 1"
        ),
        ".nrrd": nrrd(
            b"", sizes=sizes, type="uchar", encoding="gzip", space_directions="(-1,0,0) (0,-1,0) (0,0,1)"
        ),
    }[kind]  # fmt: skip
    return plain + body


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd"])
def test_a_label_that_expands_hugely_takes_what_its_scan_takes(kind):
    voxels = int(np.prod(LARGE.shape))
    assert not received(f"l{kind}", bomb(kind, voxels), grid=LARGE).any()
    data = bomb(kind, 2**28)
    assert len(data) < 2e6
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(InputError):
        received(f"l{kind}", data, grid=LARGE)
    assert time.process_time() - start < 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * voxels + 60e6


@pytest.mark.parametrize("name", good_files())
def test_a_label_of_another_grid_is_refused_in_every_form(name):
    with pytest.raises(InputError, match="grid"):
        received(name, good_files()[name])
