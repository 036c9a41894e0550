"""The studies of a DICOMweb server: series are images, and a saved label goes back as DICOM SEG."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import platformdirs
from monailabel.config import settings
from pydicom import Dataset

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.dicom.coding import Source
from monailabel_app.dicom.mirror import VOLUME_SUFFIX, Mirror
from monailabel_app.dicom.outbox import Outbox, encode
from monailabel_app.dicom.segmentation import segmentation
from monailabel_app.dicom.series import Series
from monailabel_app.dicom.server import DicomWebServer, SeriesEntry
from monailabel_app.errors import DicomWebError, NotFoundError, UnavailableError
from monailabel_app.store.studies import Note
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import UncertaintySegError

logger = logging.getLogger(__name__)

Describe = Callable[[str | None], tuple[list[wire.Label], str]]
"""Structures that a label of this model may hold (of any model when None), and the checksum of its weights."""

_STATE, _WAITING, _STORED = "dicom", "waiting", "stored"
PLACES = (_STATE, "sop_instance_uid", "series_instance_uid")
"""Fields of a label's record that say where it is on the server; ours alone to write."""
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


def one_name_each(labels: list[wire.Label]) -> list[wire.Label]:
    """Return one structure an id, nameless where the models mean different things by it."""
    by_id: dict[int, wire.Label] = {}
    for label in labels:
        known = by_id.setdefault(label.id, label)
        if known.name != label.name:
            by_id[label.id] = wire.Label(id=label.id, name=f"class {label.id}", rgb=known.rgb)
    return [by_id[key] for key in sorted(by_id)]


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
        keep_versions: int = 0,
    ) -> None:  # fmt: skip
        self._server = server
        self._listed = server.series()
        self._describe = describe
        self._sending = threading.Lock()
        super().__init__(str(folder), audit=audit, keep_versions=keep_versions)  # takes the folder for this process
        self._mirror = Mirror(folder, server, limit_bytes)
        self._outbox = Outbox(folder / "outbox", server)
        self._outbox.keep_only(self._waiting().values())
        threading.Thread(target=self._sync_for_ever, name="dicomweb", daemon=True).start()

    def name(self) -> str:
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
        model = label_info.get("model")
        labels, checksum = self._describe(model)
        volume = read_label(label_filename)
        source = Source(model, checksum, edited=True)
        seg = segmentation(volume[0].numpy(), volume.affine.numpy(), labels, self.series(image_id), source)
        self._outbox.put(seg)  # on disk before the record speaks of it
        uid = str(seg.SOPInstanceUID)
        places = {"sop_instance_uid": uid, "series_instance_uid": str(seg.SeriesInstanceUID), _STATE: _WAITING}
        return super().save_label(image_id, label_filename, label_tag, {**label_info, **places}, *note, **made)

    def deliver(self, image_id: str) -> None:
        """Store the final label of an image on the server, if it is not there yet.

        Raises:
            DicomWebError: The server did not take it; it is saved here and will be sent again.
        """
        uid = self._waiting().get(image_id)
        try:
            if uid is not None:
                self._send(image_id, uid)
        except DicomWebError as error:
            raise DicomWebError(
                "the label is saved on this server, but not yet on the DICOMweb server; it is sent again every minute "
                f"until it arrives. ({error})"
            ) from error

    def synchronise(self) -> None:
        """List the series anew and send the labels that wait. Raises `DicomWebError` when there is no list."""
        listed = self._server.series()
        with self.lock:
            changed, self._listed = listed != self._listed, listed
        if changed:
            self.refresh()
        for image_id, uid in self._waiting().items():
            _logged(self._send, image_id, uid)

    def _sync_for_ever(self) -> None:
        while True:
            _logged(self.synchronise)
            time.sleep(_SYNC_SECONDS)

    def _send(self, image_id: str, uid: str) -> None:
        with self._sending:
            if self._waiting().get(image_id) != uid:  # another thread sent it, or a newer label took its place
                return
            self._outbox.send(uid)
            with self.transaction():  # a newer label, which waits for its own turn, may be in its place by now
                if self._waiting().get(image_id) == uid:
                    self.update_label_info(image_id, FINAL, {_STATE: _STORED})

    def _waiting(self) -> dict[str, str]:
        """SOPInstanceUIDs by image of the labels that the server does not have yet."""
        with self.lock:
            infos = {i: self.get_label_info(i, FINAL) for i in self.get_labeled_images()}
        return {i: str(info.get("sop_instance_uid")) for i, info in infos.items() if info.get(_STATE) == _WAITING}

    def _entry(self, image_id: str) -> SeriesEntry:
        self.check_image(image_id)
        entry = self._listed.get(image_id)
        if entry is None:
            raise NotFoundError(f"series {image_id} is not on {self._server.url} any more; its label is kept here")
        return entry

    def _find_scans(self) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]:
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
        read_label(path)  # the scan may be on the server only


def _logged(step: Callable[..., None], *args: str) -> None:
    """Do a step in the background: the next minute may bring what it lacks."""
    try:
        step(*args)
    except UncertaintySegError as error:
        logger.warning("%s: %s", " ".join(args) or "DICOMweb", error)
    except Exception:  # the next minute may go well
        logger.exception("%s", " ".join(args) or "DICOMweb")
