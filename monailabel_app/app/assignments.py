"""Who is at which image: a lease that runs out, and what somebody has passed over. Kept in the image records."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.errors import NotFoundError, TakenError

LEASE_MINUTES = 30.0
_LEASE, _SKIPPED = "lease", "skipped"
_LATEST = 2**36  # seconds since 1970, in the year 4147


class Held(NamedTuple):
    """Who has an image, and until when in seconds since 1970."""

    annotator: str
    until: float


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
        with self._datastore.transaction():
            for image, info in self._datastore.records().items():
                if image not in taken and _lease(info).get("annotator") == annotator:
                    self.release(image)
            until = time.time() + 60 * minutes
            for image in taken:
                lease = {"annotator": annotator, "until": until} if minutes else None
                self._datastore.update_image_info(image, {**notes.get(image, {}), _LEASE: lease})

    def hold(self, image: str, annotator: str, minutes: float) -> float:
        """Lease an image by name, or keep it for longer; a case that is taken so counts as picked by nobody.

        Returns:
            Until when, in seconds since 1970.

        Raises:
            NotFoundError: No such image.
            TakenError: Somebody else has it.
        """
        with self._datastore.transaction():
            if self._own(image, annotator):
                until = time.time() + 60 * minutes
                self._datastore.update_image_info(image, {_LEASE: {"annotator": annotator, "until": until}})
            else:
                self.take([image], annotator, minutes, {})
            return _lease(self._info(image))["until"]

    def give_back(self, image: str, annotator: str, *, force: bool = False) -> None:
        """End an annotator's lease of an image, with `force` anybody's. Raises as `hold`."""
        with self._datastore.transaction():
            self._datastore.check_image(image)
            if force or self._own(image, annotator):
                self.release(image)

    def _own(self, image: str, annotator: str) -> bool:
        """Whether the annotator has an image, and not nobody."""
        self._datastore.check_image(image)
        lease = _held(self._info(image))
        if lease is not None and lease.annotator != annotator:
            raise TakenError(f"{lease.annotator} has {image!r} until {clock(lease.until)}: take another case")
        return lease is not None

    def release(self, image: str) -> None:
        """End the lease of an image, whoever has it."""
        with self._datastore.transaction():
            if _lease(self._info(image)):
                self._datastore.update_image_info(image, {_LEASE: None})

    def held(self) -> dict[str, Held]:
        """Return the images that somebody has."""
        found = {image: _held(info) for image, info in self._datastore.records().items()}
        return {image: lease for image, lease in found.items() if lease is not None}

    def with_others(self, annotator: str) -> dict[str, float]:
        """Return the images that other annotators have, with the time (seconds since 1970) until when."""
        return {image: lease.until for image, lease in self.held().items() if lease.annotator != annotator}

    def skip(self, image: str, annotator: str) -> None:
        """Note that an annotator passed an image over. Raises `NotFoundError` for an unknown one."""
        with self._datastore.transaction():
            if image not in self._datastore.list_images():
                raise NotFoundError(f"params.skip: no image {image!r}; GET /datastore/?output=all lists the ids")
            info = self._info(image)
            update: dict[str, Any] = {_SKIPPED: {**_skips(info), annotator: int(time.time())}}
            if _lease(info).get("annotator") == annotator:
                update[_LEASE] = None
            self._datastore.update_image_info(image, update)

    def skipped_by(self, annotator: str) -> set[str]:
        """Return the images that an annotator passed over."""
        return {image for image, info in self._datastore.records().items() if annotator in _skips(info)}

    def _info(self, image: str) -> dict[str, Any]:
        return self._datastore.get_image_info(image)


def clock(time_s: float) -> str:
    """Hours and minutes of a time in seconds since 1970, where the server is."""
    return datetime.fromtimestamp(time_s).strftime("%H:%M")


def _held(info: dict[str, Any]) -> Held | None:
    """The lease of a record, unless it has run out."""
    lease = _lease(info)
    return Held(lease["annotator"], lease["until"]) if lease and lease["until"] > time.time() else None


def _lease(info: dict[str, Any]) -> dict[str, Any]:
    """The lease of a record; clients may write records, so one that makes no sense counts as none."""
    lease = info.get(_LEASE)
    if not isinstance(lease, dict):
        return {}
    until = lease.get("until")
    makes_sense = isinstance(lease.get("annotator"), str) and isinstance(until, int | float) and 0 <= until < _LATEST
    return lease if makes_sense else {}


def _skips(info: dict[str, Any]) -> dict[str, Any]:
    skipped = info.get(_SKIPPED)
    return skipped if isinstance(skipped, dict) else {}
