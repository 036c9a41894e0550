"""Every road into a real server whose native readers are forbidden: what is right arrives, the rest is refused."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import RLELossless

from Testing.Python.monailabel_app.conftest import GUARD
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from Testing.Python.monailabel_app.intake.files import VOXELS, mha, nifti, nrrd, packed_zeros

MODEL = "tiny_low_rank"
FORMS = {".nii": False, ".nii.gz": True, ".mha": True, "_plain.mha": False, ".nrrd": True, "_plain.nrrd": False}
"""By the end of a file's name: whether ITK packs it."""


@pytest.fixture(autouse=True)
def nothing_forbidden(watched):
    yield
    assert watched.guard.read_text(encoding="utf-8") == ""


def test_the_guard_forbids_what_it_should(watched, tmp_path):
    path = tmp_path / "scan.nii"
    path.write_bytes(nifti())
    (tmp_path / "uploads").write_text(hashlib.sha256(nifti()).hexdigest())
    calls = {
        "SimpleITK.ReadImage": f"import SimpleITK; SimpleITK.ReadImage({str(path)!r})",
        "SimpleITK.ImageFileReader": "import SimpleITK; SimpleITK.ImageFileReader()",
        "SimpleITK.ImageSeriesReader": "from SimpleITK import ImageSeriesReader; ImageSeriesReader()",
        f"nibabel on {path}": f"import nibabel; nibabel.load({str(path)!r}).get_fdata()",
    }
    attempts = "".join(f"try:\n    {call}\nexcept AssertionError:\n    pass\n" for call in calls.values())
    paths = {"GUARD_LOG": tmp_path / "log", "GUARD_UPLOADS": tmp_path / "uploads"}
    search = os.pathsep.join([str(GUARD), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search, **{name: str(value) for name, value in paths.items()}}
    subprocess.run([sys.executable, "-c", attempts], env=environment, stderr=subprocess.DEVNULL, check=False)
    assert paths["GUARD_LOG"].read_text(encoding="utf-8").splitlines() == list(calls)


def sent(server, data: bytes) -> bytes:
    with server.noted.open("a") as noted:
        noted.write(f"{hashlib.sha256(data).hexdigest()}\n")
    return data


def written(server, source: Path, folder: Path, end: str) -> tuple[str, bytes]:
    """A volume as ITK writes it in another form, and its name."""
    path = folder / f"volume{end}"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(path), useCompression=FORMS[end], compressionLevel=9)
    return path.name, sent(server, path.read_bytes())


@pytest.mark.parametrize("end", FORMS)
def test_a_scan_in_every_form_arrives_by_every_road(watched, tmp_path, end):
    source = min((watched.data / "images").iterdir())
    name, data = written(watched, source, tmp_path, end)
    put = watched.http.put("/datastore/image", params={"image": "sent"}, files={"file": (name, data)})
    assert put.status_code == 200, put.text
    digest = hashlib.sha256(data).hexdigest()
    for check, status in ((digest, 200), (f"SHA256:{digest}", 200), ("0" * 64, 404), ("CRC:1", 400)):
        head = watched.http.head("/datastore/image", params={"image": "sent", "check_sum": check})
        assert head.status_code == status
    stored = watched.http.get("/datastore/image?image=sent").content
    kept = nib.Nifti1Image.from_bytes(gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored)
    original = nib.load(source)
    assert kept.get_data_dtype() == original.get_data_dtype()
    np.testing.assert_array_equal(kept.get_fdata(), original.get_fdata())
    np.testing.assert_allclose(kept.affine, original.affine, atol=1e-5)
    session = watched.http.put("/session/", files={"files": (name, data)}).json()["session_id"]
    roads = [
        watched.http.post(f"/infer/{MODEL}?image=sent&output=json"),
        watched.http.post(f"/infer/{MODEL}?session_id={session}&output=json"),
        watched.http.post(f"/infer/{MODEL}?output=json", files={"file": (name, data)}),
    ]
    assert [answer.status_code for answer in roads] == [200] * 3, [answer.text for answer in roads]
    assert len({answer.json()["risk"]["result"] for answer in roads}) == 1
    watched.http.delete("/datastore/image?id=sent")


@pytest.mark.parametrize("end", FORMS)
def test_a_label_in_every_form_is_saved_and_reviewed(watched, tmp_path, end):
    source = min((watched.data / "labels").iterdir())
    image = source.name.removesuffix(".nii.gz")
    name, data = written(watched, source, tmp_path, end)
    answer = watched.http.put(f"/datastore/label?image={image}", files={"label": (name, data)})
    assert answer.status_code == 200, answer.text
    saved = nib.Nifti1Image.from_bytes(
        gzip.decompress(watched.http.get(f"/datastore/label?label={image}&tag=final").content)
    )
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(nib.load(source).dataobj))
    key = watched.infer(MODEL, image)["result"]["risk"]["result"]
    review = watched.http.post(f"/uncertainty/v1/results/{key}/review", files={"label": (name, data)})
    assert review.status_code == 200, review.text
    watched.remove_label(image)


