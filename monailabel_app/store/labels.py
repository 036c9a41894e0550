"""`labels/<tag>/<image>.nii.gz`: the labels that count, as files for other programs, and what people put there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from monailabel_app.names import checked_name
from monailabel_app.store.records import CurrentLabel, Records, Version
from monailabel_app.store.versions import VersionFiles
from uncertaintyseg.data.images import frames_in, is_picture
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError, UncertaintySegError

logger = logging.getLogger(__name__)

FOLDER = "labels"
_MASK = "a mask as a picture: 'uncertaintyseg convert MASK LABEL.nii.gz --mask-of SCAN' makes a label of it"
_NO_TAG = "lies in no folder of a tag: move it to labels/final"
SEGMENTATION = "says by names what it holds; PUT /datastore/label reads them and keeps a label"
"""Why Slicer's `.seg.nrrd` is not taken up as it is: everything else takes its numbers for class ids."""
PUBLISH, REMOVE = "publish", "remove"
"""Kinds of what the outbox holds: a label's file to be written, any file to be removed."""
_BY_HAND = "by hand"

Check = Callable[[Path, Path], None]
"""Raises `InputError` unless the first file is a label of the second, a scan."""


class LabelFiles:
    """Keeps `labels/` as the records say. A file there whose bytes the records do not know is a person's.

    Args:
        studies: The studies folder.
        records: Of it.
        files: Of the versions.
        check: Whether a file that a person left is a label of its image.
        say: Told what was found and mended, one sentence each.
    """

    def __init__(
        self, studies: Path, records: Records, files: VersionFiles, check: Check, say: Callable[[str], None]
    ) -> None:
        self._folder, self._records, self._files = studies / FOLDER, records, files
        self._check, self._say = check, say
        self._refused: dict[Path, tuple[tuple[int, int], str]] = {}

    def path(self, version: Version) -> Path:
        """Where the file of a label that counts lies."""
        return self._folder / version.tag / f"{version.image}{version.suffix}"

    def post(self, image: str, tag: str) -> None:
        """Have a label's file written as soon as the transaction at hand is kept, or else at the next start."""
        number = self._records.post(PUBLISH, {"image": image, "tag": tag})
        self._records.after_commit(lambda: self._publish(number, image, tag))

    def publish_waiting(self) -> None:
        """Write the files that a crash or a full disk kept from being written."""
        for number, wanted in self._records.outbox(PUBLISH):
            self._publish(number, wanted["image"], wanted["tag"])

    def look(self, images: Collection[str]) -> dict[str, str]:
        """Take up what people put into `labels/`, and write again what is missing there.

        Reading and checking files holds nobody up; what has changed meanwhile is left for the next look.

        Args:
            images: Ids of the scans that are there; only their labels count.

        Returns:
            Files that are no labels, relative to the studies, and why.
        """
        current = {(label.version.image, label.version.tag): label for label in self._records.labels()}
        found: dict[tuple[str, str], list[Path]] = {}
        skipped: dict[str, str] = {}
        for path in self._files_there(images, skipped):
            image, tag = _image_of(path), path.parent.name
            if image not in images:
                is_named = image is not None and image.removesuffix(".seg") in images
                skipped[self._name(path)] = SEGMENTATION if is_named else "no scan has this name"
            else:
                found.setdefault((image, tag), []).append(path)
        for key, paths in found.items():
            label = current.get(key)
            own = [path for path in paths if label is not None and path == self.path(label.version)]
            first = (own or paths)[0]
            for other in paths:
                if other != first:
                    skipped[self._name(other)] = f"a second file for the label {key[1]} of {key[0]}: keep one of them"
            try:
                reason = self._take_up(first, *key, label)
            except (OSError, ValueError) as error:  # one file must not keep the others from being seen
                reason = f"cannot be read ({error})"
            if reason:
                skipped[self._name(first)] = reason
        for key, label in current.items():
            if key[0] in images and key not in found:
                self._write_again(label)
        return skipped

    def counts(self, path: Path) -> bool:
        """Whether a file in `labels/` is one that counts. Whatever a person put there instead is kept as a version."""
        image, tag = _image_of(path), path.parent.name
        if image is None or self._records.image(image) is None:
            return False
        label = self._records.label(image, tag)
        if label is not None and self.path(label.version) == path:
            return True
        self.rescue(path, image, tag)
        return False

    def _files_there(self, images: Collection[str], skipped: dict[str, str]) -> list[Path]:
        found: list[Path] = []
        for tag in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if tag.name.startswith("."):
                continue
            try:
                if is_picture(tag) or (tag.name in images and frames_in(tag)):  # as a data set has them
                    skipped[self._name(tag)] = _MASK
                elif tag.is_dir():
                    checked_name("a label tag", tag.name)
                    files = sorted(tag.iterdir())
                    found += [path for path in files if _image_of(path)]
                    skipped |= {self._name(path): _MASK for path in files if is_picture(path) or frames_in(path)}
                elif _image_of(tag):
                    skipped[self._name(tag)] = _NO_TAG
            except (OSError, InputError) as error:
                skipped[self._name(tag)] = str(error)
        return found

    def _take_up(self, path: Path, image: str, tag: str, label: CurrentLabel | None) -> str | None:
        """Note a file as the newest version where its bytes are new; returns why not, where it is no label."""
        looks = _looks(path)
        if looks is None or (label is not None and looks == (label.size, label.mtime_ns)):
            return None
        if self._refused.get(path, (None, ""))[0] == looks:
            return self._refused[path][1]
        data = path.read_bytes()
        is_new = label is None or hashlib.sha256(data).hexdigest() != label.version.sha256
        known = self._records.image(image)
        if known is None or (is_new and self._waits(path, image, tag)):
            return None  # removed meanwhile, or the old file, which could not be replaced or removed yet
        if is_new:
            try:
                self._check(path, self._folder.parent / known[0])
            except UncertaintySegError as error:
                reason = str(error).replace(str(path), path.name)
                self._refused[path] = (looks, reason)
                return reason
        with self._records.transaction():
            if looks != _looks(path) or not self._counts_still(label, image, tag):
                return None
            if is_new:
                file = self._files.keep(data, path.name[len(image) :])
                version = self._records.add_version(image, tag, file, {}, source=_BY_HAND, at=looks[1] / 1e9)
                self._records.set_label(version, {})
            self._records.set_label_file(image, tag, *looks)
        if is_new:
            self._say(f"{self._name(path)} was put there by hand and counts from now on (version {version.id})")
        return None

    def _write_again(self, label: CurrentLabel) -> None:
        image, tag, path = label.version.image, label.version.tag, self.path(label.version)
        with self._records.transaction():
            if not path.exists() and self._counts_still(label, image, tag):
                self._say(f"{self._name(path)} was missing and is written again")
                self.post(image, tag)

    def _counts_still(self, label: CurrentLabel | None, image: str, tag: str) -> bool:
        now = self._records.label(image, tag)
        return (now and now.version.id) == (label and label.version.id)

    def _waits(self, path: Path, image: str, tag: str) -> bool:
        """Whether a label's file is still to be written or removed."""
        name = path.relative_to(self._folder.parent).as_posix()
        publish = any((w["image"], w["tag"]) == (image, tag) for _, w in self._records.outbox(PUBLISH))
        return publish or any(w["path"] == name for _, w in self._records.outbox(REMOVE))

    def _publish(self, number: int, image: str, tag: str) -> None:
        """Write the file of a label; what cannot be written waits, for the records have the label."""
        try:
            with self._records.lock:
                label = self._records.label(image, tag)
                others = [] if label is None else self._in_other_formats(label.version)
                if label is not None:
                    with self._records.transaction():  # kept before anything is replaced
                        for path in (self.path(label.version), *others):
                            self.rescue(path, image, tag)
                with self._records.transaction():
                    if label is not None:
                        self._write(label.version)
                    self._records.done(number)
                for path in others:
                    path.unlink(missing_ok=True)
        except (OSError, UncertaintySegError) as error:
            logger.warning("labels/%s: the file for %s waits: %s", tag, image, error)

    def _write(self, version: Version) -> None:
        path = self.path(version)
        write_bytes(path, self._files.read(version.sha256, version.suffix))
        self._records.set_label_file(version.image, version.tag, *_looks(path))

    def _in_other_formats(self, version: Version) -> list[Path]:
        path = self.path(version)
        others = {path.with_name(f"{version.image}{suffix}") for suffix in IMAGE_SUFFIXES}
        return sorted(other for other in others - {path} if other.is_file())

    def rescue(self, path: Path, image: str, tag: str) -> None:
        """Keep the bytes of a file that is about to go, unless they are known. Within a transaction."""
        if not path.is_file():
            return
        stat, label = path.stat(), self._records.label(image, tag)
        if label is not None and (stat.st_size, stat.st_mtime_ns) == (label.size, label.mtime_ns):
            return
        data = path.read_bytes()
        known = {version.sha256 for version in self._records.versions(image, tag)}
        if hashlib.sha256(data).hexdigest() not in known:
            file = self._files.keep(data, path.name[len(image) :])
            version = self._records.add_version(image, tag, file, {}, source=_BY_HAND, at=stat.st_mtime)
            self._say(f"{self._name(path)} was put there by hand; it is kept as version {version.id}")

    def _name(self, path: Path) -> str:
        return printable(str(path.relative_to(self._folder.parent)))


def printable(name: str) -> str:
    """A file's name as JSON can have it: bytes that are no text are written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _looks(path: Path) -> tuple[int, int] | None:
    """Size, and time of the last change in ns; None for a file that is gone."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _image_of(path: Path) -> str | None:
    """The image that a file is named after; None for what is no volume."""
    suffix = next((s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), None)
    return path.name[: -len(suffix)] if suffix and not path.name.startswith(".") and path.is_file() else None
