"""Who is at which image: a lease that runs out, and what somebody has passed over. Kept in the image records."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.errors import NotFoundError

LEASE_MINUTES = 30.0
_LEASE, _SKIPPED = "lease", "skipped"


class Assignments:
    """Leases and skipped images of annotators, so that two people are not served the same image.

    An annotator's leases are those of the last query; a saved label ends one, and so does time.
    """

    def __init__(self, datastore: StudyDatastore) -> None:
        self._datastore = datastore

    def take(self, images: Iterable[str], annotator: str, minutes: float, notes: dict[str, dict[str, Any]]) -> None:
        """Lease images, in place of what the annotator had before.

        Args:
            images: ids.
            annotator: who asked.
            minutes: until others may have them; 0 leases nothing.
            notes: further fields of their records, by id.
        """
        taken = set(images)
        with self._datastore.lock:
            for image in self._datastore.list_images():
                if image not in taken and _lease(self._info(image)).get("annotator") == annotator:
                    self.release(image)
            until = time.time() + 60 * minutes
            for image in taken:
                lease = {"annotator": annotator, "until": until} if minutes else None
                self._datastore.update_image_info(image, {**notes.get(image, {}), _LEASE: lease})

    def release(self, image: str) -> None:
        """End the lease of an image, whoever has it."""
        with self._datastore.lock:
            if _lease(self._info(image)):
                self._datastore.update_image_info(image, {_LEASE: None})

    def with_others(self, annotator: str) -> dict[str, float]:
        """Return the images that other annotators have, with the time (seconds since 1970) until when."""
        now, found = time.time(), {}
        for image in self._datastore.list_images():
            lease = _lease(self._info(image))
            if lease and lease["annotator"] != annotator and lease["until"] > now:
                found[image] = lease["until"]
        return found

    def skip(self, image: str, annotator: str) -> None:
        """Note that an annotator passed an image over. Raises `NotFoundError` for an unknown one."""
        with self._datastore.lock:
            if image not in self._datastore.list_images():
                raise NotFoundError(f"params.skip: no image {image!r}; GET /datastore/?output=all lists the ids")
            info = self._info(image)
            update: dict[str, Any] = {_SKIPPED: {**_skips(info), annotator: int(time.time())}}
            if _lease(info).get("annotator") == annotator:
                update[_LEASE] = None
            self._datastore.update_image_info(image, update)

    def skipped_by(self, annotator: str) -> set[str]:
        """Return the images that an annotator passed over."""
        return {image for image in self._datastore.list_images() if annotator in _skips(self._info(image))}

    def _info(self, image: str) -> dict[str, Any]:
        return self._datastore.get_image_info(image)


def _lease(info: dict[str, Any]) -> dict[str, Any]:
    """The lease of a record; clients may write records, so one that makes no sense counts as none."""
    lease = info.get(_LEASE)
    if not isinstance(lease, dict):
        return {}
    makes_sense = isinstance(lease.get("annotator"), str) and isinstance(lease.get("until"), (int, float))
    return lease if makes_sense else {}


def _skips(info: dict[str, Any]) -> dict[str, Any]:
    skipped = info.get(_SKIPPED)
    return skipped if isinstance(skipped, dict) else {}
