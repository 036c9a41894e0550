"""The datastore over a real Orthanc: listing, fetching, labels that get there in the end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.uid import generate_uid

from monailabel_app.app import dicomweb
from monailabel_app.app.dicomweb import DicomWebDatastore, one_name_each
from monailabel_app.dicom.series import read_series
from monailabel_app.dicom.server import PASSWORD_FILE, USERNAME, DicomWebServer
from monailabel_app.errors import DicomWebError, NotFoundError, UnavailableError
from Testing.Python.monailabel_app.dicom.conftest import SHAPE, hounsfield
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from Testing.Python.servers import poll
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

FINAL = DefaultLabelTag.FINAL


@pytest.fixture
def open_datastore(labels, tmp_path, monkeypatch):
    """Opens datastores over an Orthanc, which then synchronise only when told to."""
    monkeypatch.setattr(DicomWebDatastore, "_sync_for_ever", lambda self: None)
    opened: list[DicomWebDatastore] = []

    def run(orthanc, limit_bytes: int = 10**9) -> DicomWebDatastore:
        folder = tmp_path / "mirror"
        folder.mkdir(exist_ok=True)
        for other in opened:
            other.close()
        opened.append(
            DicomWebDatastore(folder, DicomWebServer(orthanc.url), limit_bytes, lambda model: (labels, "ab" * 32))
        )
        return opened[-1]

    yield run
    for datastore in opened:
        datastore.close()


@pytest.fixture
def datastore(open_datastore, orthanc) -> DicomWebDatastore:
    return open_datastore(orthanc)


@pytest.fixture
def label_file(series_folder, tmp_path) -> Path:
    """A label on the oblique series, its axes turned."""
    values = np.random.default_rng(3).choice([0, 2, 5], SHAPE).astype(np.uint8)
    affine = read_series(series_folder).affine
    write_volume(tmp_path / "label.nii.gz", values, affine)
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 1] * (SHAPE[1] - 1)
    flipped[:3, 1] *= -1
    write_volume(tmp_path / "flipped.nii.gz", values[:, ::-1], flipped)
    return tmp_path / "label.nii.gz"


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


@pytest.mark.parametrize("name", ["label.nii.gz", "flipped.nii.gz"])
def test_a_saved_label_is_on_the_server_as_seg(datastore, orthanc, uids, label_file, name):
    datastore.save_label(uids["oblique"], str(label_file.with_name(name)), FINAL, {"model": "m"})
    datastore.deliver(uids["oblique"])
    info = datastore.get_label_info(uids["oblique"], FINAL)
    assert info["dicom"] == "stored"
    [stored] = orthanc.instances(info["series_instance_uid"])
    seg = hd.seg.Segmentation.from_dataset(stored)
    slices = [str(header.SOPInstanceUID) for header in datastore.series(uids["oblique"]).headers]
    numbers = seg.get_pixels_by_source_instance(slices, combine_segments=True).transpose(2, 1, 0)
    assert np.array_equal(np.array([0, 2, 5])[numbers], nib.load(label_file).get_fdata())
    assert seg.SOPInstanceUID == info["sop_instance_uid"]
    assert not list((Path(datastore.folder) / "outbox").iterdir())


def test_a_label_of_another_tag_stays_here(datastore, orthanc, uids, label_file):
    datastore.save_label(uids["oblique"], str(label_file), "original", {})
    datastore.deliver(uids["oblique"])
    assert "sop_instance_uid" not in datastore.get_label_info(uids["oblique"], "original")


def test_a_label_on_another_grid_is_refused_and_nothing_kept(datastore, uids, label_file):
    with pytest.raises(InputError, match="grid"):
        datastore.save_label(uids["scaled"], str(label_file), FINAL, {})
    assert uids["scaled"] in datastore.get_unlabeled_images()
    assert not list((Path(datastore.folder) / "outbox").iterdir())


def test_a_label_waits_for_a_server_that_is_down_through_a_restart(
    open_datastore, start_orthanc, series_folder, uids, label_file
):
    orthanc = start_orthanc()
    orthanc.upload(series_folder)
    datastore, image = open_datastore(orthanc), uids["oblique"]
    datastore.image_path(image)
    orthanc.stop()
    datastore.save_label(image, str(label_file), FINAL, {"model": "m"})
    with pytest.raises(DicomWebError, match="saved on this server, but not yet"):
        datastore.deliver(image)
    waiting = datastore.get_label_info(image, FINAL)
    assert waiting["dicom"] == "waiting"
    assert datastore.get_unlabeled_images() == []
    orthanc.start(poll)
    again = open_datastore(orthanc)
    again.synchronise()
    again.synchronise()
    assert again.get_label_info(image, FINAL)["dicom"] == "stored"
    assert [o.SOPInstanceUID for o in orthanc.derived("SEG", image)] == [waiting["sop_instance_uid"]]


def test_an_answer_that_was_lost_stores_no_second_seg(datastore, orthanc, uids, label_file, monkeypatch):
    before = len(orthanc.derived("SEG", uids["oblique"]))
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    store = DicomWebServer.store

    def store_and_lose(self, instance):
        store(self, instance)
        raise DicomWebError("the connection broke")

    monkeypatch.setattr(DicomWebServer, "store", store_and_lose)
    with pytest.raises(DicomWebError):
        datastore.deliver(uids["oblique"])
    monkeypatch.setattr(DicomWebServer, "store", store)
    datastore.synchronise()
    assert datastore.get_label_info(uids["oblique"], FINAL)["dicom"] == "stored"
    assert len(orthanc.derived("SEG", uids["oblique"])) == before + 1


def test_only_the_newest_of_two_waiting_labels_is_sent(datastore, orthanc, uids, label_file):
    before = {o.SOPInstanceUID for o in orthanc.derived("SEG", uids["oblique"])}
    for _ in range(2):
        datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    newest = datastore.get_label_info(uids["oblique"], FINAL)["sop_instance_uid"]
    datastore.synchronise()
    assert {o.SOPInstanceUID for o in orthanc.derived("SEG", uids["oblique"])} - before == {newest}


def test_a_restored_version_goes_to_the_server_as_an_object_of_its_own(datastore, orthanc, uids, label_file):
    for _ in range(2):
        datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
        datastore.deliver(uids["oblique"])
    sent = {o.SOPInstanceUID for o in orthanc.derived("SEG", uids["oblique"])}
    datastore.restore(datastore.store.versions(uids["oblique"])[0])
    datastore.deliver(uids["oblique"])
    info = datastore.get_label_info(uids["oblique"], FINAL)
    assert info["dicom"] == "stored"
    assert {o.SOPInstanceUID for o in orthanc.derived("SEG", uids["oblique"])} - sent == {info["sop_instance_uid"]}


def test_a_label_put_there_by_hand_gets_its_segmentation_with_the_report(datastore, orthanc, uids, label_file):
    before, image = {o.SOPInstanceUID for o in orthanc.derived("SEG", uids["oblique"])}, uids["oblique"]
    by_hand = Path(datastore.folder) / "labels" / "final" / f"{image}.nii.gz"
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    by_hand.write_bytes(label_file.read_bytes())
    datastore.refresh()
    state = datastore.archive_state(image)
    assert (state.label, state.report) == ("none", "none")
    for _ in range(2):
        datastore.add_report(image, state.version, b"%PDF-", lambda uid, sha256: None)
        datastore.deliver(image)
    sent = datastore.archive_state(image)
    assert (sent.label, sent.report) == ("stored", "stored")
    assert {o.SOPInstanceUID for o in orthanc.derived("SEG", image)} - before == {sent.label_uid}
    assert not list((Path(datastore.folder) / "outbox").iterdir())


def test_an_audit_that_fails_keeps_the_report_from_being_sent(datastore, uids, label_file):
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    datastore.deliver(uids["oblique"])

    def fail(uid, sha256):
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="disk is full"):
        datastore.add_report(uids["oblique"], datastore.archive_state(uids["oblique"]).version, b"%PDF-", fail)
    datastore.synchronise()
    assert datastore.archive_state(uids["oblique"]).report == "none"


def test_an_archive_that_refuses_what_it_has_is_taken_at_its_word(datastore, orthanc, uids, label_file, monkeypatch):
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    [waiting] = (Path(datastore.folder) / "outbox").iterdir()
    data, server = waiting.read_bytes(), datastore._server

    def refuse(_dataset):
        raise DicomWebError("answered 409")

    with monkeypatch.context() as refusing:
        refusing.setattr(server, "_store", refuse)
        with pytest.raises(DicomWebError, match="409"):
            server.store(data)
    server.store(data)
    with monkeypatch.context() as refusing:
        refusing.setattr(server, "_store", refuse)
        server.store(data)


def test_a_label_that_is_kept_aside_is_not_sent(datastore, uids, label_file):
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {}, current=False)
    assert not list((Path(datastore.folder) / "outbox").iterdir())


def test_a_newer_label_that_comes_while_one_is_sent_waits_for_its_own_turn(datastore, uids, label_file, monkeypatch):
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    send = datastore._outbox.send

    def send_slowly(uid):
        send(uid)
        datastore.save_label(uids["oblique"], str(label_file), FINAL, {})

    with monkeypatch.context() as slow:
        slow.setattr(datastore._outbox, "send", send_slowly)
        datastore.deliver(uids["oblique"])
    assert datastore.get_label_info(uids["oblique"], FINAL)["dicom"] == "waiting"
    datastore.deliver(uids["oblique"])
    assert datastore.get_label_info(uids["oblique"], FINAL)["dicom"] == "stored"


def test_a_label_record_cannot_name_a_file_elsewhere(datastore, uids, label_file, tmp_path):
    (tmp_path / "secret.dcm").write_bytes(b"secret")
    datastore.save_label(uids["oblique"], str(label_file), FINAL, {})
    datastore.update_label_info(uids["oblique"], FINAL, {"sop_instance_uid": "../../secret"})
    with pytest.raises(NotFoundError):
        datastore.deliver(uids["oblique"])
    assert (tmp_path / "secret.dcm").read_bytes() == b"secret"


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


def test_a_password_comes_from_the_environment_only(start_orthanc, monkeypatch, tmp_path):
    orthanc = start_orthanc(password="correct horse")
    with pytest.raises(DicomWebError, match="401"):
        DicomWebServer(orthanc.url).series()
    (tmp_path / "password").write_text("correct horse\n")
    monkeypatch.setenv(USERNAME, "annotator")
    monkeypatch.setenv(PASSWORD_FILE, str(tmp_path / "password"))
    assert DicomWebServer(orthanc.url).series() == {}
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(DicomWebError, match="401") as error:
        DicomWebServer(orthanc.url).series()
    assert "wrong" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@h/dicom-web", "ftp://h/x", "http://", "http://h/x?token=1", "http://["]
)
def test_an_address_that_cannot_be_used_or_holds_a_secret_is_refused(url):
    with pytest.raises(InputError) as error:
        DicomWebServer(url)
    assert "secret" not in str(error.value)


def test_a_server_that_is_not_there_or_speaks_no_dicomweb_is_named(orthanc, free_port):
    for url in (f"http://127.0.0.1:{free_port}/dicom-web", f"http://127.0.0.1:{orthanc.port}/app"):
        with pytest.raises(DicomWebError, match=url):
            DicomWebServer(url).series()


def test_without_a_model_an_id_that_means_two_things_has_no_name():
    def label(key, name):
        return wire.Label(id=key, name=name, rgb=(1, 2, 3))

    names = {l.id: l.name for l in one_name_each([label(2, "b"), label(1, "a"), label(1, "other"), label(2, "b")])}
    assert names == {1: "class 1", 2: "b"}
    assert dicomweb.one_name_each([]) == []
