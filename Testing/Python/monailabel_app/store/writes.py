"""The writes of a studies folder, and all that a server would tell of it before and after."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from monailabel_app.app.assignments import Assignments
from monailabel_app.app.datastore import StudyDatastore

Write = Callable[[StudyDatastore, Path], None]


def noted(datastore: StudyDatastore, change: Callable[[], object]) -> None:
    """A change and its line in the audit trail, as the routes make them."""
    with datastore.transaction():
        change()
        datastore.store.append_audit({"event": "test"})


def save(tag: str) -> Write:
    def write(datastore: StudyDatastore, inputs: Path) -> None:
        def note(version):
            Assignments(datastore).release("a")
            datastore.store.append_audit({"event": "save", "version": version.id})

        datastore.save_label("a", str(inputs / "new.nii.gz"), tag, {"author": "new"}, note)

    return write


def add_image(datastore: StudyDatastore, inputs: Path) -> None:
    datastore.add_image("b", str(inputs / "scan.nii.gz"), {}, lambda: datastore.store.append_audit({"event": "add"}))


def hand_over(assignments: Assignments) -> None:
    assignments.give_back("a", "bert")
    assignments.hold("a", "anna", 30)


WRITES: dict[str, Write] = {
    "save a label in place of another": save("final"),
    "save the first label of a tag": save("original"),
    "restore a version": lambda d, _: d.restore(d.store.versions("a")[0], lambda v: d.store.append_audit({"v": v.id})),
    "remove a label": lambda d, _: noted(d, lambda: d.remove_label("a", "final")),
    "remove a scan": lambda d, _: noted(d, lambda: d.remove_image("a")),
    "add a scan": add_image,
    "write a note": lambda d, _: noted(d, lambda: d.update_image_info("a", {"ward": 4})),
    "write a note of a label": lambda d, _: noted(d, lambda: d.update_label_info("a", "final", {"checked": True})),
    "hand a lease over": lambda d, _: noted(d, lambda: hand_over(Assignments(d))),
}


def state(datastore: StudyDatastore) -> dict:
    """All that a server would tell and all that lies in the folder, without times."""
    store, studies = datastore.store, datastore.folder

    def timeless(info: dict) -> dict:
        lease = info.get("lease") and info["lease"]["annotator"]
        return {**{key: value for key, value in info.items() if key != "ts"}, "lease": lease}

    files = [*studies.glob("*.nii.gz"), *(studies / "labels").rglob("*.nii.gz")]
    return {
        "images": {image: (file, timeless(info)) for image, (file, info) in store.images().items()},
        "labels": sorted((one.version.tag, one.version.sha256, one.info) for one in store.labels()),
        "versions": [(v.id, v.tag, v.sha256, v.source) for v in store.versions()],
        "readable": [bool(datastore.version_bytes(v)) for v in store.versions()],
        "audit": len(store.last_audit(99)),
        "files": {str(p.relative_to(studies)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
        "waiting": store.outbox("publish") + store.outbox("remove"),
    }


def opened(folder: Path) -> tuple[StudyDatastore, dict]:
    """A folder as a server that starts on it finds it."""
    datastore = StudyDatastore(str(folder))
    return datastore, state(datastore)


def copies(folder: Path) -> Iterator[tuple[int, Path]]:
    """Copies of a folder, numbered from 1, each gone when the next is asked for."""
    for number in itertools.count(1):
        copy = folder.with_name(f"copy{number}")
        shutil.copytree(folder, copy)
        yield number, copy
        shutil.rmtree(copy)


def before_and_after(folder: Path, write: Write) -> tuple[dict, dict]:
    """The states between which a write may leave nothing."""
    copy = shutil.copytree(folder, folder.with_name("whole"))
    datastore, before = opened(copy)
    write(datastore, folder.parent / "inputs")
    datastore.close()
    datastore, after = opened(copy)
    datastore.close()
    assert before != after
    return before, after
