"""Label and report to a real Orthanc through our real server: asked first, sent once, whatever breaks on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import nibabel as nib
import numpy as np
import pydicom
import pytest

from monailabel_app.api.limits import REPORT
from monailabel_app.dicom.series import read_series
from Testing.Python import servers
from Testing.Python.monailabel_app.dicom.archive_proxy import ArchiveProxy
from Testing.Python.monailabel_app.dicom.conftest import SHAPE, hounsfield
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from Testing.Python.monailabel_app.dicom.orthanc import Orthanc

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"


@dataclass
class Hospital:
    """A server of ours, an Orthanc, and the way between them."""

    orthanc: Orthanc
    proxy: ArchiveProxy
    folder: Path
    port: int
    process: Popen | None = None

    def start(self) -> None:
        command = [*servers.SERVE, "--studies", self.proxy.url, "--port", str(self.port)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(self.folder / "mirror"))
            self.process = servers.start([*command, "--cache", str(self.folder / "cache")], self.port, self.folder)

    def ask(self, method: str, path: str, **request) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=120, **request)

    def state(self, image: str) -> dict:
        reply = self.ask("GET", f"/uncertainty/v1/cases/{image}/archive")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def send(self, image: str, version: int, pdf: bytes = PDF) -> httpx.Response:
        path = f"/uncertainty/v1/cases/{image}/archive?version={version}"
        return self.ask("POST", path, files={"report": ("report.pdf", pdf)})


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> dict[str, str]:
    """Folder by SeriesInstanceUID: a case for each test."""
    root = tmp_path_factory.mktemp("cases")
    return {
        write_series(root / str(n), hounsfield(n), make_affine((1, 1.5, 2), (3, 4, 5))): root / str(n) for n in range(6)
    }


@pytest.fixture(scope="module")
def cases(series) -> Iterator[str]:
    return iter(series)


@pytest.fixture(scope="module")
def hospital(start_orthanc, series, tmp_path_factory) -> Iterator[Hospital]:
    orthanc = start_orthanc()
    for folder in series.values():
        orthanc.upload(folder)
    proxy = ArchiveProxy(f"http://127.0.0.1:{orthanc.port}")
    found = Hospital(orthanc, proxy, tmp_path_factory.mktemp("hospital"), servers.find_free_port())
    found.start()
    yield found
    servers.stop(found.process)
    proxy.close()


@pytest.fixture
def labelled(hospital, series, cases, tmp_path) -> str:
    """A case with a final label, and its SeriesInstanceUID."""
    image = next(cases)
    values = np.zeros(SHAPE, np.uint8)
    values[5:12, 6:15, 3:8] = 1
    nib.Nifti1Image(values, read_series(series[image]).affine).to_filename(tmp_path / "label.nii.gz")
    files = {"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
    assert hospital.ask("PUT", f"/datastore/label?image={image}&tag=final", files=files).status_code == 200
    return image


def test_who_and_where_is_told_first_then_label_and_report_are_stored_once(hospital, labelled):
    before = hospital.state(labelled)
    assert (before["archive"], before["patient_name"], before["patient_id"]) == (
        hospital.proxy.url, "Phantom^One", "phantom",
    )  # fmt: skip
    assert (before["label"], before["report"], before["report_uid"]) == ("stored", "none", None)
    assert hospital.ask("GET", "/info/").json()["archive"] == hospital.proxy.url
    first = hospital.send(labelled, before["version"])
    assert first.status_code == 200, first.text
    assert (first.json()["label"], first.json()["report"]) == ("stored", "stored")
    assert hospital.send(labelled, before["version"], PDF + b"made anew").json() == first.json()
    [seg], [report] = hospital.orthanc.in_study_of(labelled, "SEG"), hospital.orthanc.in_study_of(labelled, "DOC")
    assert (seg.SOPInstanceUID, report.SOPInstanceUID) == (first.json()["label_uid"], first.json()["report_uid"])
    assert report.EncapsulatedDocument[: report.EncapsulatedDocumentLength] == PDF
    assert report.SourceInstanceSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert (report.PatientID, str(report.PatientName)) == ("phantom", "Phantom^One")
    sent = [entry for entry in hospital.ask("GET", "/uncertainty/v1/audit").json() if entry["event"] == "archive"]
    assert [entry["case"] for entry in sent] == [labelled] * 2
    assert (sent[-1]["version"], sent[-1]["archive"]) == (before["version"], hospital.proxy.url)
    assert [entry["sha256"] for entry in sent] == [None, hashlib.sha256(PDF).hexdigest()]  # the second went nowhere
    assert sent[-1]["sop_instance_uid"] == report.SOPInstanceUID


def test_killed_between_store_and_answer_a_retry_makes_no_second_object(hospital, labelled):
    version = hospital.state(labelled)["version"]
    hospital.proxy.stored = 0
    hospital.proxy.after_store = hospital.process.kill
    with suppress(httpx.TransportError):
        hospital.send(labelled, version)
    hospital.process.wait(timeout=30)
    hospital.proxy.after_store = None
    assert hospital.proxy.stored == 1
    [report] = hospital.orthanc.in_study_of(labelled, "DOC")  # the archive has it, and nobody here knows
    hospital.start()
    answer = hospital.send(labelled, version, PDF + b"made anew by the client")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["report"], answer.json()["report_uid"]) == ("stored", report.SOPInstanceUID)
    assert hospital.proxy.stored >= 2  # it was sent again, by the client or by the start
    assert len(hospital.orthanc.in_study_of(labelled, "DOC")) == len(hospital.orthanc.in_study_of(labelled, "SEG")) == 1


def test_a_report_waits_for_an_archive_that_is_down_and_arrives_by_a_retry(hospital, labelled):
    version = hospital.state(labelled)["version"]
    hospital.proxy.is_down = True
    try:
        refused = hospital.send(labelled, version)
        assert hospital.ask("GET", f"/uncertainty/v1/cases/{labelled}/archive").status_code == 502
    finally:
        hospital.proxy.is_down = False
    assert refused.status_code == 502
    assert "the report is saved on this server" in refused.json()["detail"]
    assert hospital.state(labelled)["report"] == "waiting"
    assert hospital.orthanc.in_study_of(labelled, "DOC") == []
    assert hospital.send(labelled, version).json()["report"] == "stored"
    assert len(hospital.orthanc.in_study_of(labelled, "DOC")) == 1


def test_what_cannot_be_sent_is_refused_and_nothing_is_stored(hospital, labelled):
    version = hospital.state(labelled)["version"]
    for status, words, reply in (
        (400, "%PDF-", hospital.send(labelled, version, b"<html>")),
        (409, f"version {version} of the label counts", hospital.send(labelled, version + 1)),
        (413, "20000 kB", hospital.send(labelled, version, b"%PDF-" + b"0" * REPORT)),
        (404, "1.2.3", hospital.send("1.2.3", version)),
        (422, "version", hospital.send(labelled, 0)),
        (422, "report", hospital.ask("POST", f"/uncertainty/v1/cases/{labelled}/archive?version={version}")),
    ):
        assert reply.status_code == status, reply.text
        assert words in reply.json()["detail"]
    assert hospital.ask("DELETE", f"/datastore/label?id={labelled}&tag=final").status_code == 200
    assert hospital.state(labelled)["version"] is None
    assert hospital.send(labelled, version).status_code == 404
    assert hospital.orthanc.in_study_of(labelled, "DOC") == []


def move_to_another_patient(hospital: Hospital, folder: Path, image: str) -> None:
    with hospital.orthanc.http as http:
        [series_id] = http.post("/tools/find", json={"Level": "Series", "Query": {"SeriesInstanceUID": image}}).json()
        http.delete(f"/series/{series_id}").raise_for_status()
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        header.PatientID, header.PatientName = "other", "Other^Person"
        header.save_as(path)
    hospital.orthanc.upload(folder)


def test_a_series_that_the_archive_has_under_another_patient_by_now_is_not_reported_on(hospital, series, labelled):
    version = hospital.state(labelled)["version"]
    move_to_another_patient(hospital, series[labelled], labelled)
    reply = hospital.send(labelled, version)  # by a client that did not ask first
    assert reply.status_code == 400, reply.text
    assert "another patient now (Other^Person, other)" in reply.json()["detail"]
    assert hospital.orthanc.in_study_of(labelled, "DOC") == []
    assert hospital.state(labelled)["patient_id"] == "other"  # fetched anew
    assert hospital.send(labelled, version).json()["report"] == "stored"
    assert hospital.orthanc.in_study_of(labelled, "DOC")[0].PatientID == "other"


def test_a_report_that_waits_is_not_sent_once_the_archive_has_another_patient(hospital, series, labelled):
    version = hospital.state(labelled)["version"]
    hospital.proxy.is_down = True
    assert hospital.send(labelled, version).status_code == 502
    move_to_another_patient(hospital, series[labelled], labelled)
    hospital.proxy.is_down = False
    assert hospital.ask("GET", f"/uncertainty/v1/cases/{labelled}/archive").status_code == 400  # fetched anew below
    assert hospital.state(labelled)["report"] == "waiting"
    hospital.process.kill()
    hospital.process.wait(timeout=30)
    hospital.start()  # and so it sends what waits
    servers.poll(lambda: "is of another patient than the archive's" in (hospital.folder / "log.txt").read_text())
    assert hospital.orthanc.in_study_of(labelled, "DOC") == []