@pytest.mark.parametrize("is_rle", [False, True])
def test_slices_arrive_as_a_session(watched, tmp_path, is_rle):
    values = np.random.default_rng(0).integers(-1000, 1000, (20, 24, 12))
    write_series(tmp_path, values, make_affine((0.8, 1.1, 2.5)), shuffle=3)
    files = []
    for path in tmp_path.iterdir():
        if is_rle:
            one = pydicom.dcmread(path)
            one.compress(RLELossless)
            one.save_as(path)
        files.append(("files", (path.name, sent(watched, path.read_bytes()))))
    session = watched.http.put("/session/", files=files).json()["session_id"]
    volume = watched.http.get(f"/session/{session}?image=true").content
    np.testing.assert_array_equal(nib.Nifti1Image.from_bytes(gzip.decompress(volume)).get_fdata(), values)
    answer = watched.http.post(f"/infer/{MODEL}?session_id={session}&output=json")
    assert answer.status_code == 200, answer.text


def test_more_slices_than_a_process_may_have_open_make_a_session(watched, tmp_path):
    """More, too, than Starlette takes in a form."""
    write_series(tmp_path, np.arange(32.0).reshape(4, 4, 2), make_affine())
    one = pydicom.dcmread(tmp_path / "0001.dcm")
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.10000"
    one.ImagePositionPatient = [0, 0, 10000]
    one.save_as(tmp_path / "one")
    template = (tmp_path / "one").read_bytes()
    assert template.count(b"10000") == 3
    slices = [template.replace(b"10000", str(10000 + number).encode()) for number in range(1100)]
    files = [("files", ("slice.dcm", data)) for data in slices]  # the same name, as in folders of their own
    answer = watched.http.put("/session/", files=files)
    assert answer.status_code == 200, answer.text
    volume = watched.http.get(f"/session/{answer.json()['session_id']}?image=true").content
    assert nib.Nifti1Image.from_bytes(gzip.decompress(volume)).shape == (4, 4, 1100)


def test_five_thousand_files_are_looked_at_and_one_more_is_not(watched):
    files = [("files", ("slice.dcm", b"x"))] * 5001
    looked_at = watched.http.put("/session/", files=files[1:])
    assert (looked_at.status_code, "not a DICOM file" in looked_at.json()["detail"]) == (400, True)
    assert watched.http.put("/session/", files=files).status_code == 413


HOSTILE = {
    "detached.mha": mha(b"\0", DimSize="1 1 1", ElementType="MET_UCHAR", ElementDataFile="/etc/passwd"),
    "list.mha": mha(b"/etc/passwd\n", ElementDataFile="LIST"),
    "colon.mha": mha(b"\0", separator=": ", ElementDataFile="/etc/passwd"),
    "case.mha": mha(VOXELS, elementdatafile="/etc/passwd"),
    "twice.mha": mha(VOXELS).replace(b"DimSize", b"ElementDataFile = /etc/passwd\nDimSize"),
    "negative.mha": mha(VOXELS, DimSize="3 -4 5"),
    "long.mha": mha(VOXELS, DimSize="3 4 " + "5" * 5000),
    "header.mha": mha(VOXELS, HeaderSize="-1"),
    "detached.nrrd": nrrd(VOXELS, datafile="/etc/passwd"),
    "skip.nrrd": nrrd(VOXELS, byte_skip="-1"),
    "negative.nrrd": nrrd(VOXELS, sizes="3 4 -5"),
    "pair.nii": nifti(magic=b"ni1"),
    "offset.nii": nifti(vox_offset=-5),
    "negative.nii": nifti(dim=[3, 3, 4, -5, 1, 1, 1, 1]),
    "members.nii.gz": gzip.compress(b"") * 100_000,
    "text.nii.gz": b"text",
    "slice.dcm": bytes(128) + b"DICM" + b"\2\0\2\0UI\xff\xff" + bytes(20),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_by_every_road_by_its_name(watched, name):
    image, file = watched.images()[0], (name, sent(watched, HOSTILE[name]))
    key = watched.infer(MODEL, image)["result"]["risk"]["result"]
    answers = [
        watched.http.put("/datastore/image?image=hostile", files={"file": file}),
        watched.http.put("/session/", files={"files": file}),
        watched.http.put("/session/", files=[("files", file), ("files", ("other.dcm", file[1]))]),
        watched.http.post(f"/infer/{MODEL}", files={"file": file}),
        watched.http.put(f"/datastore/label?image={image}", files={"label": file}),
        watched.http.post(f"/uncertainty/v1/results/{key}/review", files={"label": file}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        detail = answer.json()["detail"]
        assert name in detail or "other.dcm" in detail
        assert "unknown class id" not in detail  # which would tell a byte of the file that was named
        assert "/tmp" not in detail
        assert str(watched.studies) not in detail
    assert "hostile" not in watched.images()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process's memory is read from /proc")
def test_memory_of_the_server_stays_small_whatever_a_small_file_expands_to(watched):
    image = watched.images()[0]

    def peak() -> int:
        status = Path(f"/proc/{watched.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    large = nifti(array=np.zeros(1, np.uint8), dim=[3, 1024, 512, 512, 1, 1, 1, 1])[:352]
    bomb = packed_zeros(256, large)
    assert len(bomb) < 1e6
    before = peak()
    assert watched.http.put(f"/datastore/label?image={image}", files={"label": ("l.nii.gz", bomb)}).status_code == 413
    constant = watched.http.put("/datastore/image?image=flat", files={"file": ("s.nii.gz", bomb)})
    assert "every voxel is 0" in constant.json()["detail"]
    assert peak() - before < 150e6
