"""The datastore over a real Orthanc: series are listed and fetched, come and go."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.uid import generate_uid

from monailabel_app.app.dicomweb import DicomWebDatastore
from monailabel_app.dicom.series import read_series
from monailabel_app.dicom.server import DicomWebServer
from monailabel_app.errors import DicomWebError, NotFoundError, UnavailableError
from Testing.Python.monailabel_app.dicom.conftest import SHAPE, hounsfield
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from Testing.Python.servers import poll
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

FINAL = DefaultLabelTag.FINAL


def test_series_are_images_with_their_study_and_patient(datastore, uids):
    assert set(uids.values()) <= set(datastore.list_images())
    info = datastore.get_image_info(uids["reversed"])
    assert (info["Modality"], info["PatientID"], info["SeriesInstanceUID"]) == ("MR", "phantom", uids["reversed"])
    assert uids["oblique"] in datastore.get_unlabeled_images()


@pytest.mark.parametrize(("kind", "seed"), [("oblique", 0), ("reversed", 1), ("scaled", 2)])
def test_a_series_is_fetched_as_the_volume_it_is(datastore, orthanc_folders, uids, kind, seed):
    volume = nib.load(datastore.image_path(uids[kind]))
    np.testing.assert_allclose(volume.get_fdata(), hounsfield(seed), atol=1)  # a slope of 2 halves the steps
    np.testing.assert_allclose(volume.affine, read_series(orthanc_folders[kind]).affine, atol=1e-4)


@pytest.fixture(scope="module")
def real_ct(shared_data, orthanc, tmp_path_factory) -> tuple[str, Path]:
    """SeriesInstanceUID of a real CT in JPEG 2000 in Orthanc, and the folder it came from."""
    source = shared_data / "totalsegmentator_examples" / "images" / "example_ct_dicom"
    if not source.is_dir():
        pytest.skip("no real DICOM series beside the checkout")
    folder, study, series = tmp_path_factory.mktemp("real_ct"), generate_uid(), generate_uid()
    for path in source.iterdir():
        header = pydicom.dcmread(path)  # its identifiers were taken out with the patient's name
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
        header.save_as(folder / path.name, write_like_original=False)
    orthanc.upload(folder)
    return str(series), source


def test_a_real_compressed_ct_goes_through_unchanged_and_its_label_back(open_datastore, orthanc, real_ct, tmp_path):
    image, source = real_ct
    datastore, scan = open_datastore(orthanc), read_scan(source)
    fetched = read_scan(datastore.image_path(image))
    assert np.array_equal(fetched.numpy(), scan.numpy())
    np.testing.assert_allclose(fetched.affine.numpy(), scan.affine.numpy(), atol=1e-4)
    bones = np.where(scan[0].numpy() > 200, 2, 0).astype(np.uint8)
    write_volume(tmp_path / "bones.nii.gz", bones, scan.affine.numpy())
    datastore.save_label(image, str(tmp_path / "bones.nii.gz"), FINAL, {})
    datastore.deliver(image)
    [stored] = orthanc.derived("SEG", image)
    seg = hd.seg.Segmentation.from_dataset(stored)
    slices = [str(header.SOPInstanceUID) for header in datastore.series(image).headers]
    numbers = seg.get_pixels_by_source_instance(slices, combine_segments=True)
    assert np.array_equal(numbers.transpose(2, 1, 0) * 2, bones)


def test_many_ask_for_one_series_and_it_is_fetched_once(datastore, uids, monkeypatch):
    fetched, download = [], DicomWebServer.download
    monkeypatch.setattr(DicomWebServer, "download", lambda *args: (fetched.append(1), download(*args)))
    threads = [threading.Thread(target=datastore.image_path, args=[uids["scaled"]]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_an_id_that_is_no_series_is_never_a_path(datastore):
    for image in ("1.2.3", "../../etc/passwd", "", "."):
        with pytest.raises(NotFoundError):
            datastore.image_path(image)


def test_the_least_recently_used_series_goes_and_comes_back(open_datastore, orthanc, uids):
    datastore = open_datastore(orthanc, limit_bytes=1)
    first = datastore.image_path(uids["oblique"])
    datastore.update_image_info(uids["oblique"], {"note": "kept"})
    second = datastore.image_path(uids["scaled"])
    assert second.is_file()
    assert not first.exists()
    datastore.refresh()
    assert datastore.get_image_info(uids["oblique"])["note"] == "kept"
    assert datastore.image_path(uids["oblique"]).is_file()


def test_the_zip_of_a_data_set_has_a_series_that_had_to_go_meanwhile(open_datastore, orthanc, uids, label_file):
    datastore = open_datastore(orthanc, limit_bytes=1)
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    datastore.image_path(uids["scaled"])
    assert not Path(datastore.get_image_uri(uids["oblique"])).exists()
    archive = Path(datastore.get_dataset_archive(None))
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
    archive.unlink()
    assert names == [f"image/{uids['oblique']}.nii.gz", f"label/{uids['oblique']}.nii.gz", "metadata.json"]


def test_images_are_neither_added_nor_removed_here(datastore, uids, tmp_path):
    with pytest.raises(UnavailableError, match="store the series there"):
        datastore.add_image("new", str(tmp_path / "a.nii.gz"), {})
    with pytest.raises(UnavailableError, match="delete the series there"):
        datastore.remove_image(uids["oblique"])


def test_series_come_and_go_but_labelled_ones_stay(open_datastore, start_orthanc, series_folder, label_file, tmp_path):
    orthanc = start_orthanc()
    orthanc.upload(series_folder)
    datastore = open_datastore(orthanc)
    [labelled] = datastore.list_images()
    datastore.save_label(labelled, str(label_file), FINAL, {})
    datastore.deliver(labelled)
    added = write_series(tmp_path / "late", hounsfield(5), make_affine())
    orthanc.upload(tmp_path / "late")
    datastore.synchronise()
    assert set(datastore.list_images()) == {labelled, added}
    with orthanc.http as http:
        for series in http.get("/series").json():
            http.delete(f"/series/{series}")
    datastore.synchronise()
    assert datastore.list_images() == [labelled]
    with pytest.raises(NotFoundError, match="its label is kept"):
        datastore.image_path(labelled)


def test_a_series_cut_short_is_not_taken(datastore, uids, monkeypatch):
    download = DicomWebServer.download

    def half(self, entry, folder):
        whole = self._client.iter_series
        monkeypatch.setattr(self._client, "iter_series", lambda *request: list(whole(*request))[::2])
        try:
            download(self, entry, folder)
        finally:
            monkeypatch.setattr(self._client, "iter_series", whole)

    monkeypatch.setattr(DicomWebServer, "download", half)
    with pytest.raises(DicomWebError, match="6 of 12 slices"):
        datastore.image_path(uids["oblique"])
    monkeypatch.setattr(DicomWebServer, "download", download)
    assert nib.load(datastore.image_path(uids["oblique"])).shape == SHAPE


def test_one_bad_series_does_not_keep_the_others_from_being_scored(datastore, orthanc, uids, tmp_path):
    tilted = write_series(tmp_path / "tilted", hounsfield(6), make_affine((1, 1, 2)), tilt_mm=0.5)
    orthanc.upload(tmp_path / "tilted")
    datastore.synchronise()
    assert set(datastore.image_paths([uids["scaled"], tilted])) == {uids["scaled"]}
    with pytest.raises(InputError, match=f"series {tilted}.*tilted gantry"):
        datastore.image_paths([tilted])
    with pytest.raises(NotFoundError):
        datastore.image_paths([uids["scaled"], "1.2.3"])


def test_two_servers_cannot_share_the_folder(datastore, orthanc, labels):
    with pytest.raises(InputError, match="another server process"):
        DicomWebDatastore(Path(datastore.folder), DicomWebServer(orthanc.url), 1, lambda model: (labels, ""))


def test_records_are_plain_json(datastore, uids):
    datastore.status()
    exported = Path(datastore.folder, "datastore_v2.json")
    poll(exported.is_file)
    records = json.loads(exported.read_text(encoding="utf-8"))
    assert set(uids.values()) <= set(records["objects"])
