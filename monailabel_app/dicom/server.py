"""A DICOMweb server: which series it has, their slices, and storing objects in it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from requests.adapters import HTTPAdapter

from monailabel_app.dicom.series import is_uid
from monailabel_app.errors import DicomWebError, NotFoundError
from monailabel_app.preflight import check_url
from uncertaintyseg.errors import InputError

MODALITIES = ("CT", "MR")
"""Series of these modalities are images to segment."""

USERNAME = "UNCERTAINTYSEG_DICOMWEB_USERNAME"
PASSWORD = "UNCERTAINTYSEG_DICOMWEB_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_FILE = "UNCERTAINTYSEG_DICOMWEB_PASSWORD_FILE"  # noqa: S105

_TIMEOUT_SECONDS = (5.0, 60.0)  # to connect, and between two bytes
_PAGE = 1000
_AS_STORED = (("application/dicom", "*"),)  # compressed as it lies there: not every server can decode what it holds
_PATIENT = ("PatientName", "PatientID")
_FIELDS = ("SeriesDescription", "NumberOfSeriesRelatedInstances", "PatientID")


@dataclass(frozen=True)
class SeriesEntry:
    """A series as the server lists it."""

    uid: str
    study: str
    modality: str
    patient: str
    description: str
    instances: int | None
    """How many slices it should have; None where the server does not say."""


class DicomWebServer:
    """QIDO-RS, WADO-RS and STOW-RS at one address.

    User name and password come from the environment only: `UNCERTAINTYSEG_DICOMWEB_USERNAME` and `..._PASSWORD`, or
    `..._PASSWORD_FILE` with the path of a file that holds the password.

    Args:
        url: http or https address of the service, such as http://127.0.0.1:8042/dicom-web.

    Raises:
        InputError: The address is no such URL or holds a password, or the password file cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = check_url(url)
        session = requests.Session()
        session.auth = _credentials()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter())
        self._client = DICOMwebClient(self.url, session)
        self._client.set_http_retry_params(retry=False)  # it would send the body of a retried POST only once

    def series(self) -> dict[str, SeriesEntry]:
        """List all image series by SeriesInstanceUID; those whose UIDs are malformed are left out.

        Raises:
            DicomWebError: The server cannot be reached or refuses.
        """
        found = {}
        for modality in MODALITIES:
            for item in self._pages(modality):
                entry = _entry(item)
                if is_uid(entry.uid) and is_uid(entry.study):
                    found[entry.uid] = entry
        return found

    def download(self, entry: SeriesEntry, folder: Path) -> None:
        """Write every slice of a series into a folder, named by SOPInstanceUID.

        Raises:
            DicomWebError: The server cannot be reached, or sent a part of the series or another one.
        """
        count = 0
        with _asking(self.url, f"series {entry.uid}"):
            for slice_ in self._client.iter_series(entry.study, entry.uid, _AS_STORED):
                uid = str(slice_.get("SOPInstanceUID", ""))
                if str(slice_.get("SeriesInstanceUID")) != entry.uid or not is_uid(uid):
                    raise DicomWebError(f"{self.url}: sent something else than series {entry.uid}")
                slice_.save_as(folder / f"{uid}.dcm", write_like_original=False)
                count += 1
        got = len(list(folder.iterdir()))
        if got != count or got == 0 or (entry.instances is not None and got != entry.instances):
            raise DicomWebError(f"{self.url}: sent {got} of {entry.instances} slices of series {entry.uid}; try again")

    def patient(self, entry: SeriesEntry) -> tuple[str, str]:
        """Return the name and the id of the patient whose series this is, as the server has them now.

        Raises:
            DicomWebError: The server cannot be reached.
            NotFoundError: The series is not there any more.
        """
        with _asking(self.url, "the patient"):
            found = self._client.search_for_series(
                entry.study, fields=_PATIENT, search_filters={"SeriesInstanceUID": entry.uid}
            )
            items = [Dataset.from_json(item) for item in found]
        for item in items:
            if str(item.get("SeriesInstanceUID")) == entry.uid:
                return patient_of(item)
        raise NotFoundError(f"series {entry.uid} is not on {self.url} any more")

    def store(self, instance: bytes) -> None:
        """Store one DICOM file; storing it again changes nothing, whether the server then says so or refuses.

        Raises:
            DicomWebError: The server cannot be reached or refuses.
        """
        dataset = pydicom.dcmread(io.BytesIO(instance))
        try:
            self._store(dataset)
        except DicomWebError:
            if not self._has(dataset):
                raise

    def _store(self, dataset: Dataset) -> None:
        uid = dataset.SOPInstanceUID
        with _asking(self.url, f"storing {uid}"):
            answer = self._client.store_instances([dataset])
        failed = answer.get("FailedSOPSequence") or []
        stored = [item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence") or []]
        if failed or (len(answer) and uid not in stored):
            reason = f"reason {failed[0].get('FailureReason')}" if failed else "without a reason"
            raise DicomWebError(f"{self.url}: refused to store {uid}, {reason}")

    def _has(self, dataset: Dataset) -> bool:
        """Whether the server has an object: an earlier try arrived, and only its answer was lost."""
        uid = str(dataset.SOPInstanceUID)
        try:
            with _asking(self.url, f"whether {uid} is there"):
                found = self._client.search_for_instances(
                    str(dataset.StudyInstanceUID),
                    str(dataset.SeriesInstanceUID),
                    search_filters={"SOPInstanceUID": uid},
                )
                return any(str(Dataset.from_json(item).get("SOPInstanceUID")) == uid for item in found)
        except DicomWebError:
            return False

    def _pages(self, modality: str) -> Iterator[Dataset]:
        seen: set[str] = set()
        while True:
            with _asking(self.url, "the list of series"):
                page = self._client.search_for_series(
                    limit=_PAGE, offset=len(seen), fields=_FIELDS, search_filters={"Modality": modality}
                )
                items = [Dataset.from_json(item) for item in page]
            new = [item for item in items if str(item.get("SeriesInstanceUID")) not in seen]
            yield from new
            seen.update(str(item.get("SeriesInstanceUID")) for item in new)
            if not new or len(items) < _PAGE:
                return


def patient_of(dataset: Dataset) -> tuple[str, str]:
    """Return the name and the id of the patient that an object is of; empty where it has none."""
    return str(dataset.get("PatientName") or "").rstrip("^ "), str(dataset.get("PatientID") or "").strip()


def _credentials() -> tuple[str, str] | None:
    user, password, file = (os.environ.get(name) for name in (USERNAME, PASSWORD, PASSWORD_FILE))
    if file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InputError(f"{PASSWORD_FILE}={file}: cannot be read ({error.strerror})") from error
    if bool(user) != bool(password):
        raise InputError(f"set both {USERNAME} and one of {PASSWORD} and {PASSWORD_FILE}, or none of them")
    return (user, password) if user and password else None


class _TimedAdapter(HTTPAdapter):
    """Every request ends, if only with an error."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        return super().send(request, **{**options, "timeout": _TIMEOUT_SECONDS})


@contextmanager
def _asking(url: str, what: str) -> Iterator[None]:
    """Turn what goes wrong on the way to the server and back into `DicomWebError`."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        way = f"; check {USERNAME} and {PASSWORD}" if status in (401, 403) else ""
        raise DicomWebError(f"{url}: answered {status} to {what}{way}") from error
    except requests.JSONDecodeError as error:
        raise DicomWebError(f"{url}: answered no DICOM JSON to {what}; is this a DICOMweb address?") from error
    except requests.RequestException as error:
        raise DicomWebError(f"{url}: cannot be reached for {what} ({type(error).__name__})") from error
    except (ValueError, KeyError, InvalidDicomError) as error:
        raise DicomWebError(f"{url}: answered no DICOM to {what} ({error})") from error


def _entry(item: Dataset) -> SeriesEntry:
    count = item.get("NumberOfSeriesRelatedInstances")
    return SeriesEntry(
        uid=str(item.get("SeriesInstanceUID", "")),
        study=str(item.get("StudyInstanceUID", "")),
        modality=str(item.get("Modality", "")),
        patient=str(item.get("PatientID") or ""),
        description=str(item.get("SeriesDescription") or ""),
        instances=int(count) if count else None,
    )
