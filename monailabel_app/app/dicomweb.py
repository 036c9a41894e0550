"""The studies of a DICOMweb server: series are images, and a saved label goes back as DICOM SEG."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
from monailabel.config import settings
from pydicom import Dataset

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.hand_labels import check_by_hand
from monailabel_app.dicom.coding import Source
from monailabel_app.dicom.mirror import VOLUME_SUFFIX, Mirror
from monailabel_app.dicom.outbox import Outbox, encode
from monailabel_app.dicom.report import checked_pdf, encapsulated_report
from monailabel_app.dicom.segmentation import segmentation
from monailabel_app.dicom.series import Series
from monailabel_app.dicom.server import DicomWebServer, SeriesEntry, patient_of
from monailabel_app.errors import DicomWebError, NotFoundError, TakenError, UnavailableError
from monailabel_app.store.records import Records, Version
from monailabel_app.store.studies import Note
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import InputError, UncertaintySegError

logger = logging.getLogger(__name__)

Describe = Callable[[str | None], tuple[list[wire.Label], str]]
"""Structures that a label of this model may hold (of any model when None), and the checksum of its weights."""

_STATE, _UID, _SERIES = "dicom", "sop_instance_uid", "series_instance_uid"
_WAITING, _STORED = "waiting", "stored"
_KINDS = _LABEL, _REPORT = "", "report_"
"""What a label's record may speak of: its Segmentation and a report, the names of whose fields begin so."""
PLACES = tuple(f"{kind}{field}" for kind in _KINDS for field in (_STATE, _UID, _SERIES))
"""Fields of a label's record that say where the two are on the server; ours alone to write."""
NoteReport = Callable[[str, str | None], None]
_SYNC_SECONDS = 60.0


