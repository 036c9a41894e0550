"""The studies as MONAI Label's datastore: a view of the records that is open while the folder is there."""

from __future__ import annotations

import copy
import io
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from monailabel_app.app.dataset_zip import write_dataset_zip
from monailabel_app.app.hand_labels import check_by_hand
from monailabel_app.app.volume_names import check_tag, file_names, volume_suffix
from monailabel_app.errors import NotFoundError
from monailabel_app.folders import all_without_folders
from monailabel_app.intake.decoded import Decoded
from monailabel_app.names import checked_name
from monailabel_app.store import catalogue
from monailabel_app.store.channels import cases_of, is_case
from monailabel_app.store.exports import as_monailabel
from monailabel_app.store.known import KnownStudies
from monailabel_app.store.records import RESTORED, CurrentLabel, Records, Version
from monailabel_app.store.reopening import ReopenedStudies
from monailabel_app.store.review_status import META, without_review
from monailabel_app.store.studies import Note, Studies
from uncertaintyseg.data.channels import files_of_channels
from uncertaintyseg.errors import InputError

FINAL = "final"
SHARED = (FINAL, "original")
"""Tags whose labels belong to the case; one with another tag is the draft of who saved it first."""


def _no_note(*_version: Version) -> None:
    """For changes that nobody takes note of."""


