"""The studies folder: MONAI Label's local datastore with one writer, atomic files and checked names."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from monailabel_app import preflight
from monailabel_app.app import repair
from monailabel_app.app.names import checked_name
from monailabel_app.errors import NotFoundError
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError

logger = logging.getLogger(__name__)


def _under_lock(*names: str) -> Callable[[type], type]:
    """Make the inherited methods take `self.lock`: requests, the job queue and the folder's watcher are threads."""

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: StudyDatastore, *args: Any, **kwargs: Any) -> Any:
            with self.lock:
                return method(self, *args, **kwargs)

        return call

    def decorate(cls: type) -> type:
        for name in names:
            setattr(cls, name, locked(getattr(cls, name)))
        return cls

    return decorate


@_under_lock("list_images", "get_labeled_images", "get_unlabeled_images", "status", "json", "datalist")
@_under_lock("get_image_uri", "get_image_info", "update_image_info", "remove_image")
@_under_lock("get_label_uri", "get_label_info", "update_label_info", "remove_label")
@_under_lock("_reconcile_datastore", "_init_from_datastore_file", "_update_datastore_file")
class StudyDatastore(LocalDatastore):
    """Scans directly in the studies folder, labels in `labels/<tag>/`, records in `datastore_v2.json`.

    A kill at any moment leaves each file as it was or as it should be. Records that cannot be read are kept aside and
    restored from their copy and the files.

    Attributes:
        repaired: What the start, and any later reading of the records, had to repair; one sentence each.

    Raises:
        InputError: The folder cannot be used, see `monailabel_app.preflight`.
    """

    def __init__(self, studies: str, *, auto_reload: bool) -> None:
        self.lock = threading.RLock()
        self._ownership = preflight.lock_studies(Path(studies))
        self.repaired: list[str] = []
        self._starting = True
        if unfinished := repair.remove_unfinished(Path(studies)):
            self._note(f"removed {len(unfinished)} file(s) of writes that were cut short: {', '.join(unfinished)}")
        super().__init__(studies, extensions=[f"*{suffix}" for suffix in IMAGE_SUFFIXES], auto_reload=auto_reload)
        self._starting = False

    def status(self) -> dict[str, Any]:
        """Return MONAI Label's counts, and `repaired`."""
        return {**super().status(), "repaired": self.repaired}

    def image_path(self, image_id: str) -> Path:
        """Return the file of an image. Raises `NotFoundError` for whatever is not the id of one."""
        return self.check_image(image_id)

    def image_paths(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of many images. Raises `NotFoundError` for whatever is not the id of one."""
        return {image_id: self.image_path(image_id) for image_id in image_ids}

    def check_image(self, image_id: str) -> Path:
        """Return where the file of an image belongs. Raises `NotFoundError` for whatever is not the id of one."""
        uri = self.get_image_uri(image_id)
        if not uri:
            raise NotFoundError(f"no image {image_id!r} in the datastore; GET /datastore/?output=all lists the ids")
        return Path(uri)

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of all images, which are to be read only: `get_image_info` copies one by one."""
        with self.lock:
            return {image: record.image.info for image, record in self._datastore.objects.items()}

    def tags(self) -> dict[str, list[str]]:
        """Return all images, with the tags of their labels."""
        with self.lock:
            return {image: sorted(record.labels) for image, record in self._datastore.objects.items()}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add a scan under a new id; one that is there is never replaced, for its labels belong to it."""
        checked_name("an image id", image_id)
        if self.get_image_uri(image_id):
            raise InputError(f"there is an image {image_id!r} already; choose another id or delete that one first")
        _, suffix = self._to_id(Path(image_filename).name)
        name = self._filename(image_id, suffix)
        write_bytes(Path(self._datastore.image_path(), name), Path(image_filename).read_bytes())
        info = {**image_info, "ts": int(time.time()), "name": name}
        with self.lock:
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=suffix))
            self._update_datastore_file()
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label in place of the one with the same tag, which stays whole until the new one is."""
        checked_name("a label tag", label_tag)
        self.check_image(image_id)
        before = self.get_label_uri(image_id, label_tag)
        _, suffix = self._to_id(Path(label_filename).name)
        path = Path(self._datastore.label_path(label_tag), self._filename(image_id, suffix))
        write_bytes(path, Path(label_filename).read_bytes())
        info = {**label_info, "ts": int(time.time()), "name": path.name}
        with self.lock:
            self.check_image(image_id)  # it may have been removed meanwhile
            self._datastore.objects[image_id].labels[label_tag] = DataModel(info=info, ext=suffix)
            self._update_datastore_file()
        if before and Path(before) != path.resolve():  # the same label in another format
            Path(before).unlink(missing_ok=True)
        return image_id

    def deliver(self, image_id: str) -> None:
        """Pass a saved label on to wherever else it belongs: nowhere, when the studies are a folder."""

    def remove_image(self, image_id: str) -> None:
        """Remove a scan, its labels and their records before answering; the folder's watcher would come later."""
        super().remove_image(image_id)
        self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label and its record before answering; the folder's watcher knows the usual tags only."""
        super().remove_label(label_id, label_tag)
        self.refresh()

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Return the path of a zip with all labelled images. Raises `InputError` when there are none."""
        if not self.get_labeled_images():
            raise InputError("no image has a final label yet, so there is no dataset to download")
        return super().get_dataset_archive(limit_cases)

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:  # noqa: ARG002 - inherited signature
        try:
            super()._init_from_datastore_file(throw_exception=True)
        except ValueError:
            path = Path(self._datastore_config_path)
            aside = repair.set_aside(path)
            if self._starting:
                source = repair.restore_records(path)
                super()._init_from_datastore_file(throw_exception=True)
            else:
                source = "written again as this server knows them"
                self._update_datastore_file()
            self._note(f"{path.name} could not be read and is kept as {aside}; the records were {source}")

    def _remove_non_existing(self) -> int:
        removed = super()._remove_non_existing()
        if removed and self._starting:
            self._note(f"removed {removed} record(s) of scans and labels whose files are gone")
        return removed

    def _add_non_existing_labels(self, tag: str) -> int:
        added = super()._add_non_existing_labels(tag)
        if added and self._starting:
            self._note(f"labels/{tag}: {added} label(s) had no record and got one")
        return added

    def _note(self, repair_made: str) -> None:
        self.repaired.append(repair_made)
        logger.warning("studies folder: %s", repair_made)

    def _update_datastore_file(self, lock: bool = True) -> None:  # noqa: ARG002 - inherited signature
        path = Path(self._datastore_config_path)
        records = self._datastore.model_dump(exclude={"base_path"})
        repair.write_records(path, json.dumps(records, indent=2, default=str).encode())
        self._config_ts = path.stat().st_mtime
