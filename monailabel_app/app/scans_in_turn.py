"""The scans of a job over many images: each is decoded or fetched when its turn comes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monailabel_app.app.datastore import StudyDatastore
from uncertaintyseg.errors import UncertaintySegError

_AHEAD = 16
"""Scans that are decoded at a time: a process for each takes far longer."""


class ScansInTurn:
    """Finds the files of images in the order of a job, without keeping whoever asked for it waiting.

    Args:
        datastore: Has them.
        images: Ids.
        now: Whether to look at all of them now, for whoever named them waits for what is wrong.

    Raises:
        NotFoundError: One is no image.
        UncertaintySegError: `now`, and one cannot be had.
    """

    def __init__(self, datastore: StudyDatastore, images: Sequence[str], *, now: bool = False) -> None:
        self.images = list(images)
        self.now, self._datastore, self._decoded = now, datastore, 0
        self._decoding = threading.Lock()
        self._places = {image: place for place, image in enumerate(self.images)}
        for image in images:
            self.path(image) if now else datastore.check_image(image)

    def path(self, image: str) -> Path:
        """The file of one, decoded where it has to be. Raises as `StudyDatastore.image_path`."""
        place = self._places[image]
        if self._datastore.archive is None:  # an archive is asked one by one anyway
            with self._decoding:  # several are looked for at a time
                if place >= self._decoded:
                    self._decoded = place + _AHEAD
                    with suppress(UncertaintySegError):  # whose it is learns it when its turn comes
                        self._datastore.image_paths(self.images[place : place + _AHEAD])
        return self._datastore.image_path(image)
