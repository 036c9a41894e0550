"""Several people's final labels of one case: whose they are, and where they differ."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.store.records import Version
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.time_axis import TIME, Measure, is_clip, spacing_known
from uncertaintyseg.data.writing import encode_steps
from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.overlap import class_voxels
from uncertaintyseg.review.readers import DISAGREEMENT, INFO, MOST, Disagreement, disagreement

if TYPE_CHECKING:
    from monailabel_app.app.application import UncertaintySegApp

ROUTE = "/uncertainty/v1/cases/{image}/readers"
_KEPT = 8  # comparisons in memory; a map is nearly all zeros, and small when packed
_ALONE = "readers are compared where two or more of them have saved a final label of the case; {count} did"


def version_voxels(datastore: StudyDatastore, version: Version) -> tuple[np.ndarray, np.ndarray, Measure]:
    """Class ids `[X, Y, Z]` of a version, its affine, and what its sizes are counted in.

    Raises:
        NotFoundError: Its file is gone or damaged.
    """
    data = datastore.version_bytes(version)  # whole, or refused
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label" / f"label{version.suffix}"
        path.parent.mkdir()  # so that both folders that `time_axis.said_beside` looks into are ours
        path.write_bytes(data)
        volume = read_label(path)
        voxels, affine = volume[0].numpy(), volume.affine.numpy()
        about = {**datastore.notes(version.image), **volume.meta}
        known = {"clip": is_clip(about), "known": spacing_known(about)}
        return voxels, affine, Measure.on(affine, voxels.shape[-1], **known)


class Readings:
    """Compares readers, one case at a time: it takes a few times the memory of a scan, however many they are."""

    def __init__(self, app: UncertaintySegApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], tuple[Disagreement, bytes, Measure]] = OrderedDict()

    def of(self, image: str) -> wire.Readings:
        """Compare the newest label that each person has saved. Raises `NotFoundError` for an unknown image."""
        self._app.datastore().check_image(image)
        newest = {v.made_by: v for v in self._app.datastore().store.versions(image, FINAL) if _is_read(v)}
        versions, left_out = self._comparable(sorted(newest.values(), key=lambda v: v.made_by))
        readers = [wire.Reading(reader=v.made_by, version=v.id, time=v.time) for v in versions]
        if len(versions) < 2:
            return wire.Readings(readers=readers, left_out=left_out, reason=_ALONE.format(count=len(newest)))
        found, _, sizes = self._compared(versions)
        numbers = "-".join(str(version.id) for version in versions)
        url = f"{ROUTE.format(image=image)}/{numbers}/{DISAGREEMENT}.nii.gz"
        return wire.Readings(
            readers=readers,
            left_out=left_out,
            maps={DISAGREEMENT: INFO.model_copy(update={"url": url})},
            size_unit=sizes.unit,
            axis=TIME if sizes.clip else None,
            differing_ml=found.differing_ml,
            regions=found.regions,
        )

    def map_bytes(self, image: str, numbers: str) -> bytes:
        """Return the map of some versions, as gzipped NIfTI.

        Args:
            image: Case.
            numbers: Ids of versions, with `-` between.

        Raises:
            InputError: They are none that can be compared.
            NotFoundError: There is no such version.
        """
        if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers.split("-")):
            raise InputError("versions: give their numbers with - between, as GET .../readers does")
        ids = [int(number) for number in numbers.split("-")]
        if len(set(ids)) < len(ids) or len(ids) > MOST:
            raise InputError(f"versions: name each of them once, and {MOST} at most")
        versions = [self._app.datastore().version(image, number) for number in ids]
        comparable, left_out = self._comparable(versions)
        if len(comparable) < len(versions) or len(versions) < 2:
            raise InputError("; ".join(left_out.values()) or _ALONE.format(count=len(versions)))
        return self._compared(versions)[1]

    def _comparable(self, versions: Sequence[Version]) -> tuple[list[Version], dict[str, str]]:
        """Those whose numbers mean what those of the newest one do."""
        if not versions:
            return [], {}
        last = max(versions, key=lambda version: version.id)
        meant = [(label.id, label.name) for label in self._structures(last)]
        fitting = [v for v in versions if [(label.id, label.name) for label in self._structures(v)] == meant]
        reason = "their label is of other structures than that of {reader}"
        others = [version for version in versions if version not in fitting]
        return fitting, {version.made_by: reason.format(reader=last.made_by) for version in others}

    def _structures(self, version: Version) -> list[wire.Label]:
        try:
            return self._app.structures(version.info.get("model"))[0]
        except InputError:  # the model is not here any more, and its structures are called after their numbers
            return []

    def _compared(self, versions: Sequence[Version]) -> tuple[Disagreement, bytes, Measure]:
        key = (str(versions[0].info.get("model")), *(version.sha256 for version in versions))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._compare(versions)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def _compare(self, versions: Sequence[Version]) -> tuple[Disagreement, bytes, Measure]:
        datastore = self._app.datastore()
        labels = self._structures(versions[0])
        with tempfile.TemporaryDirectory() as folder:
            read = []
            for version in versions:  # one in memory, the others on disk
                voxels, affine, sizes = version_voxels(datastore, version)
                np.save(path := Path(folder) / f"{version.id}.npy", voxels, allow_pickle=False)
                read.append(np.load(path, mmap_mode="r", allow_pickle=False))
            ids = {int(value) for reader in read for value in np.flatnonzero(class_voxels(reader))} - {
                0,
                *(item.id for item in labels),
            }
            named = [*labels, *(wire.Label(id=i, name=f"class {i}", rgb=(128, 128, 128)) for i in sorted(ids))]
            found = disagreement(read, named, affine, clip=sizes.clip, voxel_ml=sizes.voxel, place_ml=sizes.place)
        data = encode_steps(found.steps, affine, found.slope, 0.0)
        return found._replace(steps=np.zeros(0, np.uint16)), data, sizes


def _is_read(version: Version) -> bool:
    """Whether a person has drawn it: what a restore brings back was somebody else's."""
    return version.source == "saved" and bool(version.made_by)
