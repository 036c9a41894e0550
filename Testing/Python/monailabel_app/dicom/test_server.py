"""The client of a DICOMweb server: its address, its password, and what else may answer there."""

from __future__ import annotations

import pytest

from monailabel_app.dicom.server import PASSWORD_FILE, USERNAME, DicomWebServer
from monailabel_app.errors import DicomWebError
from uncertaintyseg.errors import InputError


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