class StudyDatastore(Datastore):
    """Scans in the studies folder, labels in `labels/<tag>/`, all their versions in `versions/`, records in SQLite.

    A kill at any moment leaves what was acknowledged. A scan whose file is away keeps its records. While the folder
    itself is away every call raises `StudiesAwayError`; afterwards all is as it was.

    Args:
        studies: The folder.
        auto_reload: Whether to look at the folder by itself when files in it change.
        known: Folders that were served before; None looks none up.
        new: Whether records may begin anew in a folder that had some.
        audit: Folder that the audit trail is exported to; None for none.
        keep_versions: How many versions of a label are kept; 0 for all.
        channels: Tells how many channels a scan may have beside one, see `store.channels`.
        unclear: Tells which numbers no label may have that is put into the folder, see `hand_labels.unclear_numbers`.
        decoded: Keeps what pictures and ultrasound files are decoded to; None leaves them as they are.

    Attributes:
        lock: Held while something changes.

    Raises:
        InputError: The folder cannot be used, see `monailabel_app.preflight`.
    """

    def __init__(
        self, studies: str, *, auto_reload: bool = False, known: KnownStudies | None = None, new: bool = False,
        audit: Path | None = None, keep_versions: int = 0, channels: Callable[[], Collection[int]] = tuple,
        unclear: Callable[[], Mapping[int, str]] = dict, decoded: Decoded | None = None,
    ) -> None:  # fmt: skip
        self.folder, self._channels, self._unclear, self._decoded = Path(studies), channels, unclear, decoded
        self.lock = threading.RLock()
        self._held = ReopenedStudies(
            self.folder, self.lock, self._find_scans, self._check_label, auto_reload=auto_reload, known=known, new=new,
            audit=audit, keep_versions=keep_versions,
        )  # fmt: skip

    @property
    def _studies(self) -> Studies:
        """The open folder. Raises `StudiesAwayError` while it is away."""
        return self._held.now()

    @property
    def repaired(self) -> list[str]:
        """What the start, and any later look at the folder, had to repair; one sentence each."""
        return all_without_folders(self._held.repaired)

    def close(self) -> None:
        """Let others have the folder, for good."""
        self._held.close()

    def _find_scans(self, records: Records) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]:
        images = records.images()
        labelled, known = {image for image, _ in records.label_tags()}, {file for file, _ in images.values()}
        found = catalogue.find_scans(self.folder, self._channels(), labelled, cases_of(images), known)
        return {i: (path.relative_to(self.folder).as_posix(), {}) for i, path in found.scans.items()}, found.skipped

    def _check_label(self, path: Path, scan: Path) -> None:
        check_by_hand(path, self._unclear(), self._read_from(scan))

    @property
    def archive(self) -> str | None:
        """Address of the archive that the scans come from, None when the studies are a folder."""
        return None

    @property
    def store(self) -> Records:
        """The records of the folder. Raises `StudiesAwayError` while it is away."""
        return self._studies.records

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are kept together or not at all; see `Records.transaction`."""
        with self.store.transaction():
            yield

    def refresh(self) -> None:
        """Look at the folder again."""
        self._studies.refresh()

    def name(self) -> str:
        """Of the data set."""
        return self.store.meta("name") or "new-dataset"

    def set_name(self, name: str) -> None:
        """Name the data set."""
        with self.transaction():
            self.store.set_meta("name", name)

    def description(self) -> str:
        """Of the data set."""
        return self.store.meta("description") or "New Dataset"

    def set_description(self, description: str) -> None:
        """Describe the data set."""
        with self.transaction():
            self.store.set_meta("description", description)

    def status(self) -> dict[str, Any]:
        """Return MONAI Label's counts, `repaired`, and what is not served: `skipped` files and `missing` scans."""
        tags: dict[str, int] = {}
        for labels in self.tags().values():
            for tag in labels:
                tags[tag] = tags.get(tag, 0) + 1
        images = self.list_images()
        return {
            "total": len(images), "completed": tags.get(FINAL, 0), "label_tags": tags, "repaired": self.repaired,
            "skipped": self.skipped(), "missing": self.missing(),
        }  # fmt: skip

    def json(self) -> dict[str, Any]:
        """Return the records as MONAI Label keeps them, of the scans that are there."""
        found, present = as_monailabel(self.store), set(self.list_images())
        return {**found, "objects": {image: one for image, one in found["objects"].items() if image in present}}

    def skipped(self) -> dict[str, str]:
        """Files of the folder that are not served, and why."""
        return all_without_folders(self._studies.skipped)

    def missing(self) -> list[str]:
        """Images whose scan is away; their records are kept."""
        return sorted(set(self._studies.records.images()) - self._present())

    def _present(self) -> set[str]:
        return self._studies.present

    def list_images(self) -> list[str]:
        """Ids of the scans that are there."""
        present = self._present()
        return [image for image in self.store.images() if image in present]

    def tags(self) -> dict[str, list[str]]:
        """All images that are there, with the tags of their labels."""
        found: dict[str, list[str]] = {image: [] for image in self.list_images()}
        for image, tag in self.store.label_tags():
            if image in found:
                found[image].append(tag)
        return found

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:  # noqa: ARG002
        """Ids of the images with a final label."""
        return [image for image, tags in self.tags().items() if FINAL in tags]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:  # noqa: ARG002
        """Ids of the images without a final label."""
        return [image for image, tags in self.tags().items() if FINAL not in tags]

    def records(self) -> dict[str, dict[str, Any]]:
        """Return what is noted of all images, to be read only: `get_image_info` copies one by one."""
        return {image: info for image, (_, info) in self.store.images().items()}

    def check_image(self, image_id: str) -> Path:
        """Return where the file of an image belongs. Raises `NotFoundError` for whatever is not the id of one."""
        found = self.store.image(image_id)
        if found is None:
            raise NotFoundError(f"no image {image_id!r} in the datastore; GET /datastore/?output=all lists the ids")
        return self.folder / found[0]

    def image_path(self, image_id: str) -> Path:
        """Return the scan of an image as a file that needs no decoder. Raises `NotFoundError`, or as `Decoded.of`."""
        return self._read_from(self._file(image_id))

    def notes(self, image_id: str) -> dict[str, object]:
        """What is known of an image's axes, see `Decoded.notes`."""
        return {} if self._decoded is None else self._decoded.notes(self.check_image(image_id))

    def _read_from(self, scan: Path) -> Path:
        return scan if self._decoded is None else self._decoded.of(scan)

    def _file(self, image_id: str) -> Path:
        path = self.check_image(image_id)
        if image_id not in self._present():
            raise NotFoundError(f"the scan {image_id!r} is away; its labels and notes are kept until it is back")
        return path

    def channel_paths(self, image_id: str) -> list[Path]:
        """Return the files of a scan's channels, in order; of most the one file. Raises as `image_path`."""
        path = self.image_path(image_id)
        return files_of_channels(path) if is_case(image_id, path.name) else [path]

    def image_paths(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of many images, without those that cannot be decoded. Raises as `image_path`."""
        scans = {image_id: self._file(image_id) for image_id in image_ids}
        return scans if self._decoded is None else self._decoded.usable(scans)

    def get_image(self, image_id: str, params: Any = None) -> Any:  # noqa: ARG002 - inherited signature
        """The scan's bytes."""
        return io.BytesIO(self.image_path(image_id).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        """Where the file of an image belongs; empty for whatever is not the id of one."""
        found = self.store.image(image_id)
        return str(self.folder / found[0]) if found else ""

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """A copy of what is noted of an image; empty for whatever is not the id of one."""
        found = self.store.image(image_id)
        return copy.deepcopy(found[1]) if found else {}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is noted of an image. Raises `NotFoundError`, or `InputError` for what is not plain JSON."""
        with self.transaction():
            self.check_image(image_id)
            file, known = self.store.image(image_id)
            self.store.put_image(image_id, file, {**known, **info})

    def add_image(
        self, image_id: str, image_filename: str, image_info: dict[str, Any], note: Callable[[], None] = _no_note,
        *, channels: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Add a scan under a new id; one that is there is never replaced, for its labels belong to it.

        Args:
            image_id: Empty for the file's name.
            image_filename: Path of the scan.
            image_info: What is noted of it.
            note: Called in the same transaction; whatever it raises undoes everything.
            channels: Paths of the further channels, in order.

        Raises:
            InputError: There is such an id, or it cannot be one.
            StorageError: The disk is full; nothing was changed.
        """
        stem = Path(image_filename).name.removesuffix(volume_suffix(image_filename))
        image_id = checked_name("an image id", image_id or stem)
        if self.store.image(image_id) is not None:
            raise InputError(f"there is an image {image_id!r} already; choose another id or delete that one first")
        self._studies.add_image(image_id, file_names(image_id, [image_filename, *channels]), image_info, note)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Remove a scan, its labels, their versions and records."""
        with self.transaction():
            path = self.check_image(image_id)
            if self._decoded is not None:
                self._decoded.forget(path)
            self._studies.remove_image(image_id)

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:  # noqa: ARG002 - inherited signature
        """The label's bytes; None where there is none."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label that counts, named as in `labels/`; empty where there is none."""
        label = self.store.label(label_id, label_tag)
        return str(self._studies.file_of(label)) if label else ""

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Label ids by tag."""
        return {label.version.tag: image_id for label in self.store.labels(image_id)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The label's id; empty where there is none."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """A copy of what is noted of a label, with the number of its version; empty where there is none."""
        label = self.store.label(label_id, label_tag)
        if label is None:
            return {}
        version = label.version
        name = f"{version.image}{version.suffix}"
        return {**label.info, "ts": int(version.time), "name": name, "version": version.id}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is noted of a label; a review belongs to its version too. Raises as `update_image_info`."""
        with self.transaction():
            label = self._existing(label_id, label_tag)
            self.store.set_label_info(label_id, label_tag, {**label.info, **info})
            if META in info:
                self.store.set_version_info(label.version.id, {**label.version.info, META: info[META]})

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], note: Note = _no_note,
        **made: Any,
    ) -> str:  # fmt: skip
        """Save a label as a new version, by default the one that counts.

        Args:
            image_id: Case.
            label_filename: Path of the label.
            label_tag: Which of its labels.
            label_info: What is noted of it.
            note: Told of the version in the same transaction; whatever it raises undoes everything.
            made: `made_by`, `seconds`, `source` and `current` of `Studies.save_label`.

        Raises:
            NotFoundError: No such image.
            InputError: The tag cannot be one.
            StorageError: The disk is full; nothing was changed.
        """
        check_tag(label_tag, {*SHARED, *(known for _, known in self.store.label_tags())})
        self.check_image(image_id)
        data, suffix = Path(label_filename).read_bytes(), volume_suffix(label_filename)

        def noted(version: Version) -> None:
            self.check_image(image_id)  # it may have been removed meanwhile
            note(version)

        self._studies.save_label(image_id, label_tag, data, suffix, label_info, noted, **made)
        return image_id

    def deliver(self, image_id: str) -> None:
        """Pass a saved label on to wherever else it belongs: nowhere, when the studies are a folder."""

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Let a label count no more; its versions stay. Raises `NotFoundError`."""
        with self.transaction():
            self._existing(label_id, label_tag)
            self._studies.remove_label(label_id, label_tag)

    def _existing(self, label_id: str, label_tag: str) -> CurrentLabel:
        self.check_image(label_id)
        label = self.store.label(label_id, label_tag)
        if label is None:
            raise NotFoundError(f"image {label_id!r} has no label with the tag {label_tag!r}")
        return label

    def version(self, image_id: str, number: int) -> Version:
        """Return a version of an image's labels. Raises `NotFoundError`."""
        self.check_image(image_id)
        version = self.store.version(number)
        if version is None or version.image != image_id:
            raise NotFoundError(f"image {image_id!r} has no version {number}; GET .../versions lists them")
        return version

    def version_bytes(self, version: Version) -> bytes:
        """Return the file of a version. Raises `NotFoundError` when it is gone or damaged."""
        return self._studies.versions.read(version.sha256, version.suffix)

    def restore(self, version: Version, note: Note = _no_note, made_by: str = "") -> None:
        """Make the content of an old version the newest one, not reviewed, which counts. Raises as `save_label`."""
        made = {"made_by": made_by, "source": f"{RESTORED}{version.id}"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"label{version.suffix}"
            path.write_bytes(self.version_bytes(version))
            self.save_label(version.image, str(path), version.tag, without_review(version.info), note, **made)

    def backup(self, path: Path) -> None:
        """Write a copy of the records as they are now; all files that they name are there and stay."""
        self.store.copy_to(path)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Scan and final label of all images that have one, as paths, below the folder unless `full_path`."""
        pairs = [
            {"image": self.get_image_uri(image), "label": self.get_label_uri(image, FINAL)}
            for image in self.get_labeled_images()
        ]
        if full_path:
            return pairs
        return [{key: str(Path(path).relative_to(self.folder)) for key, path in pair.items()} for pair in pairs]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Return the path of a zip with all labelled images, see `write_dataset_zip`."""
        images = self.get_labeled_images()[: limit_cases or None]
        return write_dataset_zip(self, [self._existing(image, FINAL) for image in images])