def open_dicomweb(url: str, limit_bytes: int, describe: Describe, **kept: Any) -> DicomWebDatastore:
    """Open the studies of a server over a folder of this user, one a server.

    It is in MONAI_LABEL_DICOMWEB_CACHE_PATH, else among the user's data: labels and records are kept there.

    Raises:
        DicomWebError: The server does not answer.
        InputError: The address or the credentials cannot be used, or another process has the folder.
    """
    server = DicomWebServer(url)
    parent = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or platformdirs.user_data_path("uncertaintyseg") / "dicomweb"
    folder = Path(parent) / hashlib.sha256(server.url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return DicomWebDatastore(folder, server, limit_bytes, describe, **kept)


class DicomWebDatastore(StudyDatastore):
    """Image ids are SeriesInstanceUIDs. Scans are fetched when needed; labels and records are kept in `folder`.

    A final label is saved here and then stored on the server as DICOM SEG. When that fails the client is told so
    (502), but the label is kept and sent again every minute, also after a restart.

    Raises:
        DicomWebError: The server does not answer.
        InputError: Another process has the folder, see `monailabel_app.preflight`.
    """

    def __init__(
        self, folder: Path, server: DicomWebServer, limit_bytes: int, describe: Describe, *, audit: Path | None = None,
        keep_versions: int = 0, unclear: Callable[[], Mapping[int, str]] = dict,
    ) -> None:  # fmt: skip
        self._server = server
        self._listed = server.series()
        self._describe = describe
        self._sending = threading.Lock()
        # this takes the folder for this process
        super().__init__(str(folder), audit=audit, keep_versions=keep_versions, unclear=unclear)
        self._mirror = Mirror(folder, server, limit_bytes)
        self._outbox = Outbox(folder / "outbox", server)
        self._outbox.keep_only(self._waiting().values())
        threading.Thread(target=self._sync_for_ever, name="dicomweb", daemon=True).start()

    def name(self) -> str:
        return self._server.url

    @property
    def archive(self) -> str:
        return self._server.url

    def image_path(self, image_id: str) -> Path:
        """Return the scan as NIfTI, fetching it if need be.

        Raises:
            NotFoundError: No such series.
            DicomWebError: The server cannot be reached or did not send the whole series.
            InputError: The series is no volume.
        """
        return self._mirror.volume(self._entry(image_id))

    def image_paths(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return the scans of many series without those that cannot be had; the log says why.

        Raises:
            NotFoundError: One is no series.
            UncertaintySegError: None can be had.
        """
        wanted = [self._entry(image_id) for image_id in image_ids]
        found: dict[str, Path] = {}
        for entry in wanted:
            try:
                found[entry.uid] = self._mirror.volume(entry)
            except UncertaintySegError as error:  # noqa: PERF203 - one bad series must not stop the others
                logger.warning("series %s is left out: %s", entry.uid, error)
                if entry is wanted[-1] and not found:
                    raise
        return found

    def series(self, image_id: str) -> Series:
        """Return the headers of a series, to derive objects from. Raises as `image_path`."""
        return self._mirror.series(self._entry(image_id))

    def store_instance(self, instance: Dataset) -> None:
        """Store an object on the server. Raises `DicomWebError` when it does not take it; nothing is kept then."""
        self._server.store(encode(instance))

    def get_image(self, image_id: str, params: Any = None) -> Any:  # noqa: ARG002 - inherited signature
        return io.BytesIO(self.image_path(image_id).read_bytes())

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Fetch what is labelled, and list it."""
        for image_id in self.get_labeled_images():
            self.image_path(image_id)
        return super().datalist(full_path)

    def add_image(self, *_scan: Any) -> str:
        """Refuse: images are the server's. Raises `UnavailableError`."""
        raise UnavailableError(f"images come from {self._server.url}: store the series there, it is listed in a minute")

    def remove_image(self, _image_id: str) -> None:
        """Refuse: images are the server's. Raises `UnavailableError`."""
        raise UnavailableError(f"images belong to {self._server.url}: delete the series there")

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *note: Note, **made: Any
    ) -> str:
        """Save a label here, and a final one also as DICOM SEG that waits for `deliver`.

        Raises:
            NotFoundError: No such series.
            InputError: The label is not on the grid of the series, or cannot be written.
            DicomWebError: The series had to be fetched and the server does not answer.
        """
        label_info = {name: value for name, value in label_info.items() if name not in PLACES}
        if label_tag != FINAL or not made.get("current", True):
            return super().save_label(image_id, label_filename, label_tag, label_info, *note, **made)
        places = self._put_label(Path(label_filename), self._source(label_info), self.series(image_id))
        return super().save_label(image_id, label_filename, label_tag, {**label_info, **places}, *note, **made)

    def add_report(self, image_id: str, number: int, pdf: bytes, note: NoteReport) -> None:
        """Keep a report on the final label, and the label where no Segmentation was made of it, for `deliver`.

        Of a version there is one report: once the server has it another one is not kept.

        Args:
            image_id: The series.
            number: Of the version that it is about.
            pdf: The report.
            note: Told of the report's SOPInstanceUID and SHA-256 in the same transaction; None where it is not kept.

        Raises:
            NotFoundError: No such series, or it has no final label.
            TakenError: Another version counts by now.
            InputError: The report is no PDF, or the patient is another one by now, see `archive_state`.
            DicomWebError: The series had to be fetched and the server does not answer.
        """
        checked_pdf(pdf)
        label = self._existing(image_id, FINAL)
        _check_counts(label.version, number)
        with suppress(DicomWebError):  # what waits for a server that is away is looked at when it is sent
            self._patient(image_id)
        series, source = self.series(image_id), self._source(label.info, f"{image_id} {number} {label.version.sha256}")
        places: dict[str, str] = {}
        if label.info.get(_UID) is None:  # a file that a person put into labels/
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"label{label.version.suffix}"
                path.write_bytes(self.version_bytes(label.version))
                places = self._put_label(path, replace(source, identity=f"{source.identity} label"), series)
        seg_uid = str({**label.info, **places}[_UID])
        report = encapsulated_report(pdf, seg_uid, series, replace(source, identity=f"{source.identity} report"))
        kept = label.info.get(f"{_REPORT}{_STATE}") != _STORED
        if kept:
            self._outbox.put(report)
            places |= _places(report, _REPORT)
        with self.transaction():
            _check_counts(self._existing(image_id, FINAL).version, number)
            self.update_label_info(image_id, FINAL, places)
            note(str(report.SOPInstanceUID), hashlib.sha256(pdf).hexdigest() if kept else None)

    def archive_state(self, image_id: str) -> wire.ArchiveState:
        """Return whose a series is on the server, and what of its label and report is there.

        Raises:
            NotFoundError: No such series.
            DicomWebError: The server does not answer.
            InputError: The patient is another one than when the series was fetched, and so than in objects made of it.
        """
        name, patient_id = self._patient(image_id)
        info = self.get_label_info(image_id, FINAL)
        return wire.ArchiveState(
            archive=self._server.url,
            patient_name=name,
            patient_id=patient_id,
            version=info.get("version"),
            label=info.get(_STATE, "none"),
            label_uid=info.get(_UID),
            report=info.get(f"{_REPORT}{_STATE}", "none"),
            report_uid=info.get(f"{_REPORT}{_UID}"),
        )

    def deliver(self, image_id: str) -> None:
        """Store the final label of an image and a report on it on the server, unless they are there.

        Raises:
            DicomWebError: The server did not take them; they are saved here and will be sent again.
            InputError: The server has the series under another patient than the report; it is not sent.
        """
        try:
            for (image, kind), uid in self._waiting().items():
                if image == image_id:
                    self._send(image, kind, uid)
        except DicomWebError as error:
            raise DicomWebError(
                f"the {'report' if kind else 'label'} is saved on this server, but not yet on the DICOMweb server; it "
                f"is sent again every minute until it arrives. ({error})"
            ) from error

    def _patient(self, image_id: str) -> tuple[str, str]:
        """Name and id of a series' patient on the server, those of the copy here. Raises as `archive_state`."""
        entry = self._entry(image_id)
        name, patient_id = self._server.patient(entry)
        if (name, patient_id) != patient_of(self.series(image_id).headers[0]):
            self._mirror.forget(entry)
            raise InputError(
                f"the archive has series {image_id} under another patient now ({name}, {patient_id}) than when it was "
                "fetched. The copy here is gone: open the case again, and look whether the label is this patient's"
            )
        return name, patient_id

    def _source(self, info: dict[str, Any], identity: str = "") -> Source:
        return Source(info.get("model"), self._describe(info.get("model"))[1], edited=True, identity=identity)

    def _put_label(self, path: Path, source: Source, series: Series) -> dict[str, str]:
        """Keep a label for sending: on disk before its record speaks of it. Returns where it will be."""
        volume = read_label(path)
        labels, _ = self._describe(source.model)
        seg = segmentation(volume[0].numpy(), volume.affine.numpy(), labels, series, source)
        self._outbox.put(seg)
        return _places(seg, _LABEL)

    def synchronise(self) -> None:
        """List the series anew and send what waits. Raises `DicomWebError` when there is no list."""
        listed = self._server.series()
        with self.lock:
            changed, self._listed = listed != self._listed, listed
        if changed:
            self.refresh()
        for (image_id, kind), uid in self._waiting().items():
            _logged(self._send, image_id, kind, uid)

    def _sync_for_ever(self) -> None:
        while True:
            _logged(self.synchronise)
            time.sleep(_SYNC_SECONDS)

    def _send(self, image_id: str, kind: str, uid: str) -> None:
        with self._sending:
            if self._waiting().get((image_id, kind)) != uid:  # another thread sent it, or a newer label took its place
                return
            if kind == _REPORT and self._patient(image_id) != self._outbox.patient(uid):
                raise InputError(f"the report on {image_id} is of another patient than the archive's: send it anew")
            self._outbox.send(uid)
            with self.transaction():  # a newer label, which waits for its own turn, may be in its place by now
                if self._waiting().get((image_id, kind)) == uid:
                    self.update_label_info(image_id, FINAL, {f"{kind}{_STATE}": _STORED})

    def _waiting(self) -> dict[tuple[str, str], str]:
        """SOPInstanceUIDs by image and kind of what the server does not have yet, labels before their reports."""
        with self.lock:
            infos = {i: self.get_label_info(i, FINAL) for i in self.get_labeled_images()}
        return {
            (image, kind): str(info.get(f"{kind}{_UID}"))
            for image, info in infos.items()
            for kind in _KINDS
            if info.get(f"{kind}{_STATE}") == _WAITING
        }

    def _entry(self, image_id: str) -> SeriesEntry:
        self.check_image(image_id)
        entry = self._listed.get(image_id)
        if entry is None:
            raise NotFoundError(f"series {image_id} is not on {self._server.url} any more; its label is kept here")
        return entry

    def _find_scans(self, records: Records) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]:  # noqa: ARG002 - inherited signature
        def noted(entry: SeriesEntry) -> dict[str, Any]:
            return {
                "StudyInstanceUID": entry.study,
                "SeriesInstanceUID": entry.uid,
                "SeriesDescription": entry.description,
                "Modality": entry.modality,
                "PatientID": entry.patient,
            }

        return {uid: (f"{uid}{VOLUME_SUFFIX}", noted(entry)) for uid, entry in self._listed.items()}, {}

    def _present(self) -> set[str]:
        """What the server lists, and what somebody has labelled."""
        return super()._present() | {image for image, _ in self.store.label_tags()}

    def _check_label(self, path: Path, scan: Path) -> None:  # noqa: ARG002 - inherited signature
        check_by_hand(path, self._unclear())  # the scan may be on the server only


def _places(instance: Dataset, kind: str) -> dict[str, str]:
    """What a label's record says of an object that waits."""
    uids = {_UID: str(instance.SOPInstanceUID), _SERIES: str(instance.SeriesInstanceUID)}
    return {f"{kind}{name}": value for name, value in {**uids, _STATE: _WAITING}.items()}


def _check_counts(version: Version, number: int) -> None:
    if version.id != number:
        raise TakenError(
            f"version {version.id} of the label counts by now, not {number}: look at it, and report on that one"
        )


def _logged(step: Callable[..., None], *args: str) -> None:
    """Do a step in the background: the next minute may bring what it lacks."""
    try:
        step(*args)
    except UncertaintySegError as error:
        logger.warning("%s: %s", " ".join(args) or "DICOMweb", error)
    except Exception:  # the next minute may go well
        logger.exception("%s", " ".join(args) or "DICOMweb")
