"""Labels and reports that a datastore has for a real Orthanc: they get there in the end, and once."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from monailabel.interfaces.datastore import DefaultLabelTag

from monailabel_app.dicom.server import DicomWebServer
from monailabel_app.errors import DicomWebError, NotFoundError
from Testing.Python.servers import poll
from uncertaintyseg.errors import InputError

FINAL = DefaultLabelTag.FINAL


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
